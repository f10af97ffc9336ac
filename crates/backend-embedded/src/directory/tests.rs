//! The log under damage, compaction and collisions.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use backend::Directory as _;
use model::{Device, Platform, Timestamp};

use super::compact::compact_from;
use super::index::hash;
use super::*;

fn device(user: &str, key: u64, registered_at: u64) -> Device {
    Device {
        user: user.into(),
        platform: Platform::Apns,
        key: format!("{key:016x}"),
        app: "org.example.app".into(),
        locale: "de".into(),
        market: ["de", "at", "ch"][(key % 3) as usize].into(),
        registered_at: Timestamp(registered_at),
    }
}

fn devices(count: u64, registered_at: u64) -> Vec<Device> {
    (0..count).map(|number| device(&format!("user-{}", number / 2), number, registered_at)).collect()
}

async fn look_up(users: &Users, count: u64) -> Vec<Device> {
    let names: Vec<String> = (0..count.div_ceil(2)).map(|number| format!("user-{number}")).collect();
    users.devices(&names).await.unwrap().into_iter().flatten().collect()
}

fn log(folder: &Path) -> fs::File {
    fs::OpenOptions::new().read(true).write(true).open(folder.join("directory.log")).unwrap()
}

#[tokio::test]
async fn an_import_that_was_cut_short_is_as_if_it_never_was() {
    let folder = tempfile::tempdir().unwrap();
    let users = Users::open(Some(folder.path())).unwrap();
    users.import(devices(100, 1)).await.unwrap();
    let whole = log(folder.path()).metadata().unwrap().len();
    users.import(devices(200, 2)).await.unwrap();
    let longer = log(folder.path()).metadata().unwrap().len();
    drop(users);
    for end in [longer - 1, whole + 41, whole + 40, whole + 7, whole] {
        log(folder.path()).set_len(end).unwrap();
        let users = Users::open(Some(folder.path())).unwrap();
        assert_eq!(users.count().await.unwrap(), (50, 100));
        assert_eq!(look_up(&users, 200).await, devices(100, 1));
        // The next writer cuts it off.
        assert_eq!(users.import(devices(10, 1)).await.unwrap().unchanged, 10);
        assert_eq!(log(folder.path()).metadata().unwrap().len(), whole);
    }
    let users = Users::open(Some(folder.path())).unwrap();
    assert_eq!(users.import(devices(200, 2)).await.unwrap().added, 100);
    assert_eq!(look_up(&users, 200).await, devices(200, 2));
}

#[tokio::test]
async fn damage_to_what_was_synced_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let users = Users::open(Some(folder.path())).unwrap();
    users.import(devices(100, 1)).await.unwrap();
    users.close().await;
    let bytes = log(folder.path()).metadata().unwrap().len();
    for at in [64, 70, 75, 85, 104, 500, bytes - 1] {
        let mut byte = [0];
        log(folder.path()).read_exact_at(&mut byte, at).unwrap();
        log(folder.path()).write_all_at(&[byte[0] ^ 0x10], at).unwrap();
        let users = Users::open(Some(folder.path())).unwrap();
        for error in [users.count().await.unwrap_err(), users.import(devices(1, 1)).await.unwrap_err()] {
            assert_eq!(error.kind, ErrorKind::Storage);
            assert!(error.message.contains("directory.log: damaged at byte 64"), "{error}");
        }
        log(folder.path()).write_all_at(&byte, at).unwrap();
        assert_eq!(users.count().await.unwrap(), (50, 100));
    }
}

#[tokio::test]
async fn a_process_that_used_nothing_takes_no_sync_back() {
    let folder = tempfile::tempdir().unwrap();
    let users = Users::open(Some(folder.path())).unwrap();
    users.import(devices(100, 1)).await.unwrap();
    users.close().await;
    Users::open(Some(folder.path())).unwrap().close().await;
    log(folder.path()).write_all_at(&[0xff], 104).unwrap();
    // Were this a torn end, it would be cut off and all devices with it.
    let users = Users::open(Some(folder.path())).unwrap();
    let error = users.import(devices(1, 1)).await.unwrap_err();
    assert!(error.message.contains("directory.log: damaged at byte 64"), "{error}");
}

