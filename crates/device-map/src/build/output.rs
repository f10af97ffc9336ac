//! Writes the two files from a source. A first walk over the source counts, so that every place in the files is
//! known; the second walk writes each device to its place.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use model::{Digest, Group, Manifest};

use super::groups::Groups;
use super::lost::Telling;
use super::source::{Loser, Lost, Source};
use crate::error::Error;
use crate::file::{Unfinished, digest_of, snapshot_path, users_path};
use crate::layout::{FileKind, GroupEntry, HEADER_BYTES, Header, RunEntry, encode_directory};

/// Writes both files and gives them their names.
pub(super) fn write(
    folder: &Path,
    source: impl Source,
    groups: &Groups,
    pushed: u64,
    mut telling: Option<Telling<'_>>,
) -> Result<Manifest, Error> {
    let (cells, marks) = count(&source, groups)?;
    let users = u32::try_from(marks.count()).map_err(|_| TOO_MANY_USERS)?;
    let (users_file, users_digest) = write_users(folder, &source, &marks, users)?;
    let mut plan = Plan::new(cells, groups)?;
    let directory = encode_directory(&plan.directory);
    let devices: u64 = plan.directory.iter().map(|entry| u64::from(entry.group.devices)).sum();
    let header = Header {
        devices,
        users: u64::from(users),
        duplicate_devices: pushed - devices,
        users_digest,
        section_bytes: [directory.len() as u64, devices * 4, plan.key_bytes, 0],
    };
    let snapshot = Unfinished::new(folder)?;
    write_front(&snapshot, &header, FileKind::Snapshot, &directory)?;
    // Without duplicates the second walk is spared looking for them.
    let telling = telling.as_mut().filter(|_| header.duplicate_devices > 0);
    write_devices(&snapshot, &source, &mut plan, &marks, &header, groups, telling)?;
    drop(source);
    let digest = digest_of(&snapshot.file, &snapshot.path)?;
    users_file.name(&users_path(folder, &digest))?;
    snapshot.name(&snapshot_path(folder, &digest))?;
    Ok(Manifest {
        digest,
        devices,
        users: header.users,
        duplicate_devices: header.duplicate_devices,
        file_bytes: header.file_bytes().expect("the file was just written"),
        groups: plan.directory.into_iter().map(|entry| entry.group).collect(),
    })
}

pub(super) const TOO_MANY_USERS: Error = Error::TooMany { what: "users", limit: u32::MAX as u64 };

/// The devices that a group and a bucket have in common: a run of the file.
struct Cell {
    group: u32,
    bucket: u32,
    devices: u32,
    /// Where its devices begin, counted over the whole snapshot.
    device_at: u64,
    /// Where its keys begin in their section.
    keys_at: u64,
}

/// Counts the devices of each cell and marks the users that have one.
fn count(source: &impl Source, groups: &Groups) -> Result<(Vec<Cell>, Marks), Error> {
    let mut marks = Marks::new(source.users());
    let mut cells = Vec::new();
    let mut counts = vec![0_u32; groups.len()];
    for bucket in 0..groups.buckets().len() as u32 {
        source.each_device(bucket, None, |device| {
            marks.set(device.user);
            let count = &mut counts[device.group as usize];
            let too_many = Error::TooMany { what: "devices in a group", limit: u64::from(u32::MAX) };
            *count = count.checked_add(1).ok_or(too_many)?;
            Ok(())
        })?;
        for (group, count) in (0..).zip(&mut counts) {
            let devices = std::mem::take(count);
            if devices > 0 {
                cells.push(Cell { group, bucket, devices, device_at: 0, keys_at: 0 });
            }
        }
    }
    Ok((cells, marks))
}

/// Where everything goes.
struct Plan {
    /// In file order.
    directory: Vec<GroupEntry>,
    /// By bucket, as the second walk meets them.
    cells: Vec<Cell>,
    /// Bytes of the section of keys.
    key_bytes: u64,
}

impl Plan {
    fn new(mut cells: Vec<Cell>, groups: &Groups) -> Result<Self, Error> {
        let buckets = groups.buckets();
        cells.sort_by(|one, other| {
            let packing = |cell: &Cell| {
                let bucket = &buckets[cell.bucket as usize];
                (bucket.encoding, bucket.chars)
            };
            groups.compare(one.group, other.group).then_with(|| packing(one).cmp(&packing(other)))
        });
        let mut plan = Self { directory: Vec::new(), cells: Vec::new(), key_bytes: 0 };
        let mut device_at = 0;
        for cell in &mut cells {
            (cell.device_at, cell.keys_at) = (device_at, plan.key_bytes);
            device_at += u64::from(cell.devices);
            plan.key_bytes += u64::from(cell.devices) * buckets[cell.bucket as usize].key_bytes() as u64;
        }
        for cells in cells.chunk_by(|one, other| one.group == other.group) {
            plan.directory.push(entry(cells, groups)?);
        }
        cells.sort_by_key(|cell| cell.bucket);
        plan.cells = cells;
        Ok(plan)
    }
}

/// The directory's entry for one group's cells.
fn entry(cells: &[Cell], groups: &Groups) -> Result<GroupEntry, Error> {
    let name = groups.name(cells[0].group).clone();
    let devices: u64 = cells.iter().map(|cell| u64::from(cell.devices)).sum();
    let devices = u32::try_from(devices)
        .map_err(|_| Error::TooMany { what: "devices in a group", limit: u64::from(u32::MAX) })?;
    let runs = cells.iter().map(|cell| {
        let bucket = &groups.buckets()[cell.bucket as usize];
        RunEntry { encoding: bucket.encoding, chars: bucket.chars, devices: cell.devices }
    });
    let runs = runs.collect();
    let group =
        Group { market: name.market, platform: name.platform, app: name.app, locale: name.locale, devices };
    Ok(GroupEntry { group, runs })
}

