//! Where the frames and messages of a WebSocket end.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lameduck_fuzz::frames(data));
