//! Listening sockets: for each slice one on the common address, and one on the slice's own port.

use super::Failure;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

/// Connections that may wait to be accepted; the kernel limits the number to `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// Unsent bytes of a connection that the kernel holds; a send beyond them waits. So the kernel
/// takes a long answer in small steps, which show that the peer reads, and holds little memory for
/// a peer that does not. The kernel asks for more when half of this is sent.
const UNSENT_BYTES: u32 = 16 << 10;

/// Socket buffers of a connection, in bytes; the kernel allows twice as much, with its own data.
/// Without them it lets a buffer grow to several MiB for a peer that does not read, or whose
/// requests wait. A smaller send buffer does not hold one segment of the loopback interface, and
/// sends then wait for delayed acknowledgements.
const SEND_BUFFER_BYTES: usize = 64 << 10;
const RECEIVE_BUFFER_BYTES: usize = 32 << 10;
/// Upper bound of the kernel's buffers for one connection, in bytes.
pub const SOCKET_BYTES: usize = 2 * (SEND_BUFFER_BYTES + RECEIVE_BUFFER_BYTES);

/// Time to wait for an address to become free: the kernel may hold sockets a moment past the exit
/// of the process that had them open.
const BIND_TIMEOUT: Duration = Duration::from_secs(2);

/// Fails if another process listens on `address`: the kernel would let it share the address with
/// the listeners of this process, and each process would get a part of the entries.
fn check_free(address: SocketAddr) -> Result<(), Failure> {
    let until = Instant::now() + BIND_TIMEOUT;
    loop {
        match open(address)?.bind(&address.into()) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < until => {
                thread::sleep(Duration::from_millis(20));
            }
            result => return result.map_err(Failure::of("bind", address.to_string())),
        }
    }
}

/// Opens a listener on an address that other listeners can share.
pub fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    start_listening(bind(address)?)
}

/// The bound sockets of every slice: one on the common address, one on the slice's own port. No
/// connection is taken before [`Self::listen`].
#[derive(Debug)]
pub struct Ports {
    address: SocketAddr,
    numbers: Vec<u16>,
    /// For each slice, the common and the own socket.
    sockets: Vec<[Socket; 2]>,
}

impl Ports {
    /// Binds the sockets. The slices' own ports follow the common port, and must all be below
    /// 65,536; if the common port is 0, the kernel chooses all ports.
    pub fn bind(listen: SocketAddr, slices: u32) -> Result<Self, Failure> {
        check_free(listen)?;
        let first = bind(listen)?;
        let address = address_of(&first)?;
        let mut commons = vec![first];
        for _ in 1..slices {
            commons.push(bind(address)?);
        }
        let mut ports = Self { address, numbers: Vec::new(), sockets: Vec::new() };
        for (common, slice) in commons.into_iter().zip(1..) {
            let port = if listen.port() == 0 { 0 } else { listen.port() + slice };
            let own = SocketAddr::new(listen.ip(), port);
            check_free(own)?;
            let own = bind(own)?;
            ports.numbers.push(address_of(&own)?.port());
            ports.sockets.push([common, own]);
        }
        Ok(ports)
    }

    /// The common address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The own port of each slice.
    pub fn numbers(&self) -> &[u16] {
        &self.numbers
    }

    /// Starts to take connections. Returns the listeners of each slice.
    pub fn listen(self) -> Result<Vec<Vec<TcpListener>>, Failure> {
        self.sockets
            .into_iter()
            .map(|sockets| sockets.into_iter().map(start_listening).collect())
            .collect()
    }
}

/// Binds a socket to an address that other sockets can share. Accepted connections inherit its
/// options: no delay, because answers are coalesced here, [`UNSENT_BYTES`], and the buffers.
fn bind(address: SocketAddr) -> Result<Socket, Failure> {
    let failed = |operation| Failure::of(operation, address.to_string());
    let socket = open(address)?;
    socket.set_reuse_port(true).map_err(failed("set SO_REUSEPORT on"))?;
    socket.set_tcp_nodelay(true).map_err(failed("set TCP_NODELAY on"))?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES).map_err(failed("set TCP_NOTSENT_LOWAT on"))?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES).map_err(failed("set SO_SNDBUF on"))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).map_err(failed("set SO_RCVBUF on"))?;
    socket.bind(&address.into()).map_err(failed("bind"))?;
    Ok(socket)
}

fn start_listening(socket: Socket) -> Result<TcpListener, Failure> {
    socket.listen(BACKLOG).map_err(|error| {
        let address = address_of(&socket)
            .map_or_else(|_| "a socket".to_owned(), |address| address.to_string());
        Failure::new("listen on", address, error)
    })?;
    Ok(socket.into())
}

fn address_of(socket: &Socket) -> Result<SocketAddr, Failure> {
    let address = socket.local_addr().map_err(Failure::of("get", "the address of a socket"))?;
    Ok(address.as_socket().expect("the socket is bound to an IP address"))
}

fn open(address: SocketAddr) -> Result<Socket, Failure> {
    let failed = |operation| Failure::of(operation, address.to_string());
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(failed("open a socket for"))?;
    socket.set_reuse_address(true).map_err(failed("set SO_REUSEADDR on"))?;
    Ok(socket)
}
