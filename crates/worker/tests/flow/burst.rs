//! Launches in which nothing, or only the providers, goes wrong.

use std::time::Duration;

use backend::Queue;
use backend::rows::{fleet, launch};
use model::queued::ShardMessage;
use model::{Class, Digest, Launch, LaunchId, OnUnknown, Platform, Reason, Timestamp};
use provider_sim::config::Mode;
use report::{Live, Progress, Stages};

use crate::stage::{Play, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_goes_through_every_stage_and_every_device_is_accounted_for() {
    let stage = Stage::new(Play::default()).await;
    let dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.press().await;
    let finish = stage.finished(&launch).await;
    assert_eq!(finish.late_over_at, Some(finish.at));
    let account = stage.account(&launch).await;
    assert_eq!((account.accepted(), account.resent(), account.twice()), (4_500, 0, 0));
    assert_eq!(account.keys.len(), 4_500);
    assert!(launch::open(&*stage.backend.store).await.unwrap().is_empty());
    dispatcher.stop().await;
    worker.stop().await;
    for queue in Queue::ALL {
        assert_eq!(stage.backend.queues.depth(queue).await.unwrap(), 0, "{}", queue.name());
    }
    assert!(fleet::heartbeats(&*stage.backend.store).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_and_stages_add_up_to_the_records() {
    let stage = Stage::new(Play::default()).await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.press().await;
    stage.finished(&launch).await;
    worker.stop().await;
    let live = live(&stage, &launch).await;
    let account = stage.account(&launch).await;
    assert_eq!(live.total(), account.report.counts);
    assert_eq!(live.latencies().count(), 4_500);
    assert_eq!((live.shards_in_flight(), live.shards_recorded()), (0, u64::from(launch.shards)));
    let mut stages = Stages::default();
    for row in launch::stages(&*stage.backend.store, launch.id).await.unwrap() {
        stages.merge(&Stages::decode(&row).unwrap());
    }
    assert_eq!(stages.of(report::Stage::Enqueue).count(), u64::from(launch.slices));
    assert_eq!(stages.of(report::Stage::Record).count(), u64::from(launch.shards));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_not_of_the_plan_send_nothing_and_stop_nothing() {
    let stage = Stage::new(Play { apns_devices: 1_000, fcm_devices: 500, ..Play::default() }).await;
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.press().await;
    let plan = model::Plan::new(&stage.manifest, &launch.wave, &launch.sizes);
    let shard = plan.shards()[1];
    let good = ShardMessage {
        launch: launch.id,
        shard: shard.number,
        snapshot: launch.snapshot,
        platform: shard.platform,
        group: shard.group,
        start: shard.start,
        count: shard.count,
        not_after: launch.not_after,
        window_from: Timestamp(0),
        window_until: Timestamp(0),
        attempt: 0,
    };
    let lying = [
        ShardMessage { count: good.count + 1, ..good.clone() },
        ShardMessage { start: good.start + 1, ..good.clone() },
        ShardMessage { start: u32::MAX, count: u32::MAX, ..good.clone() },
        ShardMessage { group: u32::MAX, ..good.clone() },
        ShardMessage { group: good.group + 1, ..good.clone() },
        ShardMessage { shard: u32::MAX, ..good.clone() },
        ShardMessage { snapshot: Digest([9; 32]), ..good.clone() },
    ];
    let bodies = lying.iter().map(|message| serde_json::to_string(message).unwrap());
    let bodies = bodies.chain(["rubbish".to_owned(), "{\"l\":7}".to_owned()]);
    let outgoing: Vec<_> = bodies.map(backend::Outgoing::now).collect();
    let queue = Queue::Shards(shard.platform);
    stage.backend.queues.send(queue, outgoing).await.unwrap();
    stage.until("they are gone", async || stage.backend.queues.depth(queue).await.unwrap() == 0).await;
    let _dispatcher = stage.dispatcher("d1");
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    assert_eq!((account.accepted(), account.resent(), account.twice()), (1_500, 0, 0));
}

/// What all workers have counted of a launch.
async fn live(stage: &Stage, launch: &Launch) -> Live {
    let mut live = Live::default();
    for row in fleet::progress(&*stage.backend.store, launch.id).await.unwrap() {
        live.take(Progress::decode(&row).unwrap());
    }
    live
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_wait_for_answers_hide_nobody_else_from_the_progress() {
    let mut play = Play { answer_within: Duration::from_secs(4), ..Play::default() };
    // One in almost every shard, more shards than the pools have room for.
    play.apns.faults.silent = 0.01;
    play.fcm.faults.silent = 0.02;
    play.connections = [1, 1];
    play.policy.on_unknown = OnUnknown::Leave;
    let stage = Stage::new(play).await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.press().await;
    // Nobody has been given up yet, and all who are answered are counted.
    stage
        .until("everybody else is counted", async || {
            let total = live(&stage, &launch).await.total();
            total.unknown == 0 && launch.devices - total.accepted < launch.devices / 20
        })
        .await;
    stage.finished(&launch).await;
    worker.stop().await;
    let account = stage.account(&launch).await;
    let live = live(&stage, &launch).await;
    assert_eq!(live.total(), account.report.counts, "nobody is counted twice");
    assert_eq!(live.latencies().count(), account.report.counts.accepted);
    assert!(account.report.counts.unknown > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_dispatchers_and_two_workers_send_once() {
    let stage = Stage::new(Play::default()).await;
    let roles = [stage.dispatcher("d1"), stage.dispatcher("d2"), stage.worker("w1"), stage.worker("w2")];
    stage.ready(&roles[2]).await;
    stage.ready(&roles[3]).await;
    let launch = stage.press().await;
    // A second press of the same slices, as a crash between writing and acknowledging would bring it.
    stage.trigger(&launch).await;
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    assert_eq!((account.accepted(), account.resent(), account.twice()), (4_500, 0, 0));
    for role in roles {
        role.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_that_nobody_sent_are_swept_up() {
    let stage = Stage::new(Play { apns_devices: 400, fcm_devices: 0, ..Play::default() }).await;
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.launch(LaunchId(5));
    stage.backend.store.transact(launch::create(&launch)).await.unwrap();
    let _dispatcher = stage.dispatcher("d1");
    stage.finished(&launch).await;
    assert_eq!(stage.account(&launch).await.accepted(), 400);
}

/// A population of which some keys are dead, all of it in the directory.
async fn with_dead_keys() -> Stage {
    let mut play = Play { apns_devices: 2_000, fcm_devices: 1_000, ..Play::default() };
    play.apns.faults.dead = 0.05;
    play.apns.faults.unregistered_within = Duration::from_secs(60);
    play.fcm.faults.dead = 0.05;
    let stage = Stage::new(play).await;
    let apns = (0..2_000).map(|number| crate::stage::device(Platform::Apns, number));
    let fcm = (0..1_000).map(|number| crate::stage::device(Platform::Fcm, number));
    stage.backend.directory.import(apns.chain(fcm).collect()).await.unwrap();
    stage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_keys_are_rejected_and_leave_the_directory() {
    let stage = with_dead_keys().await;
    let _dispatcher = stage.dispatcher("d1");
    let config = worker::Config { prune_after: Duration::ZERO, ..worker::Config::new("w1", "test") };
    let worker = stage.worker_with(config);
    stage.ready(&worker).await;
    let launch = stage.press().await;
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    let dead = account.class(Class::Rejected);
    assert!((50..300).contains(&dead), "{dead}");
    assert_eq!(account.reason(Reason::Unregistered) + account.reason(Reason::FcmUnregistered), dead as usize);
    let is_pruned = async || stage.backend.directory.count().await.unwrap().1 == 3_000 - dead;
    stage.until("dead keys are pruned", is_pruned).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stops_takes_dead_keys_out_first() {
    let stage = with_dead_keys().await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.press().await;
    // The last answers, not the end of the launch, after which the worker would do it by itself.
    stage
        .until("all is sent", async || {
            Platform::ALL.iter().map(|&platform| stage.received(platform)).sum::<u64>() == 3_000
        })
        .await;
    worker.stop().await;
    stage.finished(&launch).await;
    let dead = stage.account(&launch).await.class(Class::Rejected);
    assert_eq!(stage.backend.directory.count().await.unwrap().1, 3_000 - dead);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_were_not_processed_are_counted_and_mark_nobody() {
    let mut play = Play::default();
    for config in [&mut play.apns, &mut play.fcm] {
        config.faults.refused = 0.02;
    }
    let stage = Stage::new(play).await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let launch = stage.press().await;
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    assert_eq!((account.accepted(), account.resent(), account.twice()), (4_500, 0, 0));
    let records = stage.records(&launch).await;
    assert!(records.iter().all(|record| record.repeated().is_some()), "I3 is judged of every shard");
    assert!(account.report.repeated > 0);
    assert_eq!(account.report.requests - account.report.repeated, 4_500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_that_cannot_be_read_keeps_no_worker_from_the_others() {
    let stage = Stage::new(Play { apns_devices: 400, fcm_devices: 0, ..Play::default() }).await;
    let broken = Launch { snapshot: Digest::of(b"gone"), ..stage.launch(LaunchId(9)) };
    stage.backend.store.transact(launch::create(&broken)).await.unwrap();
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let _dispatcher = stage.dispatcher("d1");
    let launch = stage.press().await;
    stage.finished(&launch).await;
    assert_eq!(stage.account(&launch).await.accepted(), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_worker_takes_those_long_gone_off_the_list() {
    let stage = Stage::new(Play { apns_devices: 10, fcm_devices: 0, ..Play::default() }).await;
    let gone = |worker: &str, seconds| fleet::Heartbeat {
        worker: worker.into(),
        at: stage.now() - Duration::from_secs(seconds),
        started_at: stage.now(),
        version: "test".into(),
        snapshots: Vec::new(),
        late_list: Vec::new(),
        failed: Vec::new(),
        pools: Vec::new(),
        snapshot_bytes: 1,
        resident_bytes: 1,
        clock_error_us: 0,
    };
    let writes = [gone("lately", 60), gone("long", 4_000)];
    stage.backend.store.write(writes.iter().map(fleet::put_heartbeat).collect()).await.unwrap();
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let listed = fleet::heartbeats(&*stage.backend.store).await.unwrap();
    assert_eq!(listed.iter().map(|one| &*one.worker).collect::<Vec<_>>(), ["lately", "w1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_topics_and_two_projects_go_in_one_launch_each_through_its_own_connections() {
    const APPS: [&str; 2] = ["org.example.one", "org.example.two"];
    let mut play = Play { apps: &APPS, ..Play::default() };
    for config in [&mut play.apns, &mut play.fcm] {
        config.mode = Mode::Validating;
        let apps = APPS.map(str::to_owned).to_vec();
        (config.checks.topics, config.checks.projects) = match config.provider {
            Platform::Apns => (apps, Vec::new()),
            Platform::Fcm => (Vec::new(), apps),
        };
    }
    let stage = Stage::new(play).await;
    let _dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    let heartbeat = worker.handle.heartbeat().unwrap();
    let pools: Vec<_> = heartbeat.pools.iter().map(|pool| (pool.platform, pool.app.as_str())).collect();
    let wanted = Platform::ALL.map(|platform| [(platform, "org.example.one"), (platform, "org.example.two")]);
    assert_eq!(pools, wanted.concat());
    let launch = stage.press().await;
    stage.finished(&launch).await;
    let account = stage.account(&launch).await;
    assert_eq!((account.accepted(), account.resent(), account.keys.len()), (4_500, 0, 4_500));
    let devices = stage.manifest.groups.iter().filter(|group| group.app == "org.example.two");
    assert_eq!(devices.map(|group| group.devices).sum::<u32>(), 2_250);
    for simulator in &stage.simulators {
        let found = simulator.report().unwrap().faults_found;
        assert!(found.is_empty(), "one topic for each connection, and each its own: {found:?}");
    }
}
