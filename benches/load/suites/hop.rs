//! `hop`: round trip of a request to another core and its reply, between two pinned threads that do
//! nothing else. The replying thread either spins for requests (busy) or sleeps in its ring until
//! it is woken (asleep); the requesting thread spins for the reply, as a core does.
//!
//! A sleeping core can be woken by its event descriptor, as in the server, or by a message from
//! ring to ring. A thread that only reads an event descriptor shows what any wake-up costs on this
//! machine.

use super::Bench;
use crate::error::{Context, Result};
use crate::options::Suite;
use crate::report::{Figure, Report};
use crate::rounds::Spread;
use crate::sys;
use io_uring::{IoUring, opcode, types};
use purser::engine::affinity;
use purser::engine::control::Control;
use purser::engine::parking::Parker;
use purser::engine::queue::{Receiver, Sender, channel};
use purser::engine::ring::Ring;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const HOPS: u64 = 20_000;
/// Pause between two requests, so that the other core is asleep again.
const PAUSE: Duration = Duration::from_micros(100);
/// Marks the last request.
const END: u64 = u64::MAX;

/// How the other core notices a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wakeup {
    /// It spins.
    Busy,
    /// It sleeps in its ring; its event descriptor is written to.
    Event,
    /// It sleeps in its ring; its ring is sent a message.
    Message,
    /// It sleeps in a plain read of its event descriptor.
    Read,
}

const VARIANTS: [(Wakeup, &str, Option<f64>); 4] = [
    (Wakeup::Busy, "busy", Some(1.0)),
    (Wakeup::Event, "asleep, woken by its eventfd", Some(25.0)),
    (Wakeup::Message, "asleep, woken by a message to its ring", None),
    (Wakeup::Read, "asleep in a plain read of an eventfd", None),
];

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let options = &bench.options;
    let remote_requests = if options.seconds < 1.0 { HOPS / 100 } else { HOPS };
    let cpus = [bench.cores.server, bench.cores.load];
    let mut values = [const { [const { Vec::new() }; 2] }; VARIANTS.len()];
    for _ in 0..options.rounds {
        for ((wakeup, ..), values) in VARIANTS.into_iter().zip(&mut values) {
            let mut ns = measure(cpus, wakeup, remote_requests)?;
            ns.sort_unstable();
            for (share, values) in [500, 990].into_iter().zip(values) {
                values.push(ns[ns.len() * share / 1_000] as f64 / 1e3);
            }
        }
    }
    let figures = VARIANTS.into_iter().zip(&values).flat_map(|((_, name, most), values)| {
        let figure = |share: &str, values: &[f64], at_most| Figure {
            what: format!("round trip, {name}: {share}"),
            value: Spread::of(values.iter().copied()),
            decimals: 3,
            unit: " us",
            at_most,
        };
        [figure("p50", &values[0], most), figure("p99", &values[1], None)]
    });
    Ok(Report {
        suite: Suite::Hop,
        title: "Round trip of a request to another core".to_owned(),
        rows: vec![vec!["remote_requests a round".to_owned()], vec![remote_requests.to_string()]],
        figures: figures.collect(),
        notes: Vec::new(),
    })
}

/// One thread's end of the two queues.
struct Link {
    to: Sender<u64>,
    from: Receiver<u64>,
}

/// Measures each round trip, in nanoseconds.
fn measure(cpus: [usize; 2], wakeup: Wakeup, remote_requests: u64) -> Result<Vec<u64>> {
    let (to, requests) = channel(8);
    let (replies, from) = channel(8);
    let (asker, answerer) = (Link { to, from }, Link { to: replies, from: requests });
    let (control, parker) = (Control::new().context("creating a control")?, Parker::new());
    let (report, ring) = mpsc::channel();
    let event = sys::event().context("creating an eventfd")?;
    let (control, parker, event) = (&control, &parker, &event);
    std::thread::scope(|scope| {
        let other = scope.spawn(move || match wakeup {
            Wakeup::Message => answer_messages(answerer, parker, cpus[1], report),
            Wakeup::Read => answer_reads(answerer, parker, cpus[1], event),
            _ => answer(answerer, control, (wakeup == Wakeup::Event).then_some(parker), cpus[1]),
        });
        let asked = scope.spawn(move || {
            affinity::pin(cpus[0]).context("pinning")?;
            match wakeup {
                Wakeup::Busy => ask(asker, remote_requests, None, || Ok(())),
                Wakeup::Event => ask(asker, remote_requests, Some(parker), || {
                    control.wake();
                    Ok(())
                }),
                Wakeup::Read => ask(asker, remote_requests, Some(parker), || {
                    sys::write_event(event).context("writing an event")
                }),
                Wakeup::Message => {
                    let mut own = message_ring()?;
                    let other = ring.recv().context("waiting for the other ring's descriptor")?;
                    ask(asker, remote_requests, Some(parker), || send_message(&mut own, other))
                }
            }
        });
        let times = asked.join().expect("the requesting thread panicked");
        other.join().expect("the replying thread panicked")?;
        times
    })
}

