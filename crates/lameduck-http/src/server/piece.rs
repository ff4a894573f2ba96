//! What is sent of a response's body: what the application gave, or bytes of our own making.
//!
//! Owns the one type for both, so that neither a cut frame nor a last word costs the application's data a copy or a box.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// A piece of a body on its way out.
#[derive(Debug)]
pub(crate) enum Piece<D> {
    /// As the application gave it.
    Whole(D),
    /// Bytes cut from it, or words of ours.
    Part(Bytes),
}

impl<D: Buf> Buf for Piece<D> {
    #[inline]
    fn remaining(&self) -> usize {
        match self {
            Self::Whole(data) => data.remaining(),
            Self::Part(bytes) => bytes.remaining(),
        }
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        match self {
            Self::Whole(data) => data.chunk(),
            Self::Part(bytes) => bytes.chunk(),
        }
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        match self {
            Self::Whole(data) => data.advance(count),
            Self::Part(bytes) => bytes.advance(count),
        }
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        match self {
            Self::Whole(data) => data.chunks_vectored(into),
            Self::Part(bytes) => bytes.chunks_vectored(into),
        }
    }

    /// No copy where the data is `Bytes`.
    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        match self {
            Self::Whole(data) => data.copy_to_bytes(count),
            Self::Part(bytes) => bytes.copy_to_bytes(count),
        }
    }
}
