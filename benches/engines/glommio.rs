//! Rival engine on glommio 0.9.0: io_uring with three rings, one thread.
//!
//! Its sockets do not receive through the ring. The ring only polls; a ready socket is read with
//! `recv`. `send` is called at once, and polled for only if the kernel accepts nothing. A request
//! thus costs a poll, two system calls and its share of checking three rings. `recv` runs inside
//! the task, so all connections share one buffer.
//!
//! A turn is what one check of the rings has woken: the task queue is in order, and the task that
//! ends the turn runs after the others ([`super::tasks`]). Completed sends begin the next turn
//! without a check of the rings. With work at hand, a turn awaits a timer of zero duration;
//! otherwise the rings would be checked only when glommio's preemption timer expires.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use ::glommio::net::TcpStream;
use ::glommio::timer::Timer;
use ::glommio::{GlommioError, LocalExecutorBuilder, Placement, spawn_local};
use futures_lite::{AsyncRead, AsyncWrite};
use purser::server::machine::{Machine, Slot};

use super::tasks::Driver;
use super::turns::Turns;

const RECEIVE_BYTES: usize = 64 << 10;
const RING_ENTRIES: usize = 4_096;
/// Memory for file buffers. No files are used, so this is the least that glommio accepts.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// Stream of a connection, shared by its two tasks.
type Shared = Rc<RefCell<TcpStream>>;
/// Receive buffer shared by all connections.
type Buffer = Rc<RefCell<Vec<u8>>>;

pub fn run<M: Machine + 'static>(
    turns: Turns<M>,
    listener: TcpListener,
    cpu: usize,
) -> io::Result<()> {
    let builder = LocalExecutorBuilder::new(Placement::Fixed(cpu));
    let executor = builder
        .ring_depth(RING_ENTRIES)
        .io_memory(IO_MEMORY_BYTES)
        .make()
        .map_err(io::Error::from)?;
    executor.run(serve(Driver::new(turns), listener)).map_err(io::Error::from)
}

async fn serve<M: Machine + 'static>(
    driver: Driver<M>,
    bound: TcpListener,
) -> Result<(), GlommioError<()>> {
    // glommio cannot adopt an existing listener, so it binds a second one to the same address.
    let listener = ::glommio::net::TcpListener::bind(bound.local_addr()?)?;
    drop(bound);
    let buffer: Buffer = Rc::new(RefCell::new(vec![0; RECEIVE_BYTES]));
    let sleep = async |duration| {
        Timer::new(duration).await;
    };
    spawn_local(driver.clone().end_turns(move || sleep(Duration::ZERO))).detach();
    spawn_local(driver.clone().tick(sleep)).detach();
    loop {
        let stream = listener.accept().await?;
        stream.set_nodelay(true)?;
        let slot = driver.opened(stream.as_raw_fd());
        let stream = Rc::new(RefCell::new(stream));
        spawn_local(receive(driver.clone(), slot, stream.clone(), buffer.clone())).detach();
        spawn_local(send(driver.clone(), slot, stream)).detach();
    }
}

async fn receive<M: Machine>(driver: Driver<M>, slot: Slot, stream: Shared, buffer: Buffer) {
    while driver.wants_bytes(slot).await {
        // Reported in the same poll as the receive: the buffer is then free for the next
        // connection.
        poll_fn(|context| {
            let bytes = &mut *buffer.borrow_mut();
            let polled = Pin::new(&mut *stream.borrow_mut()).poll_read(context, bytes);
            polled.map(|result| driver.received(slot, &result, bytes))
        })
        .await;
    }
    drop(stream);
    driver.left(slot);
}

async fn send<M: Machine>(driver: Driver<M>, slot: Slot, stream: Shared) {
    while let Some((buffer, from)) = driver.unsent(slot).await {
        let rest = &buffer[from..];
        let result =
            poll_fn(|context| Pin::new(&mut *stream.borrow_mut()).poll_write(context, rest)).await;
        driver.sent(slot, buffer, &result);
    }
    drop(stream);
    driver.left(slot);
}
