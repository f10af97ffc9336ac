//! The directory: imports, look-ups, forgetting.

use std::collections::{BTreeMap, BTreeSet};

use model::device::{KEY_CHARS_MAX, LABEL_BYTES_MAX, USER_BYTES_MAX};
use model::runtime::mix;
use model::{Device, Platform, Timestamp};

use super::{Harness, assert_invalid, race};
use crate::directory::{DeadDevice, Directory, Imported, USER_DEVICES_MAX};

fn device(user: &str, platform: Platform, key: &str) -> Device {
    Device {
        user: user.into(),
        platform,
        key: key.into(),
        app: "org.example.app".into(),
        locale: "pt-BR".into(),
        market: "br".into(),
        registered_at: Timestamp(1_000),
    }
}

fn apns(user: &str, key: &str) -> Device {
    device(user, Platform::Apns, key)
}

fn fcm(user: &str, key: &str) -> Device {
    device(user, Platform::Fcm, key)
}

/// The devices of each user, in an order of their own.
async fn look_up(directory: &dyn Directory, users: &[&str]) -> Vec<Vec<Device>> {
    let users: Vec<String> = users.iter().map(|&user| user.to_owned()).collect();
    let mut found = directory.devices(&users).await.unwrap();
    found.iter_mut().for_each(|devices| sort(devices));
    found
}

fn sort(devices: &mut [Device]) {
    devices.sort_by_cached_key(|one| (one.platform, one.app.clone(), one.key.clone()));
}

pub(super) async fn an_import_tells_new_from_changed_from_known(harness: &Harness) {
    let directory = &*harness.backend.directory;
    let first = vec![apns("u", "aa"), fcm("u", "k:1"), apns("v", "bb")];
    let imported = directory.import(first.clone()).await.unwrap();
    assert_eq!(imported, Imported { added: 3, changed: 0, unchanged: 0 });
    assert_eq!(directory.count().await.unwrap(), (2, 3));
    let imported = directory.import(first.clone()).await.unwrap();
    assert_eq!(imported, Imported { added: 0, changed: 0, unchanged: 3 });
    let moved = Device { market: "pt".into(), ..first[0].clone() };
    let translated = Device { locale: "de".into(), ..first[1].clone() };
    let registered = Device { registered_at: Timestamp(999), ..first[2].clone() };
    let again =
        vec![moved.clone(), translated.clone(), registered.clone(), apns("u", "cc"), first[2].clone()];
    // The last one of `bb` in the call is as it was known.
    let imported = directory.import(again).await.unwrap();
    assert_eq!(imported, Imported { added: 1, changed: 2, unchanged: 1 });
    assert_eq!(directory.count().await.unwrap(), (2, 4));
    let found = look_up(directory, &["u", "v"]).await;
    assert_eq!(found, [vec![moved, apns("u", "cc"), translated], vec![first[2].clone()]]);
}

pub(super) async fn the_last_of_a_device_in_one_call_wins(harness: &Harness) {
    let directory = &*harness.backend.directory;
    let markets = ["a", "b", "c"].map(|market| Device { market: market.into(), ..apns("u", "aa") });
    let imported = directory.import(markets.to_vec()).await.unwrap();
    assert_eq!(imported, Imported { added: 1, changed: 0, unchanged: 0 });
    assert_eq!(look_up(directory, &["u"]).await, [vec![markets[2].clone()]]);
}

pub(super) async fn devices_come_in_the_order_of_the_users(harness: &Harness) {
    let directory = &*harness.backend.directory;
    directory.import(vec![apns("a", "aa"), apns("b", "bb"), fcm("b", "b"), apns("B", "cc")]).await.unwrap();
    let found = look_up(directory, &["b", "nobody", "B", "a", "b", ""]).await;
    let b = vec![apns("b", "bb"), fcm("b", "b")];
    assert_eq!(found, [b.clone(), vec![], vec![apns("B", "cc")], vec![apns("a", "aa")], b, vec![]]);
    assert!(directory.devices(&[]).await.unwrap().is_empty());
}

