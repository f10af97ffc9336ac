//! Answers that are due later, in slots of one tick: adding one is an append, and all that are due together are
//! taken together, so that the answers of one connection share TLS records.

/// Due things by tick.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    slots: Vec<Vec<T>>,
    tick_us: u64,
    /// The first tick that was not taken yet.
    next_tick: u64,
    /// No tick before this one has anything: where to begin to look for the next.
    first_tick: u64,
    len: usize,
    /// Emptied slots, kept for their memory.
    spare: Vec<Vec<T>>,
}

/// Emptied slots worth keeping: what a burst has in use at any moment, not what a long delay could fill.
const SPARE_MAX: usize = 64;

impl<T> Wheel<T> {
    /// Slots of `tick_us`; grows when something is due beyond `span_us`.
    pub(crate) fn new(tick_us: u64, span_us: u64) -> Self {
        let tick_us = tick_us.max(1);
        let slots = (span_us / tick_us + 2).next_power_of_two() as usize;
        Self {
            slots: (0..slots).map(|_| Vec::new()).collect(),
            tick_us,
            next_tick: 0,
            first_tick: 0,
            len: 0,
            spare: Vec::new(),
        }
    }

    fn slot(&self, tick: u64) -> usize {
        tick as usize & (self.slots.len() - 1)
    }

    /// Adds what is due at `due_us`; never earlier than that, at most one tick later.
    #[inline]
    pub(crate) fn push(&mut self, due_us: u64, item: T) {
        let tick = due_us.div_ceil(self.tick_us).max(self.next_tick);
        if tick - self.next_tick >= self.slots.len() as u64 {
            self.grow(tick);
        }
        let slot = self.slot(tick);
        if self.slots[slot].capacity() == 0 {
            self.slots[slot] = self.spare.pop().unwrap_or_default();
        }
        self.slots[slot].push(item);
        self.first_tick = if self.len == 0 { tick } else { self.first_tick.min(tick) };
        self.len += 1;
    }

    fn grow(&mut self, tick: u64) {
        let old_len = self.slots.len() as u64;
        let len = (tick - self.next_tick + 2).next_power_of_two() as usize;
        let mut slots: Vec<Vec<T>> = (0..len).map(|_| Vec::new()).collect();
        for tick in self.next_tick..self.next_tick + old_len {
            let old = self.slot(tick);
            slots[tick as usize & (len - 1)] = std::mem::take(&mut self.slots[old]);
        }
        self.slots = slots;
    }

    /// Takes the next slot that is due at `now_us`. Give it back with [`Wheel::recycle`].
    pub(crate) fn take_due(&mut self, now_us: u64) -> Option<Vec<T>> {
        let now_tick = now_us / self.tick_us;
        match self.find_first() {
            Some(tick) if tick <= now_tick => {
                self.next_tick = tick + 1;
                let slot = self.slot(tick);
                let due = std::mem::take(&mut self.slots[slot]);
                self.len -= due.len();
                Some(due)
            }
            _ => {
                self.next_tick = self.next_tick.max(now_tick + 1);
                None
            }
        }
    }

    /// The first tick that has something.
    fn find_first(&mut self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        self.first_tick = self.first_tick.max(self.next_tick);
        while self.slots[self.slot(self.first_tick)].is_empty() {
            self.first_tick += 1;
        }
        Some(self.first_tick)
    }

    /// Takes back the memory of a slot.
    pub(crate) fn recycle(&mut self, mut slot: Vec<T>) {
        slot.clear();
        if self.spare.len() < SPARE_MAX {
            self.spare.push(slot);
        }
    }

    /// When the next thing is due.
    pub(crate) fn next_due_us(&mut self) -> Option<u64> {
        self.find_first().map(|tick| tick * self.tick_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(wheel: &mut Wheel<u64>, now_us: u64) -> Vec<u64> {
        let mut all = Vec::new();
        while let Some(due) = wheel.take_due(now_us) {
            all.extend_from_slice(&due);
            wheel.recycle(due);
        }
        all
    }

    #[test]
    fn nothing_is_early_and_nothing_later_than_a_tick() {
        let mut wheel = Wheel::new(1_000, 10_000);
        for due in [0, 1, 999, 1_000, 5_500, 9_999] {
            wheel.push(due, due);
        }
        assert_eq!(wheel.next_due_us(), Some(0));
        assert_eq!(drain(&mut wheel, 999), [0]);
        assert_eq!(drain(&mut wheel, 1_000), [1, 999, 1_000]);
        assert_eq!(wheel.next_due_us(), Some(6_000));
        assert_eq!(drain(&mut wheel, 5_999), [0u64; 0]);
        assert_eq!(drain(&mut wheel, 50_000), [5_500, 9_999]);
        assert_eq!(wheel.next_due_us(), None);
    }

    #[test]
    fn what_is_due_beyond_the_span_makes_it_grow() {
        let mut wheel = Wheel::new(10, 100);
        assert_eq!(drain(&mut wheel, 123_456), [0u64; 0]);
        for due in [123_500, 123_560, 200_000] {
            wheel.push(due, due);
        }
        assert_eq!(drain(&mut wheel, 123_560), [123_500, 123_560]);
        assert_eq!(drain(&mut wheel, 199_999), [0u64; 0]);
        assert_eq!(drain(&mut wheel, 200_000), [200_000]);
    }

    #[test]
    fn what_is_overdue_comes_next() {
        let mut wheel = Wheel::new(10, 100);
        assert_eq!(drain(&mut wheel, 1_000), [0u64; 0]);
        wheel.push(5, 5);
        assert_eq!(drain(&mut wheel, 1_010), [5]);
    }
}
