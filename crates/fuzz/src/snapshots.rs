//! Files of a snapshot after any damage: opened in both ways and walked through they give an error, or what they were made of.
//! Whoever can write digests can write nonsense: that is an error or something to be read, and never a panic, a read beyond the
//! end or memory that a number in the file asks for.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use device_map::{
    Compared, DeviceFields, Error, Limits, Snapshot, SnapshotBuilder, SnapshotFile, Users, UsersFile,
    compare, snapshot_path, users_path,
};
use model::{Digest, Platform, Timestamp};

use crate::heap;
use crate::source::Source;

/// As `docs/decisions/006-snapshot-file.md` has it: the header ends with the digest of what is before.
const HEADER_BYTES: usize = 256;
const CHECKSUM_AT: usize = HEADER_BYTES - 32;
/// What opening and walking may take of the heap: the windows of a comparison above all.
const BYTES_MAX: usize = 4 << 20;

/// A good snapshot.
struct Good {
    files: [Vec<u8>; 2],
    digests: [Digest; 2],
    /// Platform, app, market, locale, key and owner of each device, in the order of the file.
    devices: Vec<String>,
    users: Vec<String>,
}

static GOOD: LazyLock<[Good; 2]> = LazyLock::new(|| [good(9), good(0)]);

thread_local! {
    static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

/// Which of two snapshots and of its files, what is mended about it, then the file.
pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let choices = source.byte();
    let good = &GOOD[usize::from(choices & 1)];
    let index = usize::from(choices >> 1 & 1);
    let mut bytes = source.bytes(usize::MAX).to_vec();
    let (mends_header, mends_digest) = (choices & 4 != 0, choices & 8 != 0);
    if mends_header && bytes.len() >= HEADER_BYTES {
        let checksum = Digest::of(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&checksum.0);
    }
    let expected = if mends_digest { Digest::of(&bytes) } else { good.digests[index] };
    let path = file(&bytes);
    let is_whole = bytes == good.files[index];
    let most = BYTES_MAX + 16 * bytes.len();
    let (read, on_disk) = match index {
        0 => heap::within(most, || (devices(&path, expected), devices_on_disk(&path, expected))),
        _ => heap::within(most, || (users(&path, expected), users_on_disk(&path, expected))),
    };
    let wanted = [&good.devices, &good.users][index];
    for content in [&read, &on_disk] {
        match content {
            Ok(content) if !mends_digest => assert!(is_whole && content == wanted, "not what was written"),
            Err(error) => assert!(!is_whole, "{error}"),
            Ok(_) => {}
        }
    }
    if let (Ok(read), Ok(on_disk)) = (&read, &on_disk) {
        assert_eq!(read, on_disk, "both ways of reading");
    }
}

/// What is in a snapshot that is read as a whole.
fn devices(path: &Path, digest: Digest) -> Result<Vec<String>, Error> {
    let snapshot = Snapshot::open(path, digest)?;
    let mut all = Vec::new();
    for (index, group) in (0..).zip(snapshot.groups()) {
        for device in snapshot.range(index, 0, group.devices)? {
            assert!(u64::from(device.user_ordinal()) < snapshot.users());
            let key = device.text();
            all.push(line(group, &key, device.user_ordinal()));
            let found = snapshot.find_key(group.platform, &group.app, &key);
            assert!(found.is_none_or(|position| snapshot.device(position).is_some()));
        }
        assert!(
            snapshot.range(index, 1, group.devices).is_err() && snapshot.range(index, u32::MAX, 1).is_err()
        );
    }
    let manifest = snapshot.manifest();
    assert_eq!((manifest.devices, manifest.users), (all.len() as u64, snapshot.users()));
    assert_eq!(snapshot.devices_of(0).count(), all.iter().filter(|line| line.ends_with(" 0")).count());
    Ok(all)
}

