//! Turns: no legal request makes one long. The heaviest user that the ledger can hold is read in
//! every way, and each turn's CPU time is measured. A binary of its own, with the allocator that
//! ships.

#![allow(
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::maybe_infinite_iter,
    reason = "numbers of tests are small"
)]

#[allow(dead_code, reason = "other tests use the rest")]
mod drive;
#[path = "../benches/common/heaviest.rs"]
mod heaviest;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "simulation/random.rs"]
mod random;

use crate::drive::cores::Cores;
use crate::drive::driver::UNLIMITED;
use crate::drive::{Wire, get, post};
use crate::random::Random;
use heaviest::KINDS;
use purser::engine::arena::Allocator;
use purser::ledger::id::UserId;
use purser::limits::Limits;
use purser::server::limits::HEAVY_READ_BYTES;
use purser::server::machine::Machine as _;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

const NOW_MS: u64 = 1_763_900_000_000;
const HOUR_MS: u64 = 60 * 60_000;

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

/// CPU time of this thread since it was `began`.
fn since(began: Duration) -> Duration {
    cpu_time().saturating_sub(began)
}

/// Feeds of a user with every group in every bucket that is kept.
fn heavy_user(user: u64) -> impl Iterator<Item = Vec<u8>> {
    heaviest::feeds(user, NOW_MS).map(|body| post("/v1/entries", "application/x-ndjson", &body))
}

fn stats(user: u64) -> Vec<u8> {
    get(&format!("/v1/users/{user}/stats?window=400d"))
}

