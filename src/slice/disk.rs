//! What a slice asks of its disk, and what it hears back. The engine does it with the kernel, a
//! simulation with faults.

use crate::journal::frame::Block;
use crate::journal::{File, manifest};

/// Something to be done. Tasks may be done at the same time, but for [`Task::Publish`]: those are
/// done in order.
#[derive(Debug)]
pub enum Task {
    /// Write a sealed frame. When it is done and the file is a segment, the bytes are on stable
    /// storage.
    Write {
        /// Where to.
        file: File,
        /// A multiple of the frame's alignment.
        offset: u64,
        /// What.
        block: Block,
    },
    /// Make a segment ready: every byte of it written once, its name on stable storage.
    Prepare {
        /// Its number.
        segment: u64,
        /// Its size.
        bytes: u64,
        /// A segment of that size that is no longer needed: to be renamed, its contents left as
        /// they are.
        from: Option<u64>,
    },
    /// Make an empty file for a snapshot.
    Create {
        /// Its number.
        snapshot: u64,
    },
    /// Bring a snapshot to stable storage, and its name.
    Sync {
        /// Its number.
        snapshot: u64,
    },
    /// Replace the slice's manifest, so that after a crash at any time there is either the old or
    /// the new one, and when it is done the new one.
    Publish {
        /// The new one.
        text: String,
    },
    /// Remove a file that nothing names any more. Nobody waits for it.
    Remove {
        /// Which.
        file: File,
    },
    /// Tell how large a file is.
    Measure {
        /// Which.
        file: File,
    },
    /// Read a part of a file, from wherever it is fastest to be had.
    Read {
        /// Which.
        file: File,
        /// Where the part begins.
        offset: u64,
        /// How large it is.
        bytes: usize,
        /// Where to: whatever it holds is replaced.
        buffer: Vec<u8>,
    },
    /// Bring what a start has read to stable storage, before anything is built on it: a process
    /// that was killed may have left on their way the last write of a segment, and the name of a
    /// manifest. Then remove what the manifest does not name: nothing, if there is anything that no
    /// crash leaves.
    Settle {
        /// The segment with the end of the log; 0 if there is none.
        segment: u64,
        /// The manifest.
        manifest: manifest::Slice,
    },
}

/// What was done. A failed write to a segment, a failed publication, and whatever fails of what a
/// start asks, end the process: they are never reported here.
#[derive(Debug)]
pub enum Done {
    /// A frame was written; the block comes back.
    Written {
        /// Where to.
        file: File,
        /// The frame.
        block: Block,
        /// Whether it was; always, for a segment.
        ok: bool,
    },
    /// A segment is ready, or could not be made.
    Prepared {
        /// Its number.
        segment: u64,
        /// Whether it is ready.
        ok: bool,
    },
    /// A snapshot's file was made, or could not be.
    Created {
        /// Its number.
        snapshot: u64,
        /// If it is there, buffers for its frames, as many as whoever made it likes: see
        /// [`super::snapshot::BUFFERS`].
        buffers: Option<Vec<Block>>,
    },
    /// A snapshot is on stable storage, or could not be brought there.
    Synced {
        /// Its number.
        snapshot: u64,
        /// Whether it is there.
        ok: bool,
    },
    /// The oldest publication that was asked for is done.
    Published,
    /// A file was measured.
    Measured {
        /// Which.
        file: File,
        /// Its size; `None` if it is not there.
        bytes: Option<u64>,
    },
    /// A part of a file was read.
    Read {
        /// Which.
        file: File,
        /// Where the part begins.
        offset: u64,
        /// The buffer comes back with the part: with less than was asked for only where the file
        /// ends.
        buffer: Vec<u8>,
    },
    /// What was read is on stable storage, and what nothing names is gone.
    Settled,
}
