//! `Expect: 100-continue`, and answers that come before the whole request has.

use super::case::{BATCH, BATCH_ANSWER, batch_head, feed_head, server};
use crate::server::Server;
use crate::server::client::{get, request};

/// Values of `Expect` that ask for an interim answer.
const CONTINUE: [&str; 6] = [
    "100-continue",
    "100-Continue",
    ",100-continue",
    "100-continue ,, ",
    " , 100-continue,",
    "100-continue, 100-CONTINUE",
];

/// Values that ask for nothing.
const NOTHING: [&str; 4] = ["", " ", ",", " , ,"];

/// Values that ask for what is not supported.
const OTHER: [&str; 7] = [
    "100",
    "100-continue, a",
    "a, 100-continue",
    "100-continue;a=b",
    "100-continue=a",
    "\"100-continue\"",
    "101-continue",
];

#[test]
fn an_interim_answer_comes_before_the_body() {
    let server = server();
    for value in CONTINUE {
        let mut client = server.connect();
        let lines = format!("expect: {value}\r\ncontent-length: {}\r\n", BATCH.len());
        client.send(batch_head(&lines));
        assert_eq!(client.response().status(), 100, "{value}");
        client.send(BATCH);
        assert_eq!(client.response().body, BATCH_ANSWER, "{value}");
        client.send(get("/readyz"));
        assert_eq!(client.response().body, "ready");
    }
    let mut client = server.connect();
    client.send(batch_head("transfer-encoding: chunked\r\nexpect: 100-continue\r\n"));
    assert_eq!(client.response().status(), 100);
    client.send(format!("{:x}\r\n{BATCH}\r\n0\r\n\r\n", BATCH.len()));
    assert_eq!(client.response().body, BATCH_ANSWER);
}

/// A client that waits for leave to send an empty chunked body gets it, whatever the method.
#[test]
fn an_interim_answer_comes_before_an_empty_chunked_body() {
    let server = server();
    for (method, target) in
        [("GET", "/healthz"), ("GET", "/v1/users/42/balance"), ("HEAD", "/v1/users/42/balance")]
    {
        let mut client = server.connect();
        let lines = "expect: 100-continue\r\ntransfer-encoding: chunked\r\n";
        client.send(request(method, target, lines));
        assert_eq!(client.head().status(), 100, "{method} {target}");
        client.send("0\r\n\r\n");
        let response = if method == "HEAD" { client.head() } else { client.response() };
        assert_eq!(response.status(), 200, "{method} {target}");
        client.send(get("/readyz"));
        assert_eq!(client.response().body, "ready");
    }
}

#[test]
fn no_interim_answer_without_a_body_or_an_expectation() {
    let server = server();
    let expect = "expect: 100-continue\r\n";
    for lines in [expect.to_owned(), format!("{expect}content-length: 0\r\n")] {
        let response = server.ask(request("GET", "/healthz", &lines));
        assert_eq!((response.status(), &*response.body), (200, "ok"), "{lines}");
    }
    for value in NOTHING {
        let lines = format!("expect: {value}\r\ncontent-length: {}\r\n", BATCH.len());
        let response = server.ask(batch_head(&lines) + BATCH);
        assert_eq!((response.status(), &*response.body), (200, BATCH_ANSWER), "{value:?}");
    }
    // HTTP/1.0 has no expectations: there is no interim answer, and no refusal.
    for value in ["100-continue", "a"] {
        let head = format!(
            "POST /v1/batch HTTP/1.0\r\ncontent-type: application/json\r\nexpect: {value}\r\n\
             content-length: {}\r\n\r\n",
            BATCH.len()
        );
        let response = server.ask(head + BATCH);
        assert_eq!((response.status(), &*response.body), (200, BATCH_ANSWER), "{value}");
    }
}

#[test]
fn other_expectations_are_refused_before_the_body() {
    let server = server();
    for value in OTHER {
        let mut client = server.connect();
        client.send(batch_head(&format!("expect: {value}\r\ncontent-length: 9\r\n")));
        let response = client.response();
        assert_eq!(response.status(), 417, "{value}: {response:?}");
        assert!(response.body.contains("expectation_failed"), "{value}: {response:?}");
        assert_eq!(response.header("connection"), Some("close"), "{value}");
        client.is_closed();
    }
}

/// A refusal takes the place of the interim answer: the client need not send its body.
#[test]
fn a_refusal_takes_the_place_of_an_interim_answer() {
    let server = server();
    let expect = "expect: 100-continue\r\ncontent-length: 9000000000\r\n";
    for (head, status) in [
        (feed_head(expect), 413),
        (batch_head(expect), 413),
        (request("POST", "/v1/batch", expect), 415),
        (request("POST", "/nowhere", expect), 404),
        (request("PUT", "/v1/batch", expect), 405),
        (request("GET", "/healthz", expect), 413),
    ] {
        let mut client = server.connect();
        client.send(&head);
        let response = client.response();
        assert_eq!(response.status(), status, "{head}: {response:?}");
        assert_eq!(response.header("connection"), Some("close"), "{head}");
        client.is_closed();
    }
}

/// An answer that ends its connection says so, and one that asks to come again says when.
#[test]
fn a_server_without_room_says_when_to_come_again() {
    let server = Server::start(&["--max-connections", "1"]).at_one_core();
    let mut first = server.connect();
    assert_eq!(first.ask(get("/healthz")).body, "ok");
    let mut second = server.connect();
    let response = second.response();
    assert_eq!(response.status(), 503, "{response:?}");
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(response.header("connection"), Some("close"));
    assert!(response.body.contains("\"overloaded\""), "{response:?}");
    second.is_closed();
}

#[test]
fn a_server_that_leaves_does_not_ask_to_come_again() {
    let server = Server::start(&["--drain-delay-ms", "60000"]);
    let mut client = server.connect();
    assert_eq!(client.ask(get("/healthz")).body, "ok");
    server.leave();
    let response = client.ask(get("/readyz"));
    assert_eq!(response.status(), 503, "{response:?}");
    assert!(response.body.contains("\"draining\""), "{response:?}");
    assert_eq!(response.header("retry-after"), None);
    // Requests are served as before.
    let response = client.ask(get("/v1/users/42/balance"));
    assert_eq!((response.status(), response.header("connection")), (404, None));
}
