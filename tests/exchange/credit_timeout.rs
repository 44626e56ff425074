//! Requests to a stalled core: they block at most their own connection until the credit timeout,
//! then reads are refused with 503 while entries wait.

use crate::drive::cores::Cores;
use crate::drive::driver::UNLIMITED;
use crate::drive::{get, post};
use purser::ledger::id::UserId;
use purser::server::limits::{CREDIT_TIMEOUT_MS, TICK_MS, TICKS};
use purser::server::progress::Progress;

const CREDITS: u32 = 2;
const NOW_MS: u64 = 1_763_900_000_000;

/// A user whose slice is on `core`, of three.
fn user_of(core: u32) -> u64 {
    (1..).find(|user| UserId::Number(*user).slice(3) == core).expect("every slice owns users")
}

fn balance(core: u32) -> Vec<u8> {
    get(&format!("/v1/users/{}/balance", user_of(core)))
}

fn entry(core: u32, id: u64) -> Vec<u8> {
    let user = user_of(core);
    let head = format!(r#"{{"entry_id":"{id}","user_id":"{user}","currency":"COIN""#);
    let line =
        format!(r#"{head},"kind":"topup","direction":"credit","amount":5,"at_ms":{NOW_MS}}}"#);
    post("/v1/entries", "application/x-ndjson", line.as_bytes())
}

fn batch(cores: &[u32]) -> Vec<u8> {
    let items: Vec<_> = cores
        .iter()
        .map(|core| format!(r#"{{"user_id":"{}","read":"balance"}}"#, user_of(*core)))
        .collect();
    post(
        "/v1/batch",
        "application/json",
        format!(r#"{{"requests":[{}]}}"#, items.join(",")).as_bytes(),
    )
}

/// Three cores; each has a user with one entry.
fn three_cores() -> Cores {
    let mut cores = Cores::new(3, CREDITS, NOW_MS);
    for core in 0..3 {
        let line = cores.connect(core);
        cores.send(line, &entry(core as u32, 1));
        cores.turn(core);
        assert_eq!(statuses(&mut cores, line), "200 accepted 1");
    }
    cores
}

/// The answers sent on a connection, each as its status, code, versions and `later` for
/// Retry-After.
fn statuses(cores: &mut Cores, line: usize) -> String {
    let text = cores.text(line);
    let word = |answer: &str| {
        let accepted =
            answer.split_once("\"accepted\":").map(|(_, rest)| format!(" accepted {}", &rest[..1]));
        let code = answer
            .split_once("\"code\":\"")
            .map(|(_, rest)| format!(" {}", rest.split('"').next().unwrap()));
        let versions: String =
            answer.split("\"version\":").skip(1).map(|rest| format!(" v{}", &rest[..1])).collect();
        let again = if answer.contains("retry-after: ") { " later" } else { "" };
        let about = accepted.or(code).unwrap_or_default();
        format!("{}{about}{versions}{again}", &answer[..3])
    };
    text.split("HTTP/1.1 ").skip(1).map(word).collect::<Vec<_>>().join(", ")
}

/// Runs three rounds of turns on these cores.
fn take_turns(cores: &mut Cores, which: &[usize]) {
    for _ in 0..3 {
        which.iter().for_each(|core| cores.turn(*core));
    }
}

#[test]
fn a_stalled_core_blocks_only_requests_to_it() {
    let mut cores = three_cores();
    let [asks, reads, feeds, batches] = [(); 4].map(|()| cores.connect(0));
    cores.turn(0);

    // Core 1 takes no turns. Two reads are sent to it; the third has no credit, and everything
    // after it on the connection waits.
    cores.send(asks, &[balance(2), balance(1), balance(1), balance(1), balance(0)].concat());
    cores.send(feeds, &entry(1, 2));
    cores.send(batches, &batch(&[0, 1, 2]));
    take_turns(&mut cores, &[0, 2]);
    assert_eq!(statuses(&mut cores, asks), "200 v1", "answers before the gap are sent");
    assert_eq!([asks, feeds, batches].map(|line| cores.progress(line)), [Progress::Blocked; 3]);
    cores.send(reads, &[balance(2), balance(0)].concat());
    take_turns(&mut cores, &[0, 2]);
    assert_eq!(statuses(&mut cores, reads), "200 v1, 200 v1");

    // One millisecond before the credit timeout, and at it.
    cores.clock_ms = CREDIT_TIMEOUT_MS - 1;
    take_turns(&mut cores, &[0, 2]);
    assert_eq!([asks, feeds, batches].map(|line| cores.progress(line)), [Progress::Blocked; 3]);
    cores.clock_ms = CREDIT_TIMEOUT_MS;
    take_turns(&mut cores, &[0, 2]);
    assert_eq!(cores.progress(asks), Progress::Idle);
    assert_eq!(
        statuses(&mut cores, asks),
        "",
        "the refusal is sent after the two answers before it"
    );
    assert_eq!(statuses(&mut cores, batches), "503 overloaded later");
    assert_eq!(
        (cores.progress(feeds), statuses(&mut cores, feeds)),
        (Progress::Blocked, String::new()),
        "entries wait"
    );

    // New reads for core 1 are refused without a wait; users of the other cores are read as usual.
    cores.send(reads, &[balance(1), balance(2), batch(&[0, 2]), batch(&[1])].concat());
    take_turns(&mut cores, &[0, 2]);
    assert_eq!(
        statuses(&mut cores, reads),
        "503 overloaded later, 200 v1, 200 v1 v1, 503 overloaded later"
    );

    // Core 1 takes turns again, and everything completes.
    take_turns(&mut cores, &[1, 0, 2]);
    assert_eq!(statuses(&mut cores, asks), "200 v1, 200 v1, 503 overloaded later, 200 v1");
    assert_eq!(statuses(&mut cores, feeds), "200 accepted 1");
    assert!((0..3).all(|core| cores.may_exit(core)));
    cores.send(reads, &[balance(1), batch(&[0, 1, 2])].concat());
    take_turns(&mut cores, &[1, 0, 2]);
    assert_eq!(statuses(&mut cores, reads), "200 v2, 200 v1 v2 v1");

    // The next stall starts a new credit timeout.
    cores.send(asks, &balance(1).repeat(3));
    take_turns(&mut cores, &[0, 2]);
    assert_eq!(cores.progress(asks), Progress::Blocked);
    take_turns(&mut cores, &[1, 0]);
    assert_eq!(statuses(&mut cores, asks), "200 v2, 200 v2, 200 v2");
}

#[test]
fn requests_wait_for_a_slow_core_that_makes_progress() {
    let mut cores = three_cores();
    let asks = cores.connect(0);
    cores.send(asks, &balance(1).repeat(9));
    let mut answers = Vec::new();
    for _ in 0..20 {
        cores.turn(0);
        cores.clock_ms += CREDIT_TIMEOUT_MS - 1;
        cores.turn(0);
        cores.turn(1);
        cores.turn(0);
        answers.extend(
            statuses(&mut cores, asks)
                .split(", ")
                .filter(|status| !status.is_empty())
                .map(str::to_owned),
        );
    }
    assert!(cores.is_idle(asks));
    assert_eq!(answers, ["200 v1"; 9]);
}

#[test]
fn a_timed_out_request_is_answered_after_those_before_it() {
    let mut cores = three_cores();
    let line = cores.connect(0);
    cores.turn(0);
    let half = &balance(2)[..20];
    cores.send(line, &[&balance(1)[..], &balance(0), half].concat());
    assert_eq!(cores.progress(line), Progress::Unfinished);
    cores.clock_ms += UNLIMITED.request_ms;
    for _ in 0..TICKS {
        cores.clock_ms += TICK_MS;
        cores.turn(0);
    }
    assert_eq!(cores.progress(line), Progress::Done);
    assert_eq!(statuses(&mut cores, line), "", "the first answer has not arrived yet");
    take_turns(&mut cores, &[0, 1]);
    assert_eq!(statuses(&mut cores, line), "200 v1, 200 v1, 408 request_timeout");
    assert!(cores.is_over(line));
}

/// Reads of more connections than there are credits: each connection gets its share of the answers.
/// A read that has just arrived does not take the credit from one that waits for it.
#[test]
fn credits_are_given_in_turn() {
    let mut cores = three_cores();
    let connections: Vec<_> = (0..=(3 * CREDITS as usize)).map(|_| cores.connect(0)).collect();
    let answers = cores.answers_in_closed_loop(&connections, &balance(1), 100);
    let (least, most) = (answers.iter().min(), answers.iter().max());
    let (least, most) = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
    assert!(least > 0 && most <= 2 * least, "{least} to {most} answers: {answers:?}");
}

/// A connection with many pipelined reads of another core does not keep a later one from credits.
#[test]
fn pipelined_reads_share_credits_with_other_connections() {
    let mut cores = three_cores();
    let (many, one) = (cores.connect(0), cores.connect(0));
    let read = balance(1);
    cores.send_at_once(&[(many, &read.repeat(60)[..]), (one, &read[..])]);
    let (mut answered, mut turns) = (0, 0);
    while cores.inbox(one).is_empty() {
        turns += 1;
        assert!(turns < 100, "no answer after {answered} of the other connection");
        cores.turn(1);
        cores.send_at_once(&[(many, &[])]);
        let sent = std::mem::take(cores.inbox(many));
        answered += String::from_utf8_lossy(&sent).matches("HTTP/1.1 200").count();
    }
    assert!(answered <= 3 * CREDITS as usize, "{answered} answers of the other connection before");
}
