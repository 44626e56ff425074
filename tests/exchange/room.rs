//! What becomes of requests when there is no room for their answers: large ones are refused, on
//! whichever core it shows, and small ones never.

use crate::drive::cores::Cores;
use crate::drive::driver::UNLIMITED;
use crate::drive::{get, post};
use purser::ledger::id::UserId;
use purser::limits::Limits;
use purser::server::limits::{LARGE_BYTES, LARGE_BYTES_PER_TURN, TICK_MS, TICKS};
use purser::server::progress::Progress;

const NOW_MS: u64 = 1_763_900_000_000;
/// Enough for statistics of more than [`LARGE_BYTES`], and few enough that three of them are less
/// than a turn's.
const GROUPS: usize = 60;

/// A user of a core's, of so many.
fn user_of(core: usize, cores: u32) -> u64 {
    (1..).find(|user| UserId(*user).slice(cores) as usize == core).expect("there are many")
}

fn feed(lines: &[String]) -> Vec<u8> {
    post("/v1/entries", "application/x-ndjson", lines.join("\n").as_bytes())
}

fn entry(user: u64, id: usize) -> String {
    format!(
        r#"{{"entry_id":"{id}","user_id":"{user}","currency":"COIN","kind":"kind_{id}","direction":"credit","amount":5,"at_ms":{NOW_MS}}}"#
    )
}

fn stats(user: u64) -> Vec<u8> {
    get(&format!("/v1/users/{user}/stats?window=lifetime"))
}

fn balance(user: u64) -> Vec<u8> {
    get(&format!("/v1/users/{user}/balance"))
}

