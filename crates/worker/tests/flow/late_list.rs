//! People on the late list get nothing, and are accounted for.

use std::time::Duration;

use backend::Expect;
use backend::rows::suppression::{self, Applied, Bits};
use model::suppression::UserBits;
use model::{Class, Digest, Launch, LaunchId, Platform, Policy, Reason};
use provider_sim::config::Shares;
use report::{Live, Progress};

use crate::stage::{Play, Stage, device};

/// Says, as a resolver does, that the users with these numbers are on version `version` of the list.
async fn suppress(stage: &Stage, version: u64, numbers: &[u32]) {
    let (digest, store, blobs) = (stage.manifest.digest, &*stage.backend.store, &*stage.backend.blobs);
    let mut ids: Vec<String> = (0..stage.manifest.users).map(|number| format!("user-{number}")).collect();
    ids.sort();
    let mut bits = UserBits::new(stage.manifest.users);
    for number in numbers {
        bits.set(ids.binary_search(&format!("user-{number}")).unwrap() as u64);
    }
    let (bytes, blob) = (bits.to_bytes(), format!("suppressed/{digest}/{version}"));
    let stored = Bits { digest: Digest::of(&bytes), blob, of: bits.users() };
    blobs.put(&stored.blob, bytes).await.unwrap();
    let applied = Applied { snapshot: digest, version, users: bits.count(), bits: Some(stored) };
    store.write(vec![suppression::put_applied(&applied, Expect::Anything)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_on_the_late_list_get_nothing_and_are_accounted_for() {
    let stage = Stage::new(Play::default()).await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    // Users 0 to 749 have two devices of each provider, those up to 1,499 two of APNs.
    suppress(&stage, 3, &[0, 1, 7, 700, 1_400]).await;
    let digest = stage.manifest.digest;
    let is_ready = async || worker.handle.is_ready(digest, 3, stage.now());
    stage.until("worker has taken the list in", is_ready).await;
    assert!(!worker.handle.is_ready(digest, 4, stage.now()));

    let launch = stage.press().await;
    stage.finished(&launch).await;
    worker.stop().await;
    let account = stage.account(&launch).await;
    let suppressed = 4 * 4 + 2;
    assert_eq!((account.class(Class::Suppressed), account.accepted()), (suppressed, 4_500 - suppressed));
    assert_eq!((account.keys.len() as u64, account.resent()), (4_500 - suppressed, 0));
    let fingerprint = |platform, number| {
        provider_sim::Fingerprint::of_key(platform, &device(platform, number).key).unwrap()
    };
    for (platform, number) in [(Platform::Apns, 0), (Platform::Fcm, 15), (Platform::Apns, 2_801)] {
        assert_eq!(account.outcomes[&fingerprint(platform, number)].class(), Class::Suppressed);
    }
    let mut live = Live::default();
    for row in backend::rows::fleet::progress(&*stage.backend.store, launch.id).await.unwrap() {
        live.take(Progress::decode(&row).unwrap());
    }
    assert_eq!(live.total(), account.report.counts, "they are counted while it runs, too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_behind_the_list_sends_nothing_until_it_has_caught_up() {
    let stage = Stage::new(Play::default()).await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = Launch { late_list: 2, ..stage.launch(LaunchId(9)) };
    stage.backend.store.transact(backend::rows::launch::create(&launch)).await.unwrap();
    stage.trigger(&launch).await;
    let queue = backend::Queue::Shards(Platform::Apns);
    stage.until("shards wait", async || stage.backend.queues.depth(queue).await.unwrap() > 0).await;
    stage.settled(Platform::Apns, 0).await;

    let everybody: Vec<u32> = (0..stage.manifest.users as u32).collect();
    suppress(&stage, 2, &everybody[1..]).await;
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    assert_eq!((account.accepted(), account.class(Class::Suppressed)), (4, 4_496));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transient_answer_of_somebody_who_came_onto_the_list_stays_what_it_was() {
    let policy = Policy { late_retries_max: 1, time_to_live_s: 86_400, ..Policy::default() };
    let mut play = Play { policy, apns_devices: 1_000, fcm_devices: 1_000, ..Play::default() };
    play.fcm.faults.shares = Shares([(Reason::Unavailable, 0.2)].into());
    let stage = Stage::new(play).await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.press().await;
    stage.finished(&launch).await;
    let sent = stage.received(Platform::Fcm);
    let everybody: Vec<u32> = (0..stage.manifest.users as u32).collect();
    suppress(&stage, 1, &everybody).await;
    let digest = stage.manifest.digest;
    let has_taken_in = async || worker.handle.heartbeat().is_some_and(|beat| beat.late_list_of(digest) == 1);
    stage.until("worker has taken the list in", has_taken_in).await;
    let mut looks = 0;
    let is_over = async || {
        looks += 1;
        if looks % 10 == 0 && looks <= 6_000 {
            stage.clock.skip(Duration::from_secs(60));
        }
        stage.finish(&launch).await.is_some_and(|finish| finish.late_over_at.is_some())
    };
    stage.until("late retries are over", is_over).await;
    let account = stage.account(&launch).await;
    assert_eq!(account.class(Class::Suppressed), 0, "they had their answer before");
    assert_eq!(account.class(Class::Rejected) + account.accepted(), 2_000);
    assert!(account.class(Class::Rejected) > 0 && stage.received(Platform::Fcm) == sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_cannot_be_taken_in_takes_the_worker_away_from_no_other_snapshot() {
    let stage = Stage::new(Play::default()).await;
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let digest = stage.manifest.digest;
    suppress(&stage, 1, &[1]).await;
    stage.backend.blobs.delete(&format!("suppressed/{digest}/1")).await.unwrap();
    let before = worker.handle.heartbeat().unwrap().at;
    let beats_on =
        async || worker.handle.heartbeat().is_some_and(|beat| beat.at > before + Duration::from_secs(2));
    stage.until("heartbeats go on", beats_on).await;
    assert!(worker.handle.is_ready(digest, 0, stage.now()), "it can send what wants no list");
    suppress(&stage, 2, &[1]).await;
    stage.until("it catches up", async || worker.handle.is_ready(digest, 2, stage.now())).await;
}
