//! Shards that nobody will send, and the end of a launch.

use std::time::Duration;

use backend::queues::{LEASE, RECEIVES_MAX};
use backend::rows::shard::{self, Claim, ShardName, ShardRow};
use backend::rows::{audience, audit};
use backend::store::Expect;
use backend::{Outgoing, Queue};
use model::audience::{AudienceState, UploadRows};
use model::queued::Resolve;
use model::{Audience, AudienceId, Class, Outcome, Platform, Policy, Reason};

use crate::stage::{Stage, config};

const NOT_SENT: Outcome = Outcome::new(Class::NotSent, Reason::Aborted);

#[tokio::test]
async fn an_aborted_launch_is_closed_in_bulk_and_over() {
    let stage = Stage::new().await;
    let launch = stage.launch().await;
    stage.dispatcher(config("d1"));
    stage.dispatcher(config("d2"));
    stage.pass(Duration::from_secs(2)).await;
    stage.abort(&launch).await;
    stage.pass(Duration::from_millis(300)).await;
    assert!(stage.finish(&launch).await.is_none(), "permissions may still be good");
    stage.pass(Duration::from_secs(1)).await;
    assert!(stage.finish(&launch).await.unwrap().late_over_at.is_some());
    assert_eq!(stage.outcomes(&launch).await, vec![NOT_SENT; 200]);
    let (entries, _) = audit::list(&*stage.backend.store, 0, 100).await.unwrap();
    let finished = entries.iter().filter(|entry| entry.event.action == "launch.finished");
    assert_eq!(finished.count(), 1);
    audit::verify(&entries).unwrap();
}

#[tokio::test]
async fn past_its_time_a_launch_is_expired() {
    let mut stage = Stage::new().await;
    stage.policy = Policy { time_to_live_s: 20, ..Policy::default() };
    let launch = stage.launch().await;
    stage.dispatcher(config("d1"));
    stage.pass(Duration::from_secs(19)).await;
    assert!(stage.finish(&launch).await.is_none());
    stage.pass(Duration::from_secs(3)).await;
    assert!(stage.finish(&launch).await.is_some());
    let expired = Outcome::new(Class::Expired, Reason::None);
    assert_eq!(stage.outcomes(&launch).await, vec![expired; 200]);
}

/// A claim by a worker that is gone.
fn lost(stage: &Stage, attempts: u32) -> ShardRow {
    let claim =
        Claim { owner: 9, epoch: attempts, attempts, lease_until: stage.now() + LEASE, is_started: true };
    ShardRow { claim, record: None, is_open: false }
}

#[tokio::test]
async fn what_a_lost_worker_may_have_sent_is_unknown_after_an_abort() {
    let stage = Stage::new().await;
    let launch = stage.launch().await;
    let name = ShardName { launch: launch.id, slice: 3, shard: 7, attempt: 0 };
    let write = shard::put(&name, &lost(&stage, 1), Expect::Absent);
    stage.backend.store.write(vec![write]).await.unwrap();
    stage.abort(&launch).await;
    stage.dispatcher(config("d1"));
    stage.pass(LEASE - Duration::from_secs(1)).await;
    assert!(stage.finish(&launch).await.is_none(), "its lease is good");
    stage.pass(Duration::from_secs(4)).await;
    assert!(stage.finish(&launch).await.is_some());
    let outcomes = stage.outcomes(&launch).await;
    let count = |wanted: Outcome| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!(count(Outcome::new(Class::Unknown, Reason::WorkerLost)), 10);
    assert_eq!(count(NOT_SENT), 190);
}

#[tokio::test]
async fn after_too_many_attempts_a_shard_is_closed_and_marked() {
    let stage = Stage::new().await;
    let launch = stage.launch().await;
    stage.dispatcher(config("d1"));
    let name = ShardName { launch: launch.id, slice: 3, shard: 7, attempt: 0 };
    let write = shard::put(&name, &lost(&stage, 5), Expect::Absent);
    stage.backend.store.write(vec![write]).await.unwrap();
    stage.pass(LEASE + Duration::from_secs(4)).await;
    let row = shard::get(&*stage.backend.store, &[name]).await.unwrap().remove(0).unwrap().row;
    assert!(row.is_recorded());
    let unknown = Outcome::new(Class::Unknown, Reason::AttemptsExhausted).resent();
    let outcomes: Vec<Outcome> = row.read_record().unwrap().unwrap().outcomes().1.iter().collect();
    assert_eq!(outcomes, vec![unknown; 10]);
}

#[tokio::test]
async fn a_shard_that_was_received_too_often_is_closed() {
    let stage = Stage::new().await;
    let launch = stage.launch().await;
    stage.dispatcher(config("d1"));
    stage.pass(Duration::from_secs(2)).await;
    // Whoever receives them dies, and nobody ever claims.
    for _ in 0..=RECEIVES_MAX {
        for queue in [Queue::Shards(Platform::Apns), Queue::Shards(Platform::Fcm)] {
            stage.receive(queue).await;
        }
        stage.pass(LEASE + Duration::from_secs(1)).await;
    }
    assert!(stage.finish(&launch).await.is_some());
    let exhausted = Outcome::new(Class::NotSent, Reason::AttemptsExhausted);
    assert_eq!(stage.outcomes(&launch).await, vec![exhausted; 200]);
    assert_eq!(stage.backend.queues.depth(Queue::Shards(Platform::Fcm).dead().unwrap()).await.unwrap(), 0);
}

#[tokio::test]
async fn an_audience_that_no_resolver_gets_through_has_failed() {
    let stage = Stage::new().await;
    let id = AudienceId(4);
    let audience = Audience {
        id,
        name: "a".into(),
        rows: Some(UploadRows::Users),
        upload: None,
        state: AudienceState::Uploaded,
        report: None,
        created_at: stage.now(),
    };
    stage.backend.store.write(vec![audience::put(&audience, Expect::Absent)]).await.unwrap();
    let body = serde_json::to_string(&Resolve { audience: id }).unwrap();
    let rubbish = Outgoing::now("rubbish".into());
    let dead = Queue::Resolve.dead().unwrap();
    stage.backend.queues.send(dead, vec![Outgoing::now(body), rubbish]).await.unwrap();
    stage.dispatcher(config("d1"));
    stage.pass(Duration::from_secs(2)).await;
    let audience = audience::get(&*stage.backend.store, id).await.unwrap().unwrap().body;
    assert!(matches!(audience.state, AudienceState::Failed { .. }));
    assert_eq!(stage.backend.queues.depth(dead).await.unwrap(), 0);
}
