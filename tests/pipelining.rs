//! Pipelining test: one connection sends reads, feeds and batches for users of all cores without
//! waiting for answers, split anywhere. The answers must be those of the requests one by one.

use crate::seeds;
use crate::server::client::{batch, feed, get, request};
use crate::server::expected::{self, balance, balance_body, duplicate, fed, json, problem};
use crate::server::{Client, Scratch, Server, credit, entries};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

on_slices!([one = 1, two = 2, three = 3, seven = 7] [
    mixed_requests_in_one_write,
    mixed_requests_cut_anywhere,
    mixed_requests_to_a_durable_server,
    mixed_requests_of_a_half_closed_connection,
    mixed_requests_of_a_slow_reader,
    requests_after_connection_close_are_not_answered,
]);

const T: u64 = 1_700_000_100_000;
/// Number of users that requests are about; the last `UNKNOWN` are never fed.
const USERS: u64 = 60;
const UNKNOWN: u64 = 5;
/// Requests per pipeline.
const REQUESTS: usize = 500;

/// Random numbers: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Number of entries fed to each user, each of amount 1.
#[derive(Default)]
struct Fed(BTreeMap<u64, u64>);

impl Fed {
    fn balance(&self, user: u64) -> String {
        match self.0.get(&user) {
            Some(&count) => balance(user, count, T, count as i64),
            None => problem("user_not_found", "", ""),
        }
    }

    fn item(&self, user: u64) -> String {
        match self.0.get(&user) {
            Some(&count) => balance_body(user, count, T, count as i64),
            None => expected::problem_body("user_not_found", "")
                .replace("\"}", &format!("\",\"user_id\":\"{user}\"}}")),
        }
    }
}

/// Requests and their expected answers, each with whether it is to a `HEAD`.
struct Pipeline {
    bytes: Vec<u8>,
    answers: Vec<(bool, String)>,
}

impl Pipeline {
    fn new(random: &mut Random, fed: &mut Fed) -> Self {
        let mut pipeline = Self { bytes: Vec::new(), answers: Vec::new() };
        for _ in 0..REQUESTS {
            match random.below(20) {
                0 => pipeline.feed(random, fed),
                1 => pipeline.batch(random, fed),
                2 => pipeline.push(get("/healthz"), false, expected::text("ok")),
                3 => {
                    let user = random.below(USERS);
                    let answer = fed.balance(user);
                    let head = answer[..answer.find("\r\n\r\n").expect("a head") + 4].to_owned();
                    pipeline.push(
                        request("HEAD", &format!("/v1/users/{user}/balance"), ""),
                        true,
                        head,
                    );
                }
                4 => pipeline.push(
                    get("/v1/users/*/balance"),
                    false,
                    problem("invalid_parameter", "user_id", ""),
                ),
                _ => {
                    let user = random.below(USERS);
                    pipeline.push(
                        get(&format!("/v1/users/{user}/balance")),
                        false,
                        fed.balance(user),
                    );
                }
            }
        }
        pipeline
    }

    fn push(&mut self, request: impl AsRef<[u8]>, is_head: bool, answer: String) {
        self.bytes.extend_from_slice(request.as_ref());
        self.answers.push((is_head, answer));
    }

    /// Adds a feed: new entries of random users, some of them repeats of the user's last entry.
    fn feed(&mut self, random: &mut Random, fed_before: &mut Fed) {
        let (mut lines, mut results): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for index in 0..random.below(40) as usize {
            let user = random.below(USERS - UNKNOWN);
            let count = fed_before.0.entry(user).or_default();
            if *count > 0 && random.below(8) == 0 {
                lines.push(credit(*count, user, 1, T));
                results.push(duplicate(index, &count.to_string()));
            } else {
                *count += 1;
                lines.push(credit(*count, user, 1, T));
            }
        }
        fed_before.0.retain(|_, count| *count > 0);
        let answer = json("", &fed(lines.len() - results.len(), results.len(), &results));
        self.push(feed(entries(&lines)), false, answer);
    }

