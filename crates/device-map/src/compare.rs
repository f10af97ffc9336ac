//! What two snapshots have in common. A device is the same when platform, app and key are; groups lie in the order of their
//! keys' hashes, so both files are walked through once, in memory that depends on their size by a few bytes for each group only.

use std::cmp::{Ordering, Reverse};
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;

use model::Platform;

use crate::error::Error;
use crate::hash::hash;
use crate::key::Encoding;
use crate::range::{DeviceRef, Run};
use crate::stored::SnapshotFile;
use crate::window::{BUFFER_BYTES, DeviceWindow, OWNER_BYTES};

/// A device of one of two snapshots.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// Index of its group in its snapshot.
    pub group: u32,
    /// Itself, with its owner's place in its snapshot's users file.
    pub device: DeviceRef<'a>,
}

impl fmt::Debug for Found<'_> {
    /// Never shows the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found").field("group", &self.group).finish_non_exhaustive()
    }
}

/// Which of two snapshots has a device.
#[derive(Clone, Copy, Debug)]
pub enum Compared<'a> {
    /// The first only.
    First(Found<'a>),
    /// The second only.
    Second(Found<'a>),
    /// Both.
    Both(Found<'a>, Found<'a>),
}

/// What is sorted together: platform, app, and how keys are packed.
type BucketName<'a> = (Platform, &'a str, Encoding, u16);

