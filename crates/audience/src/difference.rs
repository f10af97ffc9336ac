//! What changed from one frozen audience to another: in numbers, and device by device in the order of people, so that whoever
//! changed a phone stands there with the old one and the new. Both snapshots are walked through on disk: what is in memory is
//! four bytes for each user of each, and as much as may be sorted at once.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Memory};

use backend::rows::audience;
use device_map::{Compared, Found, SnapshotFile, UsersFile, UsersReader};
use model::export::{Change, Difference, ExportFormat, Moves, Subject};
use model::suppression::UserBits;
use model::{Digest, Group};

use crate::desk::Desk;
use crate::device_rows::{DeviceRow, hash_of};
use crate::door::Door;
use crate::error::{Error, Failure};
use crate::export_file::{ExportFile, cannot_write};
use crate::sorter::{Sorted, Sorter};
use model::KeyHash;

type Result<T> = std::result::Result<T, Failure>;

/// Devices between two looks at whether anybody still waits.
const LOOK_DEVICES: u64 = 1 << 16;
/// Sorted rows that are taken at once.
const BATCH: usize = 10_000;

/// Where both audiences lie: the audience, and what it is compared with.
pub(crate) struct Sources([Source; 2]);

struct Source {
    snapshot: Digest,
    map: PathBuf,
    users: PathBuf,
}

impl Sources {
    pub(crate) async fn find(desk: &Desk, subject: Subject) -> Result<Self> {
        let Subject::Difference { snapshot, against_snapshot, .. } = subject else {
            return Err(Failure::Refused("it is no difference".into()));
        };
        Ok(Self([Source::find(desk, snapshot).await?, Source::find(desk, against_snapshot).await?]))
    }
}

impl Source {
    async fn find(desk: &Desk, snapshot: Digest) -> Result<Self> {
        let map = desk.file(&audience::snapshot_blob(snapshot)).await?;
        let users = desk.file(&audience::users_blob(snapshot)).await?;
        Ok(Self { snapshot, map, users })
    }

    fn open(&self) -> Result<(SnapshotFile, UsersFile)> {
        let map = SnapshotFile::open(&self.map, self.snapshot)?;
        let users = UsersFile::open(&self.users, map.users_digest())?;
        Ok((map, users))
    }
}

/// Held by whoever waits for a comparison; without it the comparison ends.
#[derive(Default)]
pub(crate) struct Watch(Seen);

/// How far a comparison is.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<(AtomicU64, AtomicBool)>);

impl Watch {
    pub(crate) fn seen(&self) -> Seen {
        self.0.clone()
    }

