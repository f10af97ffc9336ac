//! What nobody names any more goes, and nothing else.

use backend::Write;
use backend::rows::fleet::{self, Wanted};
use backend::rows::garbage::{self, Mark};
use backend::rows::upload;
use model::{CampaignId, UploadId};

use super::*;
use crate::garbage::{Collected, collect};
use crate::resolve;

const DAY: Duration = Duration::from_secs(24 * 3_600);

async fn freeze(bench: &Bench, number: u128, text: &str) -> Digest {
    let upload = bench.blob(&format!("uploads/{}/1", AudienceId(number)), text.as_bytes()).await;
    let id = bench.audience(number, None, upload).await;
    bench.moving_on(resolve::run(&bench.desk, id, 1)).await.unwrap();
    bench.read(id).await.snapshot().unwrap_or_else(|| panic!("not frozen"))
}

fn list(users: std::ops::Range<u32>) -> String {
    csv(&users.map(|number| device(&format!("u{number}"), number)).collect::<Vec<_>>())
}

/// As if somebody had deleted the audience.
async fn forget(bench: &Bench, number: u128) {
    let write = Write::delete(rows::audience::key(AudienceId(number)), Expect::Anything);
    bench.backend().store.write(vec![write]).await.unwrap();
}

async fn blobs(bench: &Bench, prefix: &str) -> usize {
    bench.backend().blobs.list(prefix).await.unwrap().len()
}

/// Collects twice with more than a day in between.
async fn collect_twice(bench: &Bench) -> Collected {
    collect(&bench.desk).await.unwrap();
    bench.clock.advance(DAY * 2);
    collect(&bench.desk).await.unwrap()
}

#[tokio::test]
async fn a_snapshot_goes_a_day_after_nobody_names_it() {
    let bench = Bench::new();
    freeze(&bench, 1, &list(0..10)).await;
    freeze(&bench, 2, &list(5..20)).await;
    assert_eq!(collect_twice(&bench).await, Collected::default(), "both are named");
    forget(&bench, 1).await;
    let marked = collect(&bench.desk).await.unwrap();
    assert_eq!((marked.marked, marked.snapshots, blobs(&bench, "snapshots/").await), (2, 0, 6));
    bench.clock.advance(DAY / 2);
    assert_eq!(collect(&bench.desk).await.unwrap().snapshots, 0, "a day is not over");
    bench.clock.advance(DAY);
    let collected = collect(&bench.desk).await.unwrap();
    assert_eq!((collected.snapshots, collected.blobs, blobs(&bench, "snapshots/").await), (1, 1, 3));
    assert_eq!(collect_twice(&bench).await, Collected::default());
}

#[tokio::test]
async fn a_snapshot_that_workers_hold_stays() {
    let bench = Bench::new();
    let snapshot = freeze(&bench, 1, &list(0..10)).await;
    forget(&bench, 1).await;
    let wanted = Wanted { campaign: CampaignId(1), snapshot, at: bench.desk.now() };
    bench.backend().store.write(vec![fleet::put_wanted(&wanted)]).await.unwrap();
    assert_eq!(collect_twice(&bench).await.snapshots, 0);
    assert_eq!(blobs(&bench, "snapshots/").await, 3);
}

#[tokio::test]
async fn a_snapshot_that_comes_back_loses_its_mark() {
    let bench = Bench::new();
    let snapshot = freeze(&bench, 1, &list(0..10)).await;
    forget(&bench, 1).await;
    collect(&bench.desk).await.unwrap();
    assert_eq!(freeze(&bench, 2, &list(0..10)).await, snapshot, "the same people are the same snapshot");
    let mark = garbage::mark(&*bench.backend().store, &garbage::snapshot_name(snapshot)).await.unwrap();
    assert_eq!(mark, None);
    assert_eq!(collect_twice(&bench).await.snapshots, 0);
    assert_eq!(blobs(&bench, "snapshots/").await, 3);
}

