//! What an audience has, and what changed since another.

use std::collections::{BTreeMap, BTreeSet};

use model::export::{Change, Difference, Export, ExportFormat, ExportState, Moves, Subject};
use model::runtime::mix;

use super::exports::{exported_of, text};
use super::resolving::resolve_numbered;
use super::*;

/// Devices of which `share` of a hundred are there, some of them with other owners or in other markets.
fn some(seed: u64, share: u64) -> Vec<Device> {
    let numbers = (0..200_u32).filter(|number| mix(seed ^ u64::from(*number)) % 100 < share);
    let devices = numbers.map(|number| {
        let mut device = device(&format!("u{}", number / 2), number);
        match mix(seed + u64::from(number)) % 9 {
            0 => device.user = format!("v{}", number / 7),
            1 => device.market = "br".into(),
            _ => {}
        }
        device
    });
    devices.collect()
}

fn moves<T: Ord>(one: &BTreeSet<T>, other: &BTreeSet<T>) -> Moves {
    let stayed = one.intersection(other).count() as u64;
    Moves { came: one.len() as u64 - stayed, went: other.len() as u64 - stayed, stayed }
}

/// The difference as sets have it.
fn expected(one: &[Device], other: &[Device]) -> Difference {
    let keys = |devices: &[Device], is_wanted: &dyn Fn(&Device) -> bool| -> BTreeSet<(Platform, String)> {
        let wanted = devices.iter().filter(|device| is_wanted(device));
        wanted.map(|device| (device.platform, device.key.clone())).collect()
    };
    let users = |devices: &[Device], is_wanted: &dyn Fn(&Device) -> bool| -> BTreeSet<String> {
        devices.iter().filter(|device| is_wanted(device)).map(|device| device.user.clone()).collect()
    };
    let all = |_: &Device| true;
    let (ours, theirs) = (keys(one, &all), keys(other, &all));
    let change = |is_wanted: &dyn Fn(&Device) -> bool| {
        let (mine, yours) = (keys(one, is_wanted), keys(other, is_wanted));
        let devices = Moves {
            came: mine.difference(&theirs).count() as u64,
            went: yours.difference(&ours).count() as u64,
            stayed: mine.intersection(&theirs).count() as u64,
        };
        Change { users: moves(&users(one, is_wanted), &users(other, is_wanted)), devices }
    };
    let markets: BTreeSet<&String> = one.iter().chain(other).map(|device| &device.market).collect();
    let by_market =
        markets.into_iter().map(|market| (market.clone(), change(&|device| device.market == *market)));
    let by_platform = Platform::ALL
        .map(|platform| (platform.name().to_owned(), change(&|device| device.platform == platform)));
    Difference { all: change(&all), by_market: by_market.collect(), by_platform: by_platform.into() }
}

async fn difference(bench: &Bench, one: &Audience, other: &Audience, format: ExportFormat) -> Export {
    let (snapshot, against_snapshot) = (one.snapshot().unwrap(), other.snapshot().unwrap());
    let subject = Subject::Difference { audience: one.id, snapshot, against: other.id, against_snapshot };
    exported_of(bench, subject, format).await
}

fn hash(device: &Device) -> String {
    blake3::hash(device.key.as_bytes()).to_hex()[..32].to_owned()
}