    /// Devices looked at.
    pub(crate) fn devices(&self) -> u64 {
        self.0.0.0.load(Memory::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.0.1.store(true, Memory::Relaxed);
    }
}

impl Seen {
    fn device(&self) -> Result<()> {
        let before = self.0.0.fetch_add(1, Memory::Relaxed);
        if before.is_multiple_of(LOOK_DEVICES) && self.0.1.load(Memory::Relaxed) {
            return Err(Error::Overtaken.into());
        }
        Ok(())
    }
}

/// What is to be compared, and how that is told.
pub(crate) struct Asked {
    pub(crate) sources: Sources,
    pub(crate) door: Door,
    pub(crate) format: ExportFormat,
    /// For what does not fit in memory.
    pub(crate) folder: PathBuf,
    /// The file to write.
    pub(crate) path: PathBuf,
    pub(crate) sort_bytes_max: usize,
    pub(crate) seen: Seen,
}

/// Compares; the file, the devices in it, and all of it in numbers.
pub(crate) fn write(asked: Asked) -> Result<(ExportFile, u64, Difference)> {
    let [one, other] = &asked.sources.0;
    let ((one, one_users), (other, other_users)) = (one.open()?, other.open()?);
    let places = Places::of([&one_users, &other_users])?;
    let mut difference = Difference::default();
    difference.all.users = places.moves;
    let changed = compare(&one, &other, &places, &asked, &mut difference)?;
    let mut marks = [UserBits::new(u64::from(places.all)), UserBits::new(u64::from(places.all))];
    for (by, label) in [(&mut difference.by_market, market as Label), (&mut difference.by_platform, platform)]
    {
        // There may be as many labels as groups.
        let mut labels: BTreeMap<&str, [Vec<u32>; 2]> = BTreeMap::new();
        for (side, file) in [&one, &other].into_iter().enumerate() {
            for (index, group) in (0..).zip(file.groups()) {
                labels.entry(label(group)).or_default()[side].push(index);
            }
        }
        for (name, groups) in &labels {
            by.entry((*name).to_owned()).or_default().users =
                people([&one, &other], groups, &places, &mut marks)?;
        }
    }
    let door = &asked.door;
    let rows =
        Rows { door, groups: [one.groups(), other.groups()], users: [&one_users, &other_users], changed };
    let (file, devices) = rows.write(&asked.path, asked.format)?;
    Ok((file, devices, difference))
}

type Label = fn(&Group) -> &str;

fn market(group: &Group) -> &str {
    &group.market
}

fn platform(group: &Group) -> &str {
    group.platform.name()
}

/// People of both lists, in order.
struct Union<'a> {
    readers: [UsersReader<'a>; 2],
    /// Whether each reader is at somebody.
    is_at: [bool; 2],
    /// Who of them was given last.
    given: [bool; 2],
}

impl<'a> Union<'a> {
    fn new(users: [&'a UsersFile; 2]) -> Self {
        Self { readers: users.map(UsersFile::read), is_at: [true; 2], given: [true; 2] }
    }

    /// Goes to the next person; in which of the lists that is.
    fn advance(&mut self) -> Result<Option<[bool; 2]>> {
        for side in 0..2 {
            if self.given[side] && self.is_at[side] {
                self.is_at[side] = self.readers[side].advance()?;
            }
        }
        let [one, other] = &self.readers;
        self.given = match self.is_at {
            [false, false] => return Ok(None),
            [true, true] => match one.id().cmp(other.id()) {
                Ordering::Less => [true, false],
                Ordering::Equal => [true, true],
                Ordering::Greater => [false, true],
            },
            is_at => is_at,
        };
        Ok(Some(self.given))
    }

    fn id(&self) -> &str {
        self.readers[usize::from(!self.given[0])].id()
    }
}

/// For each list the places of its people among those of both.
struct Places {
    of: [Vec<u32>; 2],
    all: u32,
    moves: Moves,
}

impl Places {
    fn of(users: [&UsersFile; 2]) -> Result<Self> {
        let [one, other] = users.map(|users| Vec::with_capacity(users.len() as usize));
        let mut places = Self { of: [one, other], all: 0, moves: Moves::default() };
        let mut union = Union::new(users);
        while let Some(is_in) = union.advance()? {
            for (side, _) in is_in.iter().enumerate().filter(|(_, is_in)| **is_in) {
                places.of[side].push(places.all);
            }
            *one_of(&mut places.moves, is_in) += 1;
            places.all =
                places.all.checked_add(1).ok_or_else(|| Failure::Refused("too many users".into()))?;
        }
        Ok(places)
    }
}

fn one_of(moves: &mut Moves, is_in: [bool; 2]) -> &mut u64 {
    match is_in {
        [true, true] => &mut moves.stayed,
        [true, false] => &mut moves.came,
        [false, _] => &mut moves.went,
    }
}

/// Counts devices, and gives those that came or went in the order of their owners.
fn compare(
    one: &SnapshotFile,
    other: &SnapshotFile,
    places: &Places,
    asked: &Asked,
    difference: &mut Difference,
) -> Result<Sorted> {
    let mut sorter = Sorter::new(&asked.folder, asked.sort_bytes_max);
    let mut counts =
        [vec![Moves::default(); one.groups().len()], vec![Moves::default(); other.groups().len()]];
    let mut line = String::new();
    device_map::compare(one, other, |compared| {
        asked.seen.device()?;
        let (side, found) = match compared {
            Compared::Both(found, _) => {
                counts[0][found.group as usize].stayed += 1;
                return Ok(());
            }
            Compared::First(found) => {
                counts[0][found.group as usize].came += 1;
                (0, found)
            }
            Compared::Second(found) => {
                counts[1][found.group as usize].went += 1;
                (1, found)
            }
        };
        let place = places.of[side][found.device.user_ordinal() as usize];
        Changed { place, side, group: found.group, hash: hash(&found) }.append(&mut line);
        Ok::<(), Failure>(sorter.push(&line).map_err(cannot_sort)?)
    })?;
    for (file, counts) in [one, other].into_iter().zip(&counts) {
        for (group, moves) in file.groups().iter().zip(counts) {
            let market = difference.by_market.entry(group.market.clone()).or_default();
            let platform = difference.by_platform.entry(group.platform.name().to_owned()).or_default();
            for change in [market, platform, &mut difference.all] {
                add(change, moves);
            }
        }
    }
    Ok(sorter.finish().map_err(cannot_sort)?)
}

fn add(change: &mut Change, moves: &Moves) {
    change.devices.came += moves.came;
    change.devices.went += moves.went;
    change.devices.stayed += moves.stayed;
}

fn cannot_sort(source: std::io::Error) -> Error {
    Error::Io { action: "sort what changed", source }
}

fn hash(found: &Found<'_>) -> u128 {
    u128::from_be_bytes(hash_of(found.device))
}

/// People who have a device in these groups of both; `marks` are clean before and after.
fn people(
    files: [&SnapshotFile; 2],
    groups: &[Vec<u32>; 2],
    places: &Places,
    marks: &mut [UserBits; 2],
) -> Result<Moves> {
    let mut moves = Moves::default();
    for (side, file) in files.into_iter().enumerate() {
        for index in &groups[side] {
            file.each_owner(*index, |owner| {
                let place = u64::from(places.of[side][owner as usize]);
                if marks[side].contains(place) {
                    return Ok::<(), Failure>(());
                }
                marks[side].set(place);
                let was_there = side == 1 && marks[0].contains(place);
                match (side, was_there) {
                    (0, _) => moves.came += 1,
                    (_, false) => moves.went += 1,
                    (_, true) => (moves.came, moves.stayed) = (moves.came - 1, moves.stayed + 1),
                }
                Ok(())
            })?;
        }
    }
    // Clean for the next: markets may be many, and most of them small.
    for (side, file) in files.into_iter().enumerate() {
        for index in &groups[side] {
            file.each_owner(*index, |owner| {
                marks[side].clear(u64::from(places.of[side][owner as usize]));
                Ok::<(), Failure>(())
            })?;
        }
    }
    Ok(moves)
}

/// A device that came or went, as it is sorted: the one that went before the one that came.
struct Changed {
    /// Its owner among the people of both.
    place: u32,
    side: usize,
    group: u32,
    hash: u128,
}

impl Changed {
    fn append(&self, line: &mut String) {
        use std::fmt::Write as _;
        let Self { place, side, group, hash } = self;
        line.clear();
        write!(line, "{place:08x}{:x}{group:08x}{hash:032x}", 1 - side).expect("a string takes every text");
    }

