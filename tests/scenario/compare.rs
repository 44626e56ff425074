//! The comparison at rest: every user's reads, computed from the wallet's book, and those that the
//! server gives, byte for byte.

use super::book::{Account, CURRENCIES, DAY, HOUR, KINDS, MINUTE, Read};
use crate::server::Server;
use crate::server::client::{batch, get};
use crate::server::expected::read;
use crate::simulation::random::Random;

/// Windows: their lengths and names.
const WINDOWS: [(u64, &str); 11] = [
    (15 * MINUTE, "15m"),
    (HOUR, "1h"),
    (6 * HOUR, "6h"),
    (DAY, "24h"),
    (26 * HOUR, "1560m"),
    (36 * HOUR, "36h"),
    (7 * DAY, "7d"),
    (8 * DAY, "192h"),
    (30 * DAY, "30d"),
    (90 * DAY, "90d"),
    (400 * DAY, "400d"),
];

/// Reads of a request.
const ITEMS: usize = 500;
/// One of so many reads is also sent alone.
const ALONE: usize = 25;

/// A difference, and the user that it is of.
#[derive(Debug)]
pub struct Difference {
    pub user: usize,
    pub text: String,
}

/// The reads of one user: all that a wallet asks for, at the latest time and at times of the past.
fn reads(account: &Account, random: &mut Random) -> Vec<Read> {
    let n = account.as_of();
    let currency = Some(random.below(CURRENCIES.len() as u64) as u8);
    let kind = Some(random.below(KINDS.len() as u64) as u8);
    let mut reads = vec![
        Read::Balance { currency: None },
        Read::Balance { currency },
        Read::Lifetime { currency: None, kind: None },
        Read::Lifetime { currency, kind: None },
        Read::Lifetime { currency: None, kind },
        Read::Past { at: n, currency: None },
        Read::Past { at: n - 400 * DAY, currency: None },
    ];
    for at in [3, 6, 10].map(|at| WINDOWS[at]) {
        reads.push(Read::Window { window: at, at: n, currency: None, kind: None });
    }
    for before in [HOUR, 40 * HOUR, 10 * DAY, 450 * DAY] {
        let at = n + HOUR - random.between(0, before);
        let (window, only) = (random.pick(&WINDOWS), random.pick(&[None, currency]));
        reads.push(Read::Window { window, at, currency: only, kind: None });
        reads.push(Read::Window { window, at: n, currency: None, kind });
        reads.push(Read::Past { at, currency: only });
    }
    reads
}

/// The items of `{"responses":[…]}`. No text in them has a brace.
fn items(body: &str) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (at, byte) in body.bytes().enumerate() {
        match byte {
            b'{' => {
                depth += 1;
                if depth == 2 {
                    from = at;
                }
            }
            b'}' => {
                if depth == 2 {
                    found.push(&body[from..=at]);
                }
                depth -= 1;
            }
            _ => {}
        }
    }
    found
}

/// A wallet's book and the names of its users.
pub type Book<'b> = (&'b [String], &'b [Account]);

/// Reads everything of every user. Returns the number of reads, and what differs.
pub fn compare(server: &Server, book: Book<'_>, seed: u64) -> (usize, Vec<Difference>) {
    let (names, accounts) = book;
    let mut random = Random(seed);
    let known = names.iter().zip(accounts).enumerate().filter(|(_, (_, of))| !of.is_empty());
    let all: Vec<_> = known
        .flat_map(|(user, (_, account))| {
            reads(account, &mut random).into_iter().map(move |read| (user, read))
        })
        .collect();
    let (mut client, mut differences) = (server.connect(), Vec::new());
    let mut check = |user: usize, read: &Read, expected: &str, got: &str| {
        if expected != got {
            let target = read.target(&names[user]);
            let text = format!("{target}\n  expected {expected}\n  purser   {got}");
            differences.push(Difference { user, text });
        }
    };
    for part in all.chunks(ITEMS) {
        let asked: Vec<_> = part.iter().map(|(user, read)| read.item(&names[*user])).collect();
        let answer = client.ask(batch(format!("{{\"requests\":[{}]}}", asked.join(","))));
        assert_eq!(answer.status(), 200, "{}", answer.body);
        let got = items(&answer.body);
        assert_eq!(got.len(), part.len(), "{}", answer.body);
        for (number, ((user, one), got)) in part.iter().zip(got).enumerate() {
            let account = &accounts[*user];
            let expected = account.body(&names[*user], one);
            check(*user, one, &expected, got);
            if number % ALONE == 0 {
                let tag = match one {
                    Read::Balance { .. } | Read::Past { .. } => {
                        format!("etag: \"v{}\"\r\n", account.version())
                    }
                    _ => String::new(),
                };
                let answer = client.ask(get(&one.target(&names[*user])));
                check(*user, one, &read(&tag, &expected), &answer.shown());
            }
        }
    }
    (all.len(), differences)
}

#[test]
fn items_of_a_batch() {
    assert_eq!(
        items(r#"{"responses":[{"a":[{"b":1},{}]},{"c":2}]}"#),
        [r#"{"a":[{"b":1},{}]}"#, r#"{"c":2}"#]
    );
    assert_eq!(items(r#"{"responses":[]}"#), [""; 0]);
}
