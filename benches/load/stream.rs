//! A blocking TCP connection to a server, for one request at a time.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result};
use crate::sys::Poll;

const IO_TIMEOUT: Duration = Duration::from_secs(30);

pub struct Stream {
    socket: TcpStream,
    /// Poll that it spins on, if it spins for answers.
    poll: Option<Poll>,
}

impl Stream {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let doing = || format!("connecting to {address}");
        let socket = TcpStream::connect_timeout(&address, IO_TIMEOUT).context(doing())?;
        socket.set_nodelay(true).context(doing())?;
        socket.set_read_timeout(Some(IO_TIMEOUT)).context(doing())?;
        socket.set_write_timeout(Some(IO_TIMEOUT)).context(doing())?;
        Ok(Self { socket, poll: None })
    }

    /// From now on, spins instead of sleeping until an answer arrives, so that the wake-up time of
    /// the load core is not part of the measured latency.
    pub fn spin_for_answers(&mut self) -> Result<()> {
        let poll = Poll::new().context("making an epoll")?;
        poll.add(&self.socket, 0).context("adding a socket")?;
        self.poll = Some(poll);
        Ok(())
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.socket.write_all(bytes).context("sending")
    }

    /// Waits for bytes and appends at most `most` of them.
    pub fn receive(&mut self, bytes: &mut Vec<u8>, most: usize) -> Result<()> {
        if let Some(poll) = &mut self.poll {
            let (clock, mut is_there) = (Instant::now(), false);
            while !is_there && clock.elapsed() < IO_TIMEOUT {
                poll.look(|_| is_there = true).context("polling a socket")?;
            }
        }
        let had = bytes.len();
        bytes.resize(had + most, 0);
        let got = loop {
            match self.socket.read(&mut bytes[had..]) {
                // A read with a timeout returns this whenever the kernel stops and continues its
                // thread.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result.context("receiving")?,
            }
        };
        bytes.truncate(had + got);
        if got == 0 {
            Err(Error::new("the connection was closed before the answer's end"))
        } else {
            Ok(())
        }
    }
}
