//! A shard-aware client: it sends each request to the core that owns the user, so that no request
//! has to go from core to core.
//!
//! ```sh
//! cargo run --release -- serve --ephemeral
//! cargo run --release --example shard_aware -- 127.0.0.1:8080 42 7 users:1001
//! ```
//!
//! It reads `GET /v1/info` once, and connects to the port of a slice when it first needs it: the
//! common port, where a slice has none. It knows version 2 of the hash; for any other version, and
//! whenever a slice's port cannot be reached, the common port gives the same answers. A server that
//! is restarted with another number of slices closes its connections; then read `/v1/info` again.

use serde::Deserialize;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use xxhash_rust::xxh3::xxh3_64;

/// The fields of `/v1/info` that routing needs.
#[derive(Deserialize)]
struct Info {
    hash: u64,
    slices: Vec<Slice>,
}

#[derive(Deserialize)]
struct Slice {
    port: u16,
}

/// Connections to the cores of one server.
pub struct Client {
    common: SocketAddr,
    info: Info,
    connections: Vec<Option<BufReader<TcpStream>>>,
}

impl Client {
    /// Connects to the server at `common` and reads its `/v1/info`.
    pub fn new(common: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let mut connection = BufReader::new(TcpStream::connect(common)?);
        let info: Info = serde_json::from_str(&get(&mut connection, "/v1/info")?)?;
        let connections = info.slices.iter().map(|_| None).collect();
        Ok(Self { common, info, connections })
    }

    /// Slice that owns a user. This is version 2 of the hash, modulo the number of slices: the
    /// finaliser of SplitMix64 for a decimal without leading zeros, XXH3 for any other id.
    fn slice(&self, user: &str) -> usize {
        let number = user.parse().ok().filter(|number: &u64| number.to_string() == user);
        let hash = number.map_or_else(|| xxh3_64(user.as_bytes()), finalise);
        (hash % self.info.slices.len() as u64) as usize
    }

    /// Reads a balance from the core that owns the user.
    pub fn balance(&mut self, user: &str) -> Result<String, Box<dyn Error>> {
        let slice = if self.info.hash == 2 { self.slice(user) } else { 0 };
        let connection = match &mut self.connections[slice] {
            Some(connection) => connection,
            place => {
                let own = SocketAddr::new(self.common.ip(), self.info.slices[slice].port);
                let stream =
                    TcpStream::connect(own).or_else(|_| TcpStream::connect(self.common))?;
                stream.set_nodelay(true)?;
                place.insert(BufReader::new(stream))
            }
        };
        get(connection, &format!("/v1/users/{user}/balance"))
    }
}

/// SplitMix64 with its finaliser.
fn finalise(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Sends a request and returns the body of the answer, whatever its status.
fn get(connection: &mut BufReader<TcpStream>, target: &str) -> Result<String, Box<dyn Error>> {
    write!(connection.get_mut(), "GET {target} HTTP/1.1\r\nhost: purser\r\n\r\n")?;
    let (mut length, mut line) = (0, String::new());
    while line != "\r\n" {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err("the server closed the connection".into());
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok(String::from_utf8(body)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: shard_aware ADDR:PORT USER…")?;
    let mut client = Client::new(address.parse()?)?;
    for user in arguments {
        println!("{}", client.balance(&user)?);
    }
    Ok(())
}
