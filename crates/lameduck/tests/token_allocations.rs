//! Firing a token allocates nothing: it must work when memory does not.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Waker};

use lameduck::inflight::Token;

/// The system's allocator, counting the allocations of each thread.
struct Counting;

thread_local!(static ALLOCATIONS: Cell<usize> = const { Cell::new(0) });

// SAFETY: every call goes to `System` with unchanged arguments; the count touches only a thread-local without a destructor,
// which neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and all pointers come from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn firing_allocates_nothing() {
    let token = Token::new();
    let before = ALLOCATIONS.get();
    let mut waiting: Vec<_> = (0..1_000).map(|_| token.fired()).collect();
    let mut context = Context::from_waker(Waker::noop());
    for fired in &mut waiting {
        assert!(Pin::new(fired).poll(&mut context).is_pending());
    }
    let registered = ALLOCATIONS.get();
    assert!(registered > before, "the counter counts");
    token.fire();
    assert_eq!(ALLOCATIONS.get(), registered);
}
