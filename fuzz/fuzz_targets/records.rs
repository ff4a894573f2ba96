//! Where TLS records begin and end.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lameduck_fuzz::records(data));
