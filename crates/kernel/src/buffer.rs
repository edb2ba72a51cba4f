//! The buffer through which a thread copies data in bulk: used again, and at a place in its page from which the processor copies fast.
//!
//! A copy whose target lies up to a cache line behind its source, both taken modulo the size of a page, takes four times as long: the processor takes each load for one of a byte that was just stored. Pages of
//! files and most guests' buffers begin at a page or, malloc(3)'s large ones, 16 bytes behind. Locks: none, the buffer is the thread's own.

use std::cell::Cell;

const PAGE: usize = 4096;
/// Behind the start of a page: out of reach of 0 and 16, both ways.
const PLACE: usize = 256;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs `work` with `len` bytes, whatever is in them. Work within work has a buffer of its own.
pub fn with_buffer<T>(len: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = BUFFER.take();
    let room = PAGE + PLACE + len;
    if buffer.len() < room {
        buffer.resize(room, 0);
    }
    let start = buffer.as_ptr().align_offset(PAGE) + PLACE;
    let result = work(buffer.get_mut(start..start + len).unwrap_or_default());
    BUFFER.set(buffer);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_at_the_right_place() {
        for len in [1, 4096, 100_000] {
            with_buffer(len, |outer| {
                outer.fill(1);
                assert_eq!((outer.len(), outer.as_ptr().align_offset(PAGE)), (len, PAGE - PLACE));
                with_buffer(len, |inner| inner.fill(2));
                assert!(outer.iter().all(|byte| *byte == 1));
            });
        }
    }
}
