//! A snapshot holds what a map of the same devices would.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use model::{Device, Manifest, Platform, Timestamp};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::{
    DeviceFields, Error, Limits, Position, Snapshot, SnapshotBuilder, Users, snapshot_path, users_path,
};

pub(crate) fn build(folder: &Path, limits: Limits, devices: &[Device]) -> Manifest {
    let mut builder = SnapshotBuilder::new(folder, limits);
    builder.push_all(devices).expect("good devices");
    builder.finish().expect("a good build")
}

pub(crate) fn open(folder: &Path, manifest: &Manifest) -> (Snapshot, Users) {
    let snapshot =
        Snapshot::open(&snapshot_path(folder, &manifest.digest), manifest.digest).expect("a good snapshot");
    let users = users_path(folder, &manifest.digest);
    let users = Users::open(&users, snapshot.users_digest()).expect("good users");
    (snapshot, users)
}

/// Few different keys and users, so that duplicates of every sort come up.
pub(crate) fn device() -> impl Strategy<Value = Device> {
    let key = prop_oneof![
        "([0-9a-f]{2}){1,2}".prop_map(|key| (Platform::Apns, key)),
        "[0-9a-f]{64}".prop_map(|key| (Platform::Apns, key)),
        "[a-c_-]{1,3}(:[a-c])?".prop_map(|key| (Platform::Fcm, key)),
        "[a-b]{22}".prop_map(|key| (Platform::Fcm, key)),
        "dQw4w9WgXcQ-abcdefgh_[a-b]:[a-b]{1,3}".prop_map(|key| (Platform::Fcm, key)),
        "dQw4w9WgXcQ-abcdefgh_1:[A-Za-z0-9_-]{140}".prop_map(|key| (Platform::Fcm, key)),
    ];
    let labels = ("[ab]", "(en|pt-BR)", "(de|br)");
    ("(user-)?[a-d]{1,2}", key, labels, 0_u64..3).prop_map(
        |(user, (platform, key), labels, registered_at)| {
            let (app, locale, market) = labels;
            Device { user, platform, key, app, locale, market, registered_at: Timestamp(registered_at) }
        },
    )
}

/// (platform, app, key) to (group's market and locale, user), as the rule for duplicates has it.
fn expected(devices: &[Device]) -> BTreeMap<(Platform, String, String), (String, String, String)> {
    let mut best: BTreeMap<_, &Device> = BTreeMap::new();
    for device in devices {
        let rank = |device: &Device| {
            let later_first = u64::MAX - device.registered_at.0;
            (later_first, device.user.clone(), device.market.clone(), device.locale.clone())
        };
        let kept = best.entry((device.platform, device.app.clone(), device.key.clone())).or_insert(device);
        if rank(device) < rank(kept) {
            *kept = device;
        }
    }
    let owner = |device: &Device| (device.market.clone(), device.locale.clone(), device.user.clone());
    best.into_iter().map(|(name, device)| (name, owner(device))).collect()
}

fn check_against_map(snapshot: &Snapshot, users: &Users, devices: &[Device]) {
    let expected = expected(devices);
    let manifest = snapshot.manifest();
    let mut found = BTreeMap::new();
    for (group, name) in (0..).zip(snapshot.groups()) {
        let range = snapshot.range(group, 0, name.devices).expect("a whole group");
        for (index, device) in (0..).zip(range) {
            let position = Position { group, device: index };
            let single = snapshot.device(position).expect("a device");
            let user = users.id(device.user_ordinal()).expect("a user");
            assert_eq!((single.text(), single.kind()), (device.text(), device.kind()));
            assert_eq!(snapshot.user_ordinal(position), Some(device.user_ordinal()));
            assert_eq!(snapshot.find_key(name.platform, &name.app, &device.text()), Some(position));
            assert!(snapshot.devices_of(device.user_ordinal()).any(|of_user| of_user == position));
            let owner = (name.market.clone(), name.locale.clone(), user.to_owned());
            let before = found.insert((name.platform, name.app.clone(), device.text()), owner);
            assert_eq!(before, None, "a key stands in the snapshot twice");
        }
    }
    assert_eq!(found, expected);
    assert_eq!(manifest.devices, expected.len() as u64);
    assert_eq!(manifest.duplicate_devices, (devices.len() - expected.len()) as u64);
    let owners: BTreeSet<&String> = expected.values().map(|(_, _, user)| user).collect();
    assert_eq!(manifest.users, owners.len() as u64);
    assert!(owners.iter().enumerate().all(|(ordinal, user)| users.find(user) == Some(ordinal as u32)));
    assert_eq!((users.len() as usize, users.find("nobody")), (owners.len(), None));
    assert!(manifest.groups.is_sorted_by_key(|group| {
        (group.platform, group.app.clone(), group.market.clone(), group.locale.clone())
    }));
}

