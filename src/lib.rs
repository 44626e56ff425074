//! Purser is a read server for wallet balances and transaction statistics. It mirrors the committed
//! ledger entries of a payments platform and answers the platform's hottest reads.
//!
//! # Bird's eye view
//!
//! The platform stays the system of record. It posts its committed entries to Purser (`POST
//! /v1/entries`). Purser books them per user and answers `GET …/balance`, `GET …/stats` and `POST
//! /v1/batch`.
//!
//! The users are divided into slices by a hash of the user id. A core is one thread pinned to a
//! CPU; it owns one or more slices, with their users, statistics, write-ahead log and snapshots.
//! Cores share no mutable state. A core that needs a user of another core sends it a message.
//!
//! Everything that determines an answer is pure: bytes and time are passed in as values, and bytes
//! come out. One module, [`engine`], does the IO of a server.
//!
//! `docs/architecture.md` explains how the modules work together, with drawings and with traced
//! calls of a read and of an entry.
//!
//! # Threads
//!
//! A server has these threads; one that stores nothing on disk has no disk workers:
//!
//! - `core-N`, one per core, pinned: the core's event loop. It does all socket IO of the core
//!   through one io_uring, exchanges messages with other cores, and has its slices' users to
//!   itself.
//! - `log-S`, one per slice: disk worker for the reads of a start, then for synchronous log writes.
//! - `segments-S`, one per slice: disk worker that prepares segments, publishes manifests and
//!   removes files.
//! - `snapshots-S`, one per slice: disk worker that writes snapshots.
//! - `memory`, one per core with an arena: prefault thread that touches the core's memory before it
//!   is needed.
//! - `signals`: turns SIGTERM and SIGINT into lame duck, drain and stop; `drain-delay` ends the
//!   lame duck.
//! - `watch`: watchdog that aborts the process if a core begins no turn for too long.
//! - The main thread: opens the data directory, starts the cores and waits for them.
//!
//! Disk workers and the prefault thread exist because their work may block, and a core must not.
//! `segments-S`, `snapshots-S` and `memory` run at a lower priority, on CPUs without a core if
//! there are any.
//!
//! # The life of a request
//!
//! 1. The kernel writes received bytes into a provided buffer of the core's ring
//!    ([`engine::buffers`]) and posts a completion. The executor passes the bytes to the core's
//!    machine ([`engine::executor`], [`server::machine::Machine::received`]).
//! 2. The machine parses the head in place ([`server::requests`], [`http::head`]) and routes it
//!    ([`api::route`]). A read is left pending ([`server::reads`]), and the lookup of its user is
//!    started by a prefetch.
//! 3. When the received bytes of the turn are parsed, the pending reads are answered
//!    ([`server::core`]). The owning slice returns the user, borrowed, and the log position that
//!    the answer shows ([`slice::Slice::view`]).
//! 4. Head and body are appended to the connection's answers ([`api::reply`], [`http::response`],
//!    [`api::answer`]), and marked with that log position ([`server::answers`]).
//! 5. At the end of the turn, every connection sends all answers that may be sent with one send
//!    ([`server::machine::Output::Send`]).
//!
//! If another core owns the user, step 3 sends a request ([`server::message::Request`]) to that
//! core over the queues between cores ([`engine::mesh`]), and the reply comes back the same way.
//! Meanwhile a gap keeps the answer's place in the answer order
//! ([`server::answers::Answers::gap`]). The owner holds the reply back until the log position that
//! it shows is durable ([`server::owner::Owner::delay_reply`]).
//!
//! The body of a feed is received completely first ([`server::body`]). Then its lines are parsed
//! ([`api::entry`]), judged and booked ([`ledger::user`]) and logged ([`slice::log`]), a bounded
//! number per turn ([`server::feed`]). The answer is sent when the log is durable.
//!
//! # Glossary
//!
//! - **admission, shed, refuse**: above a bound, a request is refused with 503; above the ledger's
//!   memory limit, new entries are refused.
//! - **answer**: the HTTP response to a client. A *reply* is between cores.
//! - **backpressure**: a connection that cannot proceed stops receiving, so TCP slows its peer;
//!   entries wait while too many records wait to be written.
//! - **bucket**: the time unit of statistics: 15 minutes, an hour or a day.
//! - **budget**: a bound on a core's memory for answers or bodies. Bytes are *reserved* before and
//!   *released* after use; an answer *fits* or is refused.
//! - **core**: a thread pinned to a CPU, with its ring, connections and slices. Never a slice.
//! - **credit**: the right to have one more request outstanding at another core.
//! - **dedup window**: the 24 hours before a user's latest entry, or less for a busy user, in which
//!   a repeated entry id is noticed. An entry before it is *late*. A *fingerprint* is the hash by
//!   which an id or an entry is remembered.
//! - **lame duck**: a server that wants no new clients, and says so on `/readyz` only. **Drain**:
//!   no new connections, and each open one is closed with its last answer. **Shutdown**: a socket's
//!   sending side is closed, or the process ends. A core is *at rest* when it drains, has no
//!   connections and has no requests outstanding.
//! - **entry**: a ledger entry that the platform has committed: a post, a hold, a settlement or a
//!   void. The *verdict* on it is accepted, duplicate or rejected.
//! - **feed**: a `POST /v1/entries`, with one entry per line.
//! - **generation**: all slices of a data directory for one number of slices; re-partitioning
//!   writes a new one.
//! - **hold**: money on a balance that is held until it is settled or voided. Never memory or
//!   backpressure.
//! - **kind**: a word of the platform for the type of an entry, such as `topup`. Statistics are
//!   grouped by it.
//! - **log position (LSN)**: the number of a write in a slice's log. An answer *shows* the position
//!   of its user's last record that is not durable yet. A *waiter* is a connection that waits for
//!   an LSN to become durable.
//! - **machine, driver**: a machine is the pure state machine of a core; a driver runs it: the
//!   engine, a simulator, or a rival engine of the benches.
//! - **manifest**: a small file that names the current snapshot and segments of a slice, or the
//!   current generation of a data directory.
//! - **park, unpark, wake, spin**: an idle core parks (sleeps in the kernel); another thread wakes
//!   it, and it unparks. Before it parks, a core that expects replies spins for a moment.
//! - **prefetch**: loads cache lines before they are read. **Prefault**: touches memory pages
//!   before they are used.
//! - **recovery**: loading a slice at a start: its snapshot, then the log from there on. A **torn
//!   write** is an incomplete write at the end of the log, left by a crash; it was never
//!   acknowledged and is cut off.
//! - **request, reply**: a message from one core to another, and its answer. **Scatter-gather**: a
//!   client request that is split over several cores, and whose replies are merged.
//! - **salt**: a random number in each write of a segment, new for each use of the file. Bytes that
//!   a client chose do not have it, so they are not mistaken for a write.
//! - **slice**: the owner of 1/n of the users, with their log and snapshots. Several slices may
//!   share a core.
//! - **slot**: a small, dense number: of a connection on its core (reused), or of a user in its
//!   slice.
//! - **snapshot**: a file with all users of a slice.
//! - **token**: what the engine attaches to an operation and gets back with its completion
//!   (`user_data`).
//! - **turn**: one iteration of a core's event loop.
//! - **write-ahead log (WAL), segment, record, group commit**: every accepted entry becomes a
//!   *record* in its slice's log, before its answer is sent. The log is a sequence of files, the
//!   *segments*. *Group commit* writes all records that were collected during one write with the
//!   next one.
//!
//! # Code map
//!
//! ```text
//! src/lib.rs                 this page
//! src/main.rs                the `purser` command; sets the allocator
//! src/build.rs               build script: the commit that the program is built from
//! src/decimal.rs             integers as decimal text
//! src/limits.rs              limits that a deployment can set
//! src/metrics.rs             plain counters of one core, without atomics
//! src/prefetch.rs            prefetch of cache lines
//!
//! src/cli/mod.rs             command line: commands, exit codes
//! src/cli/text.rs            output lines, and numbers for people
//! src/cli/progress.rs        progress display of long jobs
//! src/cli/serve/mod.rs       `purser serve`: the order of a start
//! src/cli/serve/signals.rs   signal thread: SIGTERM and SIGINT to lame duck, drain and stop
//! src/cli/serve/data.rs      opens the data directory, re-partitions it
//! src/cli/serve/info.rs      the static part of `/v1/info`
//! src/cli/serve/announce.rs  start-up messages
//! src/cli/serve/loading.rs   waits until all data is loaded
//! src/cli/serve/logging.rs   log: lines on standard error that nobody waits for
//! src/cli/serve/summary.rs  final summary
//! src/cli/export.rs          `purser export`: one user as JSON
//! src/cli/verify/mod.rs      `purser verify`
//! src/cli/verify/check.rs    checks one slice: recovery, then each user's image
//! src/cli/verify/faults.rs   faults of the data, as against errors of the check
//! src/cli/verify/report.rs   report on a sound slice
//! src/cli/verify/unused_files.rs files that no manifest names
//! src/cli/import/mod.rs      `purser import`
//! src/cli/import/input.rs    lines of input files
//! src/cli/import/item.rs     the record that is sorted: an entry with its line
//! src/cli/import/sort.rs     external merge sort
//! src/cli/import/judge.rs    sorted entries to users
//! src/cli/import/rejected.rs file of rejected lines
//!
//! src/config/mod.rs          flags and environment to one checked `Config`
//! src/config/flags.rs        flags of `serve`
//! src/config/settings.rs     the checked `Config`
//! src/config/check.rs        validation and defaults
//! src/config/memory.rs       shares of the memory limit
//! src/config/cpus.rs         CPU lists
//! src/config/boolean.rs      values of boolean variables
//! src/config/descriptors.rs  shares of the limit of open descriptors
//!
//! src/ledger/mod.rs          the ledger; limits of one user
//! src/ledger/amount.rs       currencies, directions, amounts
//! src/ledger/id.rs           user ids, entry ids, the user hash
//! src/ledger/time.rs         time, buckets, windows and ranges of statistics
//! src/ledger/entry.rs        entries and verdicts
//! src/ledger/user.rs         one user: books entries, answers queries
//! src/ledger/balance.rs      balance of a user in one currency
//! src/ledger/judge.rs        the checks of an entry, and its effect
//! src/ledger/effect.rs       effect of a judged entry
//! src/ledger/holds.rs        open holds of one user
//! src/ledger/window.rs       dedup window of one user
//! src/ledger/recent.rs       remembered entry ids of one user
//! src/ledger/fingerprint.rs  what is remembered of an entry: 16 bytes
//! src/ledger/tables.rs       hash tables of a user with many remembered ids
//! src/ledger/secret.rs       secret that keys hash tables
//! src/ledger/counters.rs     statistics of one user: lifetime and by bucket
//! src/ledger/rows.rs         a block of packed statistics rows
//! src/ledger/packed.rs       groups, ids and rows of a small user in one memory block
//! src/ledger/varint.rs       LEB128 integers
//! src/ledger/names.rs        numbering of kinds
//! src/ledger/memory.rs       prefetch steps of a user lookup; block sizes
//! src/ledger/image.rs        a user as bytes, and back
//! src/ledger/cursor.rs       reader of untrusted bytes
//! src/ledger/texts.rs        texts of user ids
//! src/ledger/index.rs        user id to slot: extendible hashing
//! src/ledger/book.rs         the users of one slice
//!
//! src/http/mod.rs            HTTP/1.1 over bytes; its limits
//! src/http/head.rs           parser of a request head
//! src/http/fields.rs         rules for header lines
//! src/http/reread.rs         second reading of a head that is refused
//! src/http/request.rs        a parsed request head
//! src/http/grammar.rs        character classes and lists of RFC 9110
//! src/http/target.rs         request target, query, path escapes
//! src/http/chunked.rs        decoder of chunked bodies
//! src/http/etag.rs           `If-Match` and `If-None-Match`
//! src/http/date.rs           the `date` header
//! src/http/response.rs       response heads
//!
//! src/api/mod.rs             the API contract; its limits
//! src/api/route.rs           request head to API request
//! src/api/read.rs            a read of one user
//! src/api/json.rs            strict JSON reader, in place
//! src/api/entry.rs           a feed line to an entry
//! src/api/batch.rs           a batch body to reads
//! src/api/answer.rs          bodies of answers
//! src/api/problem.rs         every refusal, in one table
//! src/api/verdicts.rs        the answer to a feed
//! src/api/reply.rs           whole responses
//! src/api/info.rs            the answer to `/v1/info`
//!
//! src/journal/mod.rs         on-disk formats, and file names
//! src/journal/frame.rs       checksummed frame: the unit of all binary files
//! src/journal/fields.rs      fields of frame payloads
//! src/journal/record.rs      log record: an accepted entry
//! src/journal/segment.rs     log segment: header
//! src/journal/snapshot.rs    snapshot file: its frames
//! src/journal/manifest.rs    manifests: which files are current
//!
//! src/slice/mod.rs           one slice: reads, applies entries, waiters for the log
//! src/slice/disk.rs          disk tasks and their completions
//! src/slice/log.rs           write-ahead log: group commit, segments
//! src/slice/framing.rs       frame order of a snapshot
//! src/slice/snapshot.rs      snapshot scan while serving
//! src/slice/offline.rs       snapshot writer for a slice that is not serving
//! src/slice/repartition.rs   re-partition to another number of slices
//! src/slice/store.rs         log, snapshots and manifest of one slice
//! src/slice/recovery.rs      recovery: snapshot, then log
//! src/slice/loader.rs        loads the users of a snapshot
//! src/slice/reader.rs        read-ahead reader of a file's frames
//! src/slice/source.rs        recovery from a synchronous disk
//!
//! src/server/mod.rs          the machine of one core; map of this module
//! src/server/machine.rs      contract with the driver: events and outputs
//! src/server/core.rs         the machine that ships; the order of a turn
//! src/server/shared.rs       state that the connections of a core share
//! src/server/connections.rs  connections of a core, by slot
//! src/server/connection.rs   one connection's state machine
//! src/server/refusals.rs     refusals that end a connection
//! src/server/requests.rs     received bytes to requests
//! src/server/body.rs         receiving a body
//! src/server/send_clock.rs   the time that a peer has to take its answers
//! src/server/fragments.rs    per-core fragments of a scatter-gather
//! src/server/reads.rs        pending reads
//! src/server/progress.rs     what a connection waits for
//! src/server/feed.rs         applies a body of entries in steps
//! src/server/heavy.rs        requests whose work is spread over turns
//! src/server/answering.rs   reads of a connection: at once, in steps, or by another core
//! src/server/gathering.rs    batches and info requests of a connection
//! src/server/scatter.rs      scatter-gather over several cores
//! src/server/exchange.rs     requests between cores, credits
//! src/server/message.rs      messages between cores
//! src/server/owner.rs        owner of one slice: recovery, store, queues
//! src/server/topology.rs     which core and slice owns a user
//! src/server/lifecycle.rs    loading, serving, draining, at rest
//! src/server/answers.rs      rendered answers that wait to be sent
//! src/server/budget.rs       bounded memory
//! src/server/limits.rs       bounds of this module
//! src/server/planted_bug.rs  bugs that tests plant
//!
//! src/engine/mod.rs          the engine: runs machines on io_uring and threads
//! src/engine/cores.rs        all cores: start, watchdog, end
//! src/engine/op.rs           operation token in a completion's `user_data`
//! src/engine/executor.rs     the thread of one core: its event loop
//! src/engine/file_system.rs  file system: shortages, copy on write
//! src/engine/listening.rs    a core's listeners and their accepts
//! src/engine/sockets.rs      a core's sockets and their outstanding operations
//! src/engine/ring.rs         the io_uring of a core
//! src/engine/buffers.rs      provided receive buffers
//! src/engine/net.rs          ports and listening sockets
//! src/engine/directory.rs    data directory, its lock
//! src/engine/storage.rs      disk worker threads of one slice
//! src/engine/files.rs        synchronous file access of a slice
//! src/engine/generation.rs   new generation beside the current one
//! src/engine/snapshot.rs     offline snapshot to a file
//! src/engine/repartition.rs  re-partition on real files
//! src/engine/arena.rs        memory arena of a core; its prefault thread
//! src/engine/mesh.rs         queues from each core to each other
//! src/engine/queue.rs        SPSC queue between two cores
//! src/engine/random.rs       salts and secrets
//! src/engine/parking.rs      park and wake
//! src/engine/sync.rs         atomics, replaceable by a model checker
//! src/engine/control.rs      drain, stop and wake commands to a core
//! src/engine/affinity.rs     pinning threads to CPUs
//! src/engine/priority.rs     CPUs and priority of threads beside the cores
//! src/engine/mimalloc.rs     options of mimalloc
//! src/engine/memory_limit.rs memory limit of the machine or cgroup, address space
//! src/engine/descriptors.rs  limit of open descriptors
//! src/engine/stack.rs        prefaults a core thread's stack
//! src/engine/probe.rs        checks which kernel features are present
//! ```
//!
//! # Invariants
//!
//! - Dependencies point one way. `decimal`, `limits`, `metrics` and `prefetch` are leaves: they
//!   import no other module, and every module may import them. `ledger` and `http` import only
//!   leaves; `api` → `http`, `ledger`; `journal` → `ledger`; `slice` → `journal`, `ledger`;
//!   `server` → `api`, `http`, `slice`, `journal`, `ledger`; `engine` → `server`, `slice`,
//!   `journal`, `ledger`; `config` → everything but `cli`; `cli` → everything; only `main` → `cli`.
//!   A re-export counts as an import. Files do not import each other in a cycle. No call goes
//!   against an arrow.
//! - `unsafe` is in `engine` and `prefetch`, io_uring in `engine`; clocks, files and threads are in
//!   `engine` and `cli`. No pure module reads a clock, a file or a random number.
//! - Every decision of a core is made by its machine ([`server`]), and every driver runs the same
//!   machine.
//! - Money is `i64` minor units, and every sum is checked. There is no floating point in `ledger`.
//! - A refused entry changes nothing. An accepted entry increments its user's version.
//! - No answer is sent before the log position that it shows is durable. This is asserted when
//!   answers are frozen for a send, and when a reply is sent to another core.
//! - No core waits for queue space at another core: without a credit no request is sent, and there
//!   is always space for a reply.
//! - Every limit has a name, a unit and a reason, in the place where it is enforced.

pub mod ledger;

pub mod http;

pub mod api;

pub mod journal;

pub mod slice;

pub mod server;

pub mod decimal;

pub mod limits;

pub mod metrics;

pub mod prefetch;

pub mod engine;

pub mod config;

pub mod cli;
