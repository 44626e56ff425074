//! The peer servers in Go: built once per run, started like Purser, and read by a client that
//! tolerates what HTTP libraries do differently.

use crate::server::{Server, TIMEOUT};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Directory of the peers' programs, each named after its HTTP library.
pub struct Peers {
    folder: PathBuf,
}

impl Peers {
    /// Builds the peers on the first call. Without Go it prints what is skipped and returns
    /// `None`.
    pub fn built(left_out: &str) -> Option<&'static Self> {
        static PEERS: OnceLock<Option<Peers>> = OnceLock::new();
        let peers = PEERS.get_or_init(build).as_ref();
        if peers.is_none() {
            eprintln!("left out, for there is no `go` on the PATH: {left_out}");
        }
        peers
    }

    pub fn start(&self, name: &str) -> Server {
        Server::spawn(Command::new(self.folder.join(name)).args(["-listen", "127.0.0.1:0"]))
    }
}

fn build() -> Option<Peers> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    std::fs::create_dir_all(&folder).expect("a folder for the peers");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/go");
    let mut go = Command::new("go");
    go.arg("build").arg("-C").arg(sources).arg("-o").arg(&folder).arg("./cmd/...");
    match go.output() {
        Ok(output) if output.status.success() => Some(Peers { folder }),
        Ok(output) => {
            panic!("the peers cannot be built: {}", String::from_utf8_lossy(&output.stderr))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("go does not run: {error}"),
    }
}

/// Headers that must be equal for both servers.
const COMPARED: [&str; 7] =
    ["content-type", "cache-control", "etag", "allow", "accept", "accept-encoding", "retry-after"];

/// The parts of an answer that must be equal for both servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Those of the compared headers that the answer has, in alphabetical order.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// A connection that is reopened after the server has closed it.
pub struct Connection {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
    is_over: bool,
}

impl Connection {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: connect(address), is_over: false }
    }

    /// Writes a request. Write errors are ignored: a server may answer and close the connection
    /// before it has read everything.
    pub fn send(&mut self, request: &[u8]) {
        if std::mem::take(&mut self.is_over) {
            self.stream = connect(self.address);
        }
        let _ = self.stream.get_mut().write_all(request);
    }

    /// Reads the final answer; an answer to `HEAD` has no body.
    pub fn read_answer(&mut self, head_only: bool) -> Result<Answer> {
        let answer = loop {
            let answer = self.answer(head_only)?;
            if answer.status != 100 {
                break answer;
            }
        };
        Ok(answer)
    }

    /// Makes the next request open a new connection.
    pub fn reconnect(&mut self) {
        self.is_over = true;
    }

    fn answer(&mut self, head_only: bool) -> Result<Answer> {
        let status_line = self.line()?;
        let status = status_line.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.ok_or_else(|| bad(&status_line))?;
        let mut answer = Answer { status, headers: BTreeMap::new(), body: String::new() };
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad(&line))?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                name if COMPARED.contains(&name) => {
                    answer.headers.insert(name.to_owned(), value.to_owned());
                }
                "content-length" => length = value.parse().map_err(|_| bad(&line))?,
                "transfer-encoding" => is_chunked = true,
                "connection" => self.is_over |= value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let body = match (head_only || matches!(status, 100 | 204 | 304), is_chunked) {
            (true, _) => Vec::new(),
            (_, true) => self.chunks()?,
            (_, false) => self.bytes(length)?,
        };
        answer.body = String::from_utf8(body).map_err(|error| bad(&error.to_string()))?;
        Ok(answer)
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(&line, 16).map_err(|_| bad(&line))?;
            body.extend(self.bytes(size)?);
            // The line end of a chunk, or of the empty trailer section.
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        line.strip_suffix("\r\n").map(str::to_owned).ok_or_else(|| bad(&line))
    }
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("no delay");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    stream.set_write_timeout(Some(TIMEOUT)).expect("a timeout");
    BufReader::with_capacity(64 << 10, stream)
}

fn bad(text: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("not HTTP: {text:?}"))
}
