//! Answers that do not fit the budget: large ones are refused on whichever core notices it, small
//! ones never.

use crate::drive::cores::Cores;
use crate::drive::driver::UNLIMITED;
use crate::drive::{get, post};
use purser::ledger::id::UserId;
use purser::limits::Limits;
use purser::server::limits::{LARGE_BYTES, TICK_MS, TICKS, TURN_BYTES};
use purser::server::progress::Progress;

const NOW_MS: u64 = 1_763_900_000_000;
/// Groups of a user: enough that its statistics exceed [`LARGE_BYTES`], and few enough that three
/// such answers are less than a turn's limit.
const GROUPS: usize = 60;

/// A user whose slice is on `core`, of `cores`.
fn user_of(core: usize, cores: u32) -> u64 {
    (1..)
        .find(|user| UserId::Number(*user).slice(cores) as usize == core)
        .expect("every slice owns users")
}

fn feed(lines: &[String]) -> Vec<u8> {
    post("/v1/entries", "application/x-ndjson", lines.join("\n").as_bytes())
}

fn entry(user: u64, id: usize) -> String {
    let head = format!(r#"{{"entry_id":"{id}","user_id":"{user}","currency":"COIN""#);
    format!(r#"{head},"kind":"kind_{id}","direction":"credit","amount":5,"at_ms":{NOW_MS}}}"#)
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

/// Cores with this answer budget each, and one user per core with many groups.
fn cores_with_users(count: usize, answer_bytes: usize) -> (Cores, Vec<u64>) {
    let limits = Limits { answer_bytes, ..UNLIMITED };
    let mut cores = Cores::with(count, 8, NOW_MS, limits, false);
    let users: Vec<_> = (0..count).map(|core| user_of(core, count as u32)).collect();
    for (core, &user) in users.iter().enumerate() {
        let line = cores.connect(core);
        // The answer to such a short feed is small, and always fits.
        for first in (0..GROUPS).step_by(6) {
            cores.send(
                line,
                &feed(&(first..first + 6).map(|id| entry(user, id)).collect::<Vec<_>>()),
            );
            while cores.progress(line) == Progress::Ready {
                cores.turn(core);
            }
            assert_eq!(statuses(&mut cores, line), "200");
        }
        cores.turn(core);
    }
    (cores, users)
}

/// The answers sent on a connection: each status, and the code of a refusal.
fn statuses(cores: &mut Cores, line: usize) -> String {
    let text = cores.text(line);
    let word = |answer: &str| match answer.split_once("\"code\":\"") {
        Some((_, rest)) => {
            format!("{} {}", &answer[..3], rest.split('"').next().unwrap_or_default())
        }
        None => answer[..3].to_owned(),
    };
    text.split("HTTP/1.1 ").skip(1).map(word).collect::<Vec<_>>().join(", ")
}

/// Runs turns of all cores until every request is answered.
fn take_turns(cores: &mut Cores) {
    for _ in 0..8 {
        (0..cores.len()).for_each(|core| cores.turn(core));
    }
    (0..cores.len()).for_each(|core| assert!(cores.may_exit(core), "no request is in flight"));
    assert_eq!(cores.reserved_bytes(), 0, "all reserved bytes are released");
}

#[test]
fn batches_of_one_turn_share_the_budget() {
    let bytes = {
        let (mut cores, users) = cores_with_users(1, usize::MAX);
        let line = cores.connect(0);
        cores.send(line, &batch(&[users[0]; 3]));
        cores.text(line).len()
    };
    assert!(bytes > 3 * LARGE_BYTES);
    // The budget fits one answer, and most of a second.
    let (mut cores, users) = cores_with_users(1, 2 * bytes - 1);
    let whole = batch(&[users[0]; 3]);
    let lines: Vec<_> = (0..3).map(|_| cores.connect(0)).collect();
    cores.send_at_once(&lines.iter().map(|&line| (line, &whole[..])).collect::<Vec<_>>());
    assert_eq!(statuses(&mut cores, lines[0]), "200");
    assert_eq!(statuses(&mut cores, lines[1]), "503 overloaded");
    assert_eq!(statuses(&mut cores, lines[2]), "503 overloaded");
    // An idle connection releases its large buffers.
    for _ in 0..=TICKS {
        cores.clock_ms += TICK_MS;
        cores.turn(0);
    }
    cores.send(lines[1], &whole);
    assert_eq!(statuses(&mut cores, lines[1]), "200");
}

/// If a part does not fit, the whole batch is refused, and no part of its answer stays reserved.
#[test]
fn a_batch_that_does_not_fit_is_refused_as_a_whole() {
    let asked = |answer_bytes: usize| {
        let (mut cores, users) = cores_with_users(3, answer_bytes);
        let line = cores.connect(0);
        cores.send(line, &batch(&users));
        take_turns(&mut cores);
        cores.text(line)
    };
    let whole = asked(usize::MAX).len();
    // The budget fits none, one or two of three parts.
    for budget in [0, LARGE_BYTES, whole / 3, whole / 3 * 2] {
        let answer = asked(budget);
        assert!(answer.contains("503 Service Unavailable"), "budget {budget}: {answer}");
    }
    // A part is requested again with some spare space.
    assert_eq!(asked(whole / 3 * 4).len(), whole);
}

#[test]
fn large_reads_are_refused_and_small_ones_are_not() {
    let ask = |answer_bytes: usize| {
        let (mut cores, users) = cores_with_users(2, answer_bytes);
        let line = cores.connect(0);
        let requests: Vec<_> =
            users.iter().flat_map(|&user| [stats(user), balance(user)]).collect();
        let mut answers = Vec::new();
        for request in &requests {
            cores.send(line, request);
            take_turns(&mut cores);
            answers.push(statuses(&mut cores, line));
        }
        // The same requests, all at once.
        cores.send(line, &requests.concat());
        let mut together = Vec::new();
        for _ in 0..8 {
            take_turns(&mut cores);
            together.extend(Some(statuses(&mut cores, line)).filter(|text| !text.is_empty()));
        }
        assert_eq!(together.join(", "), answers.join(", "));
        answers.join(", ")
    };
    assert_eq!(ask(usize::MAX), "200, 200, 200, 200");
    assert_eq!(ask(1 << 20), "200, 200, 200, 200");
    assert_eq!(ask(0), "503 overloaded, 200, 503 overloaded, 200");
}

/// A feed whose answer may be large is refused before any of it is applied.
#[test]
fn a_feed_reserves_its_answer_before_it_is_applied() {
    let ask = |answer_bytes: usize, count: usize| {
        let (mut cores, users) = cores_with_users(2, answer_bytes);
        let line = cores.connect(0);
        let lines: Vec<_> = (1_000..1_000 + count).map(|id| entry(users[id % 2], id)).collect();
        cores.send(line, &feed(&lines));
        take_turns(&mut cores);
        let text = cores.text(line);
        text.split_once("\r\n\r\n").expect("an answer").1[..20].to_owned()
    };
    assert_eq!(ask(0, 100), r#"{"type":"about:blank"#);
    assert_eq!(ask(0, 2), r#"{"accepted":2,"dupli"#);
    assert_eq!(ask(1 << 20, 98), r#"{"accepted":98,"dupl"#);
}

/// Other cores are answered however many large answers a core gives its own connections in each
/// turn.
#[test]
fn large_answers_do_not_delay_requests_of_other_cores() {
    let (mut cores, users) = cores_with_users(2, usize::MAX);
    let (long, own) = (stats(users[0]), (0..100).map(|_| cores.connect(0)).collect::<Vec<_>>());
    cores.send(own[0], &long);
    let bytes = cores.text(own[0]).len();
    assert!(own.len() * bytes > 2 * TURN_BYTES, "the answers exceed a turn's limit");
    let other = cores.connect(1);
    cores.send(other, &[balance(users[0]), stats(users[0])].concat());
    let mut answers = Vec::new();
    for _ in 0..4 {
        cores.send_at_once(&own.iter().map(|&line| (line, &long[..])).collect::<Vec<_>>());
        cores.turn(1);
        answers.extend(Some(statuses(&mut cores, other)).filter(|text| !text.is_empty()));
    }
    assert_eq!(answers.join(", "), "200, 200");
}

/// Connections that want large answers all the time get them in turn: a request that has just come
/// does not overtake one that waits.
#[test]
fn clients_take_turns_with_large_answers() {
    for count in [1, 2] {
        let (mut cores, users) = cores_with_users(count, usize::MAX);
        let whole = batch(&[users[0], users[count - 1], users[0]]);
        let connections: Vec<_> = (0..40).map(|_| cores.connect(0)).collect();
        let answers = cores.answers_in_closed_loop(&connections, &whole, 400);
        let (least, most) = (answers.iter().min(), answers.iter().max());
        let (least, most) = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
        assert!(least > 0 && most <= 2 * least, "{count} cores: {least} to {most} answers");
    }
}