fn lines(device: DeviceFields<'_>) -> String {
    let DeviceFields { user, platform, key, app, locale, market, .. } = device;
    format!("{platform} {app} {key} {market} {locale} {user}")
}

#[test]
fn nothing_is_told_after_a_break() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits { duplicates_told_max: 100, ..Limits::default() };
    let mut builder = SnapshotBuilder::new(folder.path(), limits);
    let device = |user: &str| Device {
        user: user.to_owned(),
        platform: Platform::Apns,
        key: "00ff".to_owned(),
        app: "a".to_owned(),
        locale: "en".to_owned(),
        market: "de".to_owned(),
        registered_at: Timestamp(1),
    };
    builder.push_all(&[device("a"), device("b"), device("c"), device("d")]).expect("good devices");
    let mut told = 0;
    builder
        .finish_telling(|_| {
            told += 1;
            if told == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .expect("a good build");
    assert_eq!(told, 2);
}

proptest! {
    // Each build waits for the disk four times.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_snapshot_equals_a_map(devices in proptest::collection::vec(device(), 0..120)) {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = build(folder.path(), Limits::default(), &devices);
        let (snapshot, users) = open(folder.path(), &manifest);
        prop_assert_eq!(snapshot.manifest(), manifest);
        check_against_map(&snapshot, &users, &devices);
    }

    #[test]
    fn neither_order_nor_spilling_changes_a_byte(
        devices in proptest::collection::vec(device(), 1..120),
        moves in proptest::collection::vec((any::<Index>(), any::<Index>()), 0..60),
        memory_bytes in 0_usize..100_000,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = build(folder.path(), Limits::default(), &devices);
        let mut moved = devices.clone();
        for (one, other) in moves {
            moved.swap(one.index(devices.len()), other.index(devices.len()));
        }
        let limits = Limits { memory_bytes, ..Limits::default() };
        prop_assert_eq!(&build(folder.path(), limits, &moved), &manifest);
        let (snapshot, users) = open(folder.path(), &manifest);
        check_against_map(&snapshot, &users, &devices);
        let files = std::fs::read_dir(folder.path()).expect("a folder").count();
        prop_assert_eq!(files, 2, "nothing unfinished stays");
    }

    #[test]
    fn every_duplicate_is_told_with_who_has_it_instead_whatever_was_spilled(
        devices in proptest::collection::vec(device(), 0..120),
        memory_bytes in prop_oneof![Just(usize::MAX), 0_usize..100_000],
        told_max in prop_oneof![Just(u64::MAX), 0_u64..9],
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = Limits { memory_bytes, duplicates_told_max: told_max, ..Limits::default() };
        let mut builder = SnapshotBuilder::new(folder.path(), limits);
        builder.push_all(&devices).expect("good devices");
        let (best, mut told) = (expected(&devices), Vec::new());
        let users: BTreeSet<&String> = best.values().map(|(_, _, user)| user).collect();
        let manifest = builder.finish_telling(|duplicate| {
            let device = duplicate.device;
            let kept = &best[&(device.platform, device.app.to_owned(), device.key.to_owned())];
            assert_eq!(duplicate.kept_by, kept.2);
            assert_eq!(duplicate.is_user_in, users.contains(&device.user.to_owned()));
            told.push(lines(device));
            ControlFlow::Continue(())
        });
        let manifest = manifest.expect("a good build");
        prop_assert_eq!(manifest.duplicate_devices, (devices.len() - best.len()) as u64);
        prop_assert_eq!(told.len() as u64, manifest.duplicate_devices.min(told_max));
        if told_max == u64::MAX {
            let kept = best.iter().map(|((platform, app, key), (market, locale, user))| {
                format!("{platform} {app} {key} {market} {locale} {user}")
            });
            told.extend(kept);
            let mut all: Vec<String> = devices.iter().map(|device| lines(device.into())).collect();
            told.sort();
            all.sort();
            prop_assert_eq!(told, all);
        }
    }

    #[test]
    fn any_range_is_a_part_of_its_group(
        devices in proptest::collection::vec(device(), 1..120),
        (group, start, count) in (any::<Index>(), 0_u32..40, 0_u32..40),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = build(folder.path(), Limits::default(), &devices);
        let (snapshot, _) = open(folder.path(), &manifest);
        let group = group.index(manifest.groups.len()) as u32;
        let size = manifest.groups[group as usize].devices;
        let whole: Vec<_> = snapshot.range(group, 0, size).expect("a whole group").map(|device| device.text()).collect();
        match snapshot.range(group, start, count) {
            Ok(range) => {
                prop_assert_eq!(range.len(), count as usize);
                let part: Vec<_> = range.map(|device| device.text()).collect();
                prop_assert_eq!(&part[..], &whole[start as usize..(start + count) as usize]);
            }
            Err(error) => {
                let is_said = matches!(error, Error::NoSuchRange { .. });
                prop_assert!(is_said);
                prop_assert!(start + count > size);
            }
        }
    }
}
