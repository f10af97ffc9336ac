//! A verified snapshot in memory.

use std::fmt;
use std::path::Path;

use model::device::KEY_CHARS_MAX;
use model::{Digest, Group, Manifest, Platform};

use crate::error::Error;
use crate::file::{read_header_only, read_verified};
use crate::hash::hash;
use crate::key::pack;
use crate::layout::{FileKind, GroupEntry, Header, RunEntry, decode_directory};
use crate::range::{DeviceRef, Range, Run};

/// Where a device stands: the shard plan's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Index of its group in the manifest.
    pub group: u32,
    /// Its index within the group.
    pub device: u32,
}

/// A snapshot, read from its file and verified as a whole. Immutable; share it in an `Arc`.
pub struct Snapshot {
    digest: Digest,
    header: Header,
    groups: Vec<Group>,
    /// Where each group begins.
    places: Vec<Place>,
    runs: Vec<Run>,
    /// The whole file.
    content: Vec<u8>,
}

/// Where a group begins, and one more for where the last ends.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// First device over the whole snapshot.
    pub(crate) device: usize,
    /// First run in the table of runs.
    pub(crate) run: usize,
}

impl Snapshot {
    /// Reads the file at `path` and verifies every byte: kind, version, header, length, digest, and that its tables
    /// fit each other. After that no reading fails for what the file holds.
    ///
    /// # Errors
    /// A precise one for a file that is missing, foreign, newer, cut short, damaged, or another snapshot.
    pub fn open(path: &Path, expected: Digest) -> Result<Self, Error> {
        let (header, content) = read_verified(path, FileKind::Snapshot, expected)?;
        let directory = decode_directory(&content[header.section(DIRECTORY)])
            .ok_or_else(|| Error::inconsistent(path, "the directory cannot be read"))?;
        let (places, runs) = locate(&directory, &header).map_err(|fault| Error::inconsistent(path, fault))?;
        let groups = directory.into_iter().map(|entry| entry.group).collect();
        let snapshot = Self { digest: expected, header, groups, places, runs, content };
        snapshot.check_ordinals().map_err(|fault| Error::inconsistent(path, fault))?;
        Ok(snapshot)
    }

    /// The digest of the users file that belongs to the snapshot at `path`, for whoever needs the users only. Reads no
    /// device.
    ///
    /// # Errors
    /// As [`Snapshot::open`], as far as the header shows it.
    pub fn read_users_digest(path: &Path) -> Result<Digest, Error> {
        Ok(read_header_only(path, FileKind::Snapshot)?.users_digest)
    }

    fn check_ordinals(&self) -> Result<(), &'static str> {
        let (ordinals, _) = self.ordinals().as_chunks::<4>();
        let highest = ordinals.iter().map(|ordinal| u32::from_le_bytes(*ordinal)).max();
        let fits = highest.is_none_or(|highest| u64::from(highest) < self.header.users);
        fits.then_some(()).ok_or("a user ordinal is too high")
    }

    /// The digest of the snapshot file, and the snapshot's name.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest of its users file, as [`crate::Users::open`] wants it.
    pub const fn users_digest(&self) -> Digest {
        self.header.users_digest
    }

    /// The manifest, as the build returned it.
    pub fn manifest(&self) -> Manifest {
        Manifest {
            digest: self.digest,
            devices: self.header.devices,
            users: self.header.users,
            duplicate_devices: self.header.duplicate_devices,
            file_bytes: self.content.len() as u64,
            groups: self.groups.clone(),
        }
    }

    /// The groups in file order.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Bytes of memory that this snapshot holds.
    pub fn resident_bytes(&self) -> u64 {
        self.content.len() as u64
    }

    /// The devices `start..start + count` of a group.
    ///
    /// # Errors
    /// [`Error::NoSuchRange`] if the group does not have them all.
    pub fn range(&self, group: u32, start: u32, count: u32) -> Result<Range<'_>, Error> {
        let missing = Error::NoSuchRange { group, start, count };
        let Some(devices) = self.groups.get(group as usize).map(|group| group.devices) else {
            return Err(missing);
        };
        if start.checked_add(count).is_none_or(|end| end > devices) {
            return Err(missing);
        }
        let first = self.places[group as usize].device + start as usize;
        let ordinals = &self.ordinals()[first * 4..(first + count as usize) * 4];
        Ok(Range::new(self.runs_of(group), self.keys(), ordinals, start))
    }

    /// One device; `None` if there is none.
    pub fn device(&self, position: Position) -> Option<DeviceRef<'_>> {
        self.range(position.group, position.device, 1).ok()?.next()
    }

    /// The owner of one device; `None` if there is no such device.
    pub fn user_ordinal(&self, position: Position) -> Option<u32> {
        self.device(position).map(|device| device.user_ordinal())
    }

    /// Users with at least one device.
    pub const fn users(&self) -> u64 {
        self.header.users
    }

    /// Where the devices of a user stand. Looks at every ordinal: about two milliseconds for six million.
    pub fn devices_of(&self, user_ordinal: u32) -> impl Iterator<Item = Position> + '_ {
        let wanted = user_ordinal.to_le_bytes();
        let (ordinals, _) = self.ordinals().as_chunks::<4>();
        let found = ordinals.iter().enumerate().filter(move |(_, ordinal)| **ordinal == wanted);
        found.map(|(device, _)| self.position_of(device))
    }

    /// Where the device with this key stands, if the snapshot has it; a fault in the key counts as not having it.
    pub fn find_key(&self, platform: Platform, app: &str, key: &str) -> Option<Position> {
        let mut scratch = [0; KEY_CHARS_MAX];
        let packed = pack(platform, key, &mut scratch).ok()?;
        let groups = self.groups.iter().enumerate();
        let mut groups = groups.filter(|(_, group)| group.platform == platform && group.app == app);
        groups.find_map(|(index, _)| {
            let mut runs = self.runs_of(index as u32).iter();
            let run = runs.find(|run| run.encoding == packed.encoding && run.chars == packed.chars)?;
            let device = self.find_in(run, packed.bytes)?;
            Some(Position { group: index as u32, device })
        })
    }

    fn find_in(&self, run: &Run, key: &[u8]) -> Option<u32> {
        let wanted = (hash(key), key);
        let (mut low, mut high) = (run.first, run.first + run.devices);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = run.key(self.keys(), middle);
            match (hash(found), found).cmp(&wanted) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn position_of(&self, device: usize) -> Position {
        let group = self.places.partition_point(|place| place.device <= device) - 1;
        Position { group: group as u32, device: (device - self.places[group].device) as u32 }
    }

    fn runs_of(&self, group: u32) -> &[Run] {
        &self.runs[self.places[group as usize].run..self.places[group as usize + 1].run]
    }

    fn ordinals(&self) -> &[u8] {
        &self.content[self.header.section(ORDINALS)]
    }

    fn keys(&self) -> &[u8] {
        &self.content[self.header.section(KEYS)]
    }
}

