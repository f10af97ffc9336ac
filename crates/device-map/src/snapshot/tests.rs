//! Files that are not as they should be are refused; the odd ones that are good are read.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::build::tests::{build, device, open};
use crate::layout::HEADER_BYTES;
use crate::{Limits, SnapshotBuilder, Users, snapshot_path, users_path};
use model::{Device, Timestamp};

fn apns(number: u32) -> Device {
    Device {
        user: format!("user-{}", number / 2),
        platform: Platform::Apns,
        key: format!("{number:064x}"),
        app: "org.example.app".into(),
        locale: "de".into(),
        market: "de".into(),
        registered_at: Timestamp(u64::from(number)),
    }
}

fn fcm(number: u32, key: &str) -> Device {
    Device { platform: Platform::Fcm, key: key.into(), app: "example".into(), ..apns(number) }
}

/// Both files of a small snapshot.
struct Sample {
    folder: tempfile::TempDir,
    manifest: Manifest,
    users_digest: Digest,
}

impl Sample {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let devices = [
            apns(1),
            apns(2),
            fcm(3, "dQw4w9WgXcQ-abcdefgh_1:APA91b-_xyz"),
            fcm(4, "dQw4w9WgXcQ-abcdefgh_2"),
            fcm(5, "a:b"),
        ];
        let manifest = build(folder.path(), Limits::default(), &devices);
        let users_digest = open(folder.path(), &manifest).0.users_digest();
        Self { folder, manifest, users_digest }
    }

    fn paths(&self) -> [PathBuf; 2] {
        let digest = &self.manifest.digest;
        [snapshot_path(self.folder.path(), digest), users_path(self.folder.path(), digest)]
    }

    /// Opens `content` as if it were the snapshot file, or the users file.
    fn open_as(&self, index: usize, content: &[u8], expected: Digest) -> Result<(), Error> {
        let path = self.folder.path().join("copy");
        fs::write(&path, content).expect("a copy");
        match index {
            0 => Snapshot::open(&path, expected).map(|snapshot| walk(&snapshot)),
            _ => Users::open(&path, expected).map(|users| name_all(&users)),
        }
    }

    fn each_file(&self) -> [(usize, Vec<u8>, Digest); 2] {
        let [snapshot, users] = self.paths().map(|path| fs::read(path).expect("a file"));
        [(0, snapshot, self.manifest.digest), (1, users, self.users_digest)]
    }
}

/// Reads everything there is; none of it may panic.
fn walk(snapshot: &Snapshot) {
    for (index, group) in (0..).zip(snapshot.groups()) {
        for device in snapshot.range(index, 0, group.devices).expect("a whole group") {
            let found = snapshot.find_key(group.platform, &group.app, &device.text());
            assert!(found.is_none_or(|position| snapshot.device(position).is_some()));
            assert!(snapshot.devices_of(device.user_ordinal()).count() > 0);
        }
    }
}

fn name_all(users: &Users) {
    let ids: Vec<&str> = (0..users.len()).filter_map(|ordinal| users.id(ordinal)).collect();
    assert_eq!(ids.len(), users.len() as usize);
    assert!((0..).zip(ids).all(|(ordinal, id)| users.find(id) == Some(ordinal)));
    assert_eq!(users.id(users.len()), None);
}

