//! Listening sockets: for each slice one on the common address, and perhaps one on a port of its
//! own.
//!
//! The common address must be free. An own port only saves the hop between cores, so a slice whose
//! port is taken, by any socket of this machine, is served without it.

use super::Failure;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::ops::RangeInclusive;
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
/// Time to wait for all own ports together, once the common address is free: a process that has
/// ended lets go of them at about the same time, and a start does not need them.
const OWN_PORTS_TIMEOUT: Duration = Duration::from_millis(500);

/// Fails if another process listens on `address`: the kernel would let it share the address with
/// the listeners of this process, and each process would get a part of the entries.
fn check_free(address: SocketAddr, until: Instant) -> Result<(), Failure> {
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

/// The bound sockets of every slice: one on the common address, and perhaps one on the slice's own
/// port. No connection is taken before [`Self::listen`].
#[derive(Debug)]
pub struct Ports {
    address: SocketAddr,
    /// For each slice, its own port.
    numbers: Vec<Option<u16>>,
    /// For each slice, the common and the own socket.
    sockets: Vec<Vec<Socket>>,
    /// Why own ports could not be bound, with their slices.
    missing: Vec<(u32, Failure)>,
}

impl Ports {
    /// Binds the sockets. The slices' own ports, if they shall have any, follow the common port,
    /// and must all be below 65,536; if the common port is 0, the kernel chooses all ports.
    pub fn bind(listen: SocketAddr, slices: u32, own_ports: bool) -> Result<Self, Failure> {
        check_free(listen, Instant::now() + BIND_TIMEOUT)?;
        let first = bind(listen)?;
        let address = address_of(&first)?;
        let mut sockets = vec![vec![first]];
        for _ in 1..slices {
            sockets.push(vec![bind(address)?]);
        }
        let numbers = vec![None; slices as usize];
        let mut ports = Self { address, numbers, sockets, missing: Vec::new() };
        if own_ports {
            ports.bind_own(listen);
        }
        Ok(ports)
    }

    fn bind_own(&mut self, listen: SocketAddr) {
        let until = Instant::now() + OWN_PORTS_TIMEOUT;
        for (slice, sockets) in self.sockets.iter_mut().enumerate() {
            let port = if listen.port() == 0 { 0 } else { listen.port() + 1 + slice as u16 };
            let own = SocketAddr::new(listen.ip(), port);
            let bound = check_free(own, until).and_then(|()| {
                let socket = bind(own)?;
                Ok((address_of(&socket)?.port(), socket))
            });
            match bound {
                Ok((number, socket)) => {
                    self.numbers[slice] = Some(number);
                    sockets.push(socket);
                }
                Err(failure) => self.missing.push((slice as u32, failure)),
            }
        }
    }

    /// The common address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The own port of each slice; `None` for a slice that has none.
    pub fn numbers(&self) -> &[Option<u16>] {
        &self.numbers
    }

    /// The slices whose own ports could not be bound, and why.
    pub fn missing(&self) -> &[(u32, Failure)] {
        &self.missing
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
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false).map_err(failed("clear IPV6_V6ONLY on"))?;
    }
    Ok(socket)
}

/// The address that `HOST:PORT` names: the first IPv4 address of a host name, or else its first
/// one. Without a host, all interfaces.
pub fn resolve(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) =
        text.rsplit_once(':').ok_or("there is no port: write HOST:PORT, such as 127.0.0.1:8080")?;
    let port: u16 =
        port.parse().map_err(|_| format!("'{port}' is not a port: a number from 0 to 65535"))?;
    if host.is_empty() {
        return Ok(SocketAddr::new(all_interfaces(), port));
    }
    if host.contains([':', '[', ']']) {
        return Err("write an IPv6 address in brackets: [::1]:8080".to_owned());
    }
    let found = (host, port).to_socket_addrs();
    let found: Vec<_> = found.map_err(|why| format!("cannot resolve '{host}': {why}"))?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| format!("'{host}' has no address"))
}

/// The address of all interfaces: that of IPv6, which takes IPv4 as well, unless this machine has
/// IPv6 switched off.
fn all_interfaces() -> IpAddr {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// The ports that the kernel gives to sockets of clients.
pub fn client_ports() -> Option<RangeInclusive<u16>> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(numbers.next()?.ok()?..=numbers.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_resolved() {
        let resolved = |text: &str| resolve(text).unwrap().to_string();
        assert_eq!(resolved("127.0.0.1:80"), "127.0.0.1:80");
        assert_eq!(resolved("[::1]:80"), "[::1]:80");
        assert_eq!(resolved("localhost:80"), "127.0.0.1:80");
        assert!(["[::]:80", "0.0.0.0:80"].contains(&&*resolved(":80")));
        for (text, said) in [
            ("nowhere", "there is no port"),
            ("127.0.0.1:65536", "'65536' is not a port"),
            ("localhost:", "'' is not a port"),
            ("::1:80", "in brackets"),
            ("[::1:80", "in brackets"),
            ("no.such.host.invalid:80", "cannot resolve 'no.such.host.invalid'"),
        ] {
            let refused = resolve(text).expect_err(text);
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }

    #[test]
    fn clients_have_a_range_of_ports() {
        assert!(client_ports().is_some_and(|ports| !ports.is_empty()));
    }
}
