//! The open requests of a connection: slots from a free list, found by stream id.

use std::collections::HashMap;

use crate::Nanos;

const NONE: u32 = u32::MAX;
const NANOS_PER_MILLI: u64 = 1_000_000;
const STATUS_BITS: u32 = 16;
/// The end of a request whose last byte is not produced yet: no offset ever reaches it.
pub(crate) const NOT_PRODUCED: u64 = (1 << (64 - STATUS_BITS)) - 1;
const KEEPS_ANSWER: u32 = 1 << 31;
/// Places in the index: enough for what any provider allows. With more streams than places some are displaced, no more.
const INDEX_MIN: u32 = 16;
const INDEX_MAX: u32 = 1 << 16;

/// One open request in 32 bytes: at 240,000 in flight they are read from main memory.
#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) tag: u64,
    pub(crate) started: Nanos,
    /// The offset behind its last byte in the upper 48 bits, the final status in the lower 16, 0 until it came.
    end_and_status: u64,
    /// The stream, and in the reserved bit whether fields or body are being kept. For a free slot: the next free one.
    stream: u32,
    /// In milliseconds since the connection began, rounded up.
    deadline: u32,
}

impl Slot {
    #[inline]
    pub(crate) fn stream(&self) -> u32 {
        self.stream & !KEEPS_ANSWER
    }

    /// Where in the stream of plaintext bytes its last byte ends.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.end_and_status >> STATUS_BITS
    }

    #[inline]
    pub(crate) fn set_end(&mut self, end: u64) {
        self.end_and_status = end << STATUS_BITS | u64::from(self.status());
    }

    /// The final status, 0 until it came.
    #[inline]
    pub(crate) fn status(&self) -> u16 {
        self.end_and_status as u16
    }

    #[inline]
    pub(crate) fn set_status(&mut self, status: u16) {
        self.end_and_status |= u64::from(status);
    }

    #[inline]
    pub(crate) fn keeps_answer(&self) -> bool {
        self.stream & KEEPS_ANSWER != 0
    }

    pub(crate) fn keep_answer(&mut self) {
        self.stream |= KEEPS_ANSWER;
    }
}

pub(crate) struct Slots {
    born: Nanos,
    slots: Vec<Slot>,
    free: u32,
    open: u32,
    /// By the low bits of half the stream id: the slot of the newest open stream with these bits.
    index: Vec<u32>,
    /// Open streams whose place in the index a newer one has taken: silent ones, hence few.
    displaced: HashMap<u32, u32>,
    /// No open request has an earlier deadline; may be earlier than any.
    deadline_bound: u32,
}

impl Slots {
    pub(crate) fn new(born: Nanos) -> Slots {
        Slots {
            born,
            slots: Vec::new(),
            free: NONE,
            open: 0,
            index: Vec::new(),
            displaced: HashMap::new(),
            deadline_bound: u32::MAX,
        }
    }

    #[inline]
    pub(crate) fn open(&self) -> u32 {
        self.open
    }

    /// Makes the index fit for this many streams at once.
    pub(crate) fn reserve(&mut self, streams: u32) {
        let wanted = streams.clamp(INDEX_MIN, INDEX_MAX).next_power_of_two() as usize;
        if wanted <= self.index.len() {
            return;
        }
        self.index = vec![NONE; wanted];
        self.displaced.clear();
        let open: Vec<(u32, u32)> = self.all().map(|(at, slot)| (slot.stream(), at)).collect();
        for (stream, at) in open {
            self.enter(stream, at);
        }
    }

    #[inline]
    pub(crate) fn take(&mut self, stream: u32, tag: u64, started: Nanos, deadline: Nanos) -> u32 {
        let deadline = self.millis(deadline);
        self.deadline_bound = self.deadline_bound.min(deadline);
        let slot = Slot { tag, started, end_and_status: NOT_PRODUCED << STATUS_BITS, stream, deadline };
        let at = self.free;
        let at = if at == NONE {
            self.slots.push(slot);
            self.slots.len() as u32 - 1
        } else {
            let place = &mut self.slots[at as usize];
            self.free = place.stream;
            *place = slot;
            at
        };
        self.open += 1;
        self.enter(stream, at);
        at
    }

    #[inline]
    fn enter(&mut self, stream: u32, at: u32) {
        let cell = self.cell(stream);
        let before = std::mem::replace(&mut self.index[cell], at);
        if before != NONE {
            let older = self.slots[before as usize].stream();
            self.displace(older, before);
        }
    }

    #[cold]
    fn displace(&mut self, stream: u32, at: u32) {
        self.displaced.insert(stream, at);
    }

    #[inline]
    fn cell(&self, stream: u32) -> usize {
        (stream >> 1) as usize & (self.index.len() - 1)
    }

    /// The slot of an open stream.
    #[inline]
    pub(crate) fn find(&self, stream: u32) -> Option<u32> {
        if self.open == 0 {
            return None;
        }
        let at = self.index[self.cell(stream)];
        if at != NONE && self.slots[at as usize].stream() == stream {
            return Some(at);
        }
        if self.displaced.is_empty() { None } else { self.displaced.get(&stream).copied() }
    }

