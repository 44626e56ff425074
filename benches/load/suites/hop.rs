//! `hop`: a question to another core and its answer, between two pinned threads that do nothing
//! else. The other one looks out for questions all the time (busy), or sleeps in its ring until it
//! is woken (asleep); the asking one looks out for the answer, as a core does.
//!
//! A sleeping core can be woken by its event descriptor, as the server does it, or by a message
//! from ring to ring. What waking takes on this machine whoever does it is shown by a thread that
//! does nothing but read an event descriptor.

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
/// What the asker waits between two questions, so that the other core is asleep again.
const PAUSE: Duration = Duration::from_micros(100);
/// The last question.
const END: u64 = u64::MAX;

/// How the other core hears of a question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hears {
    /// It looks out for it.
    Busy,
    /// Its event descriptor is written to.
    Event,
    /// Its ring is sent a message.
    Message,
    /// It waits in a plain read.
    Read,
}

const LANES: [(Hears, &str, Option<f64>); 4] = [
    (Hears::Busy, "busy", Some(1.0)),
    (Hears::Event, "asleep, woken by its event descriptor", Some(25.0)),
    (Hears::Message, "asleep, woken by a message to its ring", None),
    (Hears::Read, "asleep in a plain read of an event descriptor", None),
];

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let options = &bench.options;
    let hops = if options.seconds < 1.0 { HOPS / 100 } else { HOPS };
    let cpus = [bench.cores.server, bench.cores.load];
    let mut values = [const { [const { Vec::new() }; 2] }; LANES.len()];
    for _ in 0..options.rounds {
        for ((hears, ..), values) in LANES.into_iter().zip(&mut values) {
            let mut ns = measure(cpus, hears, hops)?;
            ns.sort_unstable();
            for (share, values) in [500, 990].into_iter().zip(values) {
                values.push(ns[ns.len() * share / 1_000] as f64 / 1e3);
            }
        }
    }
    let figures = LANES.into_iter().zip(&values).flat_map(|((_, name, most), values)| {
        let figure = |share: &str, values: &[f64], at_most| Figure {
            what: format!("one hop and back, {name}: {share}"),
            value: Spread::of(values.iter().copied()),
            decimals: 3,
            unit: " us",
            at_most,
        };
        [figure("p50", &values[0], most), figure("p99", &values[1], None)]
    });
    Ok(Report {
        suite: Suite::Hop,
        title: "A question to another core, and its answer".to_owned(),
        rows: vec![vec!["hops a round".to_owned()], vec![hops.to_string()]],
        figures: figures.collect(),
        notes: Vec::new(),
    })
}

/// One direction of the way between the two.
struct Way {
    to: Sender<u64>,
    from: Receiver<u64>,
}

/// The time of each hop and back, in nanoseconds.
fn measure(cpus: [usize; 2], hears: Hears, hops: u64) -> Result<Vec<u64>> {
    let (to, questions) = channel(8);
    let (answers, from) = channel(8);
    let (asker, answerer) = (Way { to, from }, Way { to: answers, from: questions });
    let (control, parker) = (Control::new().context("making a control")?, Parker::new());
    let (tell, ring) = mpsc::channel();
    let event = sys::event().context("making an event descriptor")?;
    let (control, parker, event) = (&control, &parker, &event);
    std::thread::scope(|scope| {
        let other = scope.spawn(move || match hears {
            Hears::Message => answer_messages(answerer, parker, cpus[1], tell),
            Hears::Read => answer_reads(answerer, parker, cpus[1], event),
            _ => answer(answerer, control, (hears == Hears::Event).then_some(parker), cpus[1]),
        });
        let asked = scope.spawn(move || {
            affinity::pin(cpus[0]).context("pinning")?;
            match hears {
                Hears::Busy => ask(asker, hops, None, || Ok(())),
                Hears::Event => ask(asker, hops, Some(parker), || {
                    control.wake();
                    Ok(())
                }),
                Hears::Read => ask(asker, hops, Some(parker), || {
                    sys::write_event(event).context("writing an event")
                }),
                Hears::Message => {
                    let mut own = message_ring()?;
                    let other = ring.recv().context("hearing of the other ring")?;
                    ask(asker, hops, Some(parker), || send_message(&mut own, other))
                }
            }
        });
        let times = asked.join().expect("the asker panicked");
        other.join().expect("the other core panicked")?;
        times
    })
}

fn ask(
    mut way: Way,
    hops: u64,
    parker: Option<&Parker>,
    mut wake: impl FnMut() -> Result<()>,
) -> Result<Vec<u64>> {
    let mut times = Vec::with_capacity(hops as usize);
    for question in (0..hops).chain([END]) {
        let pause = Instant::now();
        while parker.is_some() && pause.elapsed() < PAUSE {
            std::hint::spin_loop();
        }
        let since = Instant::now();
        way.to.push(question);
        way.to.publish();
        if parker.is_some_and(Parker::needs_wake) {
            wake()?;
        }
        if question == END {
            break;
        }
        let answer = loop {
            if let Some(answer) = way.from.pop() {
                break answer;
            }
            std::hint::spin_loop();
        };
        times.push(since.elapsed().as_nanos() as u64);
        way.from.give_back();
        assert_eq!(answer, question + 1, "the answer to this question");
    }
    Ok(times)
}

/// Answers what is there with the number behind it. Returns whether there is more to come.
fn answer_all(way: &mut Way) -> bool {
    while let Some(question) = way.from.pop() {
        if question == END {
            return false;
        }
        way.to.push(question + 1);
    }
    way.from.give_back();
    way.to.publish();
    true
}

/// With a parker it sleeps in its ring; without one it spins.
fn answer(mut way: Way, control: &Control, parker: Option<&Parker>, cpu: usize) -> Result<()> {
    affinity::pin(cpu).context("pinning")?;
    let mut ring = Ring::new().context("setting a ring up")?;
    ring.watch(control);
    while answer_all(&mut way) {
        let Some(parker) = parker else { continue };
        let parks = parker.try_park(|| way.from.is_empty());
        ring.enter(u32::from(parks), Some(Duration::from_secs(1))).context("entering the ring")?;
        if parks {
            parker.unpark();
        }
        while ring.reap().is_some() {}
    }
    Ok(())
}

fn answer_reads(mut way: Way, parker: &Parker, cpu: usize, event: &OwnedFd) -> Result<()> {
    affinity::pin(cpu).context("pinning")?;
    while answer_all(&mut way) {
        if parker.try_park(|| way.from.is_empty()) {
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
    // SAFETY: points at nothing.
    unsafe { ring.submission().push(&message) }
        .map_err(|_| crate::error::Error::new("a ring is full"))?;
    ring.submit().context("sending a message")?;
    ring.completion().for_each(drop);
    Ok(())
}

fn answer_messages(
    mut way: Way,
    parker: &Parker,
    cpu: usize,
    tell: mpsc::Sender<RawFd>,
) -> Result<()> {
    affinity::pin(cpu).context("pinning")?;
    let mut ring = message_ring()?;
    tell.send(ring.as_raw_fd()).context("telling of the ring")?;
    while answer_all(&mut way) {
        let parks = parker.try_park(|| way.from.is_empty());
        ring.submit_and_wait(usize::from(parks)).context("entering the ring")?;
        if parks {
            parker.unpark();
        }
        ring.completion().for_each(drop);
    }
    Ok(())
}
