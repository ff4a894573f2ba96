//! Models of the parts that threads share, checked by loom over all their interleavings.
