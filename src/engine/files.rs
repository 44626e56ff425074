//! The files of a slice, read at once: by whoever serves nobody meanwhile, and by the thread that reads for a start.

use super::Failure;
use super::directory::SliceDirectory;
use crate::journal::File;
use crate::slice::source::Source;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

/// The files of a slice. That which was read last stays open.
#[derive(Debug)]
pub struct Files {
    directory: SliceDirectory,
    open: Option<(File, fs::File)>,
}

impl Files {
    /// Of the slice in `directory`.
    pub const fn new(directory: SliceDirectory) -> Self {
        Self { directory, open: None }
    }

    /// Nothing more is read for the time being.
    pub fn close(&mut self) {
        self.open = None;
    }
}

impl Source for Files {
    type Error = Failure;

    fn size(&mut self, file: File) -> Result<Option<u64>, Failure> {
        let path = self.directory.path.join(file.to_string());
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::new("look at", path.display().to_string(), error)),
        }
    }

    fn read(&mut self, file: File, offset: u64, bytes: usize, into: &mut Vec<u8>) -> Result<(), Failure> {
        let path = self.directory.path.join(file.to_string());
        let failed = |operation| Failure::of(operation, path.display().to_string());
        if self.open.as_ref().is_none_or(|(open, _)| *open != file) {
            self.open = Some((file, fs::File::open(&path).map_err(failed("open"))?));
        }
        let (_, open) = self.open.as_ref().expect("it was just opened");
        // What a buffer held before is overwritten: it need not be cleared.
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
