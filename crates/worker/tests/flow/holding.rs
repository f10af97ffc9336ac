//! What holds a launch back: an abort, a pause, a quota.

use std::time::Duration;

use model::launch::Control;
use model::{Class, Platform, Policy, Reason};
use provider_sim::config::{Quota, Shares};

use crate::stage::{Play, Stage};

fn slow() -> Play {
    let mut play = Play { connections: [2, 2], ..Play::default() };
    for config in [&mut play.apns, &mut play.fcm] {
        config.latency.base = Duration::from_millis(60);
        config.limits.streams = 20;
    }
    play
}

async fn begun(stage: &Stage) {
    stage.until("sending began", async || stage.received(Platform::Apns) > 100).await;
}

fn requests(stage: &Stage) -> u64 {
    Platform::ALL.iter().map(|&platform| stage.received(platform)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_stops_within_a_quarter_second_and_says_what_had_left() {
    let stage = Stage::new(slow()).await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.press().await;
    begun(&stage).await;
    stage.control(&launch, |control, stop| control.aborted = Some(stop)).await;
    let acknowledged = requests(&stage);
    stage.runtime.clock.sleep(Duration::from_millis(250)).await;
    let left = requests(&stage);
    let finish = stage.finished(&launch).await;
    assert_eq!(finish.late_over_at, Some(finish.at));
    assert_eq!(requests(&stage), left, "requests started after the abort, {acknowledged} before it");
    let account = stage.account(&launch).await;
    assert_eq!((account.accepted(), account.resent()), (left, 0));
    assert_eq!(account.class(Class::NotSent), 4_500 - left);
    assert_eq!(account.reason(Reason::Aborted) as u64, 4_500 - left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_everything_back_and_resuming_sends_the_rest_once() {
    let stage = Stage::new(slow()).await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.press().await;
    begun(&stage).await;
    stage.control(&launch, |control, stop| control.paused = Some(stop)).await;
    stage.runtime.clock.sleep(Duration::from_millis(250)).await;
    let left = requests(&stage);
    stage.runtime.clock.sleep(Duration::from_millis(1_500)).await;
    assert_eq!(requests(&stage), left, "requests started during the pause");
    assert!(stage.finish(&launch).await.is_none());
    stage.control(&launch, |control: &mut Control, _| control.paused = None).await;
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    assert_eq!((account.accepted(), account.resent(), account.twice()), (4_500, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_quota_paces_its_project_and_nobody_else() {
    let stage = Stage::new(Play::default()).await;
    stage.declare(Some(600)).await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.press().await;
    stage.until("apns is through", async || stage.received(Platform::Apns) == 3_000).await;
    for minute in 1..=2 {
        stage.settled(Platform::Fcm, minute * 600).await;
        stage.clock.skip(Duration::from_secs(60));
    }
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    assert_eq!((account.accepted(), account.resent(), account.twice()), (4_500, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_says_429_pauses_its_project_for_the_whole_fleet() {
    let mut play = Play::default();
    play.fcm.faults.quota = Some(Quota::per_minute(500));
    let stage = Stage::new(play).await;
    let _dispatcher = stage.dispatcher("d1");
    let workers = [stage.worker("w1"), stage.worker("w2")];
    stage.ready(&workers[0]).await;
    stage.ready(&workers[1]).await;
    let launch = stage.press().await;
    stage.until("apns is through", async || stage.received(Platform::Apns) == 3_000).await;
    let is_paused = async || {
        let store = &*stage.backend.store;
        let row = backend::rows::project::get(store, Platform::Fcm, crate::stage::APP).await.unwrap();
        row.unwrap().body.paused_until > stage.now()
    };
    stage.until("project is paused", is_paused).await;
    stage.runtime.clock.sleep(Duration::from_millis(500)).await;
    let left = stage.received(Platform::Fcm);
    assert!(left < 1_500, "the pause came too late to show anything");
    stage.settled(Platform::Fcm, left).await;
    assert!(stage.finish(&launch).await.is_none(), "the rest waits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_all_devices_share_stops_the_launch() {
    let mut play = slow();
    play.apns.faults.shares = Shares([(Reason::BadTopic, 1.0)].into());
    let stage = Stage::new(play).await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.press().await;
    stage.finished(&launch).await;
    let control =
        backend::rows::launch::control(&*stage.backend.store, launch.id).await.unwrap().unwrap().body;
    let stop = control.aborted.unwrap();
    assert_eq!(stop.by, "service");
    assert!(stop.why.contains("BadTopic"), "{}", stop.why);
    let account = stage.account(&launch).await;
    assert!(account.class(Class::NotSent) > 3_000, "{:?}", account.report.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_its_time_nothing_more_leaves_and_the_rest_is_expired() {
    let policy = Policy { time_to_live_s: 1, ..Policy::default() };
    let stage = Stage::new(Play { policy, ..slow() }).await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.press().await;
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    assert!(account.class(Class::Expired) > 0, "{:?}", account.report.counts);
    assert_eq!(account.accepted() + account.class(Class::Expired), 4_500);
}
