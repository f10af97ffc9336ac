//! Which devices of a shard an attempt was for: all of them in the burst, a few in a late retry.

use crate::codec::{Reader, Writer};
use crate::error::Error;

/// Positions of devices within a shard, rising, as runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// First position and length of each run; runs neither touch nor overlap.
    runs: Vec<(u32, u32)>,
}

impl Positions {
    /// The first `devices` positions.
    pub fn all(devices: u32) -> Self {
        Self { runs: (devices > 0).then_some((0, devices)).into_iter().collect() }
    }

    /// Number of positions.
    pub fn count(&self) -> u32 {
        self.runs.iter().map(|(_, length)| length).sum()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// One more than the last position; 0 when there is none.
    pub fn end(&self) -> u32 {
        self.runs.last().map_or(0, |(first, length)| first + length)
    }

    /// Each position, rising.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.runs.iter().flat_map(|&(first, length)| first..first + length)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.number(self.runs.len() as u64);
        let mut end = 0;
        for &(first, length) in &self.runs {
            writer.number(u64::from(first - end));
            writer.number(u64::from(length));
            end = first + length;
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mut positions = Self::default();
        let mut end: u32 = 0;
        for index in 0..reader.number()? {
            let gap = reader.number_u32()?;
            let length = reader.number_u32()?;
            let first = end.checked_add(gap).filter(|_| length > 0 && (gap > 0 || index == 0));
            let first = first.ok_or(reader.damaged())?;
            end = first.checked_add(length).ok_or(reader.damaged())?;
            positions.runs.push((first, length));
        }
        Ok(positions)
    }
}

impl FromIterator<u32> for Positions {
    /// From rising positions; one that does not rise is left out.
    fn from_iter<I: IntoIterator<Item = u32>>(positions: I) -> Self {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for position in positions {
            match runs.last_mut() {
                Some((first, length)) if position < *first + *length => {}
                Some((first, length)) if position == *first + *length => *length += 1,
                _ => runs.push((position, 1)),
            }
        }
        Self { runs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn positions_read_back(set in proptest::collection::btree_set(0_u32..3_000, 0..300)) {
            let positions: Positions = set.iter().copied().collect();
            prop_assert_eq!(positions.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(positions.count() as usize, set.len());
            prop_assert_eq!(positions.end(), set.last().map_or(0, |last| last + 1));
            let mut writer = Writer::default();
            positions.write(&mut writer);
            let mut reader = Reader::new("positions", &writer.bytes);
            prop_assert_eq!(Positions::read(&mut reader), Ok(positions));
            prop_assert!(reader.end().is_ok());
        }

        #[test]
        fn rubbish_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(positions) = Positions::read(&mut Reader::new("positions", &bytes)) {
                prop_assert!(positions.end() >= positions.count());
            }
        }
    }

    #[test]
    fn all_of_a_shard_is_one_run() {
        assert_eq!(Positions::all(2_000), (0..2_000).collect());
        assert!(Positions::all(0).is_empty());
    }
}