    #[inline]
    pub(crate) fn get(&self, at: u32) -> &Slot {
        &self.slots[at as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.slots[at as usize]
    }

    /// Frees an open slot.
    #[inline]
    pub(crate) fn release(&mut self, at: u32) -> Slot {
        let slot = self.slots[at as usize].clone();
        let cell = self.cell(slot.stream());
        if self.index[cell] == at {
            self.index[cell] = NONE;
        } else {
            self.displaced.remove(&slot.stream());
        }
        let place = &mut self.slots[at as usize];
        place.stream = self.free;
        place.end_and_status = FREE;
        self.free = at;
        self.open -= 1;
        slot
    }

    /// All open slots, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, &Slot)> {
        (0..).zip(&self.slots).filter(|(_, slot)| slot.end_and_status != FREE)
    }

    /// The open slots that match, in the order of their streams.
    pub(crate) fn matching(&self, mut matches: impl FnMut(&Slot) -> bool) -> Vec<u32> {
        let mut found: Vec<(u32, u32)> =
            self.all().filter(|(_, slot)| matches(slot)).map(|(at, slot)| (slot.stream(), at)).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, at)| at).collect()
    }

    /// When [`Slots::expired`] may have something to say; `None` when nothing is open.
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        (self.open > 0 && self.deadline_bound != u32::MAX)
            .then(|| self.born + u64::from(self.deadline_bound) * NANOS_PER_MILLI)
    }

    /// The open slots whose deadline has passed, in the order of their streams.
    pub(crate) fn expired(&mut self, now: Nanos) -> Vec<u32> {
        let now = (now.saturating_sub(self.born) / NANOS_PER_MILLI).min(u64::from(u32::MAX) - 1) as u32;
        if now < self.deadline_bound {
            return Vec::new();
        }
        let bound = self.all().map(|(_, slot)| slot.deadline).filter(|&d| d > now).min();
        self.deadline_bound = bound.unwrap_or(u32::MAX);
        self.matching(|slot| slot.deadline <= now)
    }

    #[inline]
    fn millis(&self, deadline: Nanos) -> u32 {
        let millis = deadline.saturating_sub(self.born).div_ceil(NANOS_PER_MILLI);
        millis.min(u64::from(u32::MAX)) as u32
    }
}

/// Marks a free slot: no end and status together are all ones, for 65535 is no status.
const FREE: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn slots() -> Slots {
        let mut slots = Slots::new(0);
        slots.reserve(16);
        slots
    }

    #[test]
    fn a_silent_stream_is_found_after_many_others_took_its_place() {
        let mut slots = slots();
        let silent = slots.take(1, 77, 5, u64::MAX);
        for stream in (3..4000).step_by(2) {
            let at = slots.take(stream, 0, 0, u64::MAX);
            assert_eq!(slots.find(stream), Some(at));
            assert_eq!(slots.find(1), Some(silent));
            slots.release(at);
            assert_eq!(slots.find(stream), None);
        }
        assert_eq!(slots.release(silent).tag, 77);
        assert_eq!((slots.find(1), slots.open()), (None, 0));
        assert!(slots.displaced.is_empty());
    }

    #[test]
    fn growing_the_index_loses_nobody() {
        let mut slots = slots();
        for stream in (1..100).step_by(2) {
            slots.take(stream, u64::from(stream), 0, u64::MAX);
        }
        slots.reserve(1000);
        for stream in (1..100).step_by(2) {
            let at = slots.find(stream).unwrap();
            assert_eq!(slots.release(at).tag, u64::from(stream));
        }
    }

    #[test]
    fn deadlines_pass_once_and_in_order() {
        let mut slots = slots();
        let late = slots.take(1, 0, 0, 5_000_000);
        let early = slots.take(3, 0, 0, 2_500_000);
        assert_eq!(slots.next_deadline(), Some(3_000_000));
        assert!(slots.expired(2_999_999).is_empty());
        assert_eq!(slots.expired(3_000_000), [early]);
        slots.release(early);
        assert_eq!(slots.next_deadline(), Some(5_000_000));
        assert_eq!(slots.expired(9_000_000), [late]);
        slots.release(late);
        assert_eq!(slots.next_deadline(), None);
    }

    #[test]
    fn a_request_keeps_its_end_and_its_status() {
        let mut slots = slots();
        let at = slots.take(9, 0, 0, u64::MAX);
        assert_eq!((slots.get(at).end(), slots.get(at).status()), (NOT_PRODUCED, 0));
        slots.get_mut(at).set_status(503);
        slots.get_mut(at).set_end(1 << 40);
        slots.get_mut(at).keep_answer();
        let slot = slots.get(at);
        assert_eq!((slot.end(), slot.status(), slot.stream(), slot.keeps_answer()), (1 << 40, 503, 9, true));
    }
}
