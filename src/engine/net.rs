//! Listeners.

use super::Failure;
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{SocketAddr, TcpListener};

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// Opens a listener that other cores can share the address with. What it accepts sends without delay: answers are coalesced here.
pub fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let failed = |operation| Failure::of(operation, address.to_string());
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(failed("open a socket for"))?;
    socket.set_reuse_address(true).map_err(failed("share"))?;
    socket.set_reuse_port(true).map_err(failed("share"))?;
    socket.set_tcp_nodelay(true).map_err(failed("set no-delay on"))?;
    socket.bind(&address.into()).map_err(failed("bind"))?;
    socket.listen(BACKLOG).map_err(failed("listen on"))?;
    Ok(socket.into())
}
