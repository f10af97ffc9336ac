//! Roles that die midway, calls that fail: the launch finishes, and whoever may have received twice is marked.

use std::time::Duration;

use backend::fault::{self, Shares};
use model::{Class, OnUnknown, Platform, Policy, Reason};

use crate::stage::{Play, Stage};

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
async fn whatever_the_backend_does_nobody_is_lost_and_nobody_gets_two_unmarked() {
    let seed = std::env::var("FANFARE_SEED").map_or(11, |seed| seed.parse().unwrap());
    println!("FANFARE_SEED={seed}");
    let stage = Stage::new(Play { seed, ..Play::default() }).await;
    let clock = std::sync::Arc::clone(&stage.runtime.clock);
    let (backend, faults) = fault::wrap(stage.backend.clone(), clock, seed);
    let config = dispatcher::Config { fcm_quota: None, ..dispatcher::Config::new("d1") };
    let _roles = [
        stage.dispatcher_on(backend.clone(), dispatcher::Config { name: "d2".into(), ..config.clone() }),
        stage.dispatcher_on(backend.clone(), config),
    ];
    let workers =
        ["w1", "w2"].map(|name| stage.worker_on(backend.clone(), worker::Config::new(name, "test")));
    stage.ready(&workers[0]).await;
    stage.ready(&workers[1]).await;
    faults.set_all(Shares {
        transient: 0.05,
        request_lost: 0.03,
        answer_lost: 0.05,
        partial: 0.05,
        broken: 0.01,
        delay: 0.1,
        delay_max: Duration::from_millis(30),
        duplicate: 0.1,
        reorder: 0.1,
    });
    let launch = stage.press().await;
    stage.finished(&launch).await;
    assert!(!faults.made().is_empty());
    let account = stage.account(&launch).await;
    assert_eq!(account.accepted(), 4_500);
}
