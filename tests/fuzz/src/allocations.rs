//! An allocator that ends the process where one allocation is larger than the target allows: a file
//! of a few bytes asked for memory that no check has seen.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Limited;

static LIMIT_BYTES: AtomicUsize = AtomicUsize::new(usize::MAX);

#[global_allocator]
static ALLOCATOR: Limited = Limited;

/// From now on no allocation may be larger.
pub(crate) fn limit_allocations(bytes: usize) {
    LIMIT_BYTES.store(bytes, Ordering::Relaxed);
}

fn check(bytes: usize) {
    if LIMIT_BYTES.load(Ordering::Relaxed) < bytes {
        limit_allocations(usize::MAX);
        eprintln!("an allocation of {bytes} bytes");
        std::process::abort();
    }
}

// SAFETY: Every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: As of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: As of the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: As of the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        check(bytes);
        // SAFETY: As of the caller.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}
