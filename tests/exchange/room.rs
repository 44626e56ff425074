//! What becomes of requests when there is no room for their answers: large ones are refused, on whichever core it shows, and small ones never.

use crate::desk::cores::Cores;
use crate::desk::{get, post};
use purser::api::connection::Next;
use purser::api::room::{LARGE_BYTES, Room};
use purser::ledger::id::UserId;

const NOW_MS: u64 = 1_763_900_000_000;
/// Enough for statistics of more than [`LARGE_BYTES`], and few enough that three of them are less than a turn's.
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
    let items: Vec<_> =
        users.iter().map(|user| format!(r#"{{"user_id":"{user}","read":"stats","window":"lifetime"}}"#)).collect();
    post("/v1/batch", "application/json", format!(r#"{{"requests":[{}]}}"#, items.join(",")).as_bytes())
}

/// Cores with a user each who has many groups; and these users.
fn peopled(count: usize) -> (Cores, Vec<u64>) {
    let mut cores = Cores::new(count, 8);
    let users: Vec<_> = (0..count).map(|core| user_of(core, count as u32)).collect();
    for (core, &user) in users.iter().enumerate() {
        cores.desks[core].now_ms = NOW_MS;
        cores.desks[core].cargo = cores.desks[0].cargo.clone();
        let line = cores.connect(core);
        cores.send(line, &feed(&(0..GROUPS).map(|id| entry(user, id)).collect::<Vec<_>>()));
        while cores.next(line) == Next::Busy {
            cores.turn(core);
        }
        assert_eq!(told(&mut cores, line), "200");
    }
    (cores, users)
}

/// The answers that a connection may send: their statuses, and which code refuses.
fn told(cores: &mut Cores, line: usize) -> String {
    let text = cores.text(line);
    let word = |answer: &str| match answer.split_once("\"code\":\"") {
        Some((_, rest)) => format!("{} {}", &answer[..3], rest.split('"').next().unwrap_or_default()),
        None => answer[..3].to_owned(),
    };
    text.split("HTTP/1.1 ").skip(1).map(word).collect::<Vec<_>>().join(", ")
}

/// Everyone's turns, until all that was asked is answered.
fn go_round(cores: &mut Cores) {
    for _ in 0..4 {
        (0..cores.desks.len()).for_each(|core| cores.turn(core));
    }
    assert_eq!(cores.desks[0].cargo.get(), 0, "what was on its way has arrived");
}

#[test]
fn batches_of_one_turn_find_no_more_room_than_there_is() {
    let (mut cores, users) = peopled(1);
    let whole = batch(&[users[0]; 3]);
    let lines: Vec<_> = (0..3).map(|_| cores.connect(0)).collect();
    cores.send(lines[0], &whole);
    let bytes = cores.text(lines[0]).len();
    assert!(bytes > 3 * LARGE_BYTES);
    // Room for one, and most of another.
    cores.desks[0].room = Room::new(2 * bytes - 1);
    for &line in &lines {
        cores.send(line, &whole);
    }
    assert_eq!(told(&mut cores, lines[0]), "200");
    assert_eq!(told(&mut cores, lines[1]), "503 overloaded");
    assert_eq!(told(&mut cores, lines[2]), "503 overloaded");
    cores.turn(0);
    cores.send(lines[1], &whole);
    assert_eq!(told(&mut cores, lines[1]), "200");
}

/// Where one owner has no room for its part, the whole batch is refused, and nothing of it is kept.
#[test]
fn a_batch_is_refused_whole() {
    let (mut cores, users) = peopled(3);
    let line = cores.connect(0);
    for (most_cargo, status) in [(usize::MAX, "200"), (LARGE_BYTES, "503 overloaded"), (0, "503 overloaded")] {
        for short in 0..3 {
            (0..3).for_each(|core| cores.desks[core].most_cargo = if core == short { most_cargo } else { usize::MAX });
            cores.send(line, &batch(&users));
            go_round(&mut cores);
            assert_eq!(told(&mut cores, line), status, "core {short} has room for {most_cargo}");
        }
    }
    // Parts for which there was room everywhere find none where they are put together.
    (0..3).for_each(|core| cores.desks[core].most_cargo = usize::MAX);
    cores.desks[0].room = Room::new(LARGE_BYTES);
    cores.send(line, &batch(&users));
    go_round(&mut cores);
    assert_eq!(told(&mut cores, line), "503 overloaded");
    cores.desks[0].room = Room::default();
    cores.send(line, &batch(&users));
    go_round(&mut cores);
    assert_eq!(told(&mut cores, line), "200");
}

#[test]
fn long_reads_are_refused_and_short_ones_are_not() {
    let (mut cores, users) = peopled(2);
    let line = cores.connect(0);
    let ask = |cores: &mut Cores| {
        let requests: Vec<_> = users.iter().flat_map(|&user| [stats(user), balance(user)]).collect();
        let mut answers = Vec::new();
        for request in &requests {
            cores.send(line, request);
            go_round(cores);
            answers.push(told(cores, line));
        }
        // The same, all at once.
        cores.send(line, &requests.concat());
        let mut together = Vec::new();
        for _ in 0..8 {
            go_round(cores);
            together.extend(Some(told(cores, line)).filter(|text| !text.is_empty()));
        }
        assert_eq!(together.join(", "), answers.join(", "));
        answers.join(", ")
    };
    let all = "200, 200, 200, 200";
    let none = "503 overloaded, 200, 503 overloaded, 200";
    assert_eq!(ask(&mut cores), all);
    cores.desks[0].room = Room::new(0);
    assert_eq!(ask(&mut cores), none);
    cores.desks[0].room = Room::default();
    // Its own users' answers are not on their way between cores.
    cores.desks[1].most_cargo = LARGE_BYTES;
    assert_eq!(ask(&mut cores), "200, 200, 503 overloaded, 200");
    cores.desks[1].most_cargo = usize::MAX;
    assert_eq!(ask(&mut cores), all);
}

/// A feed whose answer may be long is refused before any of it is applied.
#[test]
fn a_feed_has_room_for_its_answer_first() {
    let (mut cores, users) = peopled(2);
    let line = cores.connect(0);
    let body = |first: usize, count: usize| {
        feed(&(first..first + count).map(|id| entry(users[id % 2], id)).collect::<Vec<_>>())
    };
    let ask = |cores: &mut Cores, request: &[u8]| {
        cores.send(line, request);
        go_round(cores);
        let text = cores.text(line);
        text.split_once("\r\n\r\n").expect("an answer").1[..20].to_owned()
    };
    cores.desks[0].room = Room::new(0);
    assert_eq!(ask(&mut cores, &body(1_000, 100)), r#"{"type":"about:blank"#);
    assert_eq!(ask(&mut cores, &body(1_000, 2)), r#"{"accepted":2,"dupli"#);
    cores.desks[0].room = Room::new(1 << 20);
    assert_eq!(ask(&mut cores, &body(1_002, 98)), r#"{"accepted":98,"dupl"#);
    // What was promised was given back.
    cores.turn(0);
    assert_eq!(cores.desks[0].room.left(), 1 << 20);
}
