//! The late list: people who must not be sent to any more, whatever was frozen with them in it. It only ever takes away, and it
//! knows people by keyed hashes, so that it can outlive what it was made to forget.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::device::Device;
use crate::runtime::Randomness;
use crate::time::Timestamp;

/// An installation's secret for hashing user ids and keys: who has the hashes only cannot try out ids.
#[derive(Clone, PartialEq, Eq)]
pub struct HashKey([u8; 32]);

impl HashKey {
    /// One that was stored.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A new one.
    pub fn random(randomness: &dyn Randomness) -> Self {
        let mut bytes = [0; 32];
        randomness.fill(&mut bytes);
        Self(bytes)
    }

    /// To be stored.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash of a user id.
    pub fn user(&self, id: &str) -> UserHash {
        let hash = blake3::keyed_hash(&self.0, id.as_bytes());
        let mut bytes = [0; UserHash::BYTES];
        bytes.copy_from_slice(&hash.as_bytes()[..UserHash::BYTES]);
        UserHash(bytes)
    }

    /// The hash of a device: enough to tell those of one person apart.
    pub fn device(&self, device: &Device) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in [device.platform.name(), &device.app, &device.key] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.finalize().to_hex()[..12].to_owned()
    }
}

impl fmt::Debug for HashKey {
    /// Never shows the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}

/// The keyed hash of a user id, written as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserHash(pub [u8; UserHash::BYTES]);

impl UserHash {
    /// Enough that no two of a billion people look alike.
    pub const BYTES: usize = 16;
}

impl fmt::Display for UserHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for UserHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for UserHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UserHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = u128::from_str_radix(&text, 16).ok().filter(|_| text.len() == 2 * UserHash::BYTES);
        let number = number.ok_or_else(|| serde::de::Error::custom("not a hash of 32 hex digits"))?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// Why somebody must not be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Cause {
    /// The person asked for it.
    OptedOut = 0,
    /// Whoever runs the installation decided it.
    Blocked = 1,
    /// The person asked to be forgotten. Outranks the others.
    Erased = 2,
}

impl Cause {
    /// In the order of their codes.
    pub const ALL: [Cause; 3] = [Cause::OptedOut, Cause::Blocked, Cause::Erased];

    /// As rows and reports write it.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::OptedOut => "opted_out",
            Cause::Blocked => "blocked",
            Cause::Erased => "erased",
        }
    }
}

/// A person on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Who.
    pub user: UserHash,
    /// Why.
    pub cause: Cause,
    /// Since when.
    pub since: Timestamp,
}

/// The whole list in memory: 25 bytes a person when stored, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suppressed(Vec<Entry>);

const ENTRY_BYTES: usize = UserHash::BYTES + 1 + 8;

impl Suppressed {
    /// Adds people. Whoever is on it already stays, with the cause that says more and since when that holds.
    pub fn add(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.0.extend(entries);
        self.0.sort_unstable_by_key(|entry| (entry.user, std::cmp::Reverse(entry.cause), entry.since));
        self.0.dedup_by_key(|entry| entry.user);
    }

    /// Takes people off it: they have come back. Snapshots that have left them out go on doing so.
    pub fn remove(&mut self, users: &[UserHash]) {
        self.0.retain(|entry| !users.contains(&entry.user));
    }

    /// Why a person is on it.
    pub fn find(&self, user: &UserHash) -> Option<Cause> {
        Some(self.entry(user)?.cause)
    }

    /// A person on it.
    pub fn entry(&self, user: &UserHash) -> Option<&Entry> {
        let place = self.0.binary_search_by(|entry| entry.user.cmp(user)).ok()?;
        Some(&self.0[place])
    }

    /// Everybody on it, in the order of the hashes.
    pub fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        self.0.iter().copied()
    }

    /// People on it.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// People on it by cause, in the order of [`Cause::ALL`].
    pub fn by_cause(&self) -> [u64; Cause::ALL.len()] {
        let mut counts = [0; Cause::ALL.len()];
        self.0.iter().for_each(|entry| counts[entry.cause as usize] += 1);
        counts
    }

    /// The stored form: hash, cause and time (microseconds, little end first) of each, sorted.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * ENTRY_BYTES);
        for entry in &self.0 {
            bytes.extend_from_slice(&entry.user.0);
            bytes.push(entry.cause as u8);
            bytes.extend_from_slice(&entry.since.as_micros().to_le_bytes());
        }
        bytes
    }

    /// From the stored form; `None` for what is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        let read = |entry: &[u8; ENTRY_BYTES]| {
            let (user, rest) = entry.split_first_chunk()?;
            let (cause, since) = rest.split_first()?;
            let cause = *Cause::ALL.get(usize::from(*cause))?;
            let since = Timestamp(u64::from_le_bytes(*since.first_chunk()?));
            Some(Entry { user: UserHash(*user), cause, since })
        };
        let entries: Vec<Entry> = entries.iter().map(read).collect::<Option<_>>()?;
        let is_sorted = entries.windows(2).all(|pair| pair[0].user < pair[1].user);
        (rest.is_empty() && is_sorted).then_some(Self(entries))
    }
}