#[tokio::test]
async fn a_log_is_compacted_under_the_eyes_of_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let users = Users::open(Some(folder.path())).unwrap();
    let other = Users::open(Some(folder.path())).unwrap();
    for round in 0..4 {
        users.import(devices(1_000, round)).await.unwrap();
    }
    users.delete_users(&["user-7".to_owned()]).await.unwrap();
    assert_eq!(other.count().await.unwrap(), (499, 998));
    let before = log(folder.path()).metadata().unwrap().len();
    compact_from(&users.shared, 0).unwrap();
    let after = log(folder.path()).metadata().unwrap().len();
    assert!(after < before / 3, "{before} {after}");
    let mut expected = devices(1_000, 3);
    expected.retain(|device| device.user != "user-7");
    for users in [&users, &other, &Users::open(Some(folder.path())).unwrap()] {
        assert_eq!(look_up(users, 1_000).await, expected);
        assert_eq!(users.count().await.unwrap(), (499, 998));
    }
    assert_eq!(other.import(vec![device("user-7", 3, 9)]).await.unwrap().added, 1);
    assert_eq!(users.devices(&["user-7".to_owned()]).await.unwrap(), [vec![device("user-7", 3, 9)]]);
    // Nothing to gain a second time.
    let before = log(folder.path()).metadata().unwrap().len();
    compact_from(&users.shared, 0).unwrap();
    assert_eq!(log(folder.path()).metadata().unwrap().len(), before);
}

/// Whether any file of the folder has these bytes.
fn is_anywhere(folder: &Path, bytes: &[u8]) -> bool {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().any(|file| fs::read(file).unwrap().windows(bytes.len()).any(|part| part == bytes))
}

#[tokio::test]
async fn of_somebody_who_is_erased_no_byte_stays_however_little_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let users = Users::open(Some(folder.path())).unwrap();
    let other = Users::open(Some(folder.path())).unwrap();
    users.import(devices(1_000, 1)).await.unwrap();
    let ann = [device("ann-who-goes", 0xc0ff_ee00_dead_beef, 2), device("ann-who-goes", 77, 3)];
    users.import(ann.to_vec()).await.unwrap();
    // An earlier key of a device that was replaced, and a compaction that was cut short.
    users.import(vec![device("ann-who-goes", 78, 4)]).await.unwrap();
    fs::copy(folder.path().join("directory.log"), folder.path().join("directory.log.new")).unwrap();
    assert_eq!(other.count().await.unwrap(), (501, 1_003));
    let traces: [&[u8]; 2] = [b"ann-who-goes", &0xc0ff_ee00_dead_beef_u64.to_be_bytes()];
    assert!(traces.iter().all(|trace| is_anywhere(folder.path(), trace)));
    users.delete_users(&["ann-who-goes".to_owned()]).await.unwrap();
    assert!(is_anywhere(folder.path(), b"ann-who-goes"), "deleting alone leaves traces");
    assert_eq!(users.erase_users(&["ann-who-goes".to_owned()]).await.unwrap(), 0);
    assert!(!traces.iter().any(|trace| is_anywhere(folder.path(), trace)));
    for users in [&users, &other] {
        assert_eq!(look_up(users, 1_000).await, devices(1_000, 1));
        assert_eq!(users.count().await.unwrap(), (500, 1_000));
    }
    // Nothing is written anew where nothing was there.
    let before = log(folder.path()).metadata().unwrap().modified().unwrap();
    assert_eq!(other.erase_users(&["nobody".to_owned()]).await.unwrap(), 0);
    assert_eq!(log(folder.path()).metadata().unwrap().modified().unwrap(), before);
}

#[tokio::test]
async fn labels_that_no_device_has_any_more_go_with_the_log_and_the_others_keep_their_devices() {
    let folder = tempfile::tempdir().unwrap();
    let users = Users::open(Some(folder.path())).unwrap();
    let other = Users::open(Some(folder.path())).unwrap();
    let in_market = |user: &str, key, market: &str| Device { market: market.into(), ..device(user, key, 1) };
    // The first label goes, so that all others get another number; one is of two devices, of which one goes.
    users
        .import(vec![in_market("ann-who-goes", 1, "annland"), in_market("ann-who-goes", 2, "at")])
        .await
        .unwrap();
    users.import(devices(1_000, 1)).await.unwrap();
    users
        .import(vec![in_market("user-1", 900_001, "oldland"), in_market("user-2", 900_002, "newland")])
        .await
        .unwrap();
    users.import(vec![in_market("user-1", 900_001, "newland")]).await.unwrap();
    assert_eq!(other.count().await.unwrap(), (501, 1_004));
    assert_eq!(users.erase_users(&["ann-who-goes".to_owned()]).await.unwrap(), 2);
    for gone in [&b"annland"[..], b"oldland"] {
        assert!(!is_anywhere(folder.path(), gone));
    }
    assert!(is_anywhere(folder.path(), b"newland"));
    let mut wanted = devices(1_000, 1);
    wanted.insert(4, in_market("user-1", 900_001, "newland"));
    wanted.insert(7, in_market("user-2", 900_002, "newland"));
    for users in [&users, &other, &Users::open(Some(folder.path())).unwrap()] {
        assert_eq!(look_up(users, 1_000).await, wanted);
    }
    // A label that is known again after it was gone, and one that stayed.
    let labelled = [in_market("user-9", 900_009, "annland"), in_market("user-9", 900_008, "newland")];
    other.import(labelled.to_vec()).await.unwrap();
    let found = users.devices(&["user-9".to_owned()]).await.unwrap().remove(0);
    assert_eq!(found[2..], labelled);
}

