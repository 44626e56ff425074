//! Bare disk writes: 4 KiB, direct and synchronous, to a file whose every byte was written before.
//! No log can be faster.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use purser::journal::Place;
use purser::journal::frame::{ALIGN, FrameBuffer, Kind};

use crate::closed::Fed;
use crate::data::DataDir;
use crate::error::{Context, Result};
use crate::sys;

const FILE_BYTES: u64 = 64 << 20;
const PLACE: Place = Place { generation: 1, slice: 0, file: 1 };
const SALT: u64 = 1;

pub struct Bare {
    file: File,
    /// A block as the log writes it: aligned, and never the same twice.
    block: FrameBuffer,
    written: u64,
    core: usize,
}

impl Bare {
    /// Creates the file in `data`; `core` is the server's core.
    pub fn new(data: &DataDir, core: usize) -> Result<Self> {
        let path = data.path().join("bare");
        let doing = format!("making {}", path.display());
        let zeros = vec![0; 1 << 20];
        let file = File::create(&path).context(&doing)?;
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at).context(&doing)?;
        }
        file.sync_all().context(&doing)?;
        let open = |flags| OpenOptions::new().write(true).custom_flags(flags).open(&path);
        // Without direct writes, the file system gets what the server uses there: plain synchronous
        // writes.
        let file = open(libc::O_DIRECT | libc::O_DSYNC)
            .or_else(|_| open(libc::O_DSYNC))
            .context(&doing)?;
        let mut block = FrameBuffer::with_capacity(ALIGN);
        block.payload().extend_from_slice(&[7; 100]);
        Ok(Self { file, block, written: 0, core })
    }

    /// Writes one block after another for `seconds`, on the server's core: the distance between
    /// that core and the one that handles the disk's interrupts is part of a write's time. Each
    /// write counts as one entry.
    pub fn measure(&mut self, seconds: f64) -> Result<Fed> {
        let core = self.core;
        let writing =
            || sys::pin(core).context("pinning the bare writes").and_then(|()| self.write(seconds));
        std::thread::scope(|scope| scope.spawn(writing).join().expect("the bare writes panicked"))
    }

    fn write(&mut self, seconds: f64) -> Result<Fed> {
        let (mut fed, begin) = (Fed::default(), Instant::now());
        while begin.elapsed() < Duration::from_secs_f64(seconds) {
            self.block.seal(Kind::Write, PLACE, SALT, self.written);
            let (bytes, at) =
                (&self.block.bytes()[..ALIGN], self.written * ALIGN as u64 % FILE_BYTES);
            let clock = Instant::now();
            self.file.write_all_at(bytes, at).context("writing a bare block")?;
            fed.latencies.add(clock.elapsed());
            fed.entries += 1;
            self.written += 1;
        }
        fed.wall = begin.elapsed();
        Ok(fed)
    }
}
