//! Quotas: windows are reserved once for a launch, whoever plans it and however often.

use std::collections::BTreeMap;
use std::time::Duration;

use backend::Queue;
use backend::rows::project::{self, Project, QUOTA_WINDOW};
use backend::store::Expect;
use model::{Platform, Timestamp};

use crate::stage::{APP, Stage, config};

async fn declare(stage: &Stage, quota_per_minute: u64) {
    let mut project = Project::new(Platform::Fcm, APP);
    project.quota_per_minute = Some(quota_per_minute);
    stage.backend.store.write(vec![project::put(&project, Expect::Anything)]).await.unwrap();
}

async fn reserved(stage: &Stage) -> Vec<u64> {
    let project = project::get(&*stage.backend.store, Platform::Fcm, APP).await.unwrap().unwrap();
    project.body.reservations.iter().map(|window| window.messages).collect()
}

#[tokio::test]
async fn what_exceeds_the_quota_is_delayed_to_its_window() {
    let stage = Stage::new().await;
    declare(&stage, 40).await;
    stage.launch().await;
    stage.dispatcher(config("d1"));
    stage.pass(Duration::from_secs(2)).await;
    assert_eq!(reserved(&stage).await, [40, 40, 20]);
    assert_eq!(stage.receive(Queue::Shards(Platform::Apns)).await.len(), 10, "another project does not wait");
    let first = stage.lose(Queue::Shards(Platform::Fcm)).await;
    assert_eq!(first.len(), 4);
    let from = first[0].window_from;
    assert!(first.iter().all(|message| message.window_until == from + QUOTA_WINDOW));
    assert!(stage.receive(Queue::Delayed(Platform::Fcm)).await.is_empty());
    stage.pass(QUOTA_WINDOW).await;
    let second = stage.lose(Queue::Delayed(Platform::Fcm)).await;
    assert_eq!(second.len(), 4);
    assert!(second.iter().all(|message| message.window_from == from + QUOTA_WINDOW));
}

#[tokio::test]
async fn two_dispatchers_reserve_once_and_agree() {
    let stage = Stage::new().await;
    declare(&stage, 40).await;
    stage.launch().await;
    stage.dispatcher(config("d1"));
    stage.dispatcher(config("d2"));
    stage.pass(Duration::from_secs(2)).await;
    assert_eq!(reserved(&stage).await, [40, 40, 20]);
    // The messages of a later window may come again, as nobody claims those of an earlier one.
    let mut windows: BTreeMap<u32, Timestamp> = BTreeMap::new();
    for _ in 0..3 {
        for queue in [Queue::Shards(Platform::Fcm), Queue::Delayed(Platform::Fcm)] {
            let messages = stage.lose(queue).await;
            windows.extend(messages.iter().map(|message| (message.shard, message.window_from)));
        }
        stage.pass(QUOTA_WINDOW).await;
    }
    let mut shards: BTreeMap<Timestamp, u32> = BTreeMap::new();
    windows.into_values().for_each(|from| *shards.entry(from).or_default() += 1);
    assert_eq!(shards.into_values().collect::<Vec<_>>(), [4, 4, 2]);
}

#[tokio::test]
async fn a_project_of_which_nobody_declared_a_quota_has_the_providers_default() {
    let stage = Stage::new().await;
    stage.launch().await;
    stage.dispatcher(dispatcher::Config { fcm_quota: Some(50), ..config("d1") });
    stage.pass(Duration::from_secs(2)).await;
    assert_eq!(reserved(&stage).await, [50, 50]);
    let project = project::get(&*stage.backend.store, Platform::Fcm, APP).await.unwrap().unwrap();
    assert_eq!(project.body.quota_per_minute, None, "a default is no declaration");
}
