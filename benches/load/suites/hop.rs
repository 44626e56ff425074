//! `hop`: a question to another core and its answer, between two pinned threads that do nothing else. The other one looks out for questions
//! all the time (busy), or sleeps in its ring until it is woken (asleep); the asking one looks out for the answer, as a core does.

use super::Bench;
use crate::error::{Context, Result};
use crate::options::Suite;
use crate::report::{Figure, Report};
use crate::rounds::Spread;
use purser::engine::control::Control;
use purser::engine::mesh::{Mesh, mesh};
use purser::engine::placement;
use purser::engine::ring::Ring;
use std::time::{Duration, Instant};

const HOPS: u64 = 20_000;
/// What the asker waits between two questions, so that the other core is asleep again.
const PAUSE: Duration = Duration::from_micros(100);
/// The last question.
const END: u64 = u64::MAX;

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let options = &bench.options;
    let hops = if options.seconds < 1.0 { HOPS / 100 } else { HOPS };
    let cpus = [bench.cores.server, bench.cores.load];
    let mut values = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
    for _ in 0..options.rounds {
        for (sleeps, values) in [false, true].into_iter().zip(&mut values) {
            let mut ns = measure(cpus, sleeps, hops)?;
            ns.sort_unstable();
            for (share, values) in [500, 990].into_iter().zip(values) {
                values.push(ns[ns.len() * share / 1_000] as f64 / 1e3);
            }
        }
    }
    let figures = ["busy", "asleep"].into_iter().zip(&values).zip([1.0, 25.0]).flat_map(|((name, values), most)| {
        let figure = |share: &str, values: &[f64], at_most| Figure {
            what: format!("one hop and back, {name}: {share}"),
            value: Spread::of(values.iter().copied()),
            decimals: 3,
            unit: " us",
            at_most,
        };
        [figure("p50", &values[0], Some(most)), figure("p99", &values[1], None)]
    });
    Ok(Report {
        suite: Suite::Hop,
        title: "A question to another core, and its answer".to_owned(),
        rows: vec![vec!["hops a round".to_owned()], vec![hops.to_string()]],
        figures: figures.collect(),
        notes: Vec::new(),
    })
}

/// The time of each hop and back, in nanoseconds.
fn measure(cpus: [usize; 2], sleeps: bool, hops: u64) -> Result<Vec<u64>> {
    let controls = [Control::new(), Control::new()];
    let controls = controls.into_iter().collect::<std::result::Result<Vec<_>, _>>().context("making controls")?;
    let mut meshes = mesh::<u64>(&controls, 8).into_iter();
    let (Some(mut asker), Some(answerer)) = (meshes.next(), meshes.next()) else { unreachable!("two controls") };
    let control = controls[1].clone();
    std::thread::scope(|scope| {
        let other = scope.spawn(move || answer(answerer, &control, cpus[1], sleeps));
        let asked = scope.spawn(move || -> Result<Vec<u64>> {
            placement::pin(cpus[0]).context("pinning")?;
            let mut times = Vec::with_capacity(hops as usize);
            for number in 0..hops {
                if sleeps {
                    let since = Instant::now();
                    while since.elapsed() < PAUSE {
                        std::hint::spin_loop();
                    }
                }
                let since = Instant::now();
                asker.send(1, number);
                asker.flush();
                let mut answer = None;
                while answer.is_none() {
                    asker.receive(|_, item| answer = Some(item));
                    std::hint::spin_loop();
                }
                times.push(since.elapsed().as_nanos() as u64);
                assert_eq!(answer, Some(number + 1), "the answer to this question");
            }
            asker.send(1, END);
            asker.flush();
            Ok(times)
        });
        let times = asked.join().expect("the asker panicked");
        other.join().expect("the other core panicked")?;
        times
    })
}

/// Answers each question with the number behind it.
fn answer(mut mesh: Mesh<u64>, control: &Control, cpu: usize, sleeps: bool) -> Result<()> {
    placement::pin(cpu).context("pinning")?;
    let mut ring = Ring::new().context("setting a ring up")?;
    ring.watch(control);
    let mut questions = Vec::new();
    loop {
        if sleeps {
            let may_sleep = mesh.lie_down();
            ring.enter(u32::from(may_sleep), Duration::from_secs(1)).context("entering the ring")?;
            if may_sleep {
                mesh.rise();
            }
            while ring.reap().is_some() {}
        }
        mesh.receive(|_, question| questions.push(question));
        for question in questions.drain(..) {
            if question == END {
                return Ok(());
            }
            mesh.send(0, question + 1);
        }
        mesh.flush();
    }
}