fn batch(users: &[u64]) -> Vec<u8> {
    let items: Vec<_> = users
        .iter()
        .map(|user| format!(r#"{{"user_id":"{user}","read":"stats","window":"lifetime"}}"#))
        .collect();
    post(
        "/v1/batch",
        "application/json",
        format!(r#"{{"requests":[{}]}}"#, items.join(",")).as_bytes(),
    )
}

/// Cores with a user each who has many groups, and these users; each core may hold so many bytes of
/// answers.
fn peopled(count: usize, answer_bytes: usize) -> (Cores, Vec<u64>) {
    let limits = Limits { answer_bytes, ..UNLIMITED };
    let mut cores = Cores::with(count, 8, NOW_MS, limits, false);
    let users: Vec<_> = (0..count).map(|core| user_of(core, count as u32)).collect();
    for (core, &user) in users.iter().enumerate() {
        let line = cores.connect(core);
        // The answer to a feed this short is small, and always fits.
        for first in (0..GROUPS).step_by(10) {
            cores.send(
                line,
                &feed(&(first..first + 10).map(|id| entry(user, id)).collect::<Vec<_>>()),
            );
            while cores.progress(line) == Progress::Ready {
                cores.turn(core);
            }
            assert_eq!(told(&mut cores, line), "200");
        }
        cores.turn(core);
    }
    (cores, users)
}

/// The answers that a connection may send: their statuses, and which code refuses.
fn told(cores: &mut Cores, line: usize) -> String {
    let text = cores.text(line);
    let word = |answer: &str| match answer.split_once("\"code\":\"") {
        Some((_, rest)) => {
            format!("{} {}", &answer[..3], rest.split('"').next().unwrap_or_default())
        }
        None => answer[..3].to_owned(),
    };
    text.split("HTTP/1.1 ").skip(1).map(word).collect::<Vec<_>>().join(", ")
}

/// Everyone's turns, until all that was asked is answered.
fn go_round(cores: &mut Cores) {
    for _ in 0..8 {
        (0..cores.len()).for_each(|core| cores.turn(core));
    }
    (0..cores.len())
        .for_each(|core| assert!(cores.is_settled(core), "what was on its way has arrived"));
    assert_eq!(cores.reserved_bytes(), 0, "what was reserved is released");
}

#[test]
fn batches_of_one_turn_find_no_more_room_than_there_is() {
    let bytes = {
        let (mut cores, users) = peopled(1, usize::MAX);
        let line = cores.connect(0);
        cores.send(line, &batch(&[users[0]; 3]));
        cores.text(line).len()
    };
    assert!(bytes > 3 * LARGE_BYTES);
    // Room for one, and most of another.
    let (mut cores, users) = peopled(1, 2 * bytes - 1);
    let whole = batch(&[users[0]; 3]);
    let lines: Vec<_> = (0..3).map(|_| cores.connect(0)).collect();
    cores.send_at_once(&lines.iter().map(|&line| (line, &whole[..])).collect::<Vec<_>>());
    assert_eq!(told(&mut cores, lines[0]), "200");
    assert_eq!(told(&mut cores, lines[1]), "503 overloaded");
    assert_eq!(told(&mut cores, lines[2]), "503 overloaded");
    // An idle connection gives its large buffers back.
    for _ in 0..=TICKS {
        cores.clock_ms += TICK_MS;
        cores.turn(0);
    }
    cores.send(lines[1], &whole);
    assert_eq!(told(&mut cores, lines[1]), "200");
}

/// Where there is no room for a part, the whole batch is refused, and nothing of it is kept.
#[test]
fn a_batch_is_refused_whole() {
    let asked = |answer_bytes: usize| {
        let (mut cores, users) = peopled(3, answer_bytes);
        let line = cores.connect(0);
        cores.send(line, &batch(&users));
        go_round(&mut cores);
        cores.text(line)
    };
    let whole = asked(usize::MAX).len();
    // Of three parts, for none, for one, for two.
    for room in [0, LARGE_BYTES, whole / 3, whole / 3 * 2] {
        let answer = asked(room);
        assert!(answer.contains("503 Service Unavailable"), "room for {room}: {answer}");
    }
    // A part is asked for again with some room to spare.
    assert_eq!(asked(whole / 3 * 4).len(), whole);
}

#[test]
fn long_reads_are_refused_and_short_ones_are_not() {
    let ask = |answer_bytes: usize| {
        let (mut cores, users) = peopled(2, answer_bytes);
        let line = cores.connect(0);
        let requests: Vec<_> =
            users.iter().flat_map(|&user| [stats(user), balance(user)]).collect();
        let mut answers = Vec::new();
        for request in &requests {
            cores.send(line, request);
            go_round(&mut cores);
            answers.push(told(&mut cores, line));
        }
        // The same, all at once.
        cores.send(line, &requests.concat());
        let mut together = Vec::new();
        for _ in 0..8 {
            go_round(&mut cores);
            together.extend(Some(told(&mut cores, line)).filter(|text| !text.is_empty()));
        }
        assert_eq!(together.join(", "), answers.join(", "));
        answers.join(", ")
    };
    assert_eq!(ask(usize::MAX), "200, 200, 200, 200");
    assert_eq!(ask(1 << 20), "200, 200, 200, 200");
    assert_eq!(ask(0), "503 overloaded, 200, 503 overloaded, 200");
}

/// A feed whose answer may be long is refused before any of it is applied.
#[test]
fn a_feed_has_room_for_its_answer_first() {
    let ask = |answer_bytes: usize, count: usize| {
        let (mut cores, users) = peopled(2, answer_bytes);
        let line = cores.connect(0);
        let lines: Vec<_> = (1_000..1_000 + count).map(|id| entry(users[id % 2], id)).collect();
        cores.send(line, &feed(&lines));
        go_round(&mut cores);
        let text = cores.text(line);
        text.split_once("\r\n\r\n").expect("an answer").1[..20].to_owned()
    };
    assert_eq!(ask(0, 100), r#"{"type":"about:blank"#);
    assert_eq!(ask(0, 2), r#"{"accepted":2,"dupli"#);
    assert_eq!(ask(1 << 20, 98), r#"{"accepted":98,"dupl"#);
}

/// However many long answers a core gives its own connections in each turn, other cores are
/// answered too.
#[test]
fn long_answers_of_one_core_delay_no_other() {
    let (mut cores, users) = peopled(2, usize::MAX);
    let (long, own) = (stats(users[0]), (0..100).map(|_| cores.connect(0)).collect::<Vec<_>>());
    cores.send(own[0], &long);
    let bytes = cores.text(own[0]).len();
    assert!(own.len() * bytes > 2 * LARGE_BYTES_PER_TURN, "they take more than a turn");
    let other = cores.connect(1);
    cores.send(other, &[balance(users[0]), stats(users[0])].concat());
    let mut answers = Vec::new();
    for _ in 0..4 {
        cores.send_at_once(&own.iter().map(|&line| (line, &long[..])).collect::<Vec<_>>());
        cores.turn(1);
        answers.extend(Some(told(&mut cores, other)).filter(|text| !text.is_empty()));
    }
    assert_eq!(answers.join(", "), "200, 200");
}
