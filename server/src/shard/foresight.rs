//! What will be looked at next is fetched while something else is done.
//!
//! A connection is kilobytes that nobody has looked at since its last packet, and by then other things are in the
//! processor's cache. To wait for memory, line by line, was a large part of a shard's time.

/// Has the processor fetch what lies in this place, as far as it is not in the cache: a hint, and no time is spent on it.
pub(super) fn foresee<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

        /// Bytes that the processor fetches at once.
        const LINE_BYTES: usize = 64;
        let begin = std::ptr::from_ref(place).cast::<i8>();
        for offset in (0..size_of::<T>()).step_by(LINE_BYTES) {
            #[expect(
                unsafe_code,
                reason = "the standard library has no stable form of it that is not"
            )]
            // SAFETY: The processor has had SSE since there is x86-64. A hint reads nothing that the program sees, and has no
            // effect at an address where there is nothing; this one is within a place that is borrowed.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(begin.wrapping_add(offset));
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
