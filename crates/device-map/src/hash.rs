//! The 64-bit hash that orders keys within a run. It is part of the file format: the same bytes hash alike for ever.
//!
//! Ordering by a hash instead of by the bytes keeps sorting fast whatever prefix the keys share.

use model::runtime::mix;

const SEED: u64 = 0x243f_6a88_85a3_08d3;
const SALT: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash of `bytes`; not a defence against chosen collisions, which only make a sort slower.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<16>();
    let mut state = blocks.iter().fold(SEED ^ bytes.len() as u64, absorb);
    if !rest.is_empty() {
        let mut last = [0; 16];
        last[..rest.len()].copy_from_slice(rest);
        state = absorb(state, &last);
    }
    mix(state)
}

/// One multiplication of 64 by 64 bits takes in 16 bytes.
fn absorb(state: u64, block: &[u8; 16]) -> u64 {
    let block = u128::from_le_bytes(*block);
    let product = u128::from(state ^ block as u64) * u128::from((block >> 64) as u64 ^ SALT);
    product as u64 ^ (product >> 64) as u64
}

/// The same hash for a table of byte strings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TableHasher(u64);

impl std::hash::Hasher for TableHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.rotate_left(23) ^ hash(bytes);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = mix(self.0 ^ value);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A table keyed by byte strings or numbers.
pub(crate) type Table<K, V> = std::collections::HashMap<K, V, std::hash::BuildHasherDefault<TableHasher>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        let long: Vec<u8> = (0..122).collect();
        let hashes = [hash(b"a"), hash(&long[..32]), hash(&long)];
        assert_eq!(
            hashes,
            [2_088_394_801_735_935_650, 9_844_481_888_042_875_064, 15_970_350_273_157_533_476]
        );
    }

    #[test]
    fn a_trailing_zero_changes_the_hash() {
        assert_ne!(hash(b"abc"), hash(b"abc\0"));
        assert_ne!(hash(&[0; 16]), hash(&[0; 32]));
    }
}
