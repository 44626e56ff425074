//! Recovery from a disk that answers at once, for those who serve nobody meanwhile: whatever it
//! asks is read on the spot.

use super::disk::{Done, Task};
use super::recovery::Recovery;
use super::{Headway, Slice};
use crate::journal::{Fault, File};

/// Where files are read from.
pub trait Source {
    /// Why reading failed.
    type Error;

    /// The size of a file; `None` if there is none.
    fn size(&mut self, file: File) -> Result<Option<u64>, Self::Error>;

    /// Replaces what is in `into` by up to `bytes` bytes from `offset` on: fewer only where the
    /// file ends.
    fn read(
        &mut self,
        file: File,
        offset: u64,
        bytes: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Self::Error>;
}

/// Why recovery ended.
#[derive(Debug)]
pub enum Error<E> {
    /// The disk could not be read.
    Disk(E),
    /// It was read, and something is not as it should be.
    Fault(Fault),
}

impl<E> From<Fault> for Error<E> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Sums up what there is to read.
pub fn measure<S: Source>(recovery: &mut Recovery, source: &mut S) -> Result<(), Error<S::Error>> {
    let mut slice = Slice::new(0);
    while !recovery.is_measured() {
        advance(recovery, &mut slice, source)?;
    }
    Ok(())
}

/// Takes a step. Returns whether it was the last; then [`Recovery::finish`].
pub fn step<S: Source>(
    recovery: &mut Recovery,
    slice: &mut Slice,
    source: &mut S,
) -> Result<bool, Error<S::Error>> {
    loop {
        match advance(recovery, slice, source)? {
            Headway::Waiting => {}
            Headway::Going => return Ok(false),
            Headway::Done => return Ok(true),
        }
    }
}

fn advance<S: Source>(
    recovery: &mut Recovery,
    slice: &mut Slice,
    source: &mut S,
) -> Result<Headway, Error<S::Error>> {
    let mut asked = Vec::new();
    let headway = recovery.advance(slice, &mut |task| asked.push(task))?;
    for task in asked {
        recovery.done(serve(task, source).map_err(Error::Disk)?);
    }
    Ok(headway)
}

/// Does what a recovery asks.
pub fn serve<S: Source>(task: Task, source: &mut S) -> Result<Done, S::Error> {
    Ok(match task {
        Task::Measure { file } => Done::Measured { file, bytes: source.size(file)? },
        Task::Read { file, offset, bytes, mut buffer } => {
            source.read(file, offset, bytes, &mut buffer)?;
            Done::Read { file, offset, buffer }
        }
        other => unreachable!("recovery asks for nothing of this kind: {other:?}"),
    })
}
