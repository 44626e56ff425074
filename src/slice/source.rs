//! Blocking recovery: drives [`Recovery`] over a [`Source`] that performs each read synchronously.
//!
//! For callers that do not serve, such as import and verify.

use super::disk::{Done, Task};
use super::recovery::Recovery;
use super::{Slice, StepOutcome};
use crate::journal::{Fault, File};
use crate::ledger::secret::Secret;

/// Synchronous file access for recovery.
pub trait Source {
    /// Error of a failed read.
    type Error;

    /// Size of a file in bytes; `None` if the file does not exist.
    fn size(&mut self, file: File) -> Result<Option<u64>, Self::Error>;

    /// Replaces the contents of `into` by up to `bytes` bytes from `offset` on. They are fewer only
    /// where the file ends.
    fn read(
        &mut self,
        file: File,
        offset: u64,
        bytes: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Self::Error>;
}

/// Reason why recovery failed.
#[derive(Debug)]
pub enum Error<E> {
    /// A file could not be read.
    Disk(E),
    /// The files were read, and their contents are invalid.
    Fault(Fault),
}

impl<E> From<Fault> for Error<E> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Determines the sizes of all files that recovery will read.
pub fn measure<S: Source>(recovery: &mut Recovery, source: &mut S) -> Result<(), Error<S::Error>> {
    let mut slice = Slice::new(0, Secret::default());
    while !recovery.is_measured() {
        advance(recovery, &mut slice, source)?;
    }
    Ok(())
}

/// Takes one step. Returns true after the last one; then call [`Recovery::finish`].
pub fn step<S: Source>(
    recovery: &mut Recovery,
    slice: &mut Slice,
    source: &mut S,
) -> Result<bool, Error<S::Error>> {
    loop {
        match advance(recovery, slice, source)? {
            StepOutcome::Waiting => {}
            StepOutcome::Going => return Ok(false),
            StepOutcome::Done => return Ok(true),
        }
    }
}

fn advance<S: Source>(
    recovery: &mut Recovery,
    slice: &mut Slice,
    source: &mut S,
) -> Result<StepOutcome, Error<S::Error>> {
    let mut asked = Vec::new();
    let outcome = recovery.advance(slice, &mut |task| asked.push(task))?;
    for task in asked {
        recovery.done(serve(task, source).map_err(Error::Disk)?);
    }
    Ok(outcome)
}

/// Performs a task that a recovery asks for: a measurement or a read.
pub fn serve<S: Source>(task: Task, source: &mut S) -> Result<Done, S::Error> {
    Ok(match task {
        Task::Measure { file } => Done::Measured { file, bytes: source.size(file)? },
        Task::Read { file, offset, bytes, mut buffer } => {
            source.read(file, offset, bytes, &mut buffer)?;
            Done::Read { file, offset, buffer }
        }
        other => unreachable!("recovery only measures and reads, but asked for {other:?}"),
    })
}
