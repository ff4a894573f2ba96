//! What the heap holds, where the allocator says so.

use std::fmt;

/// What glibc's allocator says of its heap, in bytes; mallinfo2(3). Its `Display` is a table for people.
///
/// A program that brings an allocator of its own (`#[global_allocator]`) has little in this one: ask that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heap {
    /// In use: handed out and not freed, mapped blocks included.
    pub in_use: u64,
    /// Free, but kept by the allocator.
    pub kept: u64,
    /// Of what is kept, what could be given back at the top of the heap.
    pub top: u64,
    /// Blocks that were mapped on their own.
    pub mapped: u64,
    /// How many such blocks there are.
    pub mapped_blocks: u64,
}

/// What the heap holds; `None` where the C library is not glibc 2.33 or later, which alone says so.
///
/// Walks the arenas and takes each one's lock for a moment: for people who ask, not for every request.
#[must_use]
pub fn heap() -> Option<Heap> {
    imp::heap()
}

impl fmt::Display for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "heap, as glibc's allocator has it:")?;
        writeln!(f, "{:>12} bytes in use", self.in_use)?;
        writeln!(
            f,
            "{:>12} of them in {} block(s) mapped on their own",
            self.mapped, self.mapped_blocks
        )?;
        writeln!(f, "{:>12} bytes free and kept", self.kept)?;
        writeln!(
            f,
            "{:>12} of them at the top, which can be given back",
            self.top
        )
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu", not(lameduck_portable)))]
mod imp {
    use super::Heap;
    use crate::sys;

    pub(super) fn heap() -> Option<Heap> {
        let info = sys::heap_info()?;
        let bytes = |n: usize| n as u64;
        Some(Heap {
            in_use: bytes(info.uordblks).saturating_add(bytes(info.hblkhd)),
            kept: bytes(info.fordblks),
            top: bytes(info.keepcost),
            mapped: bytes(info.hblkhd),
            mapped_blocks: bytes(info.hblks),
        })
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu", not(lameduck_portable))))]
mod imp {
    use super::Heap;

    pub(super) const fn heap() -> Option<Heap> {
        None
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu", not(lameduck_portable)))]
mod tests {
    use super::*;

    #[test]
    fn a_large_block_is_seen_and_gone() {
        // Above the largest threshold from which blocks are mapped on their own (32 MiB, mallopt(3)).
        const LARGE: usize = 64 << 20;
        let Some(before) = heap() else {
            return;
        };
        let block = std::hint::black_box(vec![1_u8; LARGE]);
        let with = heap().expect("it said so before");
        assert!(
            with.mapped >= LARGE as u64 && with.mapped_blocks > 0,
            "{before} {with}"
        );
        assert!(with.in_use >= with.mapped);
        drop(block);
    }
}
