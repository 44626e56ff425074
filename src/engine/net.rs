//! Listeners.

use super::Failure;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// How long to wait for an address: the kernel may hold sockets a moment past the end of who had them open.
const PATIENCE: Duration = Duration::from_secs(2);

/// Fails if another process listens on `address`: the kernel would let it share the address with the cores of this one, and each
/// process would get a part of the entries.
pub fn check_free(address: SocketAddr) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        match open(address)?.bind(&address.into()) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < until => {
                thread::sleep(Duration::from_millis(20));
            }
            result => return result.map_err(Failure::of("bind", address.to_string())),
        }
    }
}

/// Opens a listener that other cores can share the address with. What it accepts sends without delay: answers are coalesced here.
pub fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let failed = |operation| Failure::of(operation, address.to_string());
    let socket = open(address)?;
    socket.set_reuse_port(true).map_err(failed("share"))?;
    socket.set_tcp_nodelay(true).map_err(failed("set no-delay on"))?;
    socket.bind(&address.into()).map_err(failed("bind"))?;
    socket.listen(BACKLOG).map_err(failed("listen on"))?;
    Ok(socket.into())
}

fn open(address: SocketAddr) -> Result<Socket, Failure> {
    let failed = |operation| Failure::of(operation, address.to_string());
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(failed("open a socket for"))?;
    socket.set_reuse_address(true).map_err(failed("reuse"))?;
    Ok(socket)
}
