//! Where length-prefixed messages end.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lameduck_fuzz::messages(data));
