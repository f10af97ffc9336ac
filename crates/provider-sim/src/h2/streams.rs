//! Which streams are open, as one bit each: a request costs no allocation, and a stream that stays silent for
//! ever costs one bit for every stream that outlives it.

use std::collections::VecDeque;

/// The open streams of one connection, by their odd ids.
#[derive(Debug, Default)]
pub(crate) struct OpenStreams {
    words: VecDeque<u64>,
    /// The place of the lowest bit of `words`, a multiple of 64.
    base: u32,
    count: u32,
}

fn place_of(stream: u32) -> u32 {
    stream >> 1
}

impl OpenStreams {
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Opens `stream`, which is higher than any opened before.
    #[inline]
    pub(crate) fn insert(&mut self, stream: u32) {
        let place = place_of(stream);
        if self.words.is_empty() {
            self.base = place & !63;
        }
        let word = ((place - self.base) / 64) as usize;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (place % 64);
        self.count += 1;
    }

    fn word_of(&self, stream: u32) -> Option<usize> {
        let place = place_of(stream).checked_sub(self.base)?;
        Some((place / 64) as usize).filter(|word| *word < self.words.len())
    }

    /// Whether `stream` is open.
    #[inline]
    pub(crate) fn contains(&self, stream: u32) -> bool {
        self.word_of(stream).is_some_and(|word| self.words[word] & (1 << (place_of(stream) % 64)) != 0)
    }

    /// Closes `stream`; says whether it was open.
    #[inline]
    pub(crate) fn remove(&mut self, stream: u32) -> bool {
        let Some(word) = self.word_of(stream) else { return false };
        let bit = 1 << (place_of(stream) % 64);
        let was_open = self.words[word] & bit != 0;
        self.words[word] &= !bit;
        self.count -= u32::from(was_open);
        while self.words.front() == Some(&0) {
            self.words.pop_front();
            self.base += 64;
        }
        was_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_stream_stays_open_while_thousands_pass() {
        let mut open = OpenStreams::default();
        open.insert(1);
        for stream in (3..20_001).step_by(2) {
            open.insert(stream);
            assert!(open.contains(stream));
            assert!(open.remove(stream));
            assert!(!open.remove(stream));
        }
        assert_eq!(open.count(), 1);
        assert!(open.remove(1));
        assert!(open.words.is_empty());
        open.insert(30_001);
        assert!(open.contains(30_001) && !open.contains(1) && !open.contains(40_001));
    }

    #[test]
    fn ids_may_be_skipped() {
        let mut open = OpenStreams::default();
        open.insert(2_147_483_001);
        open.insert(2_147_483_647);
        assert!(open.contains(2_147_483_647) && !open.contains(2_147_483_645));
        assert_eq!(open.count(), 2);
    }
}
