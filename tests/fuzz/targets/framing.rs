//! Fuzzes the framing of requests: where our reader and others accept a request, they agree on
//! where it ends and on its body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purser_fuzz::framing;

fuzz_target!(|stream: &[u8]| {
    framing::compare(stream);
});