fn batch(items: &[(u64, bool)]) -> Vec<u8> {
    let items: Vec<_> = items
        .iter()
        .map(|(user, is_stats)| {
            let read = if *is_stats { r#""stats","window":"400d""# } else { r#""balance""# };
            format!(r#"{{"user_id":"{user}","read":{read}}}"#)
        })
        .collect();
    let body = format!(r#"{{"requests":[{}]}}"#, items.join(","));
    post("/v1/batch", "application/json", body.as_bytes())
}

/// The body of the first answer in `bytes`.
fn body(bytes: &[u8]) -> &str {
    let text = std::str::from_utf8(bytes).expect("answers are text");
    assert!(text.starts_with("HTTP/1.1 200 "), "{}", &text[..text.len().min(300)]);
    text.split_once("\r\n\r\n").expect("a whole head").1
}

/// Runs of the same turns: the least time of each counts, as the machine may be busy.
const RUNS: usize = 3;

/// The least time of each turn over runs of the same turns.
fn least(runs: impl Iterator<Item = Vec<Duration>>) -> Vec<Duration> {
    let both = |one: Vec<Duration>, other: Vec<Duration>| {
        assert_eq!(one.len(), other.len(), "runs are the same");
        one.into_iter().zip(other).map(|(one, other)| one.min(other)).collect()
    };
    runs.reduce(both).unwrap_or_default()
}

/// The longest turn while a request is answered, the number of turns, and the answer.
fn longest_turn(wire: &mut Wire, request: &[u8]) -> (Duration, usize, Vec<u8>) {
    let runs = (0..RUNS).map(|_| turns_of(wire, request));
    // Of many turns, the longest thousandth is left out, as in a mix.
    let longest = |(mut times, answer): (Vec<Duration>, _)| {
        times.sort_unstable();
        (times[(times.len() - 1) * 999 / 1_000], times.len(), answer)
    };
    runs.map(longest).min_by_key(|(longest, ..)| *longest).expect("there are runs")
}

/// The CPU time of each turn while a request is answered, and the answer.
fn turns_of(wire: &mut Wire, request: &[u8]) -> (Vec<Duration>, Vec<u8>) {
    let (mut times, mut answer) = (Vec::new(), Vec::new());
    let (slot, mut bytes) = (wire.slot(), Some(request));
    while bytes.is_some() || wire.core.has_work() {
        let began = cpu_time();
        wire.core.turn(|machine| {
            if let Some(bytes) = bytes.take() {
                machine.received(slot, bytes);
            }
        });
        times.push(since(began));
        answer.extend(wire.take());
    }
    (times, answer)
}

#[test]
fn a_batch_of_the_heaviest_statistics_is_spread_over_turns() {
    let mut wire = Wire::with(NOW_MS, Limits { answer_bytes: 256 << 20, ..UNLIMITED }, false);
    for feed in heavy_user(7) {
        wire.send(&feed);
    }
    wire.clear();
    let (longest, turns, single) = longest_turn(&mut wire, &stats(7));
    println!("one read: {turns} turns, the longest {longest:?}");
    assert!(longest < Duration::from_millis(2) && turns > 2, "{longest:?}, {turns} turns");
    let single = body(&single).to_owned();
    assert_eq!(single.matches("\"count\":").count() as u64, 2 * KINDS);

    let (longest, turns, answer) = longest_turn(&mut wire, &batch(&[(7, true); 1_000]));
    println!("a thousand: {turns} turns, the longest {longest:?}, {} bytes", answer.len());
    assert!(longest < Duration::from_millis(2) && turns > 1_000, "{longest:?}, {turns} turns");
    let expected = format!(r#"{{"responses":[{}]}}"#, vec![&*single; 1_000].join(","));
    assert!(body(&answer) == expected, "each item is answered like a single read");
    assert_eq!(wire.core.machine.reserved_bytes(), (0, 0));
}

/// A client that has sent requests on one connection gets their answers in order, and of one user
/// no state from before what it has seen or posted, while entries of others change the user between
/// the steps.
#[test]
fn answers_in_steps_show_one_state_and_never_an_older_one() {
    for (cores, seed) in [(1, 1), (1, 2), (2, 3), (2, 4), (3, 5)] {
        in_steps(cores, seed);
    }
}

fn in_steps(count: usize, seed: u64) {
    let mut random = Random(seed);
    let mut cores = Cores::with(count, 8, NOW_MS, UNLIMITED, seed.is_multiple_of(2));
    let users: Vec<u64> = (0..count)
        .map(|core| (1..).find(|user| UserId::Number(*user).slice(count as u32) as usize == core))
        .map(|user| user.expect("every slice owns users"))
        .collect();
    let (line, other) = (cores.connect(0), cores.connect(count - 1));
    for &user in &users {
        for feed in heavy_user(user) {
            cores.send(line, &feed);
            (0..count).for_each(|core| cores.turn(core));
            (0..count).for_each(|core| cores.turn(core));
        }
    }
    cores.text(line);
    let mut ids = 1_u64 << 32;
    let mut feed = |random: &mut Random| {
        ids += 1;
        let user = random.pick(&users);
        let head = format!(r#"{{"entry_id":"{ids}","user_id":"{user}","currency":"COIN""#);
        let tail = format!(r#""direction":"credit","amount":5,"at_ms":{NOW_MS}}}"#);
        let line = format!(r#"{head},"kind":"kind_0",{tail}"#);
        (user, post("/v1/entries", "application/x-ndjson", line.as_bytes()))
    };
    for _ in 0..12 {
        // What is asked: the users of each request that shows a user, and whether it posts.
        let (mut asked, mut bytes) = (Vec::new(), Vec::new());
        for _ in 0..random.between(2, 9) {
            let user = random.pick(&users);
            let (shown, request) = match random.below(4) {
                0 => (vec![user], stats(user)),
                1 => (vec![user], get(&format!("/v1/users/{user}/balance"))),
                2 => {
                    let items: Vec<_> = (0..random.between(1, 6))
                        .map(|_| (random.pick(&users), random.coin()))
                        .collect();
                    (items.iter().map(|item| item.0).collect(), batch(&items))
                }
                _ => {
                    let (user, request) = feed(&mut random);
                    asked.push((vec![user], true));
                    bytes.extend(request);
                    continue;
                }
            };
            asked.push((shown, false));
            bytes.extend(request);
        }
        cores.send(line, &bytes);
        // Entries of another connection come between the steps.
        let mut posted = 0;
        for _ in 0..600 {
            if random.below(8) == 0 {
                cores.send(other, &feed(&mut random).1);
                posted += 1;
            }
            for core in 0..count {
                cores.turn_once(core);
            }
        }
        (0..4).for_each(|_| (0..count).for_each(|core| cores.turn(core)));
        assert!(posted > 0 && cores.text(other).matches("\"accepted\":1").count() == posted);
        check_answers(&cores.text(line), &asked, count > 1);
    }
    (0..count).for_each(|core| cores.turn(core));
    assert_eq!(cores.reserved_bytes(), 0);
    assert!(cores.copied_users() > 0, "some items were divided");
}

/// Checks the answers to requests that show these users, or post an entry of one. A read may be
/// refused if `may_refuse`: one of another core that was asked again is, if its user has changed.
fn check_answers(text: &str, asked: &[(Vec<u64>, bool)], may_refuse: bool) {
    let mut seen = BTreeMap::<u64, u64>::new();
    let answers: Vec<_> = text.split("HTTP/1.1 ").skip(1).collect();
    assert_eq!(answers.len(), asked.len(), "every request is answered");
    for (answer, (users, posts)) in answers.iter().zip(asked) {
        if may_refuse && !posts && answer.starts_with("503 ") {
            continue;
        }
        assert!(answer.starts_with("200 "), "{answer}");
        if *posts {
            assert!(answer.contains("\"accepted\":1"), "{answer}");
            // The next answer shows the entry.
            *seen.entry(users[0]).or_default() += 1;
            continue;
        }
        let mut shown = BTreeMap::<u64, u64>::new();
        let items: Vec<_> = answer.split("{\"user_id\":\"").skip(1).collect();
        assert_eq!(items.len(), users.len(), "every item is answered");
        for (item, user) in items.iter().zip(users) {
            let (id, rest) = item.split_once("\",\"version\":").expect("a version");
            assert_eq!(id, user.to_string(), "answers are in the order of their requests");
            let version: u64 = rest
                .split(|c: char| !c.is_ascii_digit())
                .next()
                .and_then(|digits| digits.parse().ok())
                .expect("a version is a number");
            let first = *shown.entry(*user).or_insert(version);
            assert_eq!(first, version, "items of one user show one state");
            let before = seen.get(user).copied().unwrap_or_default();
            assert!(version >= before, "user {user}: {version} after {before}");
        }
        seen.extend(shown);
    }
}

/// Shapes of legal requests, and of illegal ones that look like them.
struct Shapes {
    random: Random,
    heavy: Vec<u64>,
    ids: u64,
}

impl Shapes {
    fn user(&mut self) -> u64 {
        if self.random.coin() {
            self.random.pick(&self.heavy)
        } else {
            self.random.between(1, 2_000)
        }
    }

    /// One request, or a burst of pipelined ones.
    fn request(&mut self) -> Vec<u8> {
        match self.random.below(10) {
            0 => self.reads(1),
            1 => self.reads(200),
            2 => self.batch(20),
            3 => self.batch(1_000),
            4 => self.odd_batch(),
            5 => self.feed(100),
            6 => self.feed(10_000),
            7 => self.odd_feed(),
            8 => get("/v1/info"),
            _ => self.reads(20),
        }
    }

    fn reads(&mut self, most: u64) -> Vec<u8> {
        let count = self.random.between(1, most + 1);
        (0..count).flat_map(|_| self.read()).collect()
    }

    fn read(&mut self) -> Vec<u8> {
        let user = self.user();
        let window = self.random.pick(&["1h", "1d", "30d", "400d", "lifetime"]);
        let filter = self.random.pick(&["", "&currency=COIN", "&kind=kind_7"]);
        match self.random.below(4) {
            0 => get(&format!("/v1/users/{user}/balance")),
            1 => format!("HEAD /v1/users/{user}/stats?window={window} HTTP/1.1\r\nHost: x\r\n\r\n")
                .into_bytes(),
            _ => get(&format!("/v1/users/{user}/stats?window={window}{filter}")),
        }
    }

    fn batch(&mut self, most: u64) -> Vec<u8> {
        let items: Vec<_> = (0..self.random.between(1, most + 1))
            .map(|_| (self.user(), self.random.below(3) > 0))
            .collect();
        batch(&items)
    }

    /// A batch as long as may be: white space, too many items, or many unknown members.
    fn odd_batch(&mut self) -> Vec<u8> {
        let body = match self.random.below(4) {
            0 => format!(r#"{{"requests":[{}]}}"#, " ".repeat(262_000)),
            1 => {
                let items = vec![r#"{"user_id":"1","read":"balance"}"#; 7_500].join(",");
                format!(r#"{{"requests":[{items}]}}"#)
            }
            2 => format!(r#"{{"requests":[],{}}}"#, members(23_000)),
            _ => format!(r#"{{"requests":[{{{}}}]}}"#, members(23_000)),
        };
        post("/v1/batch", "application/json", body.as_bytes())
    }

    fn feed(&mut self, most: u64) -> Vec<u8> {
        let lines: Vec<_> = (0..self.random.between(1, most + 1)).map(|_| self.line()).collect();
        let body = lines.join("\n");
        if self.random.below(4) > 0 {
            return post("/v1/entries", "application/x-ndjson", body.as_bytes());
        }
        // The smallest chunks.
        let mut request = b"POST /v1/entries HTTP/1.1\r\nHost: x\r\n\
            content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
        for byte in body.bytes().take(300_000) {
            request.extend([b'1', b'\r', b'\n', byte, b'\r', b'\n']);
        }
        request.extend(b"0\r\n\r\n");
        request
    }

    fn line(&mut self) -> String {
        self.ids += 1;
        let (id, user) = (self.ids, self.user());
        let (kind, back) = (self.random.below(200), self.random.below(26 * HOUR_MS));
        let direction = self.random.pick(&["credit", "debit", "none"]);
        let state = self.random.pick(&["posted", "posted", "pending"]);
        let currency = self.random.pick(&["COIN", "EUR", "X1", "X2", "X3", "X4"]);
        let at = NOW_MS - back;
        let head = format!(r#"{{"entry_id":"{id}","user_id":"{user}","currency":"{currency}""#);
        let middle = format!(r#""kind":"kind_{kind}","direction":"{direction}","amount":5"#);
        format!(r#"{head},{middle},"state":"{state}","at_ms":{at}}}"#)
    }

    /// A feed of lines that are no entries, of the longest that are parsed, or of one line.
    fn odd_feed(&mut self) -> Vec<u8> {
        let body = match self.random.below(5) {
            0 => "\n".repeat(10_000),
            1 => vec!["x"; 10_000].join("\n"),
            2 => vec![format!("{{{}}}", members(5_000)); 20].join("\n"),
            3 => vec![format!(r#"{{"x":[{}1]}}"#, "1,".repeat(32_000)); 20].join("\n"),
            _ => format!(r#"{{"x":[{}1]}}"#, "1,".repeat(4_000_000)),
        };
        post("/v1/entries", "application/x-ndjson", body.as_bytes())
    }
}

/// So many different members of an object.
fn members(count: usize) -> String {
    (0..count).map(|n| format!(r#""m{n:05}":0"#)).collect::<Vec<_>>().join(",")
}

/// Bytes of a receive buffer, and those that an engine passes on in a turn.
const RECEIVE_BYTES: usize = 16 << 10;
const TURN_BYTES: usize = 128 << 10;

/// Many connections send requests of all shapes at once, to one core and to two.
#[test]
fn no_mix_of_requests_makes_a_long_turn() {
    let turns =
        std::env::var("PURSER_TURNS").map_or(3_000, |turns| turns.parse().expect("a number"));
    for count in [1, 2] {
        let mut times = least((0..RUNS).map(|_| mix(count, turns)));
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 10_000];
        let (usual, high, longest) = (at(5_000), at(9_990), at(10_000));
        println!("{count} cores: turns {usual:?}, p99.9 {high:?}, longest {longest:?}");
        assert!(high <= Duration::from_millis(2), "p99.9 is {high:?}");
    }
}

/// The CPU times of the turns of all cores.
fn mix(count: usize, turns: usize) -> Vec<Duration> {
    // So few credits that most requests to the other core wait for one.
    let mut cores = Cores::with(count, 8, NOW_MS, UNLIMITED, false);
    let heavy: Vec<u64> = (0..count)
        .map(|core| (1..).find(|user| UserId::Number(*user).slice(count as u32) as usize == core))
        .map(|user| user.expect("every slice owns users"))
        .collect();
    let lines: Vec<_> = (0..64).map(|_| cores.connect(0)).collect();
    for &user in &heavy {
        for feed in heavy_user(user) {
            cores.send(lines[0], &feed);
            (0..4).for_each(|turn| cores.turn(turn % count));
        }
    }
    let mut shapes = Shapes { random: Random(count as u64), heavy, ids: 1 << 40 };
    let mut unsent = vec![Vec::new(); lines.len()];
    let (mut times, mut answered) = (Vec::new(), cores.answered());
    for turn in 0..turns {
        let mut left = TURN_BYTES;
        let mut pieces = Vec::new();
        for at in 0..lines.len() {
            let (line, bytes) = (lines[(at + turn) % lines.len()], (at + turn) % lines.len());
            cores.inbox(line).clear();
            if unsent[bytes].is_empty() && shapes.random.below(20) == 0 {
                unsent[bytes] = shapes.request();
            }
            let count = unsent[bytes].len().min(RECEIVE_BYTES).min(left);
            if count > 0 && cores.receives(line) && !cores.is_over(line) {
                left -= count;
                pieces.push((line, unsent[bytes].drain(..count).collect::<Vec<_>>()));
            }
        }
        if pieces.is_empty() {
            pieces.push((lines[0], Vec::new()));
        }
        let pieces: Vec<_> = pieces.iter().map(|(line, bytes)| (*line, &bytes[..])).collect();
        let began = cpu_time();
        cores.send_at_once(&pieces);
        times.push(since(began));
        for core in 1..count {
            let began = cpu_time();
            cores.turn_once(core);
            times.push(since(began));
        }
    }
    answered = cores.answered() - answered;
    assert!(answered > turns as u64 / 100, "{answered} answers");
    times
}

/// Reads that wait to be answered in steps have their memory reserved, so the budget bounds them.
#[test]
fn reads_in_steps_reserve_their_memory() {
    let mut wire = Wire::with(NOW_MS, UNLIMITED, false);
    for feed in heavy_user(7) {
        wire.send(&feed);
    }
    let mut reserved_for = |count: usize| {
        let (slot, reads) = (wire.core.connect(), stats(7).repeat(count));
        wire.core.turn(|machine| machine.received(slot, &reads));
        let (reserved, _) = wire.core.machine.reserved_bytes();
        wire.core.settle();
        assert_eq!(wire.core.machine.reserved_bytes(), (0, 0));
        reserved
    };
    let (many, one) = (reserved_for(16), reserved_for(1));
    assert_eq!(many - one, 15 * HEAVY_READ_BYTES);
}
