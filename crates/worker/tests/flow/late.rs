//! Late retries: apart from the burst, within the launch's time, each device marked.

use std::time::Duration;

use backend::rows::project;
use model::{Class, Platform, Policy, Reason};
use provider_sim::config::Shares;

use crate::stage::{APP, Play, Stage};

fn unavailable() -> Play {
    let mut play = Play { apns_devices: 1_000, fcm_devices: 1_000, ..Play::default() };
    play.apns.faults.shares = Shares([(Reason::ServiceUnavailable, 0.05)].into());
    play.fcm.faults.shares = Shares([(Reason::Unavailable, 0.05)].into());
    play
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_unavailable_is_tried_again_later_and_reported_apart() {
    let policy = Policy { late_retries_max: 2, time_to_live_s: 86_400, ..Policy::default() };
    let stage = Stage::new(Play { policy, ..unavailable() }).await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.press().await;
    let finish = stage.finished(&launch).await;
    assert_eq!(finish.late_over_at, None);
    let burst = stage.account(&launch).await;
    let rejected = burst.class(Class::Rejected);
    assert!((50..200).contains(&rejected), "{rejected}");
    let mut looks = 0;
    let is_over = async || {
        // A minute for each few looks: what is being sent has its time too. Ten hours are enough for two retries, and far
        // from the time to live however slow the machine is.
        looks += 1;
        if looks % 10 == 0 && looks <= 6_000 {
            stage.clock.skip(Duration::from_secs(60));
        }
        stage.finish(&launch).await.is_some_and(|finish| finish.late_over_at.is_some())
    };
    stage.until("late retries are over", is_over).await;
    let account = stage.account(&launch).await;
    let late = account.report.late.clone().unwrap();
    assert!(late.attempts >= rejected);
    assert_eq!(account.report.burst.rejected, rejected);
    assert_eq!(account.accepted() + account.class(Class::Rejected) + account.class(Class::Unknown), 2_000);
    assert!(account.accepted() > burst.accepted());
    assert!(account.resent() >= rejected);
    let project = project::get(&*stage.backend.store, Platform::Fcm, APP).await.unwrap().unwrap().body;
    assert_eq!(project.quota_per_minute, None);
    assert!(!project.reservations.is_empty(), "retries count against the quota that nobody declared");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_late_retry_comes_after_the_launchs_time() {
    let policy = Policy { time_to_live_s: 9, ..Policy::default() };
    let stage = Stage::new(Play { policy, ..unavailable() }).await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.press().await;
    let finish = stage.finished(&launch).await;
    assert_eq!(finish.late_over_at, Some(finish.at));
    let account = stage.account(&launch).await;
    assert!(account.class(Class::Rejected) > 0);
    assert!(account.report.late.is_none());
}
