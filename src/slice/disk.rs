//! Disk tasks of a slice: what it asks of its disk, and the completions that it gets back.
//!
//! The engine performs tasks on real files; the simulation performs them with injected faults.

use crate::journal::frame::FrameBuffer;
use crate::journal::{File, manifest};

/// A disk task. Tasks may run concurrently, except [`Task::Publish`]: publications take effect in
/// the order in which they were asked for.
#[derive(Debug)]
pub enum Task {
    /// Write a sealed frame. When a write to a segment is done, its bytes are on stable storage.
    Write {
        /// Target file.
        file: File,
        /// Byte offset: a multiple of the frame's alignment.
        offset: u64,
        /// The sealed frame.
        block: FrameBuffer,
    },
    /// Preallocate a segment. When done, every byte of it was written once and its name is on
    /// stable storage.
    Prepare {
        /// Number of the new segment.
        segment: u64,
        /// Its size in bytes.
        bytes: u64,
        /// A segment of the same size that is no longer needed, to be recycled: it is renamed and
        /// keeps its contents.
        from: Option<u64>,
    },
    /// Create an empty snapshot file.
    Create {
        /// Number of the snapshot.
        snapshot: u64,
    },
    /// Bring a snapshot's contents and its name to stable storage.
    Sync {
        /// Number of the snapshot.
        snapshot: u64,
    },
    /// Replace the slice's manifest atomically. After a crash at any time there is either the old
    /// or the new manifest; when done, it is the new one. When it could not be done for want of
    /// space, it is either.
    Publish {
        /// Text of the new manifest.
        text: String,
    },
    /// Remove a file that the manifest no longer names. No completion is reported; the disk tries
    /// again what failed.
    Remove {
        /// The file.
        file: File,
    },
    /// Report the size of a file.
    Measure {
        /// The file.
        file: File,
    },
    /// Read a range of a file, from wherever that is fastest.
    Read {
        /// The file.
        file: File,
        /// Byte offset of the range.
        offset: u64,
        /// Its length.
        bytes: usize,
        /// Receives the bytes; its previous contents are replaced.
        buffer: Vec<u8>,
    },
    /// Bring to stable storage what a start has read, before anything is built on it: a process
    /// that was killed may have left the last write of a segment, or the name of a manifest, not
    /// yet durable. Then remove the files that the manifest does not name. If one of them is a file
    /// that no crash leaves, remove nothing.
    SyncRecovered {
        /// The segment with the end of the log; 0 if there is none.
        segment: u64,
        /// The manifest that recovery read.
        manifest: manifest::SliceManifest,
    },
}

/// Completion of a task. A write to a segment or a publication is reported as failed only for want
/// of space; any other failure of these, and any failed task of a start, ends the process.
#[derive(Debug)]
pub enum Done {
    /// A frame was written, or could not be; its block comes back.
    Written {
        /// Target file.
        file: File,
        /// The frame's block.
        block: FrameBuffer,
        /// Whether the write succeeded. After a failed write to a segment, the file holds any part
        /// of the frame, and the same write can be asked for again.
        ok: bool,
    },
    /// A segment was preallocated, or could not be.
    Prepared {
        /// Number of the segment.
        segment: u64,
        /// Salt of its writes if it is ready for them, else `None`: a number that nobody can
        /// predict, drawn for this use of the file, and not [`crate::journal::frame::NO_SALT`].
        salt: Option<u64>,
    },
    /// A snapshot's file was created, or could not be.
    Created {
        /// Number of the snapshot.
        snapshot: u64,
        /// Buffers for the snapshot's frames if the file was created, else `None`. The disk chooses
        /// how many: see [`super::snapshot::BUFFERS`].
        buffers: Option<Vec<FrameBuffer>>,
    },
    /// A snapshot is on stable storage, or could not be brought there.
    Synced {
        /// Number of the snapshot.
        snapshot: u64,
        /// Whether it is on stable storage.
        ok: bool,
    },
    /// The oldest publication that was asked for and not yet reported is done, or could not be.
    Published {
        /// Whether the manifest is on stable storage.
        ok: bool,
    },
    /// The size of a file is known.
    Measured {
        /// The file.
        file: File,
        /// Its size in bytes; `None` if the file does not exist.
        bytes: Option<u64>,
    },
    /// A range of a file was read.
    Read {
        /// The file.
        file: File,
        /// Byte offset of the range.
        offset: u64,
        /// The bytes. They are fewer than were asked for only where the file ends.
        buffer: Vec<u8>,
    },
    /// What the start read is on stable storage, and files that the manifest does not name are
    /// removed.
    SyncedRecovered,
}