#[test]
fn any_flipped_byte_is_refused_by_what_it_hits() {
    let sample = Sample::new();
    for (index, good, digest) in sample.each_file() {
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x11;
            let error = sample.open_as(index, &bad, digest).expect_err("a damaged file");
            let is_fitting = match at {
                0..8 => matches!(error, Error::Foreign { .. }),
                8..12 => matches!(error, Error::NewerVersion { .. }),
                12..HEADER_BYTES => matches!(error, Error::HeaderDamaged { .. }),
                _ => matches!(error, Error::WrongDigest { .. }),
            };
            assert!(is_fitting, "byte {at}: {error}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_or_too_long_is_refused() {
    let sample = Sample::new();
    for (index, good, digest) in sample.each_file() {
        for bytes in 0..good.len() {
            let error = sample.open_as(index, &good[..bytes], digest).expect_err("a short file");
            assert!(matches!(error, Error::Length { .. }), "{bytes} bytes: {error}");
        }
        let error = sample.open_as(index, &[&good[..], b"x"].concat(), digest).expect_err("a long file");
        assert!(matches!(error, Error::Length { .. }), "{error}");
        sample.open_as(index, &good, digest).expect("the file itself");
    }
}

#[test]
fn another_file_is_told_from_a_damaged_one() {
    let sample = Sample::new();
    let [(_, snapshot, digest), (_, users, users_digest)] = sample.each_file();
    let refused = |index, content: &[u8], expected| {
        sample.open_as(index, content, expected).expect_err("another file").to_string()
    };
    assert!(refused(0, &users, users_digest).ends_with("is not a snapshot file"));
    assert!(refused(1, &snapshot, digest).ends_with("is not a users file"));
    assert!(refused(0, b"PK\x03\x04", digest).ends_with("is not a snapshot file"));
    let other = Digest::of(b"other");
    assert!(refused(0, &snapshot, other).ends_with(&format!("has digest {digest} instead of {other}")));
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().join("absent"), folder.path().to_owned()] {
        let error = Snapshot::open(&path, Digest([0; 32])).expect_err("no file");
        assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
    }
    let builder = SnapshotBuilder::new(&folder.path().join("absent"), Limits::default());
    assert!(matches!(builder.finish(), Err(Error::Io { action: "create", .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whoever can write a digest can write nonsense; it must still be an error or readable.
    #[test]
    fn nonsense_with_the_right_digest_never_panics(
        index in 0_usize..2,
        changes in proptest::collection::vec((any::<Index>(), prop_oneof![Just(0), Just(1), Just(255), any::<u8>()]), 1..4),
        with_header in any::<bool>(),
    ) {
        thread_local!(static SAMPLE: Sample = Sample::new());
        SAMPLE.with(|sample| {
            let [snapshot, users] = sample.each_file();
            let (_, mut content, _) = [snapshot, users].into_iter().nth(index).expect("two files");
            let from = if with_header { 12 } else { HEADER_BYTES };
            for (at, value) in changes {
                let at = from + at.index(content.len() - from);
                content[at] = value;
            }
            let checksum = Digest::of(&content[..HEADER_BYTES - 32]);
            content[HEADER_BYTES - 32..HEADER_BYTES].copy_from_slice(&checksum.0);
            let opened = sample.open_as(index, &content, Digest::of(&content));
            let is_fitting = matches!(
                opened,
                Ok(()) | Err(Error::Inconsistent { .. } | Error::Length { .. } | Error::HeaderDamaged { .. })
            );
            assert!(is_fitting, "{opened:?}");
        });
    }
}

/// A length that is believed before it is compared with what is there asks for memory that nobody has.
#[test]
fn no_length_in_a_file_is_believed() {
    let sample = Sample::new();
    let numbers =
        [0, 1, 0x7fff_ffff, u64::from(u32::MAX), 1 << 40, i64::MAX as u64, u64::MAX - 256, u64::MAX];
    for (index, good, _) in sample.each_file() {
        let header = (16..HEADER_BYTES - 32).step_by(8).map(|at| (at, 8));
        let content = (HEADER_BYTES..good.len()).flat_map(|at| [(at, 2), (at, 4)]);
        let places: Vec<(usize, usize)> = header.chain(content).collect();
        for (at, bytes) in places {
            for number in numbers {
                let mut bad = good.clone();
                let end = (at + bytes).min(good.len());
                bad[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
                let checksum = Digest::of(&bad[..HEADER_BYTES - 32]);
                bad[HEADER_BYTES - 32..HEADER_BYTES].copy_from_slice(&checksum.0);
                let opened = sample.open_as(index, &bad, Digest::of(&bad));
                let is_fitting = matches!(
                    opened,
                    Ok(())
                        | Err(Error::Inconsistent { .. }
                            | Error::Length { .. }
                            | Error::HeaderDamaged { .. })
                );
                assert!(is_fitting, "{number} at {at}: {opened:?}");
            }
        }
    }
}

#[test]
fn an_audience_without_devices_is_a_snapshot_without_groups() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = build(folder.path(), Limits::default(), &[]);
    let (snapshot, users) = open(folder.path(), &manifest);
    assert_eq!((manifest.devices, manifest.users, manifest.groups.len()), (0, 0, 0));
    assert!(users.is_empty() && users.id(0).is_none() && users.find("").is_none());
    assert!(snapshot.range(0, 0, 0).is_err());
    assert_eq!(
        (snapshot.devices_of(0).count(), snapshot.user_ordinal(Position { group: 0, device: 0 })),
        (0, None)
    );
}

#[test]
fn a_single_device_is_found_by_key_and_by_user() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = build(folder.path(), Limits::default(), &[apns(7)]);
    let (snapshot, users) = open(folder.path(), &manifest);
    let place = Position { group: 0, device: 0 };
    let ordinal = users.find("user-3").expect("its owner");
    assert_eq!(snapshot.devices_of(ordinal).collect::<Vec<_>>(), [place]);
    let device = snapshot.device(place).expect("the device");
    assert_eq!((device.packed().len(), device.text()), (32, apns(7).key));
    assert_eq!(snapshot.find_key(Platform::Apns, "org.example.app", &apns(7).key), Some(place));
    assert_eq!(snapshot.find_key(Platform::Apns, "org.example.other", &apns(7).key), None);
    assert_eq!(snapshot.find_key(Platform::Apns, "org.example.app", &apns(8).key), None);
    assert_eq!(snapshot.find_key(Platform::Fcm, "org.example.app", "no key!"), None);
}

#[test]
fn a_group_may_have_more_devices_than_sixteen_bits_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let devices: Vec<Device> = (0..70_000).map(apns).collect();
    let manifest = build(folder.path(), Limits { memory_bytes: 1 << 20, ..Limits::default() }, &devices);
    let (snapshot, users) = open(folder.path(), &manifest);
    assert_eq!((manifest.groups[0].devices, manifest.users, users.len()), (70_000, 35_000, 35_000));
    let mut keys: Vec<String> =
        snapshot.range(0, 0, 70_000).expect("a whole group").map(|device| device.text()).collect();
    keys.sort();
    assert!(keys.iter().eq(devices.iter().map(|device| &device.key)));
    assert!(manifest.file_bytes < 70_000 * 40);
}

#[test]
fn keys_with_the_same_hash_are_kept_apart() {
    // The hash multiplies by the second eight bytes xor a salt: zero for these, whatever the first eight are.
    let key = |number: u32| format!("{number:016x}157c4a7fb979379e");
    let hash_of = |number| hash(&hex_bytes(&key(number)));
    assert_eq!(hash_of(1), hash_of(2));
    let devices: Vec<Device> =
        (0..60).map(|number| Device { key: key(number % 40), ..apns(number) }).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = build(folder.path(), Limits::default(), &devices);
    assert_eq!((manifest.devices, manifest.duplicate_devices), (40, 20));
    let spilling = Limits { memory_bytes: 16_000, ..Limits::default() };
    assert_eq!(build(folder.path(), spilling, &devices), manifest);
    let (snapshot, _) = open(folder.path(), &manifest);
    let found =
        (0..40).filter_map(|number| snapshot.find_key(Platform::Apns, "org.example.app", &key(number)));
    assert_eq!(found.collect::<std::collections::HashSet<_>>().len(), 40);
}

fn hex_bytes(text: &str) -> Vec<u8> {
    let mut scratch = [0; KEY_CHARS_MAX];
    pack(Platform::Apns, text, &mut scratch).expect("hex").bytes.to_vec()
}

#[test]
fn runs_of_a_group_follow_one_another_in_a_range() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = ["a:b", "dQw4w9WgXcQ-abcdefgh_1:APA9", "abc", "dQw4w9WgXcQ-abcdefgh_2", "abcd"];
    let devices: Vec<Device> = (0..).zip(keys).map(|(number, key)| fcm(number, key)).collect();
    let (snapshot, _) = open(folder.path(), &build(folder.path(), Limits::default(), &devices));
    let read: Vec<String> = snapshot.range(0, 1, 3).expect("a range").map(|device| device.text()).collect();
    assert_eq!(read, ["dQw4w9WgXcQ-abcdefgh_1:APA9", "abc", "abcd"], "FID, token, other base64url, then raw");
}

#[test]
fn the_format_never_changes() {
    let sample = Sample::new();
    let digests = [sample.manifest.digest, sample.users_digest].map(|digest| digest.to_string());
    assert_eq!(digests[0], "b94253c2ddcac26f3fc6d0898f912af84f91884438366e6e46cda69c5f9478e6");
    assert_eq!(digests[1], "0d8d02643e34effc587374b257b01d763aad21794219388fe6738cc97c18ffe7");
}

#[test]
fn what_is_shown_for_debugging_hides_keys_and_users() {
    let folder = tempfile::tempdir().expect("a folder");
    let device = apns(0xfade);
    let mut builder = SnapshotBuilder::new(folder.path(), Limits::default());
    builder.push(&device).expect("a good device");
    let mut shown = format!("{builder:?} {:?}", crate::DeviceFields::from(&device));
    let manifest = builder.finish().expect("a good build");
    let (snapshot, users) = open(folder.path(), &manifest);
    let range = snapshot.range(0, 0, 1).expect("a range");
    shown += &format!("{snapshot:?} {users:?} {range:?} {:?}", range.clone().next());
    assert!(!shown.contains("fade") && !shown.contains("[0, 0") && !shown.contains("user-"), "{shown}");
}

#[test]
fn a_refused_device_leaves_the_build_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut builder = SnapshotBuilder::new(folder.path(), Limits { groups_max: 2, ..Limits::default() });
    builder.push(&apns(1)).expect("a good device");
    for bad in [
        Device { key: "xyz".into(), ..apns(2) },
        Device { user: String::new(), ..apns(2) },
        Device { market: "a market".into(), ..apns(2) },
        Device { locale: "ü".into(), user: "another".into(), ..apns(2) },
    ] {
        assert!(matches!(builder.push(&bad), Err(Error::Device(_))));
    }
    builder.push(&fcm(3, "abc")).expect("a good device");
    let third = Device { market: "fr".into(), ..apns(3) };
    assert!(matches!(builder.push(&third), Err(Error::TooMany { what: "groups", limit: 2 })));
    let expected = build(folder.path(), Limits::default(), &[apns(1), fcm(3, "abc")]);
    assert_eq!(builder.finish().expect("a good build"), expected);
}

#[test]
fn a_build_that_is_dropped_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut builder = SnapshotBuilder::new(folder.path(), Limits { memory_bytes: 0, ..Limits::default() });
    builder.push(&apns(1)).expect("a good device");
    drop(builder);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn the_file_holds_nothing_but_header_directory_ordinals_and_keys(
        devices in proptest::collection::vec(device(), 0..60),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = build(folder.path(), Limits::default(), &devices);
        let (snapshot, _) = open(folder.path(), &manifest);
        let groups = (0..).zip(&manifest.groups);
        let ranges = groups.map(|(index, group)| snapshot.range(index, 0, group.devices).expect("a whole group"));
        let packed: usize = ranges.flatten().map(|device| 4 + device.packed().len()).sum();
        let directory = snapshot.header.section(DIRECTORY).len();
        prop_assert_eq!(manifest.file_bytes, (HEADER_BYTES + directory + packed) as u64);
    }
}
