//! Where events of an event stream end.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lameduck_fuzz::events(data));