    fn batch(&mut self, random: &mut Random, fed: &Fed) {
        let (mut asked, mut said) = (String::new(), String::new());
        for n in 0..random.below(100) {
            let user = random.below(USERS);
            let comma = if n > 0 { "," } else { "" };
            write!(asked, r#"{comma}{{"user_id":"{user}","read":"balance"}}"#)
                .expect("a string takes all");
            write!(said, "{comma}{}", fed.item(user)).expect("a string takes all");
        }
        let answer = json("", &format!(r#"{{"responses":[{said}]}}"#));
        self.push(batch(format!(r#"{{"requests":[{asked}]}}"#)), false, answer);
    }

    /// Reads and compares all answers.
    fn read_answers(&self, client: &mut Client) -> Result<(), String> {
        for (n, (is_head, answer)) in self.answers.iter().enumerate() {
            let shown = if *is_head { client.head() } else { client.response() }.shown();
            if shown != *answer {
                let [shown, answer] =
                    [&shown, answer].map(|text| text.chars().take(500).collect::<String>());
                return Err(format!("answer {n} is\n{shown}\nand not\n{answer}"));
            }
        }
        Ok(())
    }
}

/// Runs `cases` seeds: each sends four pipelines about the same users to a new server with `send`,
/// each on its own connection.
fn check(
    cases: u32,
    server: impl Fn() -> Server,
    send: impl Fn(&mut Client, &Pipeline, &mut Random) -> Result<(), String>,
) {
    seeds::each(cases, |seed| {
        let (mut random, mut fed, server) = (Random(seed), Fed::default(), server());
        for _ in 0..4 {
            let pipeline = Pipeline::new(&mut random, &mut fed);
            send(&mut server.connect(), &pipeline, &mut random)
                .map_err(|parted| format!("PURSER_SEED={seed}: {parted}"))?;
        }
        server.check_all_cores_answer();
        Ok(())
    });
}

fn mixed_requests_in_one_write() {
    check(
        2,
        || Server::start(&[]),
        |client, pipeline, _| {
            client.send(&pipeline.bytes);
            pipeline.read_answers(client)
        },
    );
}

/// Writes a pipeline in short and long pieces while `read_answers` reads the answers.
fn in_pieces(
    client: &Client,
    pipeline: &Pipeline,
    random: &mut Random,
    read_answers: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let mut pieces = Vec::new();
    let mut rest = &pipeline.bytes[..];
    while !rest.is_empty() {
        let most = [3, 100, 20_000][random.below(3) as usize];
        let (piece, behind) = rest.split_at(rest.len().min(1 + random.below(most) as usize));
        pieces.push((piece, Duration::from_micros(random.below(3) * random.below(200))));
        rest = behind;
    }
    let mut socket = client.socket();
    thread::scope(|scope| {
        scope.spawn(move || {
            for (piece, pause) in pieces {
                socket.write_all(piece).expect("the server takes what is sent");
                thread::sleep(pause);
            }
        });
        read_answers()
    })
}

fn mixed_requests_cut_anywhere() {
    check(
        2,
        || Server::start(&[]),
        |client, pipeline, random| {
            let mut reader = Client::new(client.socket());
            in_pieces(client, pipeline, random, || pipeline.read_answers(&mut reader))
        },
    );
}

/// With a data directory, answers wait for the logs.
fn mixed_requests_to_a_durable_server() {
    let scratch = Scratch::new("pipelining");
    let number = std::cell::Cell::new(0);
    let server =
        || Server::with_data(&scratch.join(number.replace(number.get() + 1).to_string()), &[]);
    check(2, server, |client, pipeline, random| {
        let mut reader = Client::new(client.socket());
        in_pieces(client, pipeline, random, || pipeline.read_answers(&mut reader))
    });
}

fn mixed_requests_of_a_half_closed_connection() {
    check(
        2,
        || Server::start(&[]),
        |client, pipeline, _| {
            client.send(&pipeline.bytes);
            client.finish();
            pipeline.read_answers(client)?;
            client.is_closed();
            Ok(())
        },
    );
}

fn mixed_requests_of_a_slow_reader() {
    check(
        1,
        || Server::start(&[]),
        |client, pipeline, random| {
            let mut reader = Client::new(client.socket());
            reader.read_slowly(1_500, Duration::from_micros(200));
            in_pieces(client, pipeline, random, || pipeline.read_answers(&mut reader))
        },
    );
}

/// `connection: close` after reads of users of other cores: requests before it are answered,
/// requests after it are not.
fn requests_after_connection_close_are_not_answered() {
    let server = Server::start(&[]);
    server.feed(&(0..USERS).map(|user| credit(1, user, 1, T)).collect::<Vec<_>>());
    for last in 0..USERS {
        let mut client = server.connect();
        let before: String =
            (0..last).map(|user| get(&format!("/v1/users/{user}/balance"))).collect();
        let target = format!("/v1/users/{last}/balance");
        client.send(before + &request("GET", &target, "connection: close\r\n") + &get("/healthz"));
        for user in 0..last {
            assert_eq!(client.response().shown(), balance(user, 1, T, 1));
        }
        let answer = client.response();
        assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
        assert_eq!(answer.body, balance_body(last, 1, T, 1));
        client.is_closed();
    }
}
