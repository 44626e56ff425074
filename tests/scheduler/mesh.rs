//! Simulated mesh between cores: messages have arbitrary delays; those from one core to another
//! keep their order.
//!
//! The mesh counts the requests in flight, and checks sender, receiver and size of each message
//! when it is sent. [`Bug`]s are planted here.

use super::MeshBug;
use crate::simulation::counts::Counts;
use crate::simulation::random::Random;
use purser::server::message::{Job, Message, Outcome};
use std::collections::{BTreeMap, VecDeque};

pub struct Mesh {
    bug: Option<MeshBug>,
    cores: usize,
    credits: usize,
    /// Queue from each core to each other, at `from * cores + to`.
    queues: Vec<VecDeque<Message>>,
    /// Requests of each core that are at another core or in transit, including those whose reply
    /// has not arrived; same index.
    in_flight: Vec<usize>,
    /// The connection of each core that the last reply went to.
    connections: BTreeMap<u32, u64>,
    pub counts: Counts,
}

impl Mesh {
    pub fn new(cores: usize, credits: u32, bug: Option<MeshBug>) -> Self {
        Self {
            bug,
            cores,
            credits: credits as usize,
            queues: (0..cores * cores).map(|_| VecDeque::new()).collect(),
            in_flight: vec![0; cores * cores],
            connections: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Drops all messages in transit.
    pub fn clear(&mut self) {
        self.queues.iter_mut().for_each(VecDeque::clear);
        self.in_flight.fill(0);
        self.connections.clear();
    }

    /// Puts a message in transit.
    pub fn send(
        &mut self,
        from: usize,
        mut to: usize,
        mut message: Message,
        random: &mut Random,
    ) -> Result<(), String> {
        if from == to {
            return Err(format!("core {from} sends itself a message"));
        }
        self.check_message(from, to, &message)?;
        self.counts.add("messages", 1);
        let is_rare = random.in_thousand(20);
        match (&mut message, self.bug) {
            (_, Some(MeshBug::MessageLost)) if is_rare => return Ok(()),
            (Message::Request(_), Some(MeshBug::WrongCore)) if is_rare => {
                to = (0..self.cores).find(|core| *core != from && *core != to).unwrap_or(to);
            }
            (Message::Reply(reply), Some(MeshBug::WrongGap)) if reply.job == Job::Read => {
                // Swaps its gap with that of a reply already in transit.
                let others = self.queues[from * self.cores + to].iter_mut();
                let mut others = others.filter_map(|other| match other {
                    Message::Reply(other) => Some(other),
                    _ => None,
                });
                let connection = reply.connection;
                if let Some(other) =
                    others.find(|other| other.job == Job::Read && other.connection == connection)
                {
                    std::mem::swap(&mut other.gap, &mut reply.gap);
                }
            }
            (Message::Reply(reply), Some(MeshBug::WrongConnection)) => {
                let other = self.connections.insert(reply.asking_core, reply.connection);
                reply.connection = other.filter(|_| is_rare).unwrap_or(reply.connection);
            }
            _ => {}
        }
        let queue = &mut self.queues[from * self.cores + to];
        queue.push_back(message);
        if self.bug == Some(MeshBug::OutOfOrder) && is_rare && queue.len() > 1 {
            let last = queue.len() - 1;
            queue.swap(last, last - 1);
        }
        // At most: requests, replies to the other core's requests, `Loaded` and `AtRest`.
        if queue.len() > 2 * self.credits + 2 {
            return Err(format!(
                "{} messages wait from core {from} to {to}: {} credits",
                queue.len(),
                self.credits
            ));
        }
        Ok(())
    }

    /// Checks a message.
    fn check_message(&mut self, from: usize, to: usize, message: &Message) -> Result<(), String> {
        match message {
            Message::Request(request) => {
                let in_flight = &mut self.in_flight[from * self.cores + to];
                *in_flight += 1;
                self.counts
                    .add("requests with the last credit", u64::from(*in_flight == self.credits));
                if *in_flight > self.credits {
                    return Err(format!(
                        "core {from} has {in_flight} requests at {to}, and {} credits",
                        self.credits
                    ));
                }
                if request.asking_core as usize != from {
                    return Err(format!(
                        "core {from} sends a request in the name of core {}",
                        request.asking_core
                    ));
                }
            }
            Message::Reply(reply) => {
                let (bytes, most) = (reply.bytes.len(), reply.max_bytes);
                self.counts
                    .add("replies refused for their size", u64::from(is_refused(&reply.outcome)));
                if reply.asking_core as usize != to && self.bug.is_none() {
                    return Err(format!(
                        "core {from} sends core {to} a reply to core {}",
                        reply.asking_core
                    ));
                }
                if bytes > most {
                    return Err(format!(
                        "core {from} replies with {bytes} bytes, and {most} are reserved"
                    ));
                }
            }
            Message::Loaded | Message::AtRest => {}
        }
        Ok(())
    }

    /// Delivers some of the messages that have arrived at a core, with their senders.
    pub fn receive(&mut self, to: usize, random: &mut Random) -> Vec<(u32, Message)> {
        let mut arrived = Vec::new();
        for from in 0..self.cores {
            let there = self.queues[from * self.cores + to].len();
            if there == 0 {
                continue;
            }
            let some = random.between(0, there as u64) as usize;
            let count = random.pick(&[0, 1, some, there]);
            for message in self.queues[from * self.cores + to].drain(..count.min(there)) {
                let mut sender = from;
                if matches!(message, Message::Reply(_)) {
                    // A reply without a request is possible: a planted bug.
                    let in_flight = &mut self.in_flight[to * self.cores + from];
                    *in_flight = in_flight.saturating_sub(1);
                    if self.bug == Some(MeshBug::WrongSender) && random.in_thousand(20) {
                        sender = (0..self.cores)
                            .find(|core| *core != from && *core != to)
                            .unwrap_or(from);
                    }
                }
                arrived.push((sender as u32, message));
            }
        }
        arrived
    }

    /// Whether no message is in transit to a core.
    pub fn is_empty_to(&self, to: usize) -> bool {
        (0..self.cores).all(|from| self.queues[from * self.cores + to].is_empty())
    }

    /// Whether no message is in transit.
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// Whether every request has its reply.
    pub fn has_replied(&self) -> bool {
        self.in_flight.iter().all(|in_flight| *in_flight == 0)
    }
}

const fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::TooLarge(_))
}
