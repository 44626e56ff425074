//! Scenario: a system of record that never asks Purser's opinion.
//!
//! A seeded wallet authorises, captures in parts and above what was held, voids, refunds, charges
//! back after 40 days and exchanges, and takes fees on one account at 5,000 entries a second. Two
//! feeders share its entries. One has an outage of 30 hours, then catches up with `late=accept`.
//! Requests are sent again at random while their ids are remembered, and are duplicates; a much
//! later retry without `late=accept` is too old. No other line is refused, and in the end every
//! balance, hold, statistic and past balance is that of the wallet's own book.
//!
//! - `wallet`: decides, and writes lines.
//! - `book`: what the wallet knows of its users, and the reads that it expects.
//! - `feeder`: sends, and sends again.
//! - `compare`: reads everything and compares.
//!
//! `PURSER_SCENARIO=full` has more users and seeds. A failure prints its seed; `PURSER_SEED=n`
//! repeats one.

mod book;
mod compare;
mod feeder;
mod wallet;

use crate::seeds;
use crate::server::{Server, with_slices};
use book::{DAY, Entry, HOUR, MINUTE};
use compare::compare;
use feeder::{Feeder, Memory};
use std::fmt;
use std::thread;
use std::time::Instant;
use wallet::{FEES, Side, Wallet};

/// Time of one step: feeders are at most this far apart.
const STEP: u64 = 6 * HOUR;
/// Steps of the outage.
const OUTAGE: u64 = 5;
/// The first day: all of a run is in the past.
const START: u64 = 1_650_000_000_000 / DAY * DAY;

/// How much a run does.
#[derive(Clone, Copy, Debug)]
struct Form {
    users: usize,
    /// Days before the outage: more than the 400 that statistics keep, except in a tiny form.
    days: u64,
    /// Stories of a step.
    stories: u64,
    /// Time for which the fee account is busy.
    busy: u64,
}

const TINY: Form = Form { users: 20, days: 45, stories: 6, busy: 1_000 };
const SHORT: Form = Form { users: 300, days: 430, stories: 12, busy: 10_000 };
/// Three million fees, for few users.
const FEES_ABOVE_ALL: Form = Form { busy: 10 * MINUTE, ..SHORT };
const FULL: Form = Form { users: 3_000, stories: 150, ..FEES_ABOVE_ALL };

/// A finished run: its server, the book, and what was sent.
struct Run {
    seed: u64,
    server: Server,
    wallet: Wallet,
    feeders: [Feeder; 2],
    memories: Vec<Memory>,
    /// Late lines, and those of them that are not of the fee account.
    late: [u64; 2],
    planted: u64,
    /// Planted lines that are late only because of the number of entries after them.
    crowded_out: u64,
}

impl Run {
    /// Runs a form to its end; `Err` says which line was answered wrongly.
    fn of(form: Form, seed: u64) -> Result<Self, String> {
        let slices = [2, 3, 5][(seed % 3) as usize];
        // A feeder may be idle for as long as the other sends millions of lines.
        let flags = ["--idle-timeout-ms", "600000"];
        let server = with_slices(slices, || Server::start(&flags));
        let outage = START + form.days * DAY + seed % 4 * STEP;
        let back = outage + OUTAGE * STEP;
        // Early in the outage: B's share of it is a day late when B is back.
        let busy = outage + HOUR;
        let mut run = Self {
            seed,
            wallet: Wallet::new(seed, form.users, START, (busy, busy + form.busy)),
            feeders: [Feeder::new(&server, seed ^ 1), Feeder::new(&server, seed ^ 2)],
            memories: vec![Memory::default(); form.users],
            server,
            late: [0; 2],
            planted: 0,
            crowded_out: 0,
        };
        let end = back + [1, 2, 30, 200][(seed / 4 % 4) as usize] * STEP;
        let mut backlog = Vec::new();
        for step in (START..end).step_by(STEP as usize) {
            let (to, is_out) = (step + STEP, (outage..back).contains(&step));
            if step == outage {
                run.feeders[1].retry_now()?;
            }
            if step == back {
                run.catch_up(std::mem::take(&mut backlog))?;
            }
            // A busy step is fed by the minute.
            let is_busy = (step..to).contains(&busy);
            let minutes = (busy..busy + form.busy).step_by(MINUTE as usize).filter(|_| is_busy);
            // Much happens in the outage.
            let stories = form.stories * if is_out { 20 } else { 1 };
            for to in minutes.chain([to]) {
                run.step(to, stories, is_out.then_some(&mut backlog))?;
            }
            if is_busy || (step / STEP).is_multiple_of(100) {
                run.plant()?;
            }
        }
        run.feeders.iter_mut().try_for_each(Feeder::retry_now)?;
        run.plant()?;
        Ok(run)
    }

    /// Both feeders send what is committed until `to`; in an outage B only collects it.
    fn step(
        &mut self,
        to: u64,
        stories: u64,
        backlog: Option<&mut Vec<Entry>>,
    ) -> Result<(), String> {
        let committed = self.wallet.until(to, stories);
        let (a, b): (Vec<_>, Vec<_>) =
            committed.into_iter().partition(|(side, _)| *side == Side::A);
        let [a, mut b] =
            [a, b].map(|side| side.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>());
        if let Some(backlog) = backlog {
            backlog.append(&mut b);
        }
        self.feeders.iter_mut().try_for_each(|feeder| feeder.retry_before(to))?;
        let names = &self.wallet.names;
        let [feeder_a, feeder_b] = &mut self.feeders;
        thread::scope(|scope| {
            let other = scope.spawn(|| feeder_b.feed(names, b, false));
            let result = feeder_a.feed(names, a, false);
            other.join().expect("feeder B ends").and(result)
        })?;
        self.remember();
        Ok(())
    }