    fn read(line: &str) -> Option<Self> {
        let number = |range| u32::from_str_radix(line.get(range)?, 16).ok();
        let side = 1_usize.checked_sub(number(8..9)? as usize)?;
        let hash = u128::from_str_radix(line.get(17..49)?, 16).ok()?;
        Some(Self { place: number(0..8)?, side, group: number(9..17)?, hash })
    }
}

/// What comes into the file.
struct Rows<'a> {
    door: &'a Door,
    groups: [&'a [Group]; 2],
    users: [&'a UsersFile; 2],
    changed: Sorted,
}

impl Rows<'_> {
    fn write(mut self, path: &Path, format: ExportFormat) -> Result<(ExportFile, u64)> {
        let mut file = ExportFile::new(path, DeviceRow::header(format, true))?;
        let (mut union, mut at, mut devices) = (Union::new(self.users), None::<u32>, 0);
        loop {
            let batch = self.changed.next_batch(BATCH).map_err(cannot_sort)?;
            if batch.is_empty() {
                return Ok((file, devices));
            }
            for line in batch.iter() {
                let changed = Changed::read(line).expect("it was written here");
                while at.is_none_or(|at| at < changed.place) {
                    union.advance()?;
                    at = Some(at.map_or(0, |at| at + 1));
                }
                let hash = KeyHash::of_hash(changed.hash.to_be_bytes());
                let group = &self.groups[changed.side][changed.group as usize];
                let mut row = DeviceRow::new(union.id(), group, &hash);
                row.change = Some(["came", "went"][changed.side]);
                if self.door.is_erased(union.id()) {
                    row = row.of_nobody();
                }
                row.write(format, file.out()).map_err(cannot_write)?;
                devices += 1;
            }
        }
    }
}