/// How long a new version may take until every worker that is ready holds it.
pub const SPREAD_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// The versions of the list that came last, so that everybody knows how far behind they may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions(Vec<(u64, Timestamp)>);

/// Versions that are remembered.
const VERSIONS_MAX: usize = 64;

impl Versions {
    /// The last one; 0 as long as nobody was added.
    pub fn last(&self) -> u64 {
        self.0.last().map_or(0, |(version, _)| *version)
    }

    /// When the last one began.
    pub fn changed_at(&self) -> Option<Timestamp> {
        self.0.last().map(|(_, at)| *at)
    }

    /// Begins the next one.
    pub fn advance(&mut self, now: Timestamp) {
        self.0.push((self.last() + 1, now));
        if self.0.len() > VERSIONS_MAX {
            self.0.remove(0);
        }
    }

    /// The version that everybody must have at `now`, when each has `lag` for a new one. When more came within it than are
    /// remembered, the oldest of these.
    pub fn required(&self, now: Timestamp, lag: std::time::Duration) -> u64 {
        let old = self.0.iter().rev().find(|(_, at)| now.since(*at) >= lag);
        let before = self.0.first().map_or(0, |(version, _)| version - 1);
        old.map_or(before, |(version, _)| *version)
    }
}

/// One bit for each user of a snapshot, by ordinal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserBits {
    words: Vec<u64>,
    users: u64,
}

impl UserBits {
    /// None of `users`.
    pub fn new(users: u64) -> Self {
        Self { words: vec![0; users.div_ceil(64) as usize], users }
    }

    /// Sets a user's bit.
    ///
    /// # Panics
    /// For a user that the snapshot does not have.
    pub fn set(&mut self, user: u64) {
        assert!(user < self.users, "user {user} of {}", self.users);
        self.words[(user / 64) as usize] |= 1 << (user % 64);
    }

    /// Clears a user's bit.
    pub fn clear(&mut self, user: u64) {
        if let Some(word) = self.words.get_mut((user / 64) as usize) {
            *word &= !(1 << (user % 64));
        }
    }

    /// Whether a user's bit is set; never for one that the snapshot does not have.
    #[inline]
    pub fn contains(&self, user: u64) -> bool {
        self.words.get((user / 64) as usize).is_some_and(|word| word >> (user % 64) & 1 != 0)
    }

    /// Sets what is set in `other`, too.
    pub fn add(&mut self, other: &UserBits) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// Bits that are set.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Bits that there are.
    pub const fn users(&self) -> u64 {
        self.users
    }

    /// The stored form: words of 64 bits, little end first.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// From the stored form for a snapshot of `users`; `None` for what is none.
    pub fn from_bytes(bytes: &[u8], users: u64) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let beyond = words.last().is_some_and(|last| !users.is_multiple_of(64) && last >> (users % 64) != 0);
        let fits = rest.is_empty() && words.len() as u64 == users.div_ceil(64) && !beyond;
        fits.then_some(Self { words, users })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::runtime::SeededRandomness;

    fn entry((user, cause): (u8, u8)) -> Entry {
        let since = Timestamp(u64::from(user) + u64::from(cause));
        Entry { user: UserHash([user; 16]), cause: Cause::ALL[usize::from(cause)], since }
    }