    /// B sends its backlog, while A waits: what A books could make a user's ids of the backlog
    /// forgotten before a retry, which `late=accept` would book twice.
    fn catch_up(&mut self, backlog: Vec<Entry>) -> Result<(), String> {
        self.feeders[1].feed(&self.wallet.names, backlog, true)?;
        self.late = self.remember();
        Ok(())
    }

    /// Notes what has been accepted. Returns how many lines were late, as in [`Self::late`].
    fn remember(&mut self) -> [u64; 2] {
        let mut late = [0; 2];
        for (user, at) in self.feeders.iter_mut().flat_map(|feeder| feeder.accepted.drain(..)) {
            let is_late = self.memories[user].is_late(at);
            late[0] += u64::from(is_late);
            late[1] += u64::from(is_late && user != FEES);
            self.memories[user].accept(at);
        }
        late
    }

    /// Sends kept requests again that are not remembered as a whole.
    fn plant(&mut self) -> Result<(), String> {
        let memories = &self.memories;
        let [feeder, other] = &mut self.feeders;
        for request in feeder.kept.iter().chain(&other.kept).cloned().collect::<Vec<_>>() {
            self.planted += feeder.plant(&request, |user, at| memories[user].is_late(at))?;
            let is_crowded_out = |(user, at, _): &&(usize, u64, String)| {
                memories[*user].is_late(*at) && !memories[*user].is_a_day_late(*at)
            };
            self.crowded_out += request.lines.iter().filter(is_crowded_out).count() as u64;
        }
        Ok(())
    }

    /// Compares all reads with the book; `Err` has the first differences.
    fn compare(&self) -> Result<usize, String> {
        let book = (&*self.wallet.names, &*self.wallet.accounts);
        let (reads, differences) = compare(&self.server, book, self.seed);
        if differences.is_empty() {
            return Ok(reads);
        }
        let first: Vec<_> = differences.iter().take(5).map(|one| one.text.as_str()).collect();
        Err(format!("{} of {reads} reads differ:\n{}", differences.len(), first.join("\n")))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.feeders.each_ref().map(|feeder| feeder.counts);
        write!(
            f,
            "{} lines sent in {} requests, {} retried, {} answers lost, {} late \
             ({} of other accounts than that of fees), {} planted ({} of them crowded out); {} \
             entries of the fee account",
            a.sent + b.sent,
            a.requests + b.requests,
            a.retried + b.retried,
            a.lost_answers + b.lost_answers,
            self.late[0],
            self.late[1],
            self.planted,
            self.crowded_out,
            self.wallet.accounts[FEES].version()
        )
    }
}

fn is_full() -> bool {
    std::env::var("PURSER_SCENARIO").is_ok_and(|form| form == "full")
}

/// Runs a form with some seeds.
fn check(form: Form, cases: u32) {
    seeds::each(cases, |seed| {
        let again = |error| {
            let full = if is_full() { " PURSER_SCENARIO=full" } else { "" };
            format!(
                "seed {seed}, again: PURSER_SEED={seed}{full} cargo test --test purser scenario\n\
                 {form:?}: {error}"
            )
        };
        let began = Instant::now();
        let run = Run::of(form, seed).map_err(again)?;
        let sent = began.elapsed();
        let reads = run.compare().map_err(again)?;
        let all = began.elapsed();
        println!("scenario, seed {seed}, {} users: {run}", form.users);
        println!(
            "scenario, seed {seed}: {reads} reads compared; {all:.1?}, of it {sent:.1?} to send"
        );
        let is_crowded = form.busy < MINUTE || run.crowded_out > 0;
        if run.late[1] == 0 || run.planted == 0 || !is_crowded {
            return Err(again("no late lines, or none planted".to_owned()));
        }
        Ok(())
    });
}

#[test]
fn a_wallet_that_never_asks() {
    if is_full() {
        check(FULL, 5);
    } else {
        check(SHORT, 3);
        check(FEES_ABOVE_ALL, 1);
    }
}

/// A book that lacks a posting, or a hold, differs in that user's reads and in no other's.
#[test]
fn a_wrong_book_is_reported() {
    let mut run = Run::of(TINY, 7).unwrap_or_else(|error| panic!("{error}"));
    run.compare().unwrap_or_else(|error| panic!("{error}"));
    let differing = |run: &Run| {
        let book = (&*run.wallet.names, &*run.wallet.accounts);
        let (_, differences) = compare(&run.server, book, run.seed);
        let mut users: Vec<_> = differences.iter().map(|one| one.user).collect();
        users.dedup();
        users
    };
    let accounts = &mut run.wallet.accounts;
    let user = (1..).find(|&user| accounts[user].postings.len() > 5).expect("a user with postings");
    let dropped = accounts[user].postings.remove(3);
    assert_eq!(differing(&run), [user]);
    run.wallet.accounts[user].postings.insert(3, dropped);
    assert!(differing(&run).is_empty());
    let accounts = &mut run.wallet.accounts;
    let user = (1..).find(|&user| !accounts[user].holds.is_empty()).expect("a user with a hold");
    accounts[user].holds.clear();
    assert_eq!(differing(&run), [user]);
}
