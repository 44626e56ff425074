//! A pair of servers, Purser and one peer, that get the same requests.

use super::peer::{Answer, Connection, Peers};
use crate::seeds;
use crate::server::Server;
use std::collections::BTreeMap;

/// Status that stands for a missing answer.
const NO_ANSWER: u16 = 0;

/// Two servers, both empty at start.
pub struct Pair {
    sides: [Side; 2],
    /// Number of feed verdicts, reads and batch items that were equal.
    pub compared: usize,
}

struct Side {
    name: &'static str,
    connection: Connection,
    _server: Server,
}

impl Side {
    fn new(name: &'static str, server: Server) -> Self {
        Self { name, connection: Connection::new(server.address), _server: server }
    }
}

impl Pair {
    pub fn start(peers: &Peers, peer: &'static str) -> Self {
        let sides = [Side::new("purser", Server::start(&[])), Side::new(peer, peers.start(peer))];
        Self { sides, compared: 0 }
    }

    /// Sends a request to both servers and returns the body; `Err` if the answers differ.
    pub fn ask(&mut self, request: &[u8]) -> Result<String, Box<Difference>> {
        self.ask_each([request, request])
    }

    /// Sends each server its own request; the answers must still be equal.
    pub fn ask_each(&mut self, requests: [&[u8]; 2]) -> Result<String, Box<Difference>> {
        for (side, request) in self.sides.iter_mut().zip(requests) {
            side.connection.send(request);
        }
        self.read_answer(requests[0])
    }

    /// Sends all requests to both servers before it reads an answer.
    pub fn ask_pipelined(&mut self, requests: &[Vec<u8>]) -> Result<(), Box<Difference>> {
        self.sides.iter_mut().for_each(|side| side.connection.send(&requests.concat()));
        requests.iter().try_for_each(|request| self.read_answer(request).map(drop))
    }

    /// Reads and compares both answers to a request.
    fn read_answer(&mut self, request: &[u8]) -> Result<String, Box<Difference>> {
        let head_only = request.starts_with(b"HEAD ");
        let answers = self
            .sides
            .each_mut()
            .map(|side| (side.name, read_answer(&mut side.connection, head_only)));
        let [(_, ours), (_, theirs)] = &answers;
        if ours != theirs || ours.status == NO_ANSWER {
            return Err(Box::new(Difference { asked: request.to_vec(), answers }));
        }
        let [(_, Answer { body, .. }), _] = answers;
        self.compared += weight(&body);
        Ok(body)
    }

    /// Sends a request to the peer alone and ignores the answer.
    pub fn ask_peer(&mut self, request: &[u8]) {
        let connection = &mut self.sides[1].connection;
        connection.send(request);
        read_answer(connection, false);
    }

    /// Makes the next request open new connections.
    pub fn reconnect(&mut self) {
        self.sides.iter_mut().for_each(|side| side.connection.reconnect());
    }
}

/// Reads an answer; its status is [`NO_ANSWER`] if there is none.
fn read_answer(connection: &mut Connection, head_only: bool) -> Answer {
    connection.read_answer(head_only).unwrap_or_else(|error| {
        connection.reconnect();
        let body = format!("no answer: {error}");
        Answer { status: NO_ANSWER, headers: BTreeMap::new(), body }
    })
}

/// Number of verdicts or reads in an answer.
fn weight(body: &str) -> usize {
    if let Some(counts) = body.strip_prefix("{\"accepted\":") {
        let counts = counts.split(",\"results\"").next().expect("split gives one");
        let numbers = counts
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse::<usize>().ok());
        return numbers.sum();
    }
    if body.starts_with("{\"responses\":") {
        return body.matches("\"version\":").count()
            + body.matches("\"code\":\"user_not_found\"").count();
    }
    1
}

/// A request that the two servers answer differently, with both answers.
pub struct Difference {
    asked: Vec<u8>,
    answers: [(&'static str, Answer); 2],
}

impl Difference {
    /// Both heads, the bodies around their first difference, and the request.
    pub fn shown(&self) -> String {
        let [(one, a), (other, b)] = &self.answers;
        let head = |answer: &Answer| format!("{} {:?}", answer.status, answer.headers);
        let (at, around) = seeds::first_difference([(one, &a.body), (other, &b.body)]);
        let asked: String = String::from_utf8_lossy(&self.asked).chars().take(3_000).collect();
        format!(
            "{one} {}\n{other} {}\nbodies differ at byte {at}:\n{around}\nasked: {asked}",
            head(a),
            head(b)
        )
    }

    /// Name of the first server that gave this answer, or `neither`.
    pub fn server_that_answered(&self, status: u16, body: &str) -> &'static str {
        let agreeing =
            self.answers.iter().find(|(_, answer)| answer.status == status && answer.body == body);
        agreeing.map_or("neither", |(name, _)| name)
    }
}

#[test]
fn verdicts_and_reads_are_counted() {
    assert_eq!(
        weight(r#"{"accepted":12,"duplicates":3,"rejected":20,"results":[{"index":5}]}"#),
        35
    );
    assert_eq!(
        weight(r#"{"responses":[{"user_id":"1","version":3},{"code":"user_not_found"}]}"#),
        2
    );
    assert_eq!(weight(r#"{"user_id":"1","version":3}"#), 1);
}
