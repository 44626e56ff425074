# Common tasks; run `just` to list them.

_list:
    @just --list --unsorted

# Serve on 127.0.0.1:8080, from a quick build
run *flags:
    cargo run --profile quick -- serve {{ flags }}

# Unit tests and the integration tests that take no load: under two minutes after a build
test-fast:
    cargo test --lib
    cargo test --test purser -- house:: contract:: golden:: command_line:: info:: docs::
    cargo test --test allocation

# Every test
test:
    cargo test --locked

# One or more load suites, such as: just bench balance pipelined
bench +suites:
    cargo bench --bench load -- {{ suites }}

# Microbenchmarks, with Criterion
micro *filter:
    cargo bench --bench micro -- {{ filter }}

# Hand-written code compared with libraries, with Criterion
by-hand *filter:
    cargo bench --bench by_hand -- {{ filter }}

# Each fuzz target for some seconds
fuzz seconds="10":
    tests/fuzz/smoke.sh {{ seconds }}

# Formatting, lints and documentation, as in CI
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

# Where the CPU goes while balances are read: needs perf and wrk
profile:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo bench --bench load --no-run
    cargo bench --bench load -- balance --users 100000 --rounds 4 &
    until server=$(pgrep --newest --full 'release/purser serve'); do sleep 0.1; done
    sleep 5 # it is fed first
    perf record --pid "$server" --output target/perf.data -- sleep 15
    wait
    perf report --input target/perf.data --sort symbol --stdio | head -60

# Regenerates the traces and flags in docs/
bless:
    PURSER_BLESS=1 cargo test --test purser -- life_of docs::

# A build guided by a profile of its own load
pgo:
    benches/pgo

# Checks of the dependencies, such as: just deny advisories. Needs cargo-deny
deny +checks="bans licenses sources":
    cargo deny --locked check {{ checks }}

# Checks that everything compiles for ARM64: needs gcc-aarch64-linux-gnu
arm64:
    rustup target add aarch64-unknown-linux-gnu
    cargo check --locked --all-targets --target aarch64-unknown-linux-gnu