#[tokio::test]
async fn who_came_and_who_went_is_what_sets_say_in_numbers_and_row_by_row() {
    // The smallest sorter spills at every row.
    for (seed, sort_bytes_max) in [(1, 256 << 20), (2, 0), (3, 500)] {
        let bench = Bench::with(Config { sort_bytes_max, ..Config::default() });
        let (now, before) = (some(seed, 60), some(seed + 100, 50));
        let one = resolve_numbered(&bench, 1, &csv(&now)).await;
        let other = resolve_numbered(&bench, 2, &csv(&before)).await;
        let export = difference(&bench, &one, &other, ExportFormat::Csv).await;
        let ExportState::Done { devices, difference: Some(told), .. } = &export.state else {
            panic!("{:?}", export.state)
        };
        let wanted = expected(&now, &before);
        assert_eq!(*told, wanted, "seed {seed}");
        assert_eq!(*devices, wanted.all.devices.came + wanted.all.devices.went);

        let text = text(&bench, &export).await;
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("change,user,platform,app,market,locale,key_hash"));
        let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        assert!(rows.is_sorted_by_key(|row| (row[1], row[0] == "came")), "by people, the old device first");
        let rows: BTreeSet<String> = rows.iter().map(|row| row.join(",")).collect();
        let changed = |change: &str, devices: &[Device], others: &[Device]| -> Vec<String> {
            let others: BTreeMap<&String, ()> = others.iter().map(|device| (&device.key, ())).collect();
            let devices = devices.iter().filter(|device| !others.contains_key(&device.key));
            let row = |device: &Device| {
                let Device { user, platform, app, market, locale, .. } = device;
                format!("{change},{user},{platform},{app},{market},{locale},{}", hash(device))
            };
            devices.map(row).collect()
        };
        let mut wanted: BTreeSet<String> = changed("came", &now, &before).into_iter().collect();
        wanted.extend(changed("went", &before, &now));
        assert_eq!(rows, wanted, "seed {seed}");
        assert_eq!(bench.staged(), 0, "work folders are removed");
    }
}

#[tokio::test]
async fn an_audience_differs_in_nothing_from_itself() {
    let bench = Bench::new();
    let one = resolve_numbered(&bench, 1, &csv(&some(1, 60))).await;
    let export = difference(&bench, &one, &one, ExportFormat::Ndjson).await;
    let ExportState::Done { devices: 0, bytes: 0, difference: Some(told), .. } = export.state else {
        panic!("{:?}", export.state)
    };
    let report = one.report.unwrap();
    let all = Moves { stayed: report.devices, ..Moves::default() };
    assert_eq!((told.all.devices, told.all.users.stayed), (all, report.users));
}

#[tokio::test]
async fn the_members_of_an_audience_are_every_device_that_will_be_sent_to_and_no_key() {
    let bench = Bench::new();
    let devices = some(1, 60);
    let one = resolve_numbered(&bench, 1, &csv(&devices)).await;
    let subject = Subject::Members { audience: one.id, snapshot: one.snapshot().unwrap() };
    let export = exported_of(&bench, subject, ExportFormat::Csv).await;
    let text = self::text(&bench, &export).await;
    let (head, rows) = text.split_once('\n').unwrap();
    assert_eq!(head, "user,platform,app,market,locale,key_hash");
    let rows: BTreeSet<&str> = rows.lines().collect();
    let wanted: Vec<String> = devices
        .iter()
        .map(|device| {
            let Device { user, platform, app, market, locale, .. } = device;
            format!("{user},{platform},{app},{market},{locale},{}", hash(device))
        })
        .collect();
    assert_eq!(rows, wanted.iter().map(String::as_str).collect());
    assert_eq!(bench.actions().await.last().unwrap(), "export.written resolver");
}

#[tokio::test]
async fn a_difference_of_a_snapshot_that_is_gone_says_so_at_last() {
    let bench = Bench::with(Config { attempts_max: 1, ..Config::default() });
    let mut one = resolve_numbered(&bench, 1, &csv(&some(1, 60))).await;
    let other = resolve_numbered(&bench, 2, &csv(&some(2, 60))).await;
    one.state = AudienceState::Frozen { snapshot: Digest([9; 32]), at: Timestamp(1) };
    let export = difference(&bench, &one, &other, ExportFormat::Csv).await;
    let ExportState::Failed { why } = export.state else { panic!("{:?}", export.state) };
    assert!(why.contains("snapshots/0909") && why.contains("is missing"), "{why}");
}
