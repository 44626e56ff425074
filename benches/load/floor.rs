//! The floor: the server's own engine with a constant for a handler. It reads nothing of a request but its end
//! (`\r\n\r\n`) and answers with ready bytes, so what it costs is the kernel's and the event loop's share, and what
//! Purser costs above it is parsing, looking up and writing JSON.

use std::io::Read;
use std::net::SocketAddr;

use clap::Parser;
use memchr::memmem;
use purser::engine::control::Control;
use purser::engine::core::{Core, Setup};
use purser::engine::service::{Clock, Next, Out, Service, Stamp};
use purser::engine::{affinity, descriptors, net};
use purser::limits::Limits;

use crate::error::{Context, Error, Result};

/// The hidden command `load floor`: the runner starts itself with it, and hands it the answer on standard input.
#[derive(Parser)]
#[command(name = "load floor")]
pub struct Args {
    /// Address to listen on; it is printed once it is bound
    #[arg(long)]
    listen: SocketAddr,
    /// Core to pin to
    #[arg(long)]
    core: usize,
}

pub fn command(args: &Args) -> Result<()> {
    let mut answer = Vec::new();
    std::io::stdin().read_to_end(&mut answer).context("reading the floor's answer from standard input")?;
    if answer.is_empty() {
        return Err(Error::new("the floor needs a whole HTTP answer, head and body, on standard input"));
    }
    run(args.listen, args.core, answer)
}

/// Serves `answer` for each `\r\n\r\n` received, on one core, until it is told to stop; prints `listening on ADDRESS`.
fn run(listen: SocketAddr, core: usize, answer: Vec<u8>) -> Result<()> {
    let limits = Limits {
        connections: 10_000,
        request_ms: 10_000,
        idle_ms: 75_000,
        send_ms: 10_000,
        linger_ms: 0,
        drain_ms: 0,
        answer_bytes: usize::MAX,
        cargo_bytes: 0,
        body_bytes: 0,
        ledger_bytes: 0,
        stall_ms: 0,
        spin_ns: 0,
    };
    affinity::pin(core).context("pinning the floor")?;
    descriptors::raise_limit().context("raising the floor's descriptors")?;
    let listener = net::listen(listen).context("listening")?;
    println!("listening on {}", listener.local_addr().context("asking for the floor's address")?);
    let control = Control::new().context("making the floor's control")?;
    let setup = Setup { listeners: vec![listener], service: Constant { answer } };
    let core = Core::new(vec![setup], control, limits, None).context("setting the floor up")?;
    core.run().context("running the floor").map(drop)
}

/// The handler: one ready answer for each end of a request.
struct Constant {
    answer: Vec<u8>,
}

/// How much of `\r\n\r\n` stood at the end of the bytes before.
#[derive(Default)]
struct Matched(usize);

const END: &[u8; 4] = b"\r\n\r\n";

impl Service for Constant {
    type Session = Matched;

    fn begin(&mut self, _: Clock, _: usize) {}

    fn open(&mut self, _: u64) -> Matched {
        Matched::default()
    }

    fn receive(&mut self, matched: &mut Matched, mut bytes: &[u8], out: &mut Out) -> Next {
        while matched.0 > 0 && !bytes.is_empty() {
            matched.0 = if bytes[0] == END[matched.0] { matched.0 + 1 } else { usize::from(bytes[0] == END[0]) };
            bytes = &bytes[1..];
            if matched.0 == END.len() {
                out.bytes.extend_from_slice(&self.answer);
                matched.0 = 0;
            }
        }
        let mut behind = 0;
        for end in memmem::find_iter(bytes, END) {
            out.bytes.extend_from_slice(&self.answer);
            behind = end + END.len();
        }
        let rest = &bytes[behind..];
        matched.0 += (1..END.len()).rev().find(|&n| rest.ends_with(&END[..n])).unwrap_or(0);
        Next::Idle
    }

    fn resume(&mut self, _: &mut Matched, _: &mut Out) -> Next {
        Next::Idle
    }

    fn expire(&mut self, _: &mut Matched, _: &mut Out) -> Next {
        Next::Close
    }

    fn drain_session(&mut self, _: &mut Matched) {}

    fn drain(&mut self) {}

    fn kept_bytes(&self, _: &Matched) -> usize {
        0
    }

    fn release(&mut self, _: Matched) {}

    fn durable(&self) -> Stamp {
        Stamp::default()
    }

    fn wait(&mut self, _: Stamp, _: u64) {}

    fn turned_away(&mut self) -> Vec<u8> {
        self.answer.clone()
    }
}