#[tokio::test]
async fn an_erasure_that_finds_no_room_fails_and_does_it_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let users = Users::open(Some(folder.path())).unwrap();
    users.import(devices(10, 1)).await.unwrap();
    // No log can be made in its place.
    let new = folder.path().join("directory.log.new");
    fs::create_dir(&new).unwrap();
    let error = users.erase_users(&["user-3".to_owned()]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Storage);
    assert_eq!(users.count().await.unwrap(), (4, 8), "forgotten already");
    fs::remove_dir(&new).unwrap();
    assert_eq!(users.erase_users(&["user-3".to_owned()]).await.unwrap(), 0);
    assert!(!is_anywhere(folder.path(), b"user-3"));
}

#[tokio::test]
async fn a_log_in_memory_is_compacted_too() {
    let users = Users::open(None).unwrap();
    for round in 0..4 {
        users.import(devices(1_000, round)).await.unwrap();
    }
    compact_from(&users.shared, 0).unwrap();
    assert_eq!(look_up(&users, 1_000).await, devices(1_000, 3));
    assert_eq!(users.shared.state().totals.waste, 0);
}

/// Two users of 16 letters with one hash.
fn twins() -> (String, String) {
    use model::runtime::mix;
    let word = |text: &[u8]| u64::from_le_bytes(*text.first_chunk().unwrap());
    let start = mix(16 + 0x9e37_79b9_7f4a_7c15);
    let one = b"aaaaaaaabbbbbbbb";
    let inner = mix(start ^ word(one)) ^ word(&one[8..]);
    for number in 0_u64.. {
        let first = format!("{number:08}");
        let second = (inner ^ mix(start ^ word(first.as_bytes()))).to_le_bytes();
        if second.iter().all(u8::is_ascii_graphic) {
            let other = format!("{first}{}", second.map(char::from).iter().collect::<String>());
            return (String::from_utf8(one.to_vec()).unwrap(), other);
        }
    }
    unreachable!("one in some thousands is all letters")
}

#[tokio::test]
async fn users_of_one_hash_are_kept_apart() {
    let (one, other) = twins();
    assert_eq!(hash(one.as_bytes()), hash(other.as_bytes()));
    let folder = tempfile::tempdir().unwrap();
    let users = Users::open(Some(folder.path())).unwrap();
    let (a, b, c) = (device(&one, 1, 1), device(&other, 2, 1), device(&one, 3, 1));
    let imported = users.import(vec![b.clone(), a.clone(), b.clone(), c.clone()]).await.unwrap();
    assert_eq!((imported.added, users.count().await.unwrap()), (3, (2, 3)));
    for users in [&users, &Users::open(Some(folder.path())).unwrap()] {
        let found = users.devices(&[other.clone(), one.clone()]).await.unwrap();
        assert_eq!(found, [vec![b.clone()], vec![a.clone(), c.clone()]]);
    }
    assert_eq!(users.delete_users(std::slice::from_ref(&one)).await.unwrap(), 2);
    assert_eq!(users.devices(&[other, one]).await.unwrap(), [vec![b], vec![]]);
}

#[tokio::test]
async fn one_call_may_fill_several_frames() {
    let folder = tempfile::tempdir().unwrap();
    let users = Users::open(Some(folder.path())).unwrap();
    let long = |number: u64| Device {
        key: "ab".repeat(900),
        platform: Platform::Fcm,
        ..device(&format!("u{number}"), number, 1)
    };
    let count = 6_000;
    assert_eq!(users.import((0..count).map(long).collect()).await.unwrap().added, count);
    for users in [&users, &Users::open(Some(folder.path())).unwrap()] {
        assert_eq!(users.count().await.unwrap(), (count, count));
        let found = users.devices(&["u0".to_owned(), format!("u{}", count - 1)]).await.unwrap();
        assert_eq!(found, [vec![long(0)], vec![long(count - 1)]]);
    }
}

#[tokio::test]
async fn what_is_too_long_for_the_log_is_refused() {
    let users = Users::open(None).unwrap();
    for bad in [device(&"u".repeat(257), 1, 1), Device { app: "a".repeat(129), ..device("u", 1, 1) }] {
        assert_eq!(users.import(vec![device("v", 1, 1), bad]).await.unwrap_err().kind, ErrorKind::Invalid);
    }
    assert_eq!(users.count().await.unwrap(), (0, 0));
}
