//! The contents of a pipe: a ring of page-sized slots. pipe(7).
//!
//! A segment is one write's data, in whole slots of 4 KiB except the last; small writes are added to the last slot, as Linux does it, so
//! that a pipe of 16 slots takes 64 KiB however it is written. Segments are shared by reference, so that splice(2) and tee(2)
//! move data without copying it. Owns no locks: `pipe` has it under its own.

use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of a slot; also PIPE_BUF, below which writes are atomic.
pub const SLOT: usize = 4096;
/// The most that is moved in one piece.
pub const CHUNK: usize = 64 << 10;

/// Some bytes of a pipe, in order.
#[derive(Clone)]
pub struct Segment {
    data: Arc<Vec<u8>>,
    start: usize,
    end: usize,
    /// A packet of its own, O_DIRECT: a read takes no more than one.
    packet: bool,
}

/// What is taken out at once: mostly one.
pub type Segments = SmallVec<[Segment; 1]>;

impl Segment {
    pub fn new(data: Vec<u8>, packet: bool) -> Segment {
        Segment { start: 0, end: data.len(), data: Arc::new(data), packet }
    }
    pub fn bytes(&self) -> &[u8] {
        self.data.get(self.start..self.end).unwrap_or_default()
    }
    pub fn len(&self) -> usize {
        self.end - self.start
    }
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
    /// Drops the first `count` bytes.
    pub fn advance(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }
    /// Splits off the first `count` bytes.
    pub fn split(&mut self, count: usize) -> Segment {
        let mut head = self.clone();
        head.end = head.start.saturating_add(count).min(head.end);
        self.advance(count);
        head
    }
    fn slots(&self) -> usize {
        if self.is_empty() { 0 } else { self.end.div_ceil(SLOT) - self.start / SLOT }
    }
    /// Bytes that its last slot still takes: none where the data is shared, cut, or a packet.
    fn spare(&mut self) -> usize {
        let whole = self.end == self.data.len();
        if self.packet || !whole || self.is_empty() || Arc::get_mut(&mut self.data).is_none() {
            return 0;
        }
        self.end.next_multiple_of(SLOT) - self.end
    }
    fn append(&mut self, more: &[u8]) -> bool {
        let Some(data) = Arc::get_mut(&mut self.data) else { return false };
        data.extend_from_slice(more);
        self.end = data.len();
        true
    }
}

/// Segments up to a number of slots.
pub struct Ring {
    segments: VecDeque<Segment>,
    bytes: usize,
    used: usize,
    slots: usize,
}

impl Ring {
    pub fn new(slots: usize) -> Ring {
        Ring { segments: VecDeque::new(), bytes: 0, used: 0, slots }
    }
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
    /// No slot is free. poll(2) says writable otherwise.
    pub fn is_full(&self) -> bool {
        self.used >= self.slots
    }
    /// Slots that hold data, and slots in all.
    pub fn slots(&self) -> (usize, usize) {
        (self.used, self.slots)
    }
    /// False where more slots are in use.
    pub fn resize(&mut self, slots: usize) -> bool {
        let fits = self.used <= slots;
        if fits {
            self.slots = slots;
        }
        fits
    }

    /// How many of `count` bytes go in with one push now: all or none up to `SLOT`.
    pub fn fits(&mut self, count: usize, packet: bool) -> usize {
        let free = self.slots.saturating_sub(self.used);
        if packet {
            return if free > 0 { count.min(SLOT) } else { 0 };
        }
        let head = count % SLOT;
        let merged = if head > 0 && head <= self.segments.back_mut().map_or(0, Segment::spare) { head } else { 0 };
        count.min(merged + free * SLOT)
    }

    /// Adds data that `fits`.
    pub fn push(&mut self, mut data: Vec<u8>, packet: bool) {
        self.bytes += data.len();
        let head = data.len() % SLOT;
        if !packet
            && head > 0
            && let Some(last) = self.segments.back_mut()
            && last.spare() >= head
        {
            let rest = data.split_off(head);
            if last.append(&data) {
                data = rest;
            } else {
                data.extend_from_slice(&rest);
            }
        }
        if !data.is_empty() {
            self.insert(Segment::new(data, packet));
        }
    }

    /// Adds a shared segment as a slot (or slots) of its own, as far as there are slots; returns the bytes taken.
    pub fn push_shared(&mut self, mut segment: Segment) -> usize {
        let free = self.slots.saturating_sub(self.used);
        if free == 0 {
            return 0;
        }
        let most = (segment.start / SLOT + free) * SLOT - segment.start;
        let part = segment.split(most);
        let count = part.len();
        self.bytes += count;
        if count > 0 {
            self.insert(part);
        }
        count
    }

