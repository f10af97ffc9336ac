//! The user ids of a build, and sorting them.

use model::device::{USER_BYTES_MAX, check_user};

use crate::error::Error;

/// User ids in the order in which they came; one that comes again later stands in it twice.
#[derive(Default)]
pub(super) struct UserList {
    ids: Vec<u8>,
    /// Where each id ends.
    ends: Vec<u32>,
}

impl UserList {
    /// The number of the user's entry: the last one if it is the same user.
    pub(super) fn push(&mut self, user: &str) -> Result<u32, Error> {
        if let Some(last) = self.ends.len().checked_sub(1)
            && self.id(last as u32) == user.as_bytes()
        {
            return Ok(last as u32);
        }
        check_user(user)?;
        self.ids.extend_from_slice(user.as_bytes());
        self.ends.push(self.ids.len() as u32);
        Ok(self.ends.len() as u32 - 1)
    }

    pub(super) fn bytes(&self) -> usize {
        // Sorting takes another 24 bytes for each entry.
        self.ids.len() + self.ends.len() * 28
    }

    /// Whether another id might not fit the 32 bits of `ends`.
    pub(super) fn is_full(&self) -> bool {
        self.ids.len() > u32::MAX as usize - USER_BYTES_MAX
    }

    fn id(&self, entry: u32) -> &[u8] {
        let index = entry as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.ids[start as usize..self.ends[index] as usize]
    }

    /// Sorts by the bytes of the ids and drops repetitions.
    pub(super) fn sort(self) -> SortedUsers {
        let order = self.order();
        let mut rank_of = vec![0; self.ends.len()];
        let mut first_of: Vec<u32> = Vec::with_capacity(order.len());
        for entry in order {
            if first_of.last().is_none_or(|last| self.id(*last) != self.id(entry)) {
                first_of.push(entry);
            }
            rank_of[entry as usize] = first_of.len() as u32 - 1;
        }
        SortedUsers { list: self, first_of, rank_of }
    }

    fn order(&self) -> Vec<u32> {
        let entries = 0..self.ends.len() as u32;
        if entries.clone().is_sorted_by(|one, other| self.id(*one) <= self.id(*other)) {
            return entries.collect();
        }
        let mut entries: Vec<(u64, u32)> = entries.map(|entry| (0, entry)).collect();
        self.sort_from(0, &mut entries);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Sorts entries whose ids are alike before byte `depth`: by eight bytes at a time, so that comparing seldom
    /// has to go to the ids themselves.
    fn sort_from(&self, depth: usize, entries: &mut [(u64, u32)]) {
        let depth = depth + self.bytes_alike(depth, entries);
        for (word, entry) in &mut *entries {
            *word = word_at(self.id(*entry), depth);
        }
        entries.sort_unstable();
        for alike in entries.chunk_by_mut(|one, other| one.0 == other.0) {
            // No id has a zero byte, so one in the word means that these ids end here and are the same.
            if alike.len() > 1 && alike[0].0 & 0xff != 0 {
                self.sort_from(depth + 8, alike);
            }
        }
    }

    /// Bytes after `depth` that all ids share.
    fn bytes_alike(&self, depth: usize, entries: &[(u64, u32)]) -> usize {
        let Some(((_, first), rest)) = entries.split_first() else { return 0 };
        let mut shared = &self.id(*first)[depth..];
        for (_, entry) in rest {
            let id = &self.id(*entry)[depth..];
            let alike = shared.iter().zip(id).take_while(|(one, other)| one == other).count();
            shared = &shared[..alike];
            if shared.is_empty() {
                break;
            }
        }
        shared.len()
    }
}

/// Eight bytes of an id from `depth` as a number that sorts as they do, filled up with zeros.
fn word_at(id: &[u8], depth: usize) -> u64 {
    let rest = &id[depth.min(id.len())..];
    if let Some(word) = rest.first_chunk() {
        return u64::from_be_bytes(*word);
    }
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(word)
}

/// User ids without repetition, in order.
pub(super) struct SortedUsers {
    list: UserList,
    /// An entry for each user, in order.
    first_of: Vec<u32>,
    /// Each entry's user, as an index into `first_of`.
    rank_of: Vec<u32>,
}

impl SortedUsers {
    pub(super) fn len(&self) -> usize {
        self.first_of.len()
    }

    /// The place among the users of entry `entry`.
    pub(super) fn rank(&self, entry: u32) -> u32 {
        self.rank_of[entry as usize]
    }

    /// The id at a place.
    pub(super) fn id(&self, place: u32) -> &[u8] {
        self.list.id(self.first_of[place as usize])
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &[u8]> {
        self.first_of.iter().map(|entry| self.list.id(*entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranks(ids: &[String]) -> (Vec<String>, Vec<u32>) {
        let mut list = UserList::default();
        let entries: Vec<u32> = ids.iter().map(|id| list.push(id).expect("a good id")).collect();
        let sorted = list.sort();
        let users = sorted.ids().map(|id| String::from_utf8(id.to_vec()).expect("text")).collect();
        (users, entries.into_iter().map(|entry| sorted.rank(entry)).collect())
    }

    proptest! {
        #[test]
        fn users_sort_as_a_set_does(ids in proptest::collection::vec("(user-)?[ab]{0,12}(long-shared-part)?[a-cü]{1,9}", 0..60)) {
            let (users, ranks) = ranks(&ids);
            let wanted: std::collections::BTreeSet<&String> = ids.iter().collect();
            prop_assert!(users.iter().eq(wanted));
            for (id, rank) in ids.iter().zip(ranks) {
                prop_assert_eq!(&users[rank as usize], id);
            }
        }
    }

    #[test]
    fn a_user_that_comes_twice_in_a_row_takes_one_entry() {
        let mut list = UserList::default();
        assert_eq!(
            (list.push("a").ok(), list.push("a").ok(), list.push("b").ok()),
            (Some(0), Some(0), Some(1))
        );
        assert!(list.push("").is_err());
        assert!(list.push("a\nb").is_err());
        assert_eq!(list.push("b").ok(), Some(1));
    }
}
