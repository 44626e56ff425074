//! A minimal blocking HTTP client for one keep-alive connection, for feeding and checking. It keeps
//! the raw bytes of an answer, because the floor repeats one of them.

use std::net::SocketAddr;

use crate::error::{Context, Error, Result};
use crate::stream::Stream;

const LONGEST_HEAD_BYTES: usize = 16 << 10;
const PART_BYTES: usize = 64 << 10;

pub struct Client {
    stream: Stream,
    request: Vec<u8>,
}

/// A whole answer, head and body.
pub struct Answer {
    pub bytes: Vec<u8>,
    pub status: u16,
    body_at: usize,
}

impl Answer {
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body_at..]
    }

    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.bytes[..self.body_at], name)
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: Stream::connect(address)?, request: Vec::new() })
    }

    /// See [`Stream::spin_for_answers`].
    pub fn spin_for_answers(&mut self) -> Result<()> {
        self.stream.spin_for_answers()
    }

    pub fn get(&mut self, target: &str) -> Result<Answer> {
        self.request.clear();
        self.request
            .extend_from_slice(format!("GET {target} HTTP/1.1\r\nHost: purser\r\n\r\n").as_bytes());
        self.exchange().context(format!("GET {target}"))
    }

    pub fn post(&mut self, target: &str, content_type: &str, body: &[u8]) -> Result<Answer> {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: purser\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.request.clear();
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body);
        self.exchange().context(format!("POST {target}"))
    }

    fn exchange(&mut self) -> Result<Answer> {
        self.stream.send(&self.request)?;
        let mut bytes = Vec::with_capacity(1024);
        let body_at = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if bytes.len() > LONGEST_HEAD_BYTES {
                return Err(Error::new("the answer's head is incomplete"));
            }
            self.stream.receive(&mut bytes, PART_BYTES)?;
        };
        let status = status(&bytes).context("the answer has no status")?;
        let length = header(&bytes[..body_at], "content-length")
            .and_then(|value| value.parse::<usize>().ok());
        let whole = body_at + length.context("the answer has no content-length")?;
        while bytes.len() < whole {
            self.stream.receive(&mut bytes, PART_BYTES)?;
        }
        if bytes.len() > whole {
            return Err(Error::new("the answer is longer than its content-length"));
        }
        Ok(Answer { bytes, status, body_at })
    }
}

fn status(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    std::str::from_utf8(head).ok()?.split("\r\n").find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
