//! Rival engine on monoio 0.2.4: io_uring, one thread, owned buffers.
//!
//! A receive is one operation with a buffer of its connection. monoio has neither multishot
//! receives nor provided buffers, so each request costs one more submission than in our executor,
//! and each connection a buffer. The ring is set up like ours (SINGLE_ISSUER, DEFER_TASKRUN,
//! SUBMIT_ALL). With monoio's default ring the same requests took about a quarter more CPU.
//!
//! A turn is what one `io_uring_enter` has completed: completions wake their tasks in order, and
//! the task that ends the turn runs after them ([`super::tasks`]). The runtime then runs the
//! senders and enters the kernel again.

use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::task::Poll;

use ::monoio::buf::IoBuf;
use ::monoio::io::{AsyncReadRent, AsyncWriteRent, OwnedReadHalf, OwnedWriteHalf, Splitable};
use ::monoio::net::TcpStream;
use ::monoio::time::TimeDriver;
use ::monoio::{IoUringDriver, RuntimeBuilder};
use io_uring_of_monoio::IoUring;
use purser::server::machine::{Machine, Slot};

use super::tasks::Driver;
use super::turns::Turns;

const RECEIVE_BYTES: usize = 16 << 10;
const SUBMISSIONS: u32 = 4_096;
const COMPLETIONS: u32 = 32_768;

pub fn run<M: Machine + 'static>(turns: Turns<M>, listener: TcpListener) -> io::Result<()> {
    let mut ring = IoUring::builder();
    ring.setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(COMPLETIONS)
        .dontfork();
    let builder = RuntimeBuilder::<TimeDriver<IoUringDriver>>::new();
    let mut runtime = builder.with_entries(SUBMISSIONS).uring_builder(ring).build()?;
    runtime.block_on(serve(Driver::new(turns), listener))
}

async fn serve<M: Machine + 'static>(driver: Driver<M>, listener: TcpListener) -> io::Result<()> {
    let listener = ::monoio::net::TcpListener::from_std(listener)?;
    ::monoio::spawn(driver.clone().end_turns(yield_once));
    ::monoio::spawn(driver.clone().tick(async |duration| ::monoio::time::sleep(duration).await));
    loop {
        let (stream, _) = listener.accept().await?;
        let slot = driver.opened(stream.as_raw_fd());
        let (reader, writer) = stream.into_split();
        ::monoio::spawn(receive(driver.clone(), slot, reader));
        ::monoio::spawn(send(driver.clone(), slot, writer));
    }
}

async fn receive<M: Machine>(driver: Driver<M>, slot: Slot, mut stream: OwnedReadHalf<TcpStream>) {
    let mut buffer = Vec::with_capacity(RECEIVE_BYTES);
    while driver.wants_bytes(slot).await {
        let (result, bytes) = stream.read(buffer).await;
        driver.received(slot, &result, &bytes);
        buffer = bytes;
    }
    drop(stream);
    driver.left(slot);
}

async fn send<M: Machine>(driver: Driver<M>, slot: Slot, mut stream: OwnedWriteHalf<TcpStream>) {
    while let Some((buffer, from)) = driver.unsent(slot).await {
        let (result, rest) = stream.write(buffer.slice(from..)).await;
        driver.sent(slot, rest.into_inner(), &result);
    }
    drop(stream);
    driver.left(slot);
}

/// Yields once to the other tasks. The runtime submits and reaps after a bounded number of tasks.
async fn yield_once() {
    let mut has_waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