pub(super) async fn every_field_reads_back_at_its_limits(harness: &Harness) {
    let directory = &*harness.backend.directory;
    let longest = |platform, key: &str| Device {
        user: "ü".repeat(USER_BYTES_MAX / 2),
        platform,
        key: key.repeat(KEY_CHARS_MAX / key.len()),
        app: "a".repeat(LABEL_BYTES_MAX),
        locale: "l".repeat(LABEL_BYTES_MAX),
        market: "m".repeat(LABEL_BYTES_MAX),
        registered_at: Timestamp(u64::from(u32::MAX) * 1_000_000),
    };
    let mut devices = vec![
        longest(Platform::Apns, "ab"),
        longest(Platform::Fcm, "aZ09-_:x"),
        Device { registered_at: Timestamp(0), ..apns("space and \u{1f514}", "00") },
        fcm("u", "fQ3:APA91b_-Zz"),
        fcm("u", "dGVzdC1maWQtMjItY2hhcg"),
        fcm("u", "a"),
        fcm("u", "ab:c"),
        fcm("u", "::"),
    ];
    directory.import(devices.clone()).await.unwrap();
    for user in devices.iter().map(|one| one.user.clone()).collect::<BTreeSet<_>>() {
        let mut expected: Vec<Device> = devices.iter().filter(|one| one.user == user).cloned().collect();
        sort(&mut expected);
        assert_eq!(look_up(directory, &[&user]).await, [expected]);
    }
    devices.reverse();
    let imported = directory.import(devices).await.unwrap();
    assert_eq!(imported, Imported { added: 0, changed: 0, unchanged: 8 });
}

pub(super) async fn a_device_is_named_by_user_platform_app_and_key(harness: &Harness) {
    let directory = &*harness.backend.directory;
    let base = apns("u", "aa");
    let devices = vec![
        base.clone(),
        Device { user: "v".into(), ..base.clone() },
        Device { platform: Platform::Fcm, ..base.clone() },
        Device { app: "org.example.other".into(), ..base.clone() },
        Device { key: "aaaa".into(), ..base },
    ];
    assert_eq!(directory.import(devices).await.unwrap().added, 5);
    assert_eq!(directory.count().await.unwrap(), (2, 5));
}

pub(super) async fn deleted_users_are_forgotten(harness: &Harness) {
    let directory = &*harness.backend.directory;
    directory.import(vec![apns("a", "aa"), fcm("a", "a"), apns("b", "bb"), apns("c", "cc")]).await.unwrap();
    let users = ["a", "nobody", "c", "a"].map(str::to_owned);
    assert_eq!(directory.delete_users(&users).await.unwrap(), 3);
    assert_eq!(directory.delete_users(&users).await.unwrap(), 0);
    assert_eq!(directory.count().await.unwrap(), (1, 1));
    assert_eq!(look_up(directory, &["a", "b", "c"]).await, [vec![], vec![apns("b", "bb")], vec![]]);
    assert_eq!(directory.import(vec![apns("a", "aa")]).await.unwrap().added, 1);
    assert_eq!(look_up(directory, &["a"]).await, [vec![apns("a", "aa")]]);
}

fn dead(device: &Device, dead_since: u64) -> DeadDevice {
    let Device { user, platform, app, key, .. } = device.clone();
    DeadDevice { user, platform, app, key, dead_since: Timestamp(dead_since) }
}

