//! Redis as a durable peer: a Lua function of the bench that takes entries, the minimum that a
//! ledger of balances needs.
//!
//! For each entry the function checks a set of the user's entry ids, adds to the balance of its
//! currency, and increments the user's version. All entries of a request are one call, Redis'
//! fastest way (one command to parse, one function to look up). It does less than Purser: no
//! statistics, no holds, no validation, and its ids are never expired.

use std::io::Write;
use std::net::SocketAddr;

use crate::error::{Context, Error, Result};
use crate::population::{Entry, GROUPS, Population};
use crate::server::Running;
use crate::stream::Stream;
use crate::tally::Tally;

const CHECKED: usize = 200;
const PART_BYTES: usize = 512;

const LIBRARY: &str = "#!lua name=ledger
redis.register_function('take', function(keys, args)
  local accepted = 0
  for i = 1, #keys / 2 do
    if redis.call('SADD', keys[2 * i], args[3 * i - 2]) == 1 then
      redis.call('HINCRBY', keys[2 * i - 1], args[3 * i - 1], args[3 * i])
      redis.call('HINCRBY', keys[2 * i - 1], 'version', 1)
      accepted = accepted + 1
    end
  end
  return accepted
end)";

pub struct Client {
    stream: Stream,
    answer: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: Stream::connect(address)?, answer: Vec::new() })
    }

    /// See [`Stream::spin_for_answers`].
    pub fn spin_for_answers(&mut self) -> Result<()> {
        self.stream.spin_for_answers()
    }

    /// Sends a command and returns its one-line answer; for a bulk string, the string.
    fn line(&mut self, command: &[u8]) -> Result<String> {
        self.stream.send(command).context("Redis")?;
        self.answer.clear();
        let wanted = |answer: &[u8]| {
            1 + usize::from(answer.first() == Some(&b'$') && !answer.starts_with(b"$-1"))
        };
        while self.answer.iter().filter(|&&byte| byte == b'\n').count() < wanted(&self.answer) {
            self.stream.receive(&mut self.answer, PART_BYTES).context("Redis")?;
        }
        let text = String::from_utf8_lossy(&self.answer);
        let line = text.trim_end().rsplit("\r\n").next().unwrap_or_default();
        if text.starts_with('-') {
            Err(Error::new(format!("Redis answers {line}")))
        } else {
            Ok(line.to_owned())
        }
    }

    /// Sends a command whose answer is an integer.
    pub fn integer(&mut self, command: &[u8]) -> Result<i64> {
        let line = self.line(command)?;
        line.strip_prefix(':')
            .and_then(|digits| digits.parse().ok())
            .context(format!("an integer, not {line}"))
    }

    /// Loads the function into a freshly started Redis.
    pub fn prepare(&mut self) -> Result<()> {
        let mut command = b"*3\r\n$8\r\nFUNCTION\r\n$4\r\nLOAD\r\n".to_vec();
        word(&mut command, LIBRARY.as_bytes());
        let line = self.line(&command)?;
        if line == "ledger" {
            Ok(())
        } else {
            Err(Error::new(format!("Redis answers FUNCTION LOAD with {line}")))
        }
    }
}

/// Appends one command with all `entries`.
pub fn write_call(out: &mut Vec<u8>, population: &Population, entries: &[Entry]) {
    // Writing to a vector does not fail.
    let _ = write!(out, "*{}\r\n$5\r\nFCALL\r\n$4\r\ntake\r\n", 3 + entries.len() * 5);
    word(out, (entries.len() * 2).to_string().as_bytes());
    for entry in entries {
        let user = population.user_id(entry.user);
        word(out, format!("u:{user}").as_bytes());
        word(out, format!("i:{user}").as_bytes());
    }
    for entry in entries {
        let group = &GROUPS[entry.group];
        let sign = if group.direction == "credit" { "" } else { "-" };
        word(out, &entry.id.to_be_bytes());
        word(out, group.currency.as_bytes());
        word(out, format!("{sign}{}", entry.amount).as_bytes());
    }
}

fn word(out: &mut Vec<u8>, bytes: &[u8]) {
    let _ = write!(out, "${}\r\n", bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Compares the Redis data of sampled users with the tally.
pub fn check(server: &Running, tally: &Tally) -> Result<()> {
    let mut client = Client::connect(server.address)?;
    for user in tally.sample(0, CHECKED) {
        let version = tally.version(user);
        let fields = [
            ("version", (version > 0).then_some(version as i64)),
            ("COIN", tally.posted(user, "COIN")),
            ("DIAMOND", tally.posted(user, "DIAMOND")),
        ];
        for (field, expected) in fields {
            let found =
                client.line(format!("HGET u:{} {field}\r\n", tally.user_id(user)).as_bytes())?;
            let expected = expected.map_or_else(|| "$-1".to_owned(), |number| number.to_string());
            if found != expected {
                return Err(Error::new(format!(
                    "Redis has {found} as {field}, expected {expected}"
                )));
            }
        }
    }
    Ok(())
}
