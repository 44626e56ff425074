//! Queue between two cores against `rtrb`: a question and its answer, alone and 16 at a time.
//!
//! Two pinned threads have a queue in each direction. One sends some messages and waits until all
//! are answered; the other sends every message back. Neither sleeps. How long a cache line takes
//! from core to core changes from second to second on a virtual machine, so the libraries take
//! turns, and the medians over many short rounds are printed.

use super::common::is_timed;
use criterion::{Bencher, Criterion, Throughput};
use purser::engine::{affinity, queue};
use std::thread;
use std::time::{Duration, Instant};

/// Places of a queue.
const PLACES: usize = 64;
/// Message that ends the other thread.
const STOP: Message = [u64::MAX; 2];

/// As large as a message between cores.
type Message = [u64; 2];

/// One thread's end of both queues.
trait End: Send + Sized {
    /// Both ends of two queues.
    fn pair() -> (Self, Self);
    /// Sends some messages, of which the other end then sees all.
    fn send(&mut self, messages: &[Message]);
    /// Takes what was sent.
    fn receive(&mut self, take: impl FnMut(Message));
}

struct Ours(queue::Sender<Message>, queue::Receiver<Message>);

impl End for Ours {
    fn pair() -> (Self, Self) {
        let ((to, at), (back, here)) = (queue::channel(PLACES), queue::channel(PLACES));
        (Self(to, here), Self(back, at))
    }

    fn send(&mut self, messages: &[Message]) {
        messages.iter().for_each(|&message| self.0.push(message));
        self.0.publish();
    }

    fn receive(&mut self, mut take: impl FnMut(Message)) {
        while let Some(message) = self.1.pop() {
            take(message);
        }
        self.1.recycle();
    }
}

/// `rtrb`, one message at a time.
struct Rtrb(rtrb::Producer<Message>, rtrb::Consumer<Message>);

impl End for Rtrb {
    fn pair() -> (Self, Self) {
        let (to, at) = rtrb::RingBuffer::new(PLACES);
        let (back, here) = rtrb::RingBuffer::new(PLACES);
        (Self(to, here), Self(back, at))
    }

    fn send(&mut self, messages: &[Message]) {
        messages.iter().for_each(|&message| self.0.push(message).expect("a free place"));
    }

    fn receive(&mut self, mut take: impl FnMut(Message)) {
        while let Ok(message) = self.1.pop() {
            take(message);
        }
    }
}

/// `rtrb`, in chunks.
struct Chunks(Rtrb);

impl End for Chunks {
    fn pair() -> (Self, Self) {
        let (here, there) = Rtrb::pair();
        (Self(here), Self(there))
    }

    fn send(&mut self, messages: &[Message]) {
        let chunk = self.0.0.write_chunk_uninit(messages.len()).expect("free places");
        assert_eq!(chunk.fill_from_iter(messages.iter().copied()), messages.len());
    }

    fn receive(&mut self, take: impl FnMut(Message)) {
        let count = self.0.1.slots();
        if count > 0 {
            let chunk = self.0.1.read_chunk(count).expect("that many messages");
            chunk.into_iter().for_each(take);
        }
    }
}

/// Sends every message back, until [`STOP`].
fn answer(mut end: impl End) {
    let mut messages = Vec::with_capacity(PLACES);
    while messages.last() != Some(&STOP) {
        messages.clear();
        end.receive(|message| messages.push(message));
        if messages.is_empty() {
            std::hint::spin_loop();
        } else {
            end.send(&messages);
        }
    }
}

/// Sends `count` messages and waits for them, `times` times. Checks that each comes back, in order.
fn ask(end: &mut impl End, count: usize, times: u64) -> Duration {
    let mut messages = [[0; 2]; PLACES];
    let start = Instant::now();
    for time in 0..times {
        for (message, n) in messages[..count].iter_mut().zip(0..) {
            *message = [time, n];
        }
        end.send(&messages[..count]);
        let mut next = 0;
        while next < count as u64 {
            end.receive(|message| {
                assert_eq!(message, [time, next]);
                next += 1;
            });
            std::hint::spin_loop();
        }
    }
    start.elapsed()
}

/// [`exchange`] over queues of one kind.
type Exchange = fn(usize, u64, &[usize]) -> f64;

/// Nanoseconds of an exchange of `count` messages.
fn exchange<E: End>(count: usize, times: u64, cpus: &[usize]) -> f64 {
    let (mut here, there) = E::pair();
    let pin = |cpu: usize| affinity::pin(cpu).expect("an allowed CPU");
    let elapsed = thread::scope(|threads| {
        threads.spawn(move || {
            pin(cpus[1]);
            answer(there);
        });
        let asked = threads.spawn(move || {
            pin(cpus[0]);
            ask(&mut here, count, times / 10);
            let elapsed = ask(&mut here, count, times);
            here.send(&[STOP]);
            elapsed
        });
        asked.join().expect("every message comes back")
    });
    elapsed.as_nanos() as f64 / times as f64
}

/// Prints the time of an exchange: median, least and greatest, and the median ratio to ours in the
/// same round.
fn print_exchange(name: &str, count: usize, cpus: &[usize]) {
    let (rounds, times) = if is_timed() { (51, 50_000) } else { (1, 10) };
    let sides: [(&str, Exchange); 3] = [
        ("ours", exchange::<Ours>),
        ("rtrb", exchange::<Rtrb>),
        ("rtrb_chunks", exchange::<Chunks>),
    ];
    let mut taken = [(); 3].map(|()| Vec::new());
    for round in 0..rounds {
        for turn in 0..sides.len() {
            let side = (round + turn) % sides.len();
            taken[side].push(sides[side].1(count, times, cpus));
        }
    }
    let middle = |mut of: Vec<f64>| {
        of.sort_by(f64::total_cmp);
        (of[of.len() / 2], of[0], of[of.len() - 1])
    };
    for ((side, _), theirs) in sides.iter().zip(&taken) {
        let ratios = theirs.iter().zip(&taken[0]).map(|(theirs, ours)| theirs / ours).collect();
        let ((median, least, greatest), (ratio, ..)) = (middle(theirs.clone()), middle(ratios));
        println!(
            "{name}/{side}: {median:.0} ns ({least:.0}..{greatest:.0}), {ratio:.2} x ours in the \
             same round"
        );
    }
}

pub fn queues(criterion: &mut Criterion) {
    if !super::is_asked("queue") {
        return;
    }
    let cpus = affinity::allowed_cpus().expect("a thread has CPUs");
    if cpus.len() > 1 {
        print_exchange("queue/round_trip", 1, &cpus);
        print_exchange("queue/round_trip_16", 16, &cpus);
    } else {
        println!("queue/round_trip: not measured: it takes two CPUs");
    }

    let mut group = criterion.benchmark_group("queue/one_thread_16");
    group.throughput(Throughput::Elements(16));
    group.bench_function("ours", one_thread::<Ours>);
    group.bench_function("rtrb", one_thread::<Rtrb>);
    group.bench_function("rtrb_chunks", one_thread::<Chunks>);
    group.finish();
}

/// Sends and takes 16 messages on one thread: instructions alone, no cache line changes its core.
fn one_thread<E: End>(b: &mut Bencher<'_>) {
    let (mut here, mut there) = E::pair();
    let messages: Vec<Message> = (0..16).map(|n| [n; 2]).collect();
    b.iter(|| {
        here.send(&messages);
        let mut next = 0;
        there.receive(|message| {
            assert_eq!(message, [next; 2]);
            next += 1;
        });
        assert_eq!(next, 16);
    });
}
