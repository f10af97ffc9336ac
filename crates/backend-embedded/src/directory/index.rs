//! Where each user's last entry lies in the log: 8 bytes a slot, about 14 bytes a user. It knows hashes only; whoever looks up
//! compares the user in the log.

use model::runtime::mix;

/// Tables, by the first bits of the hash, so that growing one is a matter of microseconds.
const TABLES_BITS: u32 = 12;
/// Bits of an offset: a log of up to 1 TiB.
const OFFSET_BITS: u32 = 40;
/// Slots of a table at its first user.
const SLOTS_MIN: usize = 8;

/// The hash of a user, or of anything else here. It is not stored.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let start = mix(bytes.len() as u64 + 0x9e37_79b9_7f4a_7c15);
    let state = words.iter().fold(start, |state, word| mix(state ^ u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(state.rotate_left(29) ^ u64::from_le_bytes(last))
}

/// See the module.
pub(super) struct Index {
    tables: Vec<Table>,
}

/// Open addressing. A slot holds the 24 bits of the hash after those of the table, and the offset; 0 is free, no entry
/// lies at 0.
#[derive(Default)]
struct Table {
    slots: Vec<u64>,
    used: usize,
}

impl Index {
    pub(super) fn new() -> Self {
        Self { tables: std::iter::repeat_with(Table::default).take(1 << TABLES_BITS).collect() }
    }

    fn table(hash: u64) -> usize {
        (hash >> (64 - TABLES_BITS)) as usize
    }

    /// Reads the slot at which a look-up of this hash will begin.
    pub(super) fn touch(&self, hash: u64) -> u64 {
        let slots = &self.tables[Self::table(hash)].slots;
        slots.get(tag(hash) as usize & slots.len().wrapping_sub(1)).copied().unwrap_or_default()
    }

    /// Offsets of entries whose user may have this hash.
    pub(super) fn candidates(&self, hash: u64) -> impl Iterator<Item = u64> + '_ {
        let table = &self.tables[Self::table(hash)];
        table
            .chain(tag(hash))
            .map(|place| table.slots[place])
            .filter(move |slot| tag_of(*slot) == tag(hash))
            .map(offset_of)
    }

    /// Whether the last entry of some user with this hash lies at `offset`.
    pub(super) fn has(&self, hash: u64, offset: u64) -> bool {
        self.candidates(hash).any(|candidate| candidate == offset)
    }

    /// Puts a user's entry at `new`; `old` is where the last one lay.
    pub(super) fn set(&mut self, hash: u64, old: Option<u64>, new: u64) {
        let table = &mut self.tables[Self::table(hash)];
        if let Some(old) = old {
            let place = table.chain(tag(hash)).find(|place| table.slots[*place] == slot(hash, old));
            if let Some(place) = place {
                table.slots[place] = slot(hash, new);
                return;
            }
        }
        table.insert(slot(hash, new));
    }
}

const fn tag(hash: u64) -> u64 {
    hash << TABLES_BITS >> OFFSET_BITS
}

const fn slot(hash: u64, offset: u64) -> u64 {
    tag(hash) << OFFSET_BITS | offset
}

const fn tag_of(slot: u64) -> u64 {
    slot >> OFFSET_BITS
}

const fn offset_of(slot: u64) -> u64 {
    slot & ((1 << OFFSET_BITS) - 1)
}

impl Table {
    /// The places from a tag's first on, up to the first that is free.
    fn chain(&self, tag: u64) -> impl Iterator<Item = usize> + '_ {
        let mask = self.slots.len().wrapping_sub(1);
        let places = (0..self.slots.len()).map(move |step| (tag as usize).wrapping_add(step) & mask);
        places.take_while(|place| self.slots[*place] != 0)
    }

    fn insert(&mut self, slot: u64) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            let slots = vec![0; (self.slots.len() * 2).max(SLOTS_MIN)];
            let before = std::mem::replace(&mut self.slots, slots);
            before.into_iter().filter(|slot| *slot != 0).for_each(|slot| self.place(slot));
        }
        self.place(slot);
        self.used += 1;
    }

    fn place(&mut self, slot: u64) {
        let mask = self.slots.len() - 1;
        let mut place = tag_of(slot) as usize & mask;
        while self.slots[place] != 0 {
            place = (place + 1) & mask;
        }
        self.slots[place] = slot;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn an_index_finds_every_user_where_it_was_last_put() {
        let mut index = Index::new();
        let mut offsets = HashMap::new();
        for round in 0..3_u64 {
            for user in 0..50_000_u64 {
                let hash = hash(&user.to_le_bytes());
                let new = 64 + round * 1_000_000 + user;
                index.set(hash, offsets.insert(user, new), new);
            }
        }
        for (user, offset) in &offsets {
            let found: Vec<u64> = index.candidates(hash(&user.to_le_bytes())).collect();
            assert!(found.contains(offset) && found.len() < 3, "{found:?}");
        }
        let strangers =
            (50_000..150_000_u64).filter(|user| index.candidates(hash(&user.to_le_bytes())).next().is_some());
        assert!(strangers.count() < 5);
        let used: usize = index.tables.iter().map(|table| table.used).sum();
        assert_eq!(used, 50_000);
    }

    #[test]
    fn users_of_one_hash_are_all_candidates() {
        let mut index = Index::new();
        for offset in 1..100 {
            index.set(7, None, offset);
        }
        index.set(7, Some(50), 500);
        let mut found: Vec<u64> = index.candidates(7).collect();
        found.sort_unstable();
        assert!(found.into_iter().eq((1..50).chain(51..100).chain([500])));
    }

    #[test]
    fn hashes_depend_on_every_byte_and_on_the_length() {
        let texts: Vec<Vec<u8>> = (0..40).map(|length| vec![0; length]).collect();
        let mut hashes: Vec<u64> = texts.iter().map(|text| hash(text)).collect();
        for at in 0..39 {
            let mut text = vec![0; 39];
            text[at] = 1;
            hashes.push(hash(&text));
        }
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }
}