/// The same where it lies, compared with itself.
fn devices_on_disk(path: &Path, digest: Digest) -> Result<Vec<String>, Error> {
    let snapshot = SnapshotFile::open(path, digest)?;
    let mut owners = Vec::new();
    for index in 0..snapshot.groups().len() as u32 {
        snapshot.each_owner::<Error>(index, |owner| {
            owners.push(owner);
            Ok(())
        })?;
    }
    let mut found = Vec::new();
    compare::<Error>(&snapshot, &snapshot, |compared| {
        let Compared::Both(one, other) = compared else { panic!("a snapshot differs from itself") };
        assert_eq!((one.group, one.device.packed()), (other.group, other.device.packed()));
        let group = &snapshot.groups()[one.group as usize];
        found.push((one.group, line(group, &one.device.text(), one.device.user_ordinal())));
        Ok(())
    })?;
    assert_eq!((found.len() as u64, owners.len() as u64), (snapshot.devices(), snapshot.devices()));
    // Groups are in the order of the file, and within one of them so are runs of one kind of key.
    found.sort_by_key(|(group, _)| *group);
    Ok(found.into_iter().map(|(_, line)| line).collect())
}

fn line(group: &model::Group, key: &str, owner: u32) -> String {
    let model::Group { platform, app, market, locale, .. } = group;
    format!("{platform} {app} {market} {locale} {key} {owner}")
}

fn users(path: &Path, digest: Digest) -> Result<Vec<String>, Error> {
    let users = Users::open(path, digest)?;
    let ids: Vec<String> = (0..users.len()).filter_map(|user| users.id(user).map(str::to_owned)).collect();
    assert_eq!(ids.len(), users.len() as usize);
    assert!((0..).zip(&ids).all(|(user, id)| users.find(id) == Some(user)));
    assert_eq!((users.id(users.len()), users.find("\u{10ffff}")), (None, None));
    Ok(ids)
}

fn users_on_disk(path: &Path, digest: Digest) -> Result<Vec<String>, Error> {
    let (users, mut ids) = (UsersFile::open(path, digest)?, Vec::new());
    let mut reader = users.read();
    while reader.advance()? {
        ids.push(reader.id().to_owned());
    }
    assert_eq!(ids.len(), users.len() as usize);
    Ok(ids)
}

/// A file with these bytes, where files cost no disk if there is such a place.
fn file(bytes: &[u8]) -> PathBuf {
    FOLDER.with_borrow_mut(|folder| {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let made = || tempfile::tempdir_in(place).expect("a folder can be made");
        let path = folder.get_or_insert_with(made).path().join("file");
        fs::write(&path, bytes).expect("a file can be written");
        path
    })
}

/// A snapshot of so many devices, in groups and with keys of every kind.
fn good(devices: u32) -> Good {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut builder = SnapshotBuilder::new(folder.path(), Limits { threads: 1, ..Limits::default() });
    for number in 0..devices {
        let (platform, app, key) = match number % 5 {
            0 | 1 => (Platform::Apns, "a.b", format!("{number:04x}")),
            2 => (Platform::Fcm, "p", format!("dQw4w9WgXcQ-abcdefgh_{number}")),
            3 => (Platform::Fcm, "p", format!("dQw4w9WgXcQ-abcdefgh_{number}:APA91b-_")),
            _ => (Platform::Fcm, "p", format!("a:{number}")),
        };
        let user = format!("u{}", number / 2);
        let market = if number % 3 == 0 { "de" } else { "us" };
        let (locale, registered_at) = ("en", Timestamp(1));
        let device = DeviceFields { user: &user, platform, key: &key, app, locale, market, registered_at };
        builder.push_fields(&device).expect("a good device");
    }
    let manifest = builder.finish().expect("a good build");
    let paths = [snapshot_path, users_path].map(|path| path(folder.path(), &manifest.digest));
    let digests = [manifest.digest, Snapshot::read_users_digest(&paths[0]).expect("a good file")];
    let devices = self::devices(&paths[0], digests[0]).expect("a good file");
    let users = self::users(&paths[1], digests[1]).expect("a good file");
    Good { files: paths.map(|path| fs::read(path).expect("a good file")), digests, devices, users }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (snapshot, good) in (0..).zip(GOOD.iter()) {
        for (index, bytes) in (0..).zip(&good.files) {
            for mended in 0..4 {
                let choices = snapshot | index << 1 | mended << 2;
                seeds.push([&[choices], &bytes[..]].concat());
            }
        }
    }
    seeds
}