/// Walks through the devices of two snapshots.
///
/// # Errors
/// What the file system refused, what the visitor did, or a file that contradicts itself.
pub fn compare<E: From<Error>>(
    first: &SnapshotFile,
    second: &SnapshotFile,
    mut visit: impl FnMut(Compared<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut buckets: BTreeMap<BucketName<'_>, [Vec<(u32, &Run)>; 2]> = BTreeMap::new();
    for (side, file) in [first, second].into_iter().enumerate() {
        for (group, run) in file.runs() {
            let name = &file.groups()[group as usize];
            let bucket = (name.platform, &*name.app, run.encoding, run.chars);
            buckets.entry(bucket).or_default()[side].push((group, run));
        }
    }
    for [of_first, of_second] in buckets.values() {
        let mut walks = [Walk::new(first, of_first)?, Walk::new(second, of_second)?];
        while let Some(order) = next(&mut walks)? {
            let [one, other] = &walks;
            match order {
                Ordering::Less => {
                    one.alike().iter().try_for_each(|held| visit(Compared::First(held.found(one))))?
                }
                Ordering::Greater => {
                    other.alike().iter().try_for_each(|held| visit(Compared::Second(held.found(other))))?;
                }
                Ordering::Equal => join(one, other, &mut visit)?,
            }
            walks[0].is_used = order.is_le();
            walks[1].is_used = order.is_ge();
        }
    }
    Ok(())
}

/// Brings what was used up to its next hash; which of both hashes comes first, or that both are at their end.
fn next(walks: &mut [Walk<'_>; 2]) -> Result<Option<Ordering>, Error> {
    for walk in walks.iter_mut().filter(|walk| walk.is_used) {
        walk.advance()?;
    }
    Ok(match [walks[0].hash, walks[1].hash] {
        [None, None] => None,
        [Some(_), None] => Some(Ordering::Less),
        [None, Some(_)] => Some(Ordering::Greater),
        [Some(one), Some(other)] => Some(one.cmp(&other)),
    })
}

/// Devices whose keys hash alike: nearly always one of each snapshot.
fn join<E>(
    one: &Walk<'_>,
    other: &Walk<'_>,
    visit: &mut impl FnMut(Compared<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (mut left, mut right) = (one.alike(), other.alike());
    loop {
        let order = match (left.first(), right.first()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.key.cmp(&right.key),
        };
        let mine = left.split_first().filter(|_| order.is_le());
        let theirs = right.split_first().filter(|_| order.is_ge());
        match (mine, theirs) {
            (Some((mine, _)), Some((theirs, _))) => {
                visit(Compared::Both(mine.found(one), theirs.found(other)))?
            }
            (Some((mine, _)), None) => visit(Compared::First(mine.found(one)))?,
            (None, Some((theirs, _))) => visit(Compared::Second(theirs.found(other)))?,
            (None, None) => return Ok(()),
        }
        left = mine.map_or(left, |(_, rest)| rest);
        right = theirs.map_or(right, |(_, rest)| rest);
    }
}

/// A device in memory.
#[derive(Default)]
struct Held {
    key: Vec<u8>,
    owner: u32,
    group: u32,
}

impl Held {
    fn found(&self, walk: &Walk<'_>) -> Found<'_> {
        let (encoding, chars) = (walk.encoding, walk.chars);
        let device = DeviceRef { encoding, chars, key: &self.key, user_ordinal: self.owner };
        Found { group: self.group, device }
    }
}

/// A run being read.
struct Input {
    group: u32,
    window: DeviceWindow,
}

/// The devices of one snapshot and bucket by their hashes, from every group.
struct Walk<'a> {
    file: &'a SnapshotFile,
    inputs: Vec<Input>,
    /// The hash of each input's next device, and the input.
    next: BinaryHeap<Reverse<(u64, u32)>>,
    encoding: Encoding,
    chars: u16,
    key_bytes: usize,
    /// Devices of a run that are read at once.
    window_devices: u32,
    /// Where the walk is, and its devices of this hash, sorted by key.
    hash: Option<u64>,
    held: Vec<Held>,
    count: usize,
    /// Whether it has to go on.
    is_used: bool,
}

/// What the windows of all runs of a walk take together, unless they are so many that one device of each is more.
const WINDOWS_BYTES: usize = 16 << 20;

/// Devices that are read at once of each of so many runs.
fn window_devices(runs: usize, key_bytes: usize) -> u32 {
    let bytes = (WINDOWS_BYTES / runs.max(1)).min(BUFFER_BYTES);
    (bytes / (OWNER_BYTES + key_bytes)).max(1) as u32
}

impl<'a> Walk<'a> {
    fn new(file: &'a SnapshotFile, runs: &[(u32, &Run)]) -> Result<Self, Error> {
        let inputs =
            runs.iter().map(|(group, run)| Input { group: *group, window: file.window(*group, run) });
        let (encoding, chars, key_bytes) = match runs.first() {
            Some((_, run)) => (run.encoding, run.chars, usize::from(run.key_bytes)),
            None => (Encoding::Raw, 0, 0),
        };
        let mut walk = Self {
            file,
            inputs: inputs.collect(),
            next: BinaryHeap::with_capacity(runs.len()),
            encoding,
            chars,
            key_bytes,
            window_devices: window_devices(runs.len(), key_bytes),
            hash: None,
            held: Vec::new(),
            count: 0,
            is_used: true,
        };
        for input in 0..walk.inputs.len() as u32 {
            let first = walk.look(input)?;
            walk.next.extend(first.map(|hash| Reverse((hash, input))));
        }
        Ok(walk)
    }

    fn alike(&self) -> &[Held] {
        &self.held[..self.count]
    }

    /// The hash of an input's next device; `None` at its end.
    fn look(&mut self, input: u32) -> Result<Option<u64>, Error> {
        let window = &mut self.inputs[input as usize].window;
        let is_there = self.file.fill(window, self.key_bytes, self.window_devices)?;
        Ok(is_there.then(|| hash(window.peek(self.key_bytes).1)))
    }

    /// Takes an input's next device, and looks at the one behind it.
    fn take(&mut self, input: u32) -> Result<Option<u64>, Error> {
        if self.held.len() == self.count {
            self.held.push(Held::default());
        }
        let (held, Input { group, window }) = (&mut self.held[self.count], &mut self.inputs[input as usize]);
        let (owner, key) = window.peek(self.key_bytes);
        held.key.clear();
        held.key.extend_from_slice(key);
        (held.owner, held.group) = (self.file.check_owner(owner)?, *group);
        window.skip();
        self.count += 1;
        self.look(input)
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.count = 0;
        self.hash = self.next.peek().map(|Reverse((hash, _))| *hash);
        let Some(wanted) = self.hash else { return Ok(()) };
        while let Some(&Reverse((hash, input))) = self.next.peek()
            && hash == wanted
        {
            let behind = self.take(input)?;
            let mut least = self.next.peek_mut().expect("it was there a moment ago");
            match behind {
                Some(hash) if hash < wanted => return Err(self.file.inconsistent("keys are not sorted")),
                Some(hash) => *least = Reverse((hash, input)),
                None => drop(PeekMut::pop(least)),
            }
        }
        if self.count > 1 {
            self.held[..self.count].sort_by(|one, other| one.key.cmp(&other.key));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use model::Device;
    use proptest::prelude::*;

    use super::*;
    use crate::build::tests::{build, device, open};
    use crate::{Limits, UsersFile, snapshot_path, users_path};

    type Key = (Platform, String, String);

    /// Builds, and gives the files and what a snapshot in memory says of each key: market, locale and owner.
    fn built(
        folder: &Path,
        devices: &[Device],
    ) -> (SnapshotFile, UsersFile, BTreeMap<Key, (String, String, String)>) {
        let manifest = build(folder, Limits::default(), devices);
        let (snapshot, users) = open(folder, &manifest);
        let mut all = BTreeMap::new();
        for (index, group) in (0..).zip(snapshot.groups()) {
            for device in snapshot.range(index, 0, group.devices).expect("a group") {
                let user = users.id(device.user_ordinal()).expect("a user").to_owned();
                let key = (group.platform, group.app.clone(), device.text());
                all.insert(key, (group.market.clone(), group.locale.clone(), user));
            }
        }
        let file =
            SnapshotFile::open(&snapshot_path(folder, &manifest.digest), manifest.digest).expect("a file");
        let users =
            UsersFile::open(&users_path(folder, &manifest.digest), file.users_digest()).expect("users");
        (file, users, all)
    }

    fn ids(users: &UsersFile) -> Vec<String> {
        let mut reader = users.read();
        let mut ids = Vec::new();
        while reader.advance().expect("good users") {
            ids.push(reader.id().to_owned());
        }
        assert_eq!(ids.len(), users.len() as usize);
        ids
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]

        #[test]
        fn what_two_snapshots_have_is_what_two_maps_have(
            first in proptest::collection::vec(device(), 0..80),
            second in proptest::collection::vec(device(), 0..80),
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let (one, one_users, left) = built(folder.path(), &first);
            let (other, other_users, right) = built(folder.path(), &second);
            let ids = [ids(&one_users), ids(&other_users)];
            let tell = |side: usize, found: &Found<'_>| {
                let group = &[&one, &other][side].groups()[found.group as usize];
                let user = ids[side][found.device.user_ordinal() as usize].clone();
                let key = (group.platform, group.app.clone(), found.device.text());
                (key, (group.market.clone(), group.locale.clone(), user))
            };
            let (mut in_first, mut in_second) = (BTreeMap::new(), BTreeMap::new());
            compare::<Error>(&one, &other, |compared| {
                let sides = match &compared {
                    Compared::First(mine) => [Some(tell(0, mine)), None],
                    Compared::Second(theirs) => [None, Some(tell(1, theirs))],
                    Compared::Both(mine, theirs) => [Some(tell(0, mine)), Some(tell(1, theirs))],
                };
                let key = sides.iter().flatten().next().expect("one side has it").0.clone();
                assert_eq!([left.contains_key(&key), right.contains_key(&key)], [sides[0].is_some(), sides[1].is_some()]);
                let [mine, theirs] = sides;
                for (told, all) in [(mine, &mut in_first), (theirs, &mut in_second)] {
                    if let Some((key, rest)) = told {
                        assert_eq!(all.insert(key, rest), None, "a device comes once");
                    }
                }
                Ok(())
            }).expect("good files");
            prop_assert_eq!((in_first, in_second), (left, right));
            let mut owners = Vec::new();
            for group in 0..one.groups().len() as u32 {
                one.each_owner::<Error>(group, |owner| { owners.push(owner); Ok(()) }).expect("a good file");
            }
            prop_assert_eq!(owners.len() as u64, one.devices());
        }
    }

    #[test]
    fn a_damaged_file_is_not_walked_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = build(folder.path(), Limits::default(), &[]);
        let path = snapshot_path(folder.path(), &manifest.digest);
        let mut bytes = std::fs::read(&path).expect("a file");
        let users =
            Error::WrongDigest { path: path.clone(), expected: manifest.digest, actual: manifest.digest };
        *bytes.last_mut().expect("a byte") ^= 1;
        std::fs::write(&path, &bytes).expect("a file");
        let error = SnapshotFile::open(&path, manifest.digest).expect_err("it is damaged");
        assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&users), "{error}");
        bytes.pop();
        std::fs::write(&path, &bytes).expect("a file");
        let error = SnapshotFile::open(&path, manifest.digest).expect_err("it is cut short");
        assert!(matches!(error, Error::Length { .. }), "{error}");
    }
}
