//! Both files as they lie on disk: verified once, then read from front to back in little memory.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use model::{Digest, Group};

use crate::error::Error;
use crate::file::{digest_of, read_header_only};
use crate::layout::{FileKind, Header, decode_directory};
use crate::range::Run;
use crate::snapshot::{DIRECTORY, KEYS, ORDINALS, Place, locate};
use crate::users::{IDS, OFFSETS};
use crate::window::{ByteReader, DeviceWindow, OWNER_BYTES};

/// Opens a file of `kind` and verifies every byte of it.
fn open(path: &Path, kind: FileKind, expected: Digest) -> Result<(Header, File), Error> {
    let header = read_header_only(path, kind)?;
    let file = File::open(path).map_err(Error::io("open", path))?;
    let actual = file.metadata().map_err(Error::io("inspect", path))?.len();
    if header.file_bytes() != Some(actual) {
        let expected = header.file_bytes().unwrap_or(u64::MAX);
        return Err(Error::Length { path: path.to_owned(), expected, actual });
    }
    let actual = digest_of(&file, path)?;
    if actual != expected {
        return Err(Error::WrongDigest { path: path.to_owned(), expected, actual });
    }
    Ok((header, file))
}

/// A snapshot on disk. Only its directory is in memory.
pub struct SnapshotFile {
    path: PathBuf,
    file: File,
    header: Header,
    groups: Vec<Group>,
    places: Vec<Place>,
    runs: Vec<Run>,
}

impl SnapshotFile {
    /// Verifies the file at `path` as [`crate::Snapshot::open`] does.
    ///
    /// # Errors
    /// The same.
    pub fn open(path: &Path, expected: Digest) -> Result<Self, Error> {
        let (header, file) = open(path, FileKind::Snapshot, expected)?;
        let section = header.section(DIRECTORY);
        let directory =
            decode_directory(ByteReader::of_section(&file, path, section.clone()).take(section.len())?)
                .ok_or_else(|| Error::inconsistent(path, "the directory cannot be read"))?;
        let (places, runs) = locate(&directory, &header).map_err(|fault| Error::inconsistent(path, fault))?;
        let groups = directory.into_iter().map(|entry| entry.group).collect();
        Ok(Self { path: path.to_owned(), file, header, groups, places, runs })
    }

    /// The digest of its users file, as [`UsersFile::open`] wants it.
    pub const fn users_digest(&self) -> Digest {
        self.header.users_digest
    }

    /// The groups in file order.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Devices of all groups.
    pub const fn devices(&self) -> u64 {
        self.header.devices
    }

    /// The owner of each device of a group, in order.
    ///
    /// # Errors
    /// What the file system refused, what the visitor did, or a file that contradicts itself.
    pub fn each_owner<E: From<Error>>(
        &self,
        group: u32,
        mut visit: impl FnMut(u32) -> Result<(), E>,
    ) -> Result<(), E> {
        let devices = self.groups[group as usize].devices;
        let start = self.owners_at(self.places[group as usize].device);
        let stretch = start..start + devices as usize * OWNER_BYTES;
        let mut owners = ByteReader::of_section(&self.file, &self.path, stretch);
        for _ in 0..devices {
            visit(self.check_owner(owners.u32()?)?)?;
        }
        Ok(())
    }

