//! Roles that die midway, calls that fail: the launch finishes, and whoever may have received twice is marked.

use std::sync::Arc;
use std::time::Duration;

use backend::Backend;
use backend::fault::{self, Shares};
use model::{Class, OnUnknown, Platform, Policy, Reason};

use crate::stage::{Play, Role, Stage};

/// A launch that takes a second or two, so that there is a middle.
fn slow() -> Play {
    let mut play = Play { connections: [2, 2], ..Play::default() };
    for config in [&mut play.apns, &mut play.fcm] {
        config.latency.base = Duration::from_millis(60);
        config.limits.streams = 50;
    }
    play
}

async fn midway(stage: &Stage) {
    let is_midway = async || stage.received(Platform::Apns) > 700 && stage.received(Platform::Fcm) > 300;
    stage.until("launch is midway", is_midway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_workers_shards_are_taken_over_and_their_devices_marked() {
    let stage = Stage::new(slow()).await;
    let _dispatcher = stage.dispatcher("d1");
    let first = stage.worker("w1");
    stage.ready(&first).await;
    let launch = stage.press().await;
    midway(&stage).await;
    first.kill().await;
    let _second = stage.worker("w2");
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    assert_eq!(account.accepted(), 4_500);
    assert!(account.twice() > 0, "nothing was in flight");
    assert!(account.resent() < 4_500, "what was recorded before is not marked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_policy_to_leave_a_killed_workers_devices_are_unknown_and_nobody_gets_two() {
    let policy = Policy { on_unknown: OnUnknown::Leave, ..Policy::default() };
    let stage = Stage::new(Play { policy, ..slow() }).await;
    let _dispatcher = stage.dispatcher("d1");
    let first = stage.worker("w1");
    stage.ready(&first).await;
    let launch = stage.press().await;
    midway(&stage).await;
    first.kill().await;
    let _second = stage.worker("w2");
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    assert_eq!((account.twice(), account.resent()), (0, 0));
    assert!(account.reason(Reason::WorkerLost) > 0);
    assert_eq!(account.class(Class::Unknown) + account.accepted(), 4_500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_dispatchers_slices_are_planned_by_the_next() {
    let stage = Stage::new(slow()).await;
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let first = stage.dispatcher("d1");
    let launch = stage.press().await;
    stage.until("sending began", async || stage.received(Platform::Apns) > 0).await;
    first.kill().await;
    let _second = stage.dispatcher("d2");
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    assert_eq!((account.accepted(), account.resent(), account.twice()), (4_500, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_asked_to_stop_gives_back_what_it_has_not_sent() {
    let stage = Stage::new(slow()).await;
    let _dispatcher = stage.dispatcher("d1");
    let config = worker::Config { drain: Duration::ZERO, ..worker::Config::new("w1", "test") };
    let first = stage.worker_with(config);
    stage.ready(&first).await;
    let launch = stage.press().await;
    midway(&stage).await;
    first.stop().await;
    let _second = stage.worker("w2");
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    assert_eq!(account.accepted() + account.class(Class::Unknown), 4_500);
    assert_eq!(account.report.shards_recorded, launch.shards);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_asked_to_stop_claims_nothing_more() {
    let stage = Stage::new(Play::default()).await;
    let _dispatcher = stage.dispatcher("d1");
    let first = stage.worker("w1");
    stage.ready(&first).await;
    // Its calls for shards are still waiting when these come.
    first.shutdown.cancel();
    let launch = stage.press().await;
    first.stop().await;
    assert_eq!(stage.received(Platform::Apns) + stage.received(Platform::Fcm), 0);
    let _second = stage.worker("w2");
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    assert_eq!((account.accepted(), account.resent(), account.twice()), (4_500, 0, 0));
}

/// Made in every call of the backend, whoever makes it.
const FAULTS: Shares = Shares {
    transient: 0.05,
    request_lost: 0.03,
    answer_lost: 0.05,
    partial: 0.05,
    broken: 0.01,
    delay: 0.1,
    delay_max: Duration::from_millis(30),
    duplicate: 0.1,
    reorder: 0.1,
};

/// A stage whose backend will fail, with two dispatchers and two workers that are ready.
async fn failing(play: Play) -> (Stage, Backend, [Role; 4]) {
    println!("FANFARE_SEED={}", play.seed);
    let seed = play.seed;
    let stage = Stage::new(play).await;
    let (backend, faults) = fault::wrap(stage.backend.clone(), Arc::clone(&stage.runtime.clock), seed);
    let dispatcher = |name: &str| {
        let config = dispatcher::Config { fcm_quota: None, ..dispatcher::Config::new(name) };
        stage.dispatcher_on(backend.clone(), config)
    };
    let worker = |name: &str| stage.worker_on(backend.clone(), worker::Config::new(name, "test"));
    let roles = [dispatcher("d1"), dispatcher("d2"), worker("w1"), worker("w2")];
    stage.ready(&roles[2]).await;
    stage.ready(&roles[3]).await;
    faults.set_all(FAULTS);
    (stage, backend, roles)
}

fn seed() -> u64 {
    std::env::var("FANFARE_SEED").map_or(11, |seed| seed.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_backend_does_nobody_is_lost_and_nobody_gets_two_unmarked() {
    let (stage, _backend, _roles) = failing(Play { seed: seed(), ..Play::default() }).await;
    let launch = stage.press().await;
    stage.finished(&launch).await;
    assert_eq!(stage.account(&launch).await.accepted(), 4_500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_while_the_backend_and_the_providers_fail_the_accounts_agree() {
    let mut play = Play { seed: seed(), ..slow() };
    for config in [&mut play.apns, &mut play.fcm] {
        config.faults.dead = 0.02;
        config.faults.refused = 0.01;
        config.faults.dropped_after = 0.002;
        config.faults.dropped_before = 0.002;
    }
    let (stage, backend, [d1, _d2, w1, _w2]) = failing(play).await;
    let launch = stage.press().await;
    midway(&stage).await;
    d1.kill().await;
    w1.kill().await;
    let _w3 = stage.worker_on(backend, worker::Config::new("w3", "test"));
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    assert!(account.accepted() > 4_000, "{:?}", account.report.counts);
}
