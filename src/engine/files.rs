//! Blocking access to the files of one slice: the reads of a start, an import, a re-partition.
//!
//! Each task is done synchronously, on the calling thread. A running server's log is written by
//! [`super::storage`] instead.

use super::Failure;
use super::directory::{SliceDirectory, sync};
use crate::journal::File;
use crate::slice::disk::{Done, Task};
use crate::slice::source::{self, Source};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// The files of one slice. The file read or written last stays open.
#[derive(Debug)]
pub struct Files {
    directory: SliceDirectory,
    open: Option<(File, fs::File)>,
}

impl Files {
    /// The files of the slice in `directory`.
    pub const fn new(directory: SliceDirectory) -> Self {
        Self { directory, open: None }
    }

    /// Closes the open file.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// The path of a file.
    pub fn path(&self, file: File) -> PathBuf {
        self.directory.path.join(file.to_string())
    }

    /// Performs a task of a recovery or of an offline writer.
    pub fn perform(&mut self, task: Task) -> Result<Done, Failure> {
        Ok(match task {
            Task::Create { snapshot } => {
                let (file, path) = (File::Snapshot(snapshot), self.path(File::Snapshot(snapshot)));
                let made = fs::File::create(&path)
                    .map_err(Failure::of("create", path.display().to_string()))?;
                self.open = Some((file, made));
                Done::Created { snapshot, buffers: Some(Vec::new()) }
            }
            Task::Write { file, offset, block } => {
                let failed = Failure::of("write", self.path(file).display().to_string());
                self.open_file(file).write_all_at(block.bytes(), offset).map_err(failed)?;
                Done::Written { file, block, ok: true }
            }
            Task::Sync { snapshot } => {
                let file = File::Snapshot(snapshot);
                let failed = Failure::of("sync", self.path(file).display().to_string());
                self.open_file(file).sync_all().map_err(failed)?;
                self.close();
                sync(&self.directory.path)?;
                Done::Synced { snapshot, ok: true }
            }
            Task::Publish { text } => {
                self.directory.publish(&text)?;
                Done::Published { ok: true }
            }
            task => source::serve(task, self)?,
        })
    }

    /// The open file, which must be the one named.
    fn open_file(&self, file: File) -> &fs::File {
        let made = self.open.as_ref().filter(|(open, _)| *open == file);
        &made.expect("a snapshot is created before it is written to").1
    }
}

impl Source for Files {
    type Error = Failure;

    fn size(&mut self, file: File) -> Result<Option<u64>, Failure> {
        let path = self.path(file);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::new("stat", path.display().to_string(), error)),
        }
    }

    fn read(
        &mut self,
        file: File,
        offset: u64,
        bytes: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let path = self.path(file);
        let failed = |operation| Failure::of(operation, path.display().to_string());
        if self.open.as_ref().is_none_or(|(open, _)| *open != file) {
            self.open = Some((file, fs::File::open(&path).map_err(failed("open"))?));
        }
        let (_, open) = self.open.as_ref().expect("the file was just opened");
        // Bytes left from an earlier use are overwritten, so the buffer is not cleared.
        into.resize(bytes, 0);
        let mut at = 0;
        while at < bytes {
            match open.read_at(&mut into[at..], offset + at as u64) {
                Ok(0) => break,
                Ok(count) => at += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("read")(error)),
            }
        }
        into.truncate(at);
        Ok(())
    }
}
