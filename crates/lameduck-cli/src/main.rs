//! The `lameduck` command.
fn main() {}