    fn insert(&mut self, segment: Segment) {
        self.used += segment.slots();
        self.segments.push_back(segment);
    }

    /// Takes out up to `max` bytes from the front for a read: one packet at most, of which the rest is lost.
    pub fn pull(&mut self, max: usize) -> Segments {
        match self.segments.front() {
            Some(first) if first.packet => {
                let packet = first.len();
                let mut out = self.pull_all(packet);
                out.iter_mut().for_each(|part| *part = part.split(max));
                out
            }
            _ => {
                let packet = self.segments.iter().position(|segment| segment.packet).unwrap_or(usize::MAX);
                let before = self.segments.iter().take(packet).map(Segment::len).sum();
                self.pull_all(max.min(before))
            }
        }
    }

    /// Takes out up to `max` bytes from the front, packets or not.
    pub fn pull_all(&mut self, max: usize) -> Segments {
        let mut out = Segments::new();
        let mut left = max;
        while left > 0
            && let Some(mut first) = self.segments.pop_front()
        {
            self.used -= first.slots();
            self.bytes -= first.len();
            let part = first.split(left);
            left -= part.len();
            out.push(part);
            if !first.is_empty() {
                self.used += first.slots();
                self.bytes += first.len();
                self.segments.push_front(first);
            }
        }
        out
    }

    /// Gives back what `pull` or `pull_all` took and nobody got. May go beyond the number of slots for a while.
    pub fn unpull(&mut self, parts: Segments) {
        for part in parts.into_iter().rev().filter(|p| !p.is_empty()) {
            self.used += part.slots();
            self.bytes += part.len();
            self.segments.push_front(part);
        }
    }

    /// The first bytes without taking them, for tee(2).
    pub fn peek(&self, max: usize) -> Segments {
        let mut left = max;
        let mut out = Segments::new();
        for segment in &self.segments {
            if left == 0 {
                break;
            }
            let part = segment.clone().split(left);
            left -= part.len();
            out.push(part);
        }
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn bytes(parts: &[Segment]) -> Vec<u8> {
        parts.iter().flat_map(|p| p.bytes().to_vec()).collect()
    }

    #[test]
    fn small_writes_fill_all_of_it() {
        let mut ring = Ring::new(16);
        let mut count = 0;
        while ring.fits(1, false) == 1 {
            ring.push(vec![count as u8], false);
            count += 1;
        }
        assert_eq!(count, 65536);
        assert!(ring.is_full());
        let out = ring.pull(10);
        assert_eq!(bytes(&out), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(ring.is_full());
        ring.unpull(out);
        assert_eq!(ring.pull(usize::MAX).iter().map(Segment::len).sum::<usize>(), 65536);
        assert_eq!((ring.bytes(), ring.slots()), (0, (0, 16)));
    }

    #[test]
    fn small_writes_are_whole_or_nothing() {
        let mut ring = Ring::new(2);
        ring.push(vec![1; 3000], false);
        assert_eq!(ring.fits(2000, false), 2000);
        ring.push(vec![2; 2000], false);
        assert_eq!(ring.slots(), (2, 2));
        assert_eq!(ring.fits(3000, false), 0);
        assert_eq!(ring.fits(2096, false), 2096);
        assert_eq!(ring.fits(5000, false), 904);
    }

    #[test]
    fn packets_are_taken_one_by_one_and_cut() {
        let mut ring = Ring::new(4);
        ring.push(vec![1; 10], true);
        ring.push(vec![2; 10], true);
        assert_eq!(bytes(&ring.pull(4)), [1; 4]);
        assert_eq!(bytes(&ring.pull(100)), [2; 10]);
        assert!(ring.is_empty());
    }

    #[test]
    fn shared_segments_take_the_slots_they_need() {
        let mut ring = Ring::new(3);
        let mut other = Ring::new(2);
        ring.push(vec![7; 3 * SLOT], false);
        let mut sum = 0;
        for part in ring.peek(usize::MAX) {
            sum += other.push_shared(part);
        }
        assert_eq!((sum, other.slots()), (2 * SLOT, (2, 2)));
        assert_eq!(ring.bytes(), 3 * SLOT);
        // What is shared is not added to.
        ring.pull(2 * SLOT + 100);
        assert_eq!(ring.fits(50, false), 50);
        ring.push(vec![9; 50], false);
        assert_eq!(ring.slots(), (2, 3));
        assert_eq!(other.pull(1).len(), 1);
    }
}
