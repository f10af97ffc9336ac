//! Counts what a target takes of the heap, so that one that believes a number out of its input is found.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Runs `work`, which may take `bytes_max` for a while.
pub(crate) fn within<T>(bytes_max: usize, work: impl FnOnce() -> T) -> T {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let done = work();
    let grown = HEAP.peak_usage().saturating_sub(before);
    assert!(grown <= bytes_max, "{grown} bytes of the heap were taken, {bytes_max} may be");
    done
}
