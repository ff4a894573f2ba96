//! The message of the example, as `protoc` would have it written: `message Note { string text = 1; uint32 delay_ms = 2; }`.

/// Something said, and how long to think about it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Note {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(uint32, tag = "2")]
    pub(crate) delay_ms: u32,
}

/// The service's name on the wire.
pub(crate) const ECHO: &str = "lameduck.example.v1.Echo";
