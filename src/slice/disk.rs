//! What a slice asks of its disk, and what it hears back. The engine does it with the kernel, a simulation with faults.

use crate::journal::File;
use crate::journal::frame::Block;

/// Something to be done. Tasks may be done at the same time, but for [`Task::Publish`]: those are done in order.
#[derive(Debug)]
pub enum Task {
    /// Write a sealed frame. When it is done and the file is a segment, the bytes are on stable storage.
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
        /// A segment of that size that is no longer needed: to be renamed, its contents left as they are.
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
    /// Replace the slice's manifest, so that after a crash at any time there is either the old or the new one, and when it is done the new one.
    Publish {
        /// The new one.
        text: String,
    },
    /// Remove a file that nothing names any more. Nobody waits for it.
    Remove {
        /// Which.
        file: File,
    },
}

/// What was done. A failed write to a segment, and a failed publication, end the process: they are never reported here.
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
        /// If it is there, buffers for its frames, as many as whoever made it likes: see [`super::snapshot::BUFFERS`].
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
}