fn ask(
    mut link: Link,
    remote_requests: u64,
    parker: Option<&Parker>,
    mut wake: impl FnMut() -> Result<()>,
) -> Result<Vec<u64>> {
    let mut times = Vec::with_capacity(remote_requests as usize);
    for request in (0..remote_requests).chain([END]) {
        let pause = Instant::now();
        while parker.is_some() && pause.elapsed() < PAUSE {
            std::hint::spin_loop();
        }
        let since = Instant::now();
        link.to.push(request);
        link.to.publish();
        if parker.is_some_and(Parker::needs_wake) {
            wake()?;
        }
        if request == END {
            break;
        }
        let answer = loop {
            if let Some(answer) = link.from.pop() {
                break answer;
            }
            std::hint::spin_loop();
        };
        times.push(since.elapsed().as_nanos() as u64);
        link.from.recycle();
        assert_eq!(answer, request + 1, "a reply matches its request");
    }
    Ok(times)
}

/// Replies to each waiting request with the request's number plus one. Returns `false` after
/// [`END`].
fn answer_all(link: &mut Link) -> bool {
    while let Some(request) = link.from.pop() {
        if request == END {
            return false;
        }
        link.to.push(request + 1);
    }
    link.from.recycle();
    link.to.publish();
    true
}

/// Replies until [`END`]; sleeps in its ring with a parker, spins without one.
fn answer(mut link: Link, control: &Control, parker: Option<&Parker>, cpu: usize) -> Result<()> {
    affinity::pin(cpu).context("pinning")?;
    let mut ring = Ring::new().context("setting a ring up")?;
    ring.watch(control);
    while answer_all(&mut link) {
        let Some(parker) = parker else { continue };
        let parks = parker.try_park(|| link.from.is_empty());
        ring.enter(u32::from(parks), Some(Duration::from_secs(1))).context("entering the ring")?;
        if parks {
            parker.unpark();
        }
        while ring.reap().is_some() {}
    }
    Ok(())
}

fn answer_reads(mut link: Link, parker: &Parker, cpu: usize, event: &OwnedFd) -> Result<()> {
    affinity::pin(cpu).context("pinning")?;
    while answer_all(&mut link) {
        if parker.try_park(|| link.from.is_empty()) {
            sys::read_event(event).context("reading an event")?;
            parker.unpark();
        }
    }
    Ok(())
}

fn message_ring() -> Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(64)
        .context("setting a ring up")
}

fn send_message(ring: &mut IoUring, to: RawFd) -> Result<()> {
    let message = opcode::MsgRingData::new(types::Fd(to), 0, 1, None).build();
    // SAFETY: the operation refers to no memory.
    unsafe { ring.submission().push(&message) }
        .map_err(|_| crate::error::Error::new("a ring is full"))?;
    ring.submit().context("sending a message")?;
    ring.completion().for_each(drop);
    Ok(())
}

fn answer_messages(
    mut link: Link,
    parker: &Parker,
    cpu: usize,
    report: mpsc::Sender<RawFd>,
) -> Result<()> {
    affinity::pin(cpu).context("pinning")?;
    let mut ring = message_ring()?;
    report.send(ring.as_raw_fd()).context("sending the ring's descriptor")?;
    while answer_all(&mut link) {
        let parks = parker.try_park(|| link.from.is_empty());
        ring.submit_and_wait(usize::from(parks)).context("entering the ring")?;
        if parks {
            parker.unpark();
        }
        ring.completion().for_each(drop);
    }
    Ok(())
}
