//! An in-memory disk that executes each disk task of a slice immediately.

use purser::journal::{File, Place, manifest};
use purser::slice::disk::{Done, Task};
use purser::slice::source::Source;
use std::collections::HashMap;
use std::convert::Infallible;

/// The files of a slice, and the manifest that names them.
pub struct RamDisk {
    place: Place,
    pub files: HashMap<File, Vec<u8>>,
    pub manifest: manifest::SliceManifest,
}

impl RamDisk {
    /// Creates an empty disk.
    pub fn new(place: Place) -> Self {
        Self { place, files: HashMap::new(), manifest: manifest::SliceManifest::default() }
    }

    /// Executes a task; `None` for a task that reports no completion.
    pub fn work(&mut self, task: Task) -> Option<Done> {
        Some(match task {
            Task::Write { file, offset, block } => {
                let (bytes, end) =
                    (self.files.entry(file).or_default(), offset as usize + block.bytes().len());
                bytes.resize(bytes.len().max(end), 0);
                bytes[offset as usize..end].copy_from_slice(block.bytes());
                Done::Written { file, block, ok: true }
            }
            Task::Prepare { segment, bytes, .. } => {
                self.files.insert(File::Segment(segment), vec![0; bytes as usize]);
                Done::Prepared { segment, salt: Some(segment) }
            }
            Task::Create { snapshot } => Done::Created { snapshot, buffers: Some(Vec::new()) },
            Task::Sync { snapshot } => Done::Synced { snapshot, ok: true },
            Task::Publish { text } => {
                self.manifest = manifest::SliceManifest::decode(text.as_bytes(), self.place)
                    .expect("a store publishes only valid manifests");
                Done::Published { ok: true }
            }
            Task::Remove { file } => {
                self.files.remove(&file);
                return None;
            }
            Task::Measure { file } => Done::Measured { file, bytes: self.size(file) },
            Task::Read { file, offset, bytes, mut buffer } => {
                self.copy(file, offset, bytes, &mut buffer);
                Done::Read { file, offset, buffer }
            }
            Task::SyncRecovered { .. } => Done::SyncedRecovered,
        })
    }

    fn size(&self, file: File) -> Option<u64> {
        self.files.get(&file).map(|bytes| bytes.len() as u64)
    }

    fn copy(&self, file: File, offset: u64, bytes: usize, into: &mut Vec<u8>) {
        into.clear();
        let ahead =
            self.files.get(&file).and_then(|all| all.get(offset as usize..)).unwrap_or_default();
        into.extend_from_slice(&ahead[..bytes.min(ahead.len())]);
    }
}

impl Source for &RamDisk {
    type Error = Infallible;

    fn size(&mut self, file: File) -> Result<Option<u64>, Infallible> {
        Ok(RamDisk::size(self, file))
    }

    fn read(
        &mut self,
        file: File,
        offset: u64,
        bytes: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Infallible> {
        self.copy(file, offset, bytes, into);
        Ok(())
    }
}