pub(super) async fn dead_devices_are_pruned(harness: &Harness) {
    let directory = &*harness.backend.directory;
    let devices = [apns("u", "aa"), apns("u", "bb"), fcm("v", "c")];
    directory.import(devices.to_vec()).await.unwrap();
    let other_user = DeadDevice { user: "v".into(), ..dead(&devices[0], 5_000) };
    let other_app = DeadDevice { app: "x".into(), ..dead(&devices[0], 5_000) };
    let other_platform = DeadDevice { platform: Platform::Fcm, ..dead(&devices[0], 5_000) };
    let other_key = DeadDevice { key: "ab".into(), ..dead(&devices[0], 5_000) };
    let others = vec![other_user, other_app, other_platform, other_key];
    assert_eq!(directory.prune(others).await.unwrap(), 0);
    let gone = vec![dead(&devices[0], 5_000), dead(&devices[2], 5_000), dead(&devices[0], 6_000)];
    assert_eq!(directory.prune(gone.clone()).await.unwrap(), 2);
    assert_eq!(directory.prune(gone).await.unwrap(), 0);
    assert_eq!(look_up(directory, &["u", "v"]).await, [vec![devices[1].clone()], vec![]]);
    assert_eq!(directory.count().await.unwrap(), (1, 1));
}

pub(super) async fn a_device_registered_after_its_death_survives(harness: &Harness) {
    let directory = &*harness.backend.directory;
    let device = apns("u", "aa");
    directory.import(vec![device.clone()]).await.unwrap();
    assert_eq!(directory.prune(vec![dead(&device, 999)]).await.unwrap(), 0);
    assert_eq!(look_up(directory, &["u"]).await, [vec![device.clone()]]);
    // Registered at the very moment is not registered after it.
    assert_eq!(directory.prune(vec![dead(&device, 1_000)]).await.unwrap(), 1);
}

pub(super) async fn users_are_known_until_they_are_deleted(harness: &Harness) {
    let directory = &*harness.backend.directory;
    let devices = [apns("a", "aa"), apns("b", "bb"), apns("c", "cc"), apns("d", "dd"), fcm("d", "d")];
    directory.import(devices.to_vec()).await.unwrap();
    directory.prune(vec![dead(&devices[0], 5_000), dead(&devices[3], 5_000)]).await.unwrap();
    let users = ["b", "a", "nobody", "c", "d"].map(str::to_owned);
    assert_eq!(directory.knows(&users).await.unwrap(), [true, true, false, true, true]);
    // Also one who has no device any more is forgotten, and comes back like anybody.
    let gone = ["a", "b"].map(str::to_owned);
    assert_eq!(directory.delete_users(&gone).await.unwrap(), 1);
    assert_eq!(directory.knows(&users).await.unwrap(), [false, false, false, true, true]);
    directory.import(vec![apns("a", "aa")]).await.unwrap();
    assert_eq!(directory.knows(&users[1..2]).await.unwrap(), [true]);
    assert!(directory.knows(&[]).await.unwrap().is_empty());
}

/// A device by its name.
type Known = BTreeMap<(String, Platform, String, String), Device>;

pub(super) async fn the_directory_agrees_with_a_map(harness: &Harness) {
    let directory = &*harness.backend.directory;
    let mut known = Known::new();
    let mut seed = 7;
    let mut random = |bound: u64| {
        seed += 1;
        mix(seed) % bound
    };
    for _ in 0..60 {
        let devices: Vec<Device> = (0..1 + random(200)).map(|_| random_device(&mut random)).collect();
        match random(5) {
            0 => {
                let users: Vec<String> = devices.iter().take(5).map(|one| one.user.clone()).collect();
                let before = known.len();
                known.retain(|(user, ..), _| !users.contains(user));
                let deleted = match random(2) {
                    0 => directory.delete_users(&users).await.unwrap(),
                    _ => directory.erase_users(&users).await.unwrap(),
                };
                assert_eq!(deleted, (before - known.len()) as u64);
            }
            1 => {
                let list: Vec<DeadDevice> = devices.iter().map(|one| dead(one, 1)).collect();
                let before = known.len();
                for one in &list {
                    let name = (one.user.clone(), one.platform, one.app.clone(), one.key.clone());
                    if known.get(&name).is_some_and(|device| device.registered_at <= one.dead_since) {
                        known.remove(&name);
                    }
                }
                assert_eq!(directory.prune(list).await.unwrap(), (before - known.len()) as u64);
            }
            _ => assert_eq!(directory.import(devices.clone()).await.unwrap(), take(&mut known, devices)),
        }
    }
    let users: BTreeSet<&str> = known.keys().map(|(user, ..)| user.as_str()).collect();
    assert_eq!(directory.count().await.unwrap(), (users.len() as u64, known.len() as u64));
    let users: Vec<&str> = users.into_iter().collect();
    let found = look_up(directory, &users).await;
    assert!(found.into_iter().flatten().eq(known.into_values()));
}

