//! Audiences: resolved, frozen, refused.

use device_map::{Snapshot, Users};

use super::*;
use crate::resolve;

/// Whose device stands where: user and key of every device in the snapshot of a frozen audience.
async fn frozen(bench: &Bench, audience: &Audience) -> Vec<(String, String)> {
    let digest = audience.snapshot().expect("it is frozen");
    let blobs = &bench.backend().blobs;
    let map = blobs.file(&rows::audience::snapshot_blob(digest)).await.unwrap().unwrap();
    let users = blobs.file(&rows::audience::users_blob(digest)).await.unwrap().unwrap();
    let snapshot = Snapshot::open(&map, digest).unwrap();
    let users = Users::open(&users, snapshot.users_digest()).unwrap();
    let manifest = rows::audience::manifest(&**blobs, digest).await.unwrap().unwrap();
    assert_eq!(manifest, snapshot.manifest());
    let mut all = Vec::new();
    for (index, group) in (0..).zip(&manifest.groups) {
        for device in snapshot.range(index, 0, group.devices).unwrap() {
            all.push((users.id(device.user_ordinal()).unwrap().to_owned(), device.text()));
        }
    }
    all.sort();
    all
}

async fn resolve_text(bench: &Bench, text: &str) -> Audience {
    resolve_numbered(bench, 1, text).await
}

pub(super) async fn resolve_numbered(bench: &Bench, number: u128, text: &str) -> Audience {
    let upload = bench.blob(&format!("uploads/{number}/1"), text.as_bytes()).await;
    let id = bench.audience(number, None, upload).await;
    resolve::run(&bench.desk, id, 1).await.unwrap();
    bench.read(id).await
}

fn why(audience: &Audience) -> &str {
    match &audience.state {
        AudienceState::Failed { why } => why,
        state => panic!("it is {state:?}"),
    }
}

#[tokio::test]
async fn listed_users_become_a_snapshot_of_their_devices() {
    // Small batches and a small sorter, so that several of each are needed.
    let bench = Bench::with(Config { resolve_users: 7, sort_bytes_max: 600, ..Config::default() });
    let devices: Vec<Device> =
        (0..300).map(|number| device(&format!("u{:03}", number / 2), number)).collect();
    bench.know(&devices).await;
    let mut listed: Vec<String> = (0..120).rev().map(|number| format!("u{number:03}")).collect();
    listed.extend(["u005", "u005", "nobody-1", "nobody-2"].map(String::from));
    let audience = resolve_text(&bench, &format!("user\n{}\n", listed.join("\n"))).await;
    let mut wanted: Vec<(String, String)> =
        devices[..240].iter().map(|device| (device.user.clone(), device.key.clone())).collect();
    wanted.sort();
    assert_eq!(frozen(&bench, &audience).await, wanted);
    let report = audience.report.unwrap();
    assert_eq!((report.read.rows, report.users, report.devices), (124, 120, 240));
    assert_eq!((report.duplicate_users, report.unknown_users, report.duplicate_devices), (2, 2, 0));
    assert_eq!(report.by_platform, [("apns".into(), 120), ("fcm".into(), 120)].into());
    assert_eq!(report.by_market, [("de".into(), 48), ("us".into(), 192)].into());
    assert_eq!(report.by_locale.values().sum::<u64>(), 240);
    assert_eq!(bench.actions().await, ["audience.frozen resolver"]);
    assert_eq!(bench.staged(), 0, "work folders are removed");
}

#[tokio::test]
async fn devices_outright_need_no_directory() {
    let bench = Bench::new();
    let devices: Vec<Device> = (0..50).map(|number| device("u", number)).collect();
    let mut twice = devices.clone();
    twice.extend_from_slice(&devices[..4]);
    let audience = resolve_text(&bench, &csv(&twice)).await;
    assert_eq!(audience.rows, Some(UploadRows::Devices));
    assert_eq!(frozen(&bench, &audience).await.len(), 50);
    let report = audience.report.unwrap();
    assert_eq!((report.users, report.devices, report.duplicate_devices), (1, 50, 4));
}

#[tokio::test]
async fn an_audience_of_zero_fails_and_says_why() {
    let bench = Bench::new();
    let audience = resolve_text(&bench, "user\nu1\nu2\n").await;
    assert_eq!(why(&audience), "the audience has no devices: none of its 2 users is in the directory");
    assert_eq!(audience.report.unwrap().unknown_users, 2);
    assert_eq!(bench.actions().await, ["audience.failed resolver"]);
}

#[tokio::test]
async fn files_that_cannot_be_read_fail_with_the_place() {
    for (text, wanted) in [
        ("", "the file is empty"),
        ("user\n", "the file has no rows"),
        (
            "user\nu1\nu2,x\nu3\n",
            "1 of 3 rows are bad; the first: line 3: the row has 2 fields, the header 1",
        ),
        ("name\nu1\n", "line 1, the header: column 1 is none of"),
    ] {
        let audience = resolve_text(&Bench::new(), text).await;
        assert!(why(&audience).starts_with(wanted), "{}", why(&audience));
    }
}