/// The second walk.
fn write_devices(
    snapshot: &Unfinished,
    source: &impl Source,
    plan: &mut Plan,
    marks: &Marks,
    header: &Header,
    groups: &Groups,
    mut telling: Option<&mut Telling<'_>>,
) -> Result<(), Error> {
    let ranks = marks.ranks();
    let (ordinals_at, keys_at) = (header.section(1).start as u64, header.section(2).start as u64);
    let mut target_of = vec![0_u32; groups.len()];
    for cells in plan.cells.chunk_by(|one, other| one.bucket == other.bucket) {
        let capacity = (BUFFERS_BYTES / cells.len()).clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX);
        let mut targets = Vec::with_capacity(cells.len());
        for cell in cells {
            target_of[cell.group as usize] = targets.len() as u32;
            let ordinals = Appender::new(snapshot, ordinals_at + cell.device_at * 4, capacity / 8);
            targets.push((ordinals, Appender::new(snapshot, keys_at + cell.keys_at, capacity)));
        }
        let bucket = cells[0].bucket;
        let mut lose = telling.as_deref_mut().filter(|telling| telling.wants_more()).map(|telling| {
            |lost: Lost<'_>| telling.tell(lost, bucket, source, groups, marks.has(lost.device.user))
        });
        let lose = lose.as_mut().map(|lose| lose as Loser<'_>);
        source.each_device(bucket, lose, |device| {
            let (ordinals, keys) = &mut targets[target_of[device.group as usize] as usize];
            ordinals.append(&ranks.of(device.user).to_le_bytes())?;
            keys.append(device.key)
        })?;
        for (ordinals, keys) in targets {
            ordinals.finish()?;
            keys.finish()?;
        }
    }
    Ok(())
}

/// Memory for what is on its way to the cells of a bucket, and for one cell at least and at most.
const BUFFERS_BYTES: usize = 32 << 20;
const BUFFER_BYTES_MIN: usize = 8 << 10;
const BUFFER_BYTES_MAX: usize = 256 << 10;

fn write_users(
    folder: &Path,
    source: &impl Source,
    marks: &Marks,
    users: u32,
) -> Result<(Unfinished, Digest), Error> {
    let file = Unfinished::new(folder)?;
    let offsets_bytes = (u64::from(users) + 1) * 4;
    let mut offsets = Appender::new(&file, HEADER_BYTES as u64, BUFFER_BYTES_MAX);
    let mut ids = Appender::new(&file, HEADER_BYTES as u64 + offsets_bytes, BUFFER_BYTES_MAX);
    let (mut user, mut id_bytes) = (0, 0_u32);
    offsets.append(&id_bytes.to_le_bytes())?;
    source.each_user(|id| {
        user += 1;
        if !marks.has(user - 1) {
            return Ok(());
        }
        let too_many = Error::TooMany { what: "bytes of user ids", limit: u64::from(u32::MAX) };
        id_bytes = id_bytes.checked_add(id.len() as u32).ok_or(too_many)?;
        offsets.append(&id_bytes.to_le_bytes())?;
        ids.append(id)
    })?;
    offsets.finish()?;
    ids.finish()?;
    let header = Header {
        devices: 0,
        users: u64::from(users),
        duplicate_devices: 0,
        users_digest: Digest([0; 32]),
        section_bytes: [offsets_bytes, u64::from(id_bytes), 0, 0],
    };
    write_front(&file, &header, FileKind::Users, &[])?;
    let digest = digest_of(&file.file, &file.path)?;
    Ok((file, digest))
}

fn write_front(file: &Unfinished, header: &Header, kind: FileKind, rest: &[u8]) -> Result<(), Error> {
    let bytes = [&header.encode(kind), rest].concat();
    file.file.write_all_at(&bytes, 0).map_err(Error::io("write", &file.path))
}

/// Bytes on their way to one place of a file.
struct Appender<'a> {
    file: &'a File,
    path: &'a Path,
    at: u64,
    buffer: Vec<u8>,
    capacity: usize,
}

impl<'a> Appender<'a> {
    fn new(file: &'a Unfinished, at: u64, capacity: usize) -> Self {
        Self { file: &file.file, path: &file.path, at, buffer: Vec::new(), capacity }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.buffer.len() + bytes.len() > self.capacity {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.file.write_all_at(&self.buffer, self.at).map_err(Error::io("write", self.path))?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(), Error> {
        self.flush()
    }
}

/// One bit for each user of the source: whether a device of it survived.
struct Marks(Vec<u64>);

impl Marks {
    fn new(users: usize) -> Self {
        Self(vec![0; users.div_ceil(64)])
    }

    fn set(&mut self, user: u32) {
        self.0[user as usize / 64] |= 1 << (user % 64);
    }

    fn has(&self, user: u32) -> bool {
        self.0[user as usize / 64] >> (user % 64) & 1 == 1
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    fn ranks(&self) -> Ranks {
        let mut before = 0;
        let words = self.0.iter().map(|word| {
            let entry = (*word, before);
            before += word.count_ones();
            entry
        });
        Ranks(words.collect())
    }
}

/// For each 64 users their marks, and how many users before them have one.
struct Ranks(Vec<(u64, u32)>);

impl Ranks {
    /// The ordinal of a marked user: how many marked ones come before it.
    fn of(&self, user: u32) -> u32 {
        let (word, before) = self.0[user as usize / 64];
        before + (word & ((1 << (user % 64)) - 1)).count_ones()
    }
}
