//! The late list reaches the snapshots that may be sent.

use backend::rows::fleet::{self, Wanted};
use backend::rows::suppression;
use model::CampaignId;
use model::suppression::{Cause, Entry, UserBits};

use super::*;
use crate::{resolve, suppress};

/// Freezes users `u000` to `u099`, one device each.
async fn freeze(bench: &Bench) -> Digest {
    let devices: Vec<Device> = (0..100).map(|number| device(&format!("u{number:03}"), number)).collect();
    let upload = bench.blob("uploads/a/1", csv(&devices).as_bytes()).await;
    let id = bench.audience(1, None, upload).await;
    resolve::run(&bench.desk, id, 1).await.unwrap();
    bench.read(id).await.snapshot().unwrap()
}

async fn want(bench: &Bench, snapshot: Digest) {
    let wanted = Wanted { campaign: CampaignId(1), snapshot, at: bench.desk.now() };
    bench.backend().store.write(vec![fleet::put_wanted(&wanted)]).await.unwrap();
}

/// Changes the list as the API does.
async fn change(bench: &Bench, added: &[&str], removed: &[&str]) {
    let (store, blobs, randomness) =
        (&*bench.backend().store, &*bench.backend().blobs, &*bench.desk.runtime.randomness);
    let key = suppression::hash_key(store, randomness).await.unwrap();
    let since = bench.desk.now();
    let entry = |user: &&str| Entry { user: key.user(user), cause: Cause::OptedOut, since };
    let (added, removed): (Vec<_>, Vec<_>) =
        (added.iter().map(entry).collect(), removed.iter().map(|user| key.user(user)).collect());
    let now = bench.desk.now();
    let change = suppression::change(store, blobs, randomness, now, &added, &removed).await.unwrap().unwrap();
    store.write(vec![change.write]).await.unwrap();
}

async fn applied(bench: &Bench, snapshot: Digest) -> Option<(u64, Vec<u64>)> {
    let rows = suppression::applied(&*bench.backend().store, &[snapshot]).await.unwrap();
    let row = rows.into_iter().next().flatten()?.body;
    let bits = match &row.bits {
        None => UserBits::new(100),
        Some(bits) => bits.read(&*bench.backend().blobs).await.unwrap(),
    };
    assert_eq!(row.users, bits.count());
    Some((row.version, (0..bits.users()).filter(|user| bits.contains(*user)).collect()))
}

#[tokio::test]
async fn each_version_of_the_list_reaches_snapshots_in_use_and_only_takes_away() {
    let bench = Bench::new();
    let snapshot = freeze(&bench).await;
    assert_eq!(suppress::catch_up(&bench.desk).await.unwrap(), 0, "there is no list");
    change(&bench, &["u003", "nobody"], &[]).await;
    assert_eq!(suppress::catch_up(&bench.desk).await.unwrap(), 0, "nobody wants the snapshot");
    want(&bench, snapshot).await;
    assert_eq!(suppress::catch_up(&bench.desk).await.unwrap(), 1);
    assert_eq!(applied(&bench, snapshot).await, Some((1, vec![3])));
    assert_eq!(suppress::catch_up(&bench.desk).await.unwrap(), 0, "it is done");

    change(&bench, &["u098"], &["u003"]).await;
    assert_eq!(suppress::catch_up(&bench.desk).await.unwrap(), 1);
    assert_eq!(applied(&bench, snapshot).await, Some((2, vec![3, 98])), "nobody comes back into a snapshot");
    let blobs = bench.backend().blobs.list("suppressed/").await.unwrap();
    assert_eq!(blobs.len(), 1, "the bitmap before is gone");
}

#[tokio::test]
async fn a_list_of_many_thousands_goes_to_a_blob_and_reads_back() {
    let bench = Bench::new();
    let snapshot = freeze(&bench).await;
    want(&bench, snapshot).await;
    let people: Vec<String> = (0..3_000).map(|number| format!("u{number:03}")).collect();
    for part in people.chunks(700) {
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        change(&bench, &part, &[]).await;
    }
    let list = suppression::list(&*bench.backend().store).await.unwrap().body;
    assert_eq!((list.versions.last(), list.by_cause), (5, [3_000, 0, 0]));
    let all = list.read(&*bench.backend().blobs).await.unwrap();
    assert_eq!(all.len(), 3_000);
    suppress::catch_up(&bench.desk).await.unwrap();
    assert_eq!(applied(&bench, snapshot).await, Some((5, (0..100).collect())));
}

#[tokio::test]
async fn nobody_is_added_twice_and_a_stronger_cause_wins() {
    let bench = Bench::new();
    change(&bench, &["a", "b"], &[]).await;
    let (store, blobs, randomness) =
        (&*bench.backend().store, &*bench.backend().blobs, &*bench.desk.runtime.randomness);
    let key = suppression::hash_key(store, randomness).await.unwrap();
    let again = Entry { user: key.user("a"), cause: Cause::OptedOut, since: Timestamp(1) };
    let now = bench.desk.now();
    assert!(suppression::change(store, blobs, randomness, now, &[again], &[]).await.unwrap().is_none());
    let erased = Entry { cause: Cause::Erased, ..again };
    let change = suppression::change(store, blobs, randomness, now, &[erased], &[]).await.unwrap().unwrap();
    assert_eq!((change.version, change.came, change.changed), (2, 0, 1));
    store.write(vec![change.write]).await.unwrap();
    let list = suppression::list(store).await.unwrap().body;
    assert_eq!(list.by_cause, [1, 0, 1]);
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_keeps_no_other_behind() {
    let bench = Bench::new();
    let snapshot = freeze(&bench).await;
    // Whichever comes first by its digest.
    let gone = [Digest([0; 32]), Digest([255; 32])];
    for (number, snapshot) in (7..).zip(gone) {
        let wanted = Wanted { campaign: CampaignId(number), snapshot, at: bench.desk.now() };
        bench.backend().store.write(vec![fleet::put_wanted(&wanted)]).await.unwrap();
    }
    want(&bench, snapshot).await;
    change(&bench, &["u003"], &[]).await;
    suppress::catch_up(&bench.desk).await.unwrap();
    assert_eq!(applied(&bench, snapshot).await, Some((1, vec![3])));
    let others = suppression::applied(&*bench.backend().store, &gone).await.unwrap();
    assert!(others.iter().all(Option::is_none));
}