fn random_device(random: &mut impl FnMut(u64) -> u64) -> Device {
    let user = format!("user-{}", random(150));
    let base = if random(2) == 0 { apns(&user, "aa") } else { fcm(&user, "aa") };
    Device {
        key: format!("{:02x}", random(3)),
        market: ["br", "pt"][random(2) as usize].into(),
        registered_at: Timestamp(random(3)),
        ..base
    }
}

fn take(known: &mut Known, devices: Vec<Device>) -> Imported {
    let name = |one: &Device| (one.user.clone(), one.platform, one.app.clone(), one.key.clone());
    let last: Known = devices.into_iter().map(|one| (name(&one), one)).collect();
    let mut imported = Imported::default();
    for (name, device) in last {
        match known.insert(name, device.clone()) {
            None => imported.added += 1,
            Some(before) if before == device => imported.unchanged += 1,
            Some(_) => imported.changed += 1,
        }
    }
    imported
}

pub(super) async fn racing_imports_lose_nothing(harness: &Harness) {
    let directory = harness.backend.directory.clone();
    let import = |task: usize| {
        let directory = directory.clone();
        async move {
            let mut added = 0;
            for round in 0..10 {
                // Users are shared by the tasks, devices are not.
                let devices =
                    (0..20).map(|user| fcm(&format!("u{user}"), &format!("k-{task}-{round}"))).collect();
                added += directory.import(devices).await.unwrap().added;
            }
            added
        }
    };
    assert_eq!(race(6, import).await.into_iter().sum::<u64>(), 6 * 10 * 20);
    assert_eq!(directory.count().await.unwrap(), (20, 6 * 10 * 20));
    assert_eq!(look_up(&*directory, &["u7"]).await[0].len(), 60);
}

pub(super) async fn imports_of_any_size_are_taken(harness: &Harness) {
    let directory = &*harness.backend.directory;
    assert_eq!(directory.import(vec![]).await.unwrap(), Imported::default());
    let many =
        (0..20_000_u64).map(|number| apns(&format!("u{}", number / 2), &format!("{:016x}", mix(number))));
    assert_eq!(directory.import(many.collect()).await.unwrap().added, 20_000);
    assert_eq!(directory.count().await.unwrap(), (10_000, 20_000));
    let users: Vec<String> = (0..10_000).rev().map(|number| format!("u{number}")).collect();
    let found = directory.devices(&users).await.unwrap();
    assert!(found.iter().zip(&users).all(|(found, user)| found.len() == 2 && found[0].user == *user));
}

pub(super) async fn a_user_has_only_so_many_devices(harness: &Harness) {
    let directory = &*harness.backend.directory;
    let most: Vec<Device> =
        (0..USER_DEVICES_MAX).map(|number| apns("anonymous", &format!("{number:08x}"))).collect();
    directory.import(most.clone()).await.unwrap();
    assert_eq!(directory.import(most[..9].to_vec()).await.unwrap().unchanged, 9);
    assert_invalid(directory.import(vec![apns("anonymous", "ffff")]).await);
    assert_eq!(directory.count().await.unwrap(), (1, USER_DEVICES_MAX as u64));
    directory.import(vec![apns("ann", "ffff")]).await.unwrap();
}