    /// Each run with its group.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u32, &Run)> {
        let groups = (0..).zip(self.places.windows(2));
        groups.flat_map(|(group, places)| {
            self.runs[places[0].run..places[1].run].iter().map(move |run| (group, run))
        })
    }

    /// The devices of a run, none of them read yet.
    pub(crate) fn window(&self, group: u32, run: &Run) -> DeviceWindow {
        let first = self.places[group as usize].device + run.first as usize;
        let (owners, keys) = (self.owners_at(first), self.header.section(KEYS).start + run.keys_at);
        DeviceWindow::new(owners as u64, keys as u64, run.devices)
    }

    /// Makes sure that the next device of a run is in its window.
    pub(crate) fn fill(
        &self,
        window: &mut DeviceWindow,
        key_bytes: usize,
        devices: u32,
    ) -> Result<bool, Error> {
        window.fill(&self.file, key_bytes, devices).map_err(Error::io("read", &self.path))
    }

    fn owners_at(&self, device: usize) -> usize {
        self.header.section(ORDINALS).start + device * OWNER_BYTES
    }

    /// An owner as it stands in the file, if there is such a user.
    pub(crate) fn check_owner(&self, owner: u32) -> Result<u32, Error> {
        let fits = u64::from(owner) < self.header.users;
        fits.then_some(owner).ok_or_else(|| self.inconsistent("a user ordinal is too high"))
    }

    pub(crate) fn inconsistent(&self, fault: &'static str) -> Error {
        Error::inconsistent(&self.path, fault)
    }
}

impl fmt::Debug for SnapshotFile {
    /// Never shows a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotFile").field("devices", &self.header.devices).finish_non_exhaustive()
    }
}

/// A users file on disk.
pub struct UsersFile {
    path: PathBuf,
    file: File,
    header: Header,
}

impl UsersFile {
    /// Verifies the file as [`crate::Users::open`] does; what its ids are is seen when they are read.
    ///
    /// # Errors
    /// The same.
    pub fn open(path: &Path, expected: Digest) -> Result<Self, Error> {
        let (header, file) = open(path, FileKind::Users, expected)?;
        let wanted = header.users.checked_add(1).and_then(|offsets| offsets.checked_mul(4));
        if wanted != Some(header.section_bytes[OFFSETS]) || u32::try_from(header.users).is_err() {
            return Err(Error::inconsistent(path, "offsets and users do not add up"));
        }
        Ok(Self { path: path.to_owned(), file, header })
    }

    /// Number of users.
    pub const fn len(&self) -> u32 {
        self.header.users as u32
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.header.users == 0
    }

    /// Reads all ids, in order.
    pub fn read(&self) -> UsersReader<'_> {
        let reader = |section| ByteReader::of_section(&self.file, &self.path, self.header.section(section));
        UsersReader {
            users: self,
            offsets: reader(OFFSETS),
            ids: reader(IDS),
            next: 0,
            start: None,
            id: String::new(),
        }
    }
}

impl fmt::Debug for UsersFile {
    /// Never shows an id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsersFile").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// User ids, one after the other.
pub struct UsersReader<'a> {
    users: &'a UsersFile,
    offsets: ByteReader<'a>,
    ids: ByteReader<'a>,
    next: u32,
    /// Where the next id begins; `None` before the first.
    start: Option<u32>,
    id: String,
}

impl UsersReader<'_> {
    /// Goes to the next id, which [`UsersReader::id`] has then; false at the end.
    ///
    /// # Errors
    /// What the file system refused, or a file that contradicts itself.
    pub fn advance(&mut self) -> Result<bool, Error> {
        let fault = |fault| Error::inconsistent(&self.users.path, fault);
        let start = match self.start {
            Some(start) => start,
            None if self.offsets.u32()? == 0 => 0,
            None => return Err(fault("the first offset is not zero")),
        };
        self.start = Some(start);
        if self.next >= self.users.len() {
            let is_over = self.ids.is_over();
            return if is_over { Ok(false) } else { Err(fault("the last offset is not the end")) };
        }
        let end = self.offsets.u32()?;
        let bytes = end.checked_sub(start).ok_or_else(|| fault("an offset is out of place"))?;
        let id = std::str::from_utf8(self.ids.take(bytes as usize)?).ok();
        let id = id.filter(|id| *id > &*self.id);
        let id = id.ok_or_else(|| fault("user ids are not sorted or not UTF-8"))?;
        self.id.clear();
        self.id.push_str(id);
        (self.next, self.start) = (self.next + 1, Some(end));
        Ok(true)
    }

    /// The id at which it is.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for UsersReader<'_> {
    /// Never shows an id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsersReader").field("next", &self.next).finish_non_exhaustive()
    }
}
