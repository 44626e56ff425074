//! Every bound of the machine, with its unit and its reason. What a deployment can set is in
//! [`crate::limits`]; what the contract fixes is in [`crate::api`].

/// Requests of one connection that are answered in one turn; the rest waits for the next.
pub const REQUESTS_PER_TURN: usize = 64;
/// Entries that a slice applies in one turn.
pub const ENTRIES_PER_TURN: usize = 256;
/// Entries that a slice applies in one turn while reads come in: the time of a read's wait.
pub const ENTRIES_AMONG_READS: usize = 16;
/// Time after a read in which more reads are expected, in milliseconds.
pub const READS_EXPECTED_MS: u64 = 100;
/// Reads of one connection that are parsed before the first of them is answered: their look-ups
/// overlap.
pub const READS_TOGETHER: usize = 16;
/// Reads of all connections that are parsed before they are answered: what was prefetched is still
/// in the cache.
pub const READS_PENDING: usize = 64;
/// Replies of other cores that one connection waits for at a time.
pub const GAPS: usize = 64;

/// Requests that one core has at another: more than a turn makes, few enough that all of them wait
/// a moment only.
pub const CREDITS: u32 = 512;
/// Time for which a core may have no credit at another before requests to that core are refused, in
/// milliseconds: longer than a busy machine keeps a thread from running.
pub const PATIENCE_MS: u64 = 1_000;

/// Bytes of unsent answers above which a connection starts no further request.
pub const OUT_MARK_BYTES: usize = 256 << 10;
/// Bytes of requests that a connection keeps while it cannot work on them; above it, it stops
/// receiving.
pub const KEPT_BYTES: usize = 64 << 10;
/// Bytes that may still come after a connection was told to stop receiving: every receive buffer of
/// an engine.
pub const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Bytes of requests that a connection keeps at all; beyond it, it is closed.
pub const KEPT_HARD_BYTES: usize = KEPT_BYTES + RECEIVE_BUFFER_BYTES;
/// Bytes that a closing connection may still send: a whole body, so that the refusal of that body
/// arrives.
pub const LINGER_BYTES: usize = 16 << 20;
/// Time in which a closing connection may still send, in milliseconds.
pub const LINGER_MS: u64 = 2_000;
/// Connections above the limit that are refused in good order; more are told and cut off.
pub const REFUSED_CONNECTIONS: usize = 64;
/// Connections that a slice may be allowed, with those that are refused: more than any process has
/// descriptors.
pub const MOST_CONNECTIONS: usize = (1 << 24) - REFUSED_CONNECTIONS;

/// Interval at which deadlines are checked, in milliseconds: each time a quarter of the
/// connections, so that a deadline is noticed within a second.
pub const TICK_MS: u64 = 250;
/// Parts in which the connections are checked.
pub const TICKS: u32 = 4;

/// Bytes of an answer that is always given: most reads are far below it.
pub const LARGE_BYTES: usize = 4 << 10;
/// Bytes of the largest answer: a thousand statistics of 256 groups, each about 205 bytes.
pub const LARGEST_BYTES: usize = 64 << 20;
/// Bytes of large answers that are written in one turn; beyond it, the next ones wait for another
/// turn.
pub const LARGE_BYTES_PER_TURN: usize = 256 << 10;
/// Bytes that a line of a feed adds to its answer at most.
pub const RESULT_BYTES: usize = 320;
/// Bytes reserved for the body of a read in a batch that another core answers: most are below it.
pub const ITEM_BYTES: usize = 256;
/// Reads of a batch whose answer is hardly large: they are asked for even if nothing can be
/// reserved.
pub const SMALL_BATCH_READS: usize = 16;

/// Bytes of bodies that are being received on one core, at most.
pub const BODIES_BYTES: usize = 256 << 20;
/// Bytes of a small body: the last quarter of the budget is for these, so that slow senders of
/// large ones delay nobody else.
pub const SMALL_BODY_BYTES: usize = 256 << 10;

/// Bytes of a buffer that an idle connection keeps; there are thousands of connections.
pub const IDLE_BUFFER_BYTES: usize = 16 << 10;
/// Buffers of finished bodies that a core keeps for the next ones.
pub const SPARE_BODIES: usize = 8;
/// Bytes of a body's buffer above which it goes back to the allocator.
pub const SPARE_BODY_BYTES: usize = 1 << 20;
/// Scatter-gathers whose memory a core keeps for the next ones.
pub const SPARE_SCATTERS: usize = 64;
/// Requests to other cores whose memory a core keeps for the next ones.
pub const SPARE_REQUESTS: usize = 1_024;
/// Of these, requests that keep the memory of a large reply.
pub const SPARE_LARGE_REQUESTS: usize = 64;

const _: () =
    assert!(ENTRIES_AMONG_READS <= ENTRIES_PER_TURN, "reads make a turn shorter, not longer");
const _: () = assert!(LARGE_BYTES <= OUT_MARK_BYTES, "one small answer always fits below the mark");
const _: () = assert!(LARGE_BYTES < LARGE_BYTES_PER_TURN, "a turn has room for a large answer");