#[tokio::test]
async fn whoever_freezes_what_is_being_deleted_waits_and_stores_it_anew() {
    let bench = Bench::new();
    let snapshot = freeze(&bench, 1, &list(0..10)).await;
    forget(&bench, 1).await;
    // A resolver was killed while it deleted: the manifest is gone, the rest is there.
    let store = &*bench.backend().store;
    let name = garbage::snapshot_name(snapshot);
    store.write(vec![garbage::put_mark(&name, Mark::Deleting, Expect::Absent)]).await.unwrap();
    bench.backend().blobs.delete(&rows::audience::manifest_blob(snapshot)).await.unwrap();
    let collecting = async {
        // Not before the other one has met the mark.
        bench.desk.runtime.clock.sleep(Duration::from_secs(60)).await;
        collect(&bench.desk).await.unwrap()
    };
    let text = list(0..10);
    let (again, collected) = futures::join!(freeze(&bench, 2, &text), collecting);
    assert_eq!((again, collected.snapshots), (snapshot, 1));
    assert_eq!(blobs(&bench, "snapshots/").await, 3);
    let manifest = rows::audience::manifest(&*bench.backend().blobs, snapshot).await.unwrap();
    assert_eq!(manifest.unwrap().devices, 10);
}

#[tokio::test]
async fn a_snapshot_that_got_a_name_while_its_deletion_began_stays() {
    let bench = Bench::new();
    let snapshot = freeze(&bench, 1, &list(0..10)).await;
    let name = garbage::snapshot_name(snapshot);
    let store = &*bench.backend().store;
    store.write(vec![garbage::put_mark(&name, Mark::Deleting, Expect::Absent)]).await.unwrap();
    assert_eq!(collect(&bench.desk).await.unwrap().snapshots, 0);
    assert_eq!(garbage::mark(store, &name).await.unwrap(), None);
    assert_eq!(blobs(&bench, "snapshots/").await, 3);
}

#[tokio::test]
async fn uploads_go_a_week_after_the_freeze_and_the_audience_stays() {
    let bench = Bench::new();
    freeze(&bench, 1, &list(0..10)).await;
    bench.backend().blobs.put("uploads/stray/1", b"of a process that was killed".to_vec()).await.unwrap();
    assert_eq!(collect_twice(&bench).await.blobs, 1, "the stray one");
    assert_eq!(blobs(&bench, "uploads/").await, 1);
    bench.clock.advance(DAY * 7);
    assert_eq!(collect_twice(&bench).await.blobs, 1);
    assert_eq!((blobs(&bench, "uploads/").await, blobs(&bench, "snapshots/").await), (0, 3));
    assert!(bench.read(AudienceId(1)).await.snapshot().is_some());
}

#[tokio::test]
async fn the_list_of_those_left_out_goes_with_the_upload() {
    let bench = Bench::new();
    bench.know(&[device("u1", 1)]).await;
    freeze(&bench, 1, "user\nu1\nnobody\n").await;
    assert_eq!(collect_twice(&bench).await.blobs, 0, "it is named");
    assert_eq!(blobs(&bench, "uploads/").await, 2);
    bench.clock.advance(DAY * 7);
    assert_eq!((collect_twice(&bench).await.blobs, blobs(&bench, "uploads/").await), (2, 0));
}

#[tokio::test]
async fn an_upload_that_is_whole_and_not_handed_over_yet_stays() {
    let bench = Bench::new();
    let uploaded = bench.blob("uploads/7/1", b"user\nann\n").await;
    let mut parts = upload::Parts {
        id: UploadId(7),
        target: upload::Target::Audience(AudienceId(7)),
        actor: "ann".into(),
        reading: upload::Reading {
            format: uploaded.format,
            packing: uploaded.packing,
            bad_rows: uploaded.bad_rows,
            defaults: uploaded.defaults.clone(),
        },
        length: Some(uploaded.bytes),
        digests: Default::default(),
        idempotency_key: None,
        state: upload::PartsState::Received { upload: uploaded },
        created_at: Timestamp(1),
        expires_at: Timestamp(2),
    };
    let put = upload::put(&parts, Expect::Anything);
    bench.backend().store.write(vec![put]).await.unwrap();
    assert_eq!(collect_twice(&bench).await, Collected::default());
    parts.state = upload::PartsState::Done;
    bench.backend().store.write(vec![upload::put(&parts, Expect::Anything)]).await.unwrap();
    assert_eq!((collect_twice(&bench).await.blobs, blobs(&bench, "uploads/").await), (1, 0));
}
