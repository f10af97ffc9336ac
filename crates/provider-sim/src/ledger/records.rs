//! One number for each request: the key's fingerprint, and outcome bits where fingerprints have none. Appended in
//! chunks that never move, so that growing costs no copy and a burst of ten million takes 160 MB.

use crate::fingerprint::Fingerprint;

/// Outcome bits of one request; see [`crate::Report`] for what the words mean.
pub(crate) mod bits {
    /// Arrived whole and was not refused.
    pub(crate) const RECEIVED: u128 = 1;
    /// The provider acted on it.
    pub(crate) const PROCESSED: u128 = 2;
    /// It would have gone on to the device.
    pub(crate) const ACCEPTED: u128 = 4;
    /// Its answer was written.
    pub(crate) const ANSWERED: u128 = 8;
    /// All of them: where a fingerprint is zero.
    pub(crate) const ALL: u128 = 15;
}

/// No record: the request named no device.
pub(crate) const NO_RECORD: u32 = u32::MAX;

const CHUNK: usize = 1 << 16;

/// The records of one thread.
#[derive(Debug)]
pub(super) struct Records {
    chunks: Vec<Vec<u128>>,
    len: usize,
    /// Records before the last reset; a record's number goes on counting across resets.
    base: u32,
    /// Chunks whose memory was touched ahead.
    spare: Vec<Vec<u128>>,
}

impl Records {
    /// Touches memory for `expected` records.
    pub(super) fn new(expected: usize, base: u32) -> Self {
        let spare = (0..expected.div_ceil(CHUNK)).map(|_| touched_chunk()).collect();
        Self { chunks: Vec::new(), len: 0, base, spare }
    }

    /// Appends a record; returns its number.
    #[inline]
    pub(super) fn push(&mut self, key: Fingerprint, outcome: u128) -> u32 {
        let place = self.len;
        if place.is_multiple_of(CHUNK) {
            let chunk = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK));
            self.chunks.push(chunk);
        }
        self.chunks[place / CHUNK].push(key.to_bits() | outcome);
        self.len += 1;
        self.base.wrapping_add(place as u32)
    }

    /// Sets bits of a record, if there still is one of that number.
    #[inline]
    pub(super) fn set(&mut self, record: u32, outcome: u128) {
        if let Some(place) = self.place(record) {
            self.chunks[place / CHUNK][place % CHUNK] |= outcome;
        }
    }

    /// The fingerprint of a record, if there still is one of that number.
    pub(super) fn key(&self, record: u32) -> Option<Fingerprint> {
        let place = self.place(record)?;
        Some(Fingerprint::from_bits(self.chunks[place / CHUNK][place % CHUNK]))
    }

    #[inline]
    fn place(&self, record: u32) -> Option<usize> {
        let place = record.wrapping_sub(self.base) as usize;
        (record != NO_RECORD && place < self.len).then_some(place)
    }

    /// What the number of the next record would be.
    pub(super) fn next(&self) -> u32 {
        self.base.wrapping_add(self.len as u32)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u128> {
        self.chunks.iter().flatten().copied()
    }
}

impl Clone for Records {
    /// Copies the records, not the memory that waits for more.
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone(), len: self.len, base: self.base, spare: Vec::new() }
    }
}

/// Fills a chunk once, so that its pages exist, and empties it.
fn touched_chunk() -> Vec<u128> {
    let mut chunk = vec![1; CHUNK];
    chunk.clear();
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Fingerprint {
        Fingerprint::from_bits((number as u128) << 4)
    }

    #[test]
    fn records_stay_where_they_are_across_chunks() {
        let mut records = Records::new(1, u32::MAX - 5);
        let numbers: Vec<u32> =
            (0..CHUNK * 2 + 10).map(|number| records.push(key(number), bits::RECEIVED)).collect();
        for number in numbers.iter().step_by(CHUNK) {
            records.set(*number, bits::ANSWERED);
        }
        let of_another = numbers.iter().enumerate().filter(|(_, number)| **number != NO_RECORD);
        assert!(of_another.into_iter().all(|(place, number)| records.key(*number) == Some(key(place))));
        let answered: Vec<_> = records.iter().filter(|record| record & bits::ANSWERED != 0).collect();
        let expected =
            [0, CHUNK, 2 * CHUNK].map(|place| key(place).to_bits() | bits::RECEIVED | bits::ANSWERED);
        assert_eq!(answered, expected);
    }

    #[test]
    fn a_number_from_before_touches_nothing() {
        let mut old = Records::new(0, 0);
        let before = old.push(key(1), 0);
        let mut new = Records::new(0, old.next());
        new.push(key(2), 0);
        new.set(before, bits::ANSWERED);
        new.set(NO_RECORD, bits::ANSWERED);
        assert_eq!((new.key(before), new.iter().next()), (None, Some(key(2).to_bits())));
    }
}
