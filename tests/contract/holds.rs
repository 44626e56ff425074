//! Holds: opened, grown, settled in parts, above them and without them, released and voided.

use super::{Checker, T};
use crate::server::client::get;
use crate::server::expected::{duplicate, read, rejected};
use crate::server::{Server, credit};

on_slices!([one = 1, two = 2, three = 3, seven = 7] [
    captures,
    openings,
    mismatches,
    voids,
    forgotten_ids_of_open_holds,
]);

/// A line of user 1 without `currency`, `kind` and `direction`.
fn bare(id: u64, rest: &str) -> String {
    format!(r#"{{"entry_id":"{id}","user_id":"1","at_ms":{T},{rest}}}"#)
}

/// A debit of `COIN` of user 1.
fn own(id: u64, kind: &str, rest: &str) -> String {
    let terms = format!(r#""currency":"COIN","kind":"{kind}","direction":"debit""#);
    bare(id, &format!("{terms},{rest}"))
}

/// Sends lines one by one. Each has its verdict, and user 1 the figures posted and held, debits and
/// credits, of `COIN` after it.
struct Book<'s> {
    c: Checker<'s>,
    version: u64,
}

impl<'s> Book<'s> {
    fn new(server: &'s Server) -> Self {
        Self { c: Checker::new(server), version: 0 }
    }

    fn sends(&mut self, line: &str, refused: Option<(&str, &str)>, figures: (i64, i64, i64)) {
        let id = line.split('"').nth(3).expect("an entry id");
        let results: Vec<_> = refused
            .map(|(code, field)| match code {
                "duplicate" => duplicate(0, id),
                _ => rejected(0, id, code, field),
            })
            .into_iter()
            .collect();
        self.c.check_feed(&[line], 1 - results.len(), &results);
        self.version += u64::from(results.is_empty());
        let (posted, debits, credits) = figures;
        let body = format!(
            "{{\"user_id\":\"1\",\"version\":{},\"as_of_ms\":{T},\"balances\":[\
             {{\"currency\":\"COIN\",\"posted\":{posted},\"pending_debits\":{debits},\
             \"pending_credits\":{credits},\"available\":{}}}]}}",
            self.version,
            posted - debits
        );
        let etag = format!("etag: \"v{}\"\r\n", self.version);
        self.c.check(get("/v1/users/1/balance?currency=COIN"), &read(&etag, &body));
    }

    fn takes(&mut self, line: &str, posted: i64, debits: i64) {
        self.sends(line, None, (posted, debits, 0));
    }

    fn refuses(&mut self, line: &str, code: &str, field: &str, posted: i64, debits: i64) {
        self.sends(line, Some((code, field)), (posted, debits, 0));
    }

    /// The lifetime statistics of user 1 in `COIN`: kind, count, sum, min and max of debits.
    fn counts(&mut self, rows: &[(&str, [u64; 4])]) {
        let rows: Vec<_> = rows
            .iter()
            .map(|(kind, [count, sum, min, max])| {
                format!(
                    "{{\"currency\":\"COIN\",\"kind\":\"{kind}\",\"direction\":\"debit\",\
                     \"count\":{count},\"sum\":{sum},\"min\":{min},\"max\":{max}}}"
                )
            })
            .collect();
        let body = format!(
            "{{\"user_id\":\"1\",\"version\":{},\"from_ms\":0,\"to_ms\":{},\"stats\":[{}]}}",
            self.version,
            T + 900_000,
            rows.join(",")
        );
        self.c.check(get("/v1/users/1/stats?window=lifetime"), &read("", &body));
    }
}

/// A hold is captured in parts, above what is held, and after it is closed.
fn captures() {
    let server = Server::start(&[]);
    let mut book = Book::new(&server);
    book.takes(&own(1, "hold", r#""amount":100,"state":"pending""#), 0, 100);
    book.takes(&bare(2, r#""pending_id":"1","amount":30,"final":false"#), -30, 70);
    book.refuses(
        &bare(2, r#""pending_id":"1","amount":30"#),
        "entry_id_conflict",
        "entry_id",
        -30,
        70,
    );
    book.refuses(
        &bare(2, r#""pending_id":"1","amount":30,"final":false"#),
        "duplicate",
        "",
        -30,
        70,
    );
    book.takes(&own(3, "fee", r#""pending_id":"1","amount":0,"final":false"#), -30, 70);
    book.takes(&own(4, "part", r#""pending_id":"1","amount":20,"final":false"#), -50, 50);
    // More than is held is posted; what is left is released, and the hold is closed.
    book.takes(&bare(5, r#""pending_id":"1","amount":60,"final":false"#), -110, 0);
    book.refuses(
        &bare(6, r#""pending_id":"1","amount":1"#),
        "pending_not_found",
        "pending_id",
        -110,
        0,
    );
    book.takes(&own(6, "late", r#""pending_id":"1","amount":1"#), -111, 0);
    // A final capture releases the rest.
    book.takes(&own(7, "hold", r#""amount":100,"state":"pending""#), -111, 100);
    book.takes(&bare(8, r#""pending_id":"7","amount":40,"state":"posted","final":true"#), -151, 0);
    book.refuses(&bare(8, r#""pending_id":"7","amount":40"#), "duplicate", "", -151, 0);
    book.counts(&[
        ("fee", [1, 0, 0, 0]),
        ("hold", [3, 130, 30, 60]),
        ("late", [1, 1, 1, 1]),
        ("part", [1, 20, 20, 20]),
    ]);
}

/// A hold is opened by its own entry or by one that names it, and grows.
fn openings() {
    let server = Server::start(&[]);
    let mut book = Book::new(&server);
    let pending = r#""state":"pending""#;
    // Another line opens the hold; its own line makes it grow, once.
    book.takes(&own(1, "first", &format!(r#""pending_id":"9","amount":10,{pending}"#)), 0, 10);
    book.takes(&own(9, "second", &format!(r#""amount":5,{pending}"#)), 0, 15);
    book.refuses(&own(9, "second", &format!(r#""amount":5,{pending}"#)), "duplicate", "", 0, 15);
    book.takes(&bare(2, &format!(r#""pending_id":"9","amount":7,{pending}"#)), 0, 22);
    book.takes(&own(3, "third", &format!(r#""pending_id":"9","amount":0,{pending}"#)), 0, 22);
    // It keeps its first kind.
    book.takes(&bare(4, r#""pending_id":"9","amount":22"#), -22, 0);
    book.counts(&[("first", [1, 22, 22, 22])]);
    book.refuses(
        &bare(5, &format!(r#""pending_id":"9","amount":7,{pending}"#)),
        "pending_not_found",
        "pending_id",
        -22,
        0,
    );
    // An amount of 0 opens nothing.
    book.takes(&own(6, "empty", &format!(r#""amount":0,{pending}"#)), -22, 0);
    book.refuses(
        &bare(7, r#""pending_id":"6","amount":1"#),
        "pending_not_found",
        "pending_id",
        -22,
        0,
    );
    book.takes(&own(7, "empty", &format!(r#""pending_id":"8","amount":0,{pending}"#)), -22, 0);
    book.refuses(
        &bare(8, r#""pending_id":"8","state":"voided""#),
        "pending_not_found",
        "pending_id",
        -22,
        0,
    );
    // A line that opens nothing lists its currency.
    let usd = own(8, "empty", &format!(r#""amount":0,{pending}"#)).replace("COIN", "USD/2");
    book.takes(&usd, -22, 0);
    let item = |currency, posted: i64| {
        format!(
            "{{\"currency\":\"{currency}\",\"posted\":{posted},\"pending_debits\":0,\
             \"pending_credits\":0,\"available\":{posted}}}"
        )
    };
    let body = format!(
        "{{\"user_id\":\"1\",\"version\":8,\"as_of_ms\":{T},\"balances\":[{},{}]}}",
        item("COIN", -22),
        item("USD/2", 0)
    );
    book.c.check(get("/v1/users/1/balance"), &read("etag: \"v8\"\r\n", &body));
}

/// Terms that differ from those of the open hold are refused, and the hold stays as it was.
fn mismatches() {
    let server = Server::start(&[]);
    let mut book = Book::new(&server);
    book.takes(&own(1, "a", r#""pending_id":"9","amount":10,"state":"pending""#), 0, 10);
    for (from, to, field) in [("COIN", "USD", "currency"), ("debit", "credit", "direction")] {
        let line = own(9, "b", r#""amount":5,"state":"pending""#).replace(from, to);
        book.refuses(&line, "pending_mismatch", field, 0, 10);
    }
    let both = own(9, "b", r#""amount":5,"state":"pending""#);
    let both = both.replace("COIN", "USD").replace("debit", "credit");
    book.refuses(&both, "pending_mismatch", "currency", 0, 10);
    for rest in [
        r#""pending_id":"9","amount":5"#,
        r#""pending_id":"9","amount":5,"final":false"#,
        r#""pending_id":"9","amount":5,"state":"pending""#,
        r#""pending_id":"9","state":"voided""#,
        r#""pending_id":"9","state":"voided","amount":1"#,
    ] {
        for (from, to) in [("COIN", "USD"), ("debit", "credit")] {
            let line = own(2, "b", rest).replace(from, to);
            book.refuses(&line, "pending_mismatch", "pending_id", 0, 10);
        }
    }
    book.takes(&own(2, "b", r#""pending_id":"9","state":"voided","amount":1"#), 0, 9);
}

/// A void releases a part, or all; without an open hold it stands by itself.
fn voids() {
    let server = Server::start(&[]);
    let mut book = Book::new(&server);
    book.takes(&own(1, "a", r#""amount":100,"state":"pending""#), 0, 100);
    book.takes(&bare(2, r#""pending_id":"1","state":"voided","amount":30"#), 0, 70);
    book.takes(&own(3, "b", r#""pending_id":"1","state":"voided","amount":0"#), 0, 70);
    book.takes(&bare(4, r#""pending_id":"1","state":"voided""#), 0, 0);
    book.refuses(
        &bare(4, r#""pending_id":"1","state":"voided","amount":0"#),
        "entry_id_conflict",
        "entry_id",
        0,
        0,
    );
    for rest in [r#""state":"voided""#, r#""state":"voided","amount":5"#] {
        let line = bare(5, &format!(r#""pending_id":"1",{rest}"#));
        book.refuses(&line, "pending_not_found", "pending_id", 0, 0);
    }
    book.takes(&own(5, "b", r#""pending_id":"1","state":"voided""#), 0, 0);
    book.takes(&own(6, "b", r#""pending_id":"7","state":"voided","amount":5"#), 0, 0);
    // One of more than is left releases what is left.
    book.takes(&own(7, "a", r#""amount":10,"state":"pending""#), 0, 10);
    book.takes(&bare(8, r#""pending_id":"7","state":"voided","amount":11"#), 0, 0);
    book.counts(&[]);
}

/// The id of an open hold is remembered for as long as it is open, if its own entry was accepted.
fn forgotten_ids_of_open_holds() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let hold = own(1, "a", r#""amount":100,"state":"pending""#);
    let other = own(2, "a", r#""pending_id":"9","amount":100,"state":"pending""#);
    let days = |n: u64| T + n * 86_400_000;
    let later = |line: &str, n: u64| line.replace(&T.to_string(), &days(n).to_string());
    c.check_feed(&[&hold, &other, &credit(3, 1, 1, days(3))], 3, &[]);
    let conflict = |index, id| rejected(index, id, "entry_id_conflict", "entry_id");
    // The ids of all three are forgotten but that of the open hold.
    let lines =
        [later(&hold, 5), later(&other, 5), credit(3, 1, 1, days(5)), credit(1, 1, 1, days(5))];
    c.check_feed(&lines, 2, &[conflict(0, "1"), conflict(3, "1")]);
    // Hold 9 is open, but its own entry is new.
    c.check_feed(&[later(&own(9, "a", r#""amount":1,"state":"pending""#), 5)], 1, &[]);
    c.check_feed(
        &[later(&own(9, "a", r#""amount":1,"state":"pending""#), 7)],
        0,
        &[conflict(0, "9")],
    );
    let void =
        |id, hold| later(&bare(id, &format!(r#""pending_id":"{hold}","state":"voided""#)), 7);
    c.check_feed(&[void(10, 1), void(11, 9), later(&hold, 7)], 3, &[]);
}
