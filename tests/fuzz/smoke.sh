#!/bin/sh
# Fuzzes each target for some time: tests/fuzz/smoke.sh [seconds per target, default 20] [target…]
#
# Needs only stable Rust and a C++ compiler: coverage comes from LLVM's sancov pass, libFuzzer from
# libfuzzer-sys. Exits with an error on the first crash and leaves the input in
# tests/fuzz/artifacts/<target>/. To reproduce it:
#   tests/fuzz/target/<triple>/release/<target> tests/fuzz/artifacts/<target>/<file>
# Every run starts from seeds/<target>/ and adds inputs to tests/fuzz/corpus/<target>/, which git
# ignores. With cargo-fuzz, on any toolchain:
#   cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none <target> tests/fuzz/seeds/<target>
set -eu

seconds=${1:-20}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- request framing entry batch journal
cd "$(dirname "$0")"
triple=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-target}

# The flags of cargo-fuzz without its nightly-only sanitizer. With --target, build scripts are built
# without them.
RUSTFLAGS="--cfg fuzzing -C passes=sancov-module -C codegen-units=1 \
-C llvm-args=-sanitizer-coverage-level=4 \
-C llvm-args=-sanitizer-coverage-inline-8bit-counters \
-C llvm-args=-sanitizer-coverage-pc-table \
-C llvm-args=-sanitizer-coverage-trace-compares" \
    cargo build --quiet --locked --release --target "$triple" --target-dir "$target_dir"

for target in "$@"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    echo "fuzzing $target for $seconds s"
    log="artifacts/$target.log"
    if ! "$target_dir/$triple/release/$target" -max_total_time="$seconds" -timeout=5 \
        -rss_limit_mb=2048 -max_len=4096 -dict=json-http.dict \
        -artifact_prefix="artifacts/$target/" -print_final_stats=1 \
        "corpus/$target" "seeds/$target" 2>"$log"; then
        tail -n 60 "$log" >&2
        echo "$target: failed" >&2
        exit 1
    fi
    grep -E '^(Done|stat::peak_rss_mb)|^#[0-9]+.*DONE' "$log"
done
