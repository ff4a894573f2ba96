//! The first bytes of a connection: HTTP/1.1, HTTP/2 or not known yet.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lameduck_fuzz::first_bytes(data));