    proptest! {
        #[test]
        fn the_list_is_a_map_that_keeps_the_strongest_cause(
            parts in proptest::collection::vec(proptest::collection::vec((0_u8..40, 0_u8..3), 0..20), 0..5),
        ) {
            let (mut list, mut model) = (Suppressed::default(), BTreeMap::new());
            for part in parts {
                list.add(part.iter().copied().map(entry));
                for one in part.into_iter().map(entry) {
                    let cause = model.entry(one.user).or_insert(one.cause);
                    *cause = (*cause).max(one.cause);
                }
            }
            prop_assert_eq!(list.len(), model.len());
            prop_assert!(model.iter().all(|(user, cause)| list.find(user) == Some(*cause)));
            prop_assert_eq!(list.find(&UserHash([99; 16])), None);
            prop_assert_eq!(list.by_cause().iter().sum::<u64>(), model.len() as u64);
            let bytes = list.to_bytes();
            prop_assert_eq!(Suppressed::from_bytes(&bytes), Some(list));
        }

        #[test]
        fn bits_are_a_set(users in 1_u64..300, set in proptest::collection::btree_set(0_u64..300, 0..20)) {
            let mut bits = UserBits::new(users);
            let set: Vec<u64> = set.into_iter().filter(|user| *user < users).collect();
            set.iter().for_each(|user| bits.set(*user));
            prop_assert_eq!(bits.count(), set.len() as u64);
            prop_assert!((0..400).all(|user| bits.contains(user) == set.contains(&user)));
            prop_assert_eq!(UserBits::from_bytes(&bits.to_bytes(), users), Some(bits.clone()));
            let mut both = UserBits::new(users);
            both.add(&bits);
            prop_assert_eq!(&both, &bits);
            set.iter().for_each(|user| both.clear(*user));
            prop_assert_eq!(both.count(), 0);
        }
    }

    #[test]
    fn an_entry_says_since_when_its_cause_holds() {
        let at = |cause, since| Entry { user: UserHash([1; 16]), cause, since: Timestamp(since) };
        let mut list = Suppressed::default();
        list.add([at(Cause::OptedOut, 5)]);
        list.add([at(Cause::OptedOut, 9)]);
        assert_eq!(list.entry(&UserHash([1; 16])), Some(&at(Cause::OptedOut, 5)));
        list.add([at(Cause::Erased, 7)]);
        list.add([at(Cause::OptedOut, 1)]);
        assert_eq!(list.entry(&UserHash([1; 16])), Some(&at(Cause::Erased, 7)));
    }

    #[test]
    fn people_can_come_back() {
        let mut list = Suppressed::default();
        list.add([entry((1, 0)), entry((2, 1))]);
        list.remove(&[UserHash([1; 16]), UserHash([7; 16])]);
        assert_eq!((list.find(&UserHash([1; 16])), list.len()), (None, 1));
    }

    #[test]
    fn damaged_lists_and_bits_are_refused() {
        let mut list = Suppressed::default();
        list.add([entry((1, 0)), entry((2, 1))]);
        let bytes = list.to_bytes();
        assert_eq!(Suppressed::from_bytes(&bytes[1..]), None, "cut");
        let swapped = [&bytes[25..], &bytes[..25]].concat();
        assert_eq!(Suppressed::from_bytes(&swapped), None, "not sorted");
        let mut odd = bytes;
        odd[16] = 9;
        assert_eq!(Suppressed::from_bytes(&odd), None, "a cause that nobody writes");
        assert_eq!(UserBits::from_bytes(&[0; 8], 65), None, "too short");
        assert_eq!(UserBits::from_bytes(&[255; 8], 63), None, "a user beyond the last");
    }

    #[test]
    fn hashes_depend_on_key_and_user_and_read_back() {
        let randomness = SeededRandomness::new(1);
        let (one, other) = (HashKey::random(&randomness), HashKey::random(&randomness));
        let hash = one.user("ann");
        assert_eq!(hash, one.user("ann"));
        assert!(hash != one.user("bob") && hash != other.user("ann"));
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(serde_json::from_str::<UserHash>(&json).unwrap(), hash);
        assert!(serde_json::from_str::<UserHash>("\"+0\"").is_err());
        assert_eq!(format!("{one:?}"), "HashKey");
    }

    #[test]
    fn a_version_is_required_once_its_time_for_spreading_is_over() {
        let lag = Duration::from_secs(10);
        let at = Timestamp::from_secs;
        let mut versions = Versions::default();
        assert_eq!((versions.last(), versions.required(at(99), lag)), (0, 0));
        versions.advance(at(100));
        versions.advance(at(105));
        assert_eq!(versions.last(), 2);
        let required = [109, 110, 114, 115].map(|now| versions.required(at(now), lag));
        assert_eq!(required, [0, 1, 1, 2]);
        (0..1_000).for_each(|_| versions.advance(at(200)));
        assert_eq!(versions.last(), 1_002);
        assert_eq!(versions.required(at(205), lag), 1_002 - VERSIONS_MAX as u64);
    }
}
