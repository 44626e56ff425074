//! Purser mirrors a payments platform's committed ledger entries and answers its hottest reads:
//! balances and transaction statistics.
//!
//! # Bird's eye view
//!
//! The platform's own code stays the system of record. It feeds its committed entries in (`POST
//! /v1/entries`); Purser books them per user and answers `GET …/balance`, `GET …/stats` and `POST
//! /v1/batch`. Everything that decides what an answer says is pure: bytes and time come in as
//! values, bytes go out. One room, [`engine`], does the IO: on each core a pinned thread drives it
//! all from one io_uring. A core owns a slice of the users, their log and their memory, and shares
//! nothing; what it needs of another, it asks for.
//!
//! `docs/architecture.md` tells how the parts work together, with drawings, and with the calls of a
//! read and of an entry as they were traced.
//!
//! # The life of a request
//!
//! 1. The kernel puts bytes into a buffer of the core's ring ([`engine::buffers`]), and a
//!    completion names it. The executor hands them to the core's machine ([`engine::executor`],
//!    [`server::machine::Machine::received`]).
//! 2. The machine parses the head where it lies ([`server::requests`], [`http::head`]) and finds
//!    out what is asked ([`api::route`]). A read is left pending ([`server::reads`]), and the
//!    look-up of its user begins.
//! 3. When the turn's bytes are parsed, pending reads are answered ([`server::core`]). The slice
//!    that owns the user gives the user, borrowed, and the log position that the answer shows
//!    ([`slice::Slice::read`]).
//! 4. Head and body are appended to the connection's answers ([`api::reply`], [`http::response`],
//!    [`api::answer`]), marked with that position ([`server::answers`]).
//! 5. At the end of the turn everything that a connection has to say, and may say, leaves in one
//!    send ([`server::machine::Output::Send`]).
//!
//! Where another core owns the user, step 3 is a request ([`server::message::Request`]) that goes
//! there and comes back as the reply, over queues from core to core ([`engine::mesh`]). The answer
//! has kept its place in line ([`server::answers::Answers::gap`]). The owner keeps the reply until
//! what it shows is durable ([`server::owner::Owner::keep_reply`]).
//!
//! The body of a feed is collected first ([`server::body`]). Then its lines are read
//! ([`api::entry`]), judged and booked ([`ledger::user`]) and logged ([`slice::log`]), a bounded
//! number a turn ([`server::feed`]). The answer leaves when the log is durable.
//!
//! # Code map
//!
//! ```text
//! src/lib.rs                this page
//! src/main.rs               the command
//! src/build.rs              which commit it is
//! src/cli/mod.rs            arguments, exit codes
//! src/cli/text.rs           lines that are printed, numbers for people
//! src/cli/progress.rs       how far a long job has come
//! src/cli/serve/mod.rs      purser serve: the order of a start
//! src/cli/serve/signals.rs  SIGTERM, SIGINT
//! src/cli/serve/data.rs     opens the data directory, re-partitions it
//! src/cli/serve/info.rs     what the server says of itself
//! src/cli/serve/announce.rs what is said at a start
//! src/cli/serve/loading.rs  waits until all data is loaded
//! src/cli/serve/farewell.rs what is said at the end
//! src/cli/verify/mod.rs     purser verify
//! src/cli/verify/check.rs   one slice, each user once more
//! src/cli/verify/faults.rs  a fault of the data, or only not to be checked
//! src/cli/verify/report.rs  what is printed of a sound slice
//! src/cli/verify/strays.rs  files that no manifest names
//! src/cli/import/mod.rs     purser import
//! src/cli/import/input.rs   lines of files
//! src/cli/import/item.rs    an entry with its line
//! src/cli/import/sort.rs    runs and merges
//! src/cli/import/judge.rs   entries in order to users
//! src/cli/import/rejected.rs the file of rejected lines
//! src/config/settings.rs     what serve needs
//! src/config/mod.rs         flags and environment to one checked Config
//! src/config/flags.rs       the flags of serve
//! src/config/check.rs       what is refused, filled in and shared out
//! src/config/cpus.rs        lists of CPUs
//! src/calendar.rs           days to dates
//! src/decimal.rs            integers as text
//! src/limits.rs             every limit that can be set
//! src/metrics.rs            plain counters of one core
//! src/prefetch.rs           cache lines that will be read soon
//!
//! src/ledger/mod.rs         money and time in, answers out; the limits of one user
//! src/ledger/amount.rs      currencies, directions, amounts, kinds
//! src/ledger/id.rs          user ids, entry ids, the user hash
//! src/ledger/time.rs        windows, grains, ranges
//! src/ledger/entry.rs       entries and verdicts
//! src/ledger/user.rs        one user: judge and book an entry, balances, statistics
//! src/ledger/holds.rs       open holds
//! src/ledger/recent.rs      remembered entry ids
//! src/ledger/counters.rs    lifetime figures and rows by time
//! src/ledger/rows.rs        a block of packed rows
//! src/ledger/packed.rs      groups, ids and rows of one user in one block of memory
//! src/ledger/varint.rs      LEB128
//! src/ledger/names.rs       kinds, numbered
//! src/ledger/memory.rs      the steps of a look-up, growth
//! src/ledger/image.rs       a user as bytes, and back
//! src/ledger/cursor.rs      bytes that may be anything
//! src/ledger/index.rs       user id to slot
//! src/ledger/book.rs        the users of one slice
//!
//! src/http/mod.rs           HTTP/1.1 as bytes; its limits
//! src/http/head.rs          a request's head
//! src/http/fields.rs        what its header lines mean
//! src/http/request.rs       what they find out
//! src/http/grammar.rs       characters and lists
//! src/http/target.rs        target and query
//! src/http/chunked.rs       chunked bodies
//! src/http/etag.rs          If-None-Match
//! src/http/date.rs          the date line
//! src/http/response.rs      answers' heads
//!
//! src/api/mod.rs            the contract; its limits
//! src/api/route.rs          a head to what it asks
//! src/api/read.rs           a read of one user
//! src/api/json.rs           strict JSON, in place
//! src/api/entry.rs          a line to an entry
//! src/api/batch.rs          a body to reads
//! src/api/answer.rs         bodies of answers
//! src/api/problem.rs        every refusal, in one table
//! src/api/verdicts.rs       the answer to a feed
//! src/api/reply.rs          whole responses
//! src/api/info.rs           what a server says of itself
//!
//! src/journal/mod.rs        what is on disk, and the names of its files
//! src/journal/frame.rs      the unit of everything binary
//! src/journal/parts.rs      what payloads are made of
//! src/journal/record.rs     an accepted entry
//! src/journal/segment.rs    a file of the log
//! src/journal/snapshot.rs   all users of a slice
//! src/journal/manifest.rs   which files count
//!
//! src/slice/mod.rs          one owner: read, apply, durable
//! src/slice/disk.rs         what is asked of a disk
//! src/slice/log.rs          the log: group commit, segments
//! src/slice/framing.rs      the frames of a snapshot
//! src/slice/snapshot.rs     the scan that writes one beside serving
//! src/slice/offline.rs      the writer of one that serves nobody
//! src/slice/repartition.rs  another number of slices
//! src/slice/store.rs        log, snapshots, manifest
//! src/slice/recovery.rs     from disk to a slice that serves
//! src/slice/reader.rs       a file's frames, read ahead
//! src/slice/source.rs       recovery from a disk that answers at once
//!
//! src/server/mod.rs            the machine of one core; map of the room
//! src/server/machine.rs        events in, outputs out: the contract with a driver
//! src/server/core.rs           the machine that ships; the order of a turn
//! src/server/shared.rs         what connections share
//! src/server/connections.rs    the connections, by slot
//! src/server/connection.rs     one of them: its state
//! src/server/requests.rs       bytes to requests
//! src/server/body.rs           a body that is received
//! src/server/fragments.rs      the parts of a scatter-gather
//! src/server/reads.rs          reads that are to be answered
//! src/server/progress.rs       what is waited for
//! src/server/feed.rs           a body of entries, step by step
//! src/server/scatter.rs        a request to several cores
//! src/server/exchange.rs       requests between cores, credits
//! src/server/message.rs        what travels between cores
//! src/server/owner.rs          a slice: recovery, then its store
//! src/server/topology.rs       who owns a user
//! src/server/lifecycle.rs      loading, serving, draining, at rest
//! src/server/answers.rs        answers that wait to leave
//! src/server/budget.rs         bounded memory
//! src/server/limits.rs         every bound of the room
//! src/server/planted.rs        faults that tests plant
//!
//! src/engine/mod.rs         the event loop and what it needs
//! src/engine/cores.rs       all of them: start, watch, end
//! src/engine/op.rs          what a completion belongs to
//! src/engine/executor.rs       the thread of one core
//! src/engine/listening.rs      listeners
//! src/engine/sockets.rs        what the kernel is owed
//! src/engine/ring.rs        the io_uring
//! src/engine/buffers.rs     receive buffers
//! src/engine/net.rs         listeners
//! src/engine/directory.rs   the data directory, its lock
//! src/engine/storage.rs     the disk of one slice
//! src/engine/files.rs       its files, for those who can wait
//! src/engine/snapshot.rs    users to a snapshot, offline
//! src/engine/repartition.rs another number of slices, on real files
//! src/engine/arena.rs       a core's memory
//! src/engine/mesh.rs        the cores, as one of them reaches the others
//! src/engine/queue.rs       SPSC queue between two cores
//! src/engine/parking.rs     park and wake
//! src/engine/padding.rs     values on cache lines of their own
//! src/engine/sync.rs        atomics
//! src/engine/control.rs     drain and stop
//! src/engine/affinity.rs    pinning threads to CPUs
//! src/engine/priority.rs    threads beside the cores
//! src/engine/memory_limit.rs the machine's or the cgroup's
//! src/engine/descriptors.rs limit of open descriptors
//! src/engine/stack.rs       a core thread's stack, prefaulted
//! src/engine/probe.rs       what the kernel offers
//! ```
//!
//! # Invariants
//!
//! - Arrows point one way. `calendar`, `decimal`, `limits`, `metrics` and `prefetch` are leaves,
//!   which import nothing of ours and which all may import. `ledger` and `http` import only leaves;
//!   `api` → `http`, `ledger`; `journal` → `ledger`; `slice` → `journal`, `ledger`; `server` →
//!   `api`, `http`, `slice`, `journal`, `ledger`; `engine` → `server`, `slice`, `journal`,
//!   `ledger`; `config`, `cli` → everything; nobody → `cli`. A re-export is an import, and no files
//!   import each other in a circle. No call goes up.
//! - `unsafe` is in `engine` and `prefetch`; io_uring and clocks are in `engine`, threads in
//!   `engine` and `cli`. No pure room reads a clock, a file or a random number.
//! - Every decision of a core is its machine's ([`server`]), and every driver drives the same one.
//! - Money is `i64` minor units, and every sum is checked. There is no float in `ledger`.
//! - A refused entry changes nothing. An accepted entry raises its user's version by one.
//! - No answer leaves before the log position that it shows is durable: asserted where it is frozen
//!   for sending, and where it goes to another core.
//! - No core waits for room at another: without a credit nothing is asked, and a reply always finds
//!   room.
//! - Every limit has a name, a unit and a reason, where it is enforced.

pub mod ledger;

pub mod http;

pub mod api;

pub mod journal;

pub mod slice;

pub mod server;

pub mod calendar;

pub mod decimal;

pub mod limits;

pub mod metrics;

pub mod prefetch;

pub mod engine;

pub mod config;

pub mod cli;