impl fmt::Debug for Snapshot {
    /// Never shows a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("digest", &self.digest)
            .field("devices", &self.header.devices)
            .field("groups", &self.groups.len())
            .finish_non_exhaustive()
    }
}

/// The sections of a snapshot file, by number.
pub(crate) const DIRECTORY: usize = 0;
pub(crate) const ORDINALS: usize = 1;
pub(crate) const KEYS: usize = 2;

/// Where everything lies, or what in the directory does not fit the header.
pub(crate) fn locate(
    directory: &[GroupEntry],
    header: &Header,
) -> Result<(Vec<Place>, Vec<Run>), &'static str> {
    let (mut places, mut runs) = (vec![Place { device: 0, run: 0 }], Vec::new());
    let (mut device, mut keys_at) = (0_usize, 0_usize);
    if !directory.is_sorted_by(|one, other| sorting(one) < sorting(other)) {
        return Err("groups are not sorted");
    }
    for entry in directory {
        let mut first = 0_u32;
        for run in &entry.runs {
            let run = locate_run(run, entry.group.platform, first, keys_at)?;
            first = first.checked_add(run.devices).ok_or("a group has too many devices")?;
            keys_at = (run.devices as usize)
                .checked_mul(usize::from(run.key_bytes))
                .and_then(|bytes| keys_at.checked_add(bytes))
                .ok_or("the keys are too long")?;
            runs.push(run);
        }
        if first != entry.group.devices {
            return Err("a group's runs do not add up");
        }
        device += first as usize;
        places.push(Place { device, run: runs.len() });
    }
    let adds_up = device as u64 == header.devices
        && header.devices.checked_mul(4) == Some(header.section_bytes[ORDINALS])
        && keys_at as u64 == header.section_bytes[KEYS];
    adds_up.then_some((places, runs)).ok_or("groups and sections do not add up")
}

/// What groups are sorted by.
fn sorting(entry: &GroupEntry) -> impl Ord + '_ {
    let Group { platform, app, market, locale, .. } = &entry.group;
    (*platform, app, market, locale)
}

fn locate_run(entry: &RunEntry, platform: Platform, first: u32, keys_at: usize) -> Result<Run, &'static str> {
    let RunEntry { encoding, chars, devices } = *entry;
    let key_bytes = encoding.key_bytes(usize::from(chars)).ok_or("a run has keys of impossible length")?;
    if encoding.platform() != platform || devices == 0 {
        return Err("a run is empty or of the wrong platform");
    }
    Ok(Run { encoding, chars, key_bytes: key_bytes as u16, first, devices, keys_at })
}

#[cfg(test)]
mod tests;