#[tokio::test]
async fn bad_rows_are_left_out_when_that_was_asked() {
    let bench = Bench::new();
    bench.know(&[device("u1", 1)]).await;
    let mut upload = bench.blob("uploads/a/1", b"user\nu1\nu2,x\n").await;
    upload.bad_rows = BadRows::AcceptValid { share_ppm_max: model::audience::PPM };
    let id = bench.audience(1, None, upload).await;
    resolve::run(&bench.desk, id, 1).await.unwrap();
    let audience = bench.read(id).await;
    assert_eq!(frozen(&bench, &audience).await.len(), 1);
    let report = audience.report.unwrap();
    assert_eq!((report.read.rows, report.read.bad_rows, report.read.first_bad_rows[0].line), (2, 1, 3));
}

#[tokio::test]
async fn resolving_again_what_is_frozen_changes_nothing() {
    let bench = Bench::new();
    bench.know(&[device("u1", 1)]).await;
    let audience = resolve_text(&bench, "user\nu1\n").await;
    resolve::run(&bench.desk, audience.id, 2).await.unwrap();
    assert_eq!(bench.read(audience.id).await, audience);
}

#[tokio::test]
async fn the_same_devices_in_another_order_are_the_same_snapshot() {
    let devices: Vec<Device> = (0..40).map(|number| device(&format!("u{}", number % 9), number)).collect();
    let reversed: Vec<Device> = devices.iter().rev().cloned().collect();
    let one = resolve_text(&Bench::new(), &csv(&devices)).await.snapshot();
    assert_eq!(one, resolve_text(&Bench::new(), &csv(&reversed)).await.snapshot());
}

#[tokio::test]
async fn an_audience_half_resolved_by_a_killed_resolver_is_begun_anew() {
    let bench = Bench::new();
    bench.know(&[device("u1", 1)]).await;
    let upload = bench.blob("uploads/a/1", b"user\nu1\n").await;
    let id = bench.audience(1, None, upload).await;
    let mut row = rows::audience::get(&*bench.backend().store, id).await.unwrap().unwrap();
    row.body.state = AudienceState::Resolving { rows: 77 };
    bench.backend().store.write(vec![rows::audience::put(&row.body, Expect::Version(1))]).await.unwrap();
    bench.moving_on(resolve::run(&bench.desk, id, 2)).await.unwrap();
    assert!(bench.read(id).await.snapshot().is_some());
}

#[tokio::test]
async fn an_audience_that_another_resolver_is_at_is_left_to_it() {
    let bench = Bench::new();
    let upload = bench.blob("uploads/a/1", b"user\nu1\n").await;
    let id = bench.audience(1, None, upload).await;
    let mut audience = bench.read(id).await;
    let other = async {
        for rows in 0..50 {
            audience.state = AudienceState::Resolving { rows };
            let write = rows::audience::put(&audience, Expect::Anything);
            bench.backend().store.write(vec![write]).await.unwrap();
            bench.clock.advance(Duration::from_millis(300));
            tokio::task::yield_now().await;
        }
    };
    let mut begun = bench.read(id).await;
    begun.state = AudienceState::Resolving { rows: 0 };
    let write = rows::audience::put(&begun, Expect::Anything);
    bench.backend().store.write(vec![write]).await.unwrap();
    let (ended, ()) = futures::join!(resolve::run(&bench.desk, id, 1), other);
    assert!(matches!(ended, Err(crate::Error::Overtaken)), "{ended:?}");
}

#[tokio::test]
async fn whoever_is_overtaken_stops() {
    let bench = Bench::new();
    bench.know(&[device("u1", 1)]).await;
    let upload = bench.blob("uploads/a/1", b"user\nu1\n").await;
    let id = bench.audience(1, None, upload).await;
    let other = async {
        while bench.read(id).await.state == AudienceState::Uploaded {
            tokio::task::yield_now().await;
        }
        let mut audience = bench.read(id).await;
        audience.state = AudienceState::Resolving { rows: 99 };
        bench.backend().store.write(vec![rows::audience::put(&audience, Expect::Anything)]).await.unwrap();
    };
    let (ended, ()) = futures::join!(resolve::run(&bench.desk, id, 1), other);
    if bench.read(id).await.snapshot().is_none() {
        assert!(matches!(ended, Err(crate::Error::Overtaken)), "{ended:?}");
        assert_eq!(bench.read(id).await.state, AudienceState::Resolving { rows: 99 });
    }
}

#[tokio::test]
async fn work_that_breaks_every_resolver_is_given_up() {
    let bench = Bench::new();
    let upload = bench.blob("uploads/a/1", b"user\nu1\n").await;
    let id = bench.audience(1, None, upload).await;
    resolve::run(&bench.desk, id, 6).await.unwrap();
    assert_eq!(why(&bench.read(id).await), "it was begun 5 times and never finished");
}
