//! Bounds of the machine, each with its unit and its reason. Limits that a deployment can set are
//! in [`crate::limits`]; limits that the API contract fixes are in [`crate::api`].

/// Requests of one connection that are started in one turn; the rest waits for the next turn.
pub const REQUESTS_PER_TURN: usize = 64;
/// Requests of all connections of a core that are started in one turn: about half a millisecond of
/// small reads.
pub const REQUESTS_PER_CORE_AND_TURN: usize = 1_024;
/// Entries that the slices of a core apply in one turn; each an equal share.
pub const ENTRIES_PER_TURN: usize = 256;
/// Entries that the slices of a core apply in one turn while reads arrive: this bounds how long a
/// read waits for them.
pub const ENTRIES_PER_TURN_WITH_READS: usize = 16;
/// Entries that a slice applies in one turn in any case, if a core has so many slices that they
/// cannot share [`ENTRIES_PER_TURN`].
pub const LEAST_ENTRIES_PER_TURN: usize = 4;
/// Connections that are released in one turn, because their log position has become durable: each
/// may have an answer to send.
pub const RELEASED_PER_TURN: usize = 256;
/// Least bytes that a line counts for in a turn's share of feeds, which is [`TURN_BYTES`]. Lines
/// behind one that cannot be applied yet are parsed again later, and count again.
pub const LINE_COST_BYTES: usize = 256;
/// Time after a read during which more reads are expected, in milliseconds.
pub const READS_EXPECTED_MS: u64 = 100;
/// Reads of one connection that are parsed before the first of them is answered, so that their
/// lookups overlap.
pub const PENDING_READS_PER_CONNECTION: usize = 16;
/// Reads of all connections that are parsed before they are answered: few enough that prefetched
/// lines are still in the cache.
pub const MAX_PENDING_READS: usize = 64;
/// Replies of other cores that one connection may wait for at a time.
pub const MAX_GAPS: usize = 64;

/// Requests that one core may have outstanding at another: more than a core sends in one turn, but
/// few enough to be answered quickly.
pub const CREDITS: u32 = 512;
/// Time without a returned credit after which requests to that core are refused, in milliseconds:
/// longer than a busy machine keeps a thread from running.
pub const CREDIT_TIMEOUT_MS: u64 = 1_000;

/// Bytes of unsent answers above which a connection starts no further request.
pub const OUTPUT_MARK_BYTES: usize = 256 << 10;
/// Bytes of unparsed requests above which a connection stops receiving (backpressure through TCP).
pub const INPUT_MARK_BYTES: usize = 64 << 10;
/// Bytes that may still arrive after a connection was told to stop receiving: all receive buffers
/// of an engine.
pub const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Bytes of unparsed requests above which a connection is closed.
pub const INPUT_HARD_MARK_BYTES: usize = INPUT_MARK_BYTES + RECEIVE_BUFFER_BYTES;
/// Bytes that a lingering connection receives and discards: a whole body, so that the refusal of
/// that body reaches the peer.
pub const LINGER_BYTES: usize = 16 << 20;
/// Time for which a connection lingers, in milliseconds.
pub const LINGER_MS: u64 = 2_000;
/// Time without a request after which a draining core closes a connection, in milliseconds: a
/// client that is busy meanwhile gets its next answer with `connection: close`, and sees no closed
/// connection.
pub const DRAIN_IDLE_MS: u64 = 1_000;
/// Maximum of [`refused_connections`].
pub const REFUSED_CONNECTIONS: usize = 64;

/// Connections above a limit that get a refusal and may linger; any further ones get it and are cut
/// off. There are at most as many as are served, so that they do not take most descriptors.
pub const fn refused_connections(limit: usize) -> usize {
    if limit < 4 {
        4
    } else if limit < REFUSED_CONNECTIONS {
        limit
    } else {
        REFUSED_CONNECTIONS
    }
}
/// Maximum connection limit of a slice: with the refused ones, more than any process has
/// descriptors.
pub const MAX_CONNECTIONS: usize = (1 << 24) - REFUSED_CONNECTIONS;

/// Interval of deadline checks, in milliseconds. Each checks a quarter of the connections, so a
/// deadline is noticed within a second.
pub const TICK_MS: u64 = 250;
/// Groups that connections are divided into for deadline checks.
pub const TICKS: u32 = 4;

/// Size up to which an answer is small, and never refused by the budget, in bytes. Most reads are
/// far below.
pub const LARGE_BYTES: usize = 4 << 10;
/// Work of reads in one turn, in bytes: of large answers that are written, and of rows that are
/// visited for statistics; a quarter of a millisecond. Further ones wait for another turn. Answers
/// to connections, replies to other cores and heavy requests may each take as much, and so may the
/// parsing of feeds.
pub const TURN_BYTES: usize = 128 << 10;
/// Rows that a read may visit at once, in bytes; a read of more is answered in steps.
pub const ROWS_AT_ONCE_BYTES: usize = 64 << 10;
/// Memory of a read that is answered in steps, without a large answer, in bytes: the request, and a
/// small answer.
pub const HEAVY_READ_BYTES: usize = 2 << 10;
/// Maximum bytes that one line of a feed adds to its answer: the longest id, field and detail.
pub const RESULT_BYTES: usize = 448;
/// Bytes reserved for each item of a batch that another core answers: most bodies are smaller.
pub const ITEM_BYTES: usize = 256;
/// Number of reads up to which the answer to a batch is rarely large: such a batch is sent even if
/// nothing can be reserved.
pub const SMALL_BATCH_READS: usize = 16;

/// Maximum bytes of bodies that are being received on one core.
pub const BODIES_BYTES: usize = 256 << 20;
/// Size of a small body, in bytes. The last quarter of the body budget is for small ones, so that
/// slow senders of large bodies delay nobody else.
pub const SMALL_BODY_BYTES: usize = 256 << 10;

/// Size up to which a connection's buffer counts with its contents only, in bytes; there are
/// thousands of connections.
pub const IDLE_BUFFER_BYTES: usize = 4 << 10;
/// Size up to which an idle connection keeps a buffer for a while, in bytes.
pub const KEPT_BUFFER_BYTES: usize = 16 << 10;
/// Time for which an idle connection keeps small buffers, in milliseconds.
pub const BUFFERS_KEPT_MS: u64 = 1_000;
/// Body buffers that a core recycles.
pub const SPARE_BODIES: usize = 8;
/// Capacity in bytes above which a body buffer is freed, not recycled.
pub const SPARE_BODY_BYTES: usize = 256 << 10;
/// Scatter-gathers whose memory a core recycles.
pub const SPARE_SCATTERS: usize = 64;
/// Requests to other cores whose memory a core recycles.
pub const SPARE_REQUESTS: usize = 512;
/// Recycled requests that may keep large buffers.
pub const SPARE_LARGE_REQUESTS: usize = 16;

const _: () = assert!(
    ENTRIES_PER_TURN_WITH_READS <= ENTRIES_PER_TURN,
    "reads make a turn shorter, not longer"
);
const _: () =
    assert!(LARGE_BYTES <= OUTPUT_MARK_BYTES, "one small answer always fits below the mark");
const _: () = assert!(LARGE_BYTES < TURN_BYTES, "a turn's share fits a large answer");
