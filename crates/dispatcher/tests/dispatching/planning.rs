//! From slices to shard messages.

use std::collections::BTreeSet;
use std::time::Duration;

use backend::Queue;
use backend::queues::LEASE;
use backend::rows::{audience, launch};
use backend::store::Expect;
use model::Platform;
use model::queued::{SHARD_BYTES_MAX, Trigger};

use crate::stage::{Stage, config};

const SHARDS: [Queue; 2] = [Queue::Shards(Platform::Apns), Queue::Shards(Platform::Fcm)];

#[tokio::test]
async fn slices_that_nobody_triggered_are_swept_up_and_become_every_shard_once() {
    let stage = Stage::new().await;
    let launch = stage.launch().await;
    stage.dispatcher(config("d1"));
    stage.pass(Duration::from_secs(2)).await;
    let mut numbers = BTreeSet::new();
    for queue in SHARDS {
        for delivery in stage.receive(queue).await {
            assert!(delivery.body.len() < SHARD_BYTES_MAX);
            let message: model::queued::ShardMessage = serde_json::from_str(&delivery.body).unwrap();
            assert_eq!((message.launch, message.count), (launch.id, 10));
            assert!(numbers.insert(message.shard), "shard {} twice", message.shard);
        }
    }
    assert_eq!(numbers.len(), 20);
    let slices = launch::slices(&*stage.backend.store, launch.id).await.unwrap();
    assert!(slices.iter().all(|slice| slice.body.planned_at.is_some()));
    assert_eq!(stage.backend.queues.depth(Queue::Triggers).await.unwrap(), 0);
}

#[tokio::test]
async fn a_message_that_was_lost_is_enqueued_again() {
    let stage = Stage::new().await;
    stage.launch().await;
    stage.dispatcher(config("d1"));
    stage.pass(Duration::from_secs(2)).await;
    for queue in SHARDS {
        assert_eq!(stage.lose(queue).await.len(), 10);
    }
    stage.pass(LEASE).await;
    assert!(stage.receive(SHARDS[0]).await.is_empty(), "too early: it may still be in flight");
    stage.pass(Duration::from_secs(5)).await;
    for queue in SHARDS {
        assert_eq!(stage.receive(queue).await.len(), 10);
    }
}

#[tokio::test]
async fn messages_that_wait_for_a_worker_are_not_doubled() {
    let stage = Stage::new().await;
    stage.launch().await;
    stage.dispatcher(config("d1"));
    stage.dispatcher(config("d2"));
    stage.pass(Duration::from_secs(30)).await;
    assert_eq!(stage.backend.queues.depth(SHARDS[0]).await.unwrap(), 10);
}

#[tokio::test]
async fn a_launch_that_cannot_be_planned_is_stopped_by_the_service() {
    let stage = Stage::new().await;
    stage.backend.blobs.delete(&audience::manifest_blob(stage.manifest.digest)).await.unwrap();
    let launch = stage.launch().await;
    stage.dispatcher(config("d1"));
    stage.pass(Duration::from_secs(2)).await;
    let stop = stage.control(&launch).await.aborted.unwrap();
    assert_eq!(stop.by, "service");
    assert!(stop.why.contains("has no manifest"), "{}", stop.why);
}

#[tokio::test]
async fn a_slice_whose_trigger_was_swallowed_is_planned_without_one() {
    let stage = Stage::new().await;
    let launch = stage.launch().await;
    let trigger = Trigger { launch: launch.id, slice: 2 };
    // Somebody said that it was triggered, and no queue holds it.
    let slice = launch::Slice { triggered_at: Some(stage.now()), planned_at: None };
    let write = launch::put_slice(&trigger, &slice, Expect::Anything);
    stage.backend.store.write(vec![write]).await.unwrap();
    stage.dispatcher(config("d1"));
    stage.pass(Duration::from_secs(40)).await;
    let slice = launch::slice(&*stage.backend.store, &trigger).await.unwrap().unwrap();
    assert!(slice.body.planned_at.is_some());
}
