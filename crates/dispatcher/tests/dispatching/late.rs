//! Late retries whose messages are lost, or whose dispatcher is.

use std::time::Duration;

use backend::Queue;
use backend::queues::LEASE;
use backend::rows::shard::{self, Claim, ShardName, ShardRow};
use backend::store::Expect;
use dispatcher::LateDelays;
use model::queued::ShardMessage;
use model::{Class, Launch, Outcome, OutcomeRuns, Platform, Policy, Reason, Timestamp};
use report::{Part, Positions, ShardRecord};
use tokio_util::sync::CancellationToken;

use crate::stage::{Stage, config};

const TRANSIENT: Outcome = Outcome::new(Class::Rejected, Reason::TooManyRequests);

/// Records a shard as a worker would.
async fn record(stage: &Stage, launch: &Launch, shard: u32, attempt: u8, outcome: Outcome) {
    let part = Part {
        positions: Positions::all(10),
        outcomes: OutcomeRuns::uniform(outcome, 10),
        requests: 10,
        last_answer_us: Some(stage.now().since(launch.pressed_at).as_micros() as u64),
        ..Part::default()
    };
    let record = ShardRecord::new(launch.id, shard, attempt, 10, 1, part).unwrap();
    let lease_until = Timestamp(0);
    let claim = Claim { owner: 9, epoch: 1, attempts: 1, lease_until, is_started: true };
    let row = ShardRow { claim, record: Some(record.encode()), is_open: false };
    let slice = (shard % u32::from(launch.slices)) as u16;
    let name = ShardName { launch: launch.id, slice, shard, attempt };
    let write = shard::put(&name, &row, Expect::Absent);
    stage.backend.store.write(vec![write]).await.unwrap();
}

#[tokio::test]
async fn a_lost_message_is_missed_however_busy_the_other_retries_are() {
    let mut stage = Stage::new().await;
    stage.policy = Policy { late_retries_max: 20, ..Policy::default() };
    let launch = stage.launch().await;
    let (lost, busy) = (0, 1);
    for shard in 0..20 {
        let outcome = if shard == lost || shard == busy { TRANSIENT } else { Outcome::ACCEPTED };
        record(&stage, &launch, shard, 0, outcome).await;
    }
    let patience = Duration::from_secs(20);
    let late = LateDelays { other: Duration::from_secs(1), ..LateDelays::default() };
    stage.dispatcher(dispatcher::Config { patience, patience_queued: patience, late, ..config("d1") });
    let (mut of_lost, mut of_busy) = (Vec::new(), 0);
    for half_second in 0..60 {
        stage.pass(Duration::from_millis(500)).await;
        let messages: Vec<ShardMessage> = stage.lose(Queue::Delayed(Platform::Apns)).await;
        for message in messages {
            if message.shard == lost {
                of_lost.push(half_second);
            } else {
                of_busy += 1;
                record(&stage, &launch, message.shard, message.attempt, TRANSIENT).await;
            }
        }
    }
    // Attempts of the other shard come after 1, 3, 7 and 15 seconds and half as much again by chance.
    assert!(of_busy >= 4, "{of_busy}");
    assert_eq!(of_lost.len(), 2, "{of_lost:?}");
    assert!((of_lost[1] - of_lost[0]) <= 2 * 22, "{of_lost:?}");
}

#[tokio::test]
async fn a_dispatcher_that_starts_again_forgets_no_attempt() {
    let mut stage = Stage::new().await;
    stage.policy = Policy { time_to_live_s: 120, ..Policy::default() };
    let launch = stage.launch().await;
    for shard in 0..20 {
        record(&stage, &launch, shard, 0, if shard == 0 { TRANSIENT } else { Outcome::ACCEPTED }).await;
    }
    let late = LateDelays { other: Duration::from_secs(20), ..LateDelays::default() };
    let config = |name| dispatcher::Config { late, ..config(name) };
    stage.dispatcher(config("d1"));
    stage.pass(Duration::from_secs(32)).await;
    let attempts = |messages: Vec<ShardMessage>| messages.iter().map(|one| one.attempt).collect::<Vec<_>>();
    assert_eq!(attempts(stage.lose(Queue::Delayed(Platform::Apns)).await), [1]);
    record(&stage, &launch, 0, 1, TRANSIENT).await;
    stage.shutdown.cancel();
    stage.pass(Duration::from_secs(63)).await;
    // The second attempt was due after 40 to 60 seconds; counted from now it would come after the launch's time.
    stage.shutdown = CancellationToken::new();
    stage.dispatcher(config("d2"));
    stage.pass(Duration::from_secs(5)).await;
    assert_eq!(attempts(stage.lose(Queue::Delayed(Platform::Apns)).await), [2]);
}

#[tokio::test]
async fn what_a_shard_that_is_closed_had_recorded_is_tried_again_later() {
    let stage = Stage::new().await;
    let launch = stage.launch().await;
    for shard in 1..20 {
        record(&stage, &launch, shard, 0, Outcome::ACCEPTED).await;
    }
    // A first worker recorded four devices and gave the rest back; four others were lost with it.
    let open = Outcome::new(Class::NotSent, Reason::None);
    let outcomes = [&[TRANSIENT; 4][..], &[open; 6]].concat();
    let part = Part {
        positions: Positions::all(10),
        outcomes: OutcomeRuns::encode(outcomes),
        requests: 4,
        last_answer_us: Some(1),
        ..Part::default()
    };
    let record = ShardRecord::new(launch.id, 0, 0, 10, 1, part).unwrap();
    let claim = Claim { owner: 9, epoch: 5, attempts: 5, lease_until: stage.now() + LEASE, is_started: true };
    let row = ShardRow { claim, record: Some(record.encode()), is_open: true };
    let name = ShardName { launch: launch.id, slice: 0, shard: 0, attempt: 0 };
    stage.backend.store.write(vec![shard::put(&name, &row, Expect::Absent)]).await.unwrap();
    let late = LateDelays { other: Duration::from_secs(1), ..LateDelays::default() };
    stage.dispatcher(dispatcher::Config { late, ..config("d1") });
    stage.pass(LEASE + Duration::from_secs(10)).await;
    assert!(stage.finish(&launch).await.unwrap().late_over_at.is_none(), "four devices are tried again");
    assert_eq!(stage.lose(Queue::Delayed(Platform::Apns)).await.len(), 1);
}
