//! The loop around the work: messages, shutdown, rubbish.

use backend::Outgoing;
use model::queued::{Resolve, TakeIn, ToResolver};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::role;

async fn ask(bench: &Bench, message: &ToResolver) {
    let body = serde_json::to_string(message).unwrap();
    bench.backend().queues.send(Queue::Resolve, vec![Outgoing::now(body)]).await.unwrap();
}

/// Runs a resolver, its clock moving on whenever nothing else does, until the queue is empty.
async fn run_until_idle(bench: &Bench) {
    let shutdown = CancellationToken::new();
    let (backend, runtime) = (bench.backend().clone(), bench.desk.runtime.clone());
    let running = role::run(backend, runtime, bench.desk.config.clone(), shutdown.clone());
    let watching = async {
        while bench.backend().queues.depth(Queue::Resolve).await.unwrap() > 0 {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
    };
    bench.moving_on(async { futures::join!(running, watching) }).await;
}

#[tokio::test]
async fn messages_are_worked_off_in_turn_and_deleted() {
    let bench = Bench::new();
    let upload = bench.blob("imports/1/1", csv(&[device("u1", 1)]).as_bytes()).await;
    let import = bench.import(1, upload).await;
    let upload = bench.blob("uploads/1/1", b"user\nu1\n").await;
    let audience = bench.audience(1, None, upload).await;
    ask(&bench, &ToResolver::TakeIn(TakeIn { import })).await;
    ask(&bench, &ToResolver::Resolve(Resolve { audience })).await;
    bench.backend().queues.send(Queue::Resolve, vec![Outgoing::now("rubbish".into())]).await.unwrap();
    run_until_idle(&bench).await;
    assert!(matches!(bench.read_import(import).await.body.state, ImportState::Done { .. }));
    assert!(bench.read(audience).await.snapshot().is_some());
    assert_eq!(bench.actions().await, ["devices.imported resolver", "audience.frozen resolver"]);
}

#[tokio::test]
async fn a_message_whose_blob_is_missing_comes_again_and_is_given_up_at_last() {
    let bench = Bench::with(Config { attempts_max: 2, ..Config::default() });
    let mut upload = bench.blob("uploads/1/1", b"user\nu1\n").await;
    upload.blob = "uploads/1/2".into();
    let audience = bench.audience(1, None, upload).await;
    ask(&bench, &ToResolver::Resolve(Resolve { audience })).await;
    let shutdown = CancellationToken::new();
    let (backend, runtime) = (bench.backend().clone(), bench.desk.runtime.clone());
    let running = role::run(backend, runtime, bench.desk.config.clone(), shutdown.clone());
    let watching = async {
        while !matches!(bench.read(audience).await.state, AudienceState::Failed { .. }) {
            bench.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
    };
    futures::join!(running, watching);
    let AudienceState::Failed { why } = bench.read(audience).await.state else { panic!("it failed") };
    assert_eq!(why, "it was begun 2 times; at last: blob uploads/1/2 is missing");
}

#[tokio::test]
async fn shutdown_gives_unfinished_work_back_at_once() {
    let bench = Bench::new();
    bench.know(&[device("u1", 1)]).await;
    let upload = bench.blob("uploads/1/1", b"user\nu1\n").await;
    let audience = bench.audience(1, None, upload).await;
    ask(&bench, &ToResolver::Resolve(Resolve { audience })).await;
    let shutdown = CancellationToken::new();
    let (backend, runtime) = (bench.backend().clone(), bench.desk.runtime.clone());
    let running = role::run(backend, runtime, bench.desk.config.clone(), shutdown.clone());
    let stopping = async {
        while bench.read(audience).await.state == AudienceState::Uploaded {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
    };
    futures::join!(running, stopping);
    let queues = &bench.backend().queues;
    let back = queues.receive(Queue::Resolve, 1, Duration::ZERO).await.unwrap();
    assert_eq!((back.len(), back[0].receives), (1, 1), "giving back is no attempt");
    queues.give_back(Queue::Resolve, vec![back[0].receipt.clone()], Duration::ZERO).await.unwrap();
    run_until_idle(&bench).await;
    assert!(bench.read(audience).await.snapshot().is_some());
}

#[tokio::test]
async fn what_was_stored_and_never_enqueued_is_found() {
    let bench = Bench::new();
    bench.know(&[device("u1", 1)]).await;
    let upload = bench.blob("uploads/1/1", b"user\nu1\n").await;
    let audience = bench.audience(1, None, upload).await;
    let upload = bench.blob("imports/1/1", csv(&[device("u1", 1)]).as_bytes()).await;
    let import = bench.import(1, upload).await;
    let shutdown = CancellationToken::new();
    let (backend, runtime) = (bench.backend().clone(), bench.desk.runtime.clone());
    let running = role::run(backend, runtime, bench.desk.config.clone(), shutdown.clone());
    let watching = async {
        while bench.read(audience).await.snapshot().is_none()
            || !bench.read_import(import).await.body.state.is_over()
        {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
    };
    bench.moving_on(async { futures::join!(running, watching) }).await;
}

#[tokio::test]
async fn what_was_begun_and_has_no_message_any_more_is_found() {
    let bench = Bench::new();
    bench.know(&[device("u1", 1)]).await;
    let upload = bench.blob("uploads/1/1", b"user\nu1\n").await;
    let audience = bench.audience(1, None, upload).await;
    let mut begun = bench.read(audience).await;
    begun.state = AudienceState::Resolving { rows: 0 };
    bench.backend().store.write(vec![rows::audience::put(&begun, Expect::Anything)]).await.unwrap();
    let mut outbox = crate::outbox::Outbox::default();
    assert_eq!(outbox.sweep(&bench.desk).await.unwrap(), 0);
    // Somebody is at it.
    begun.state = AudienceState::Resolving { rows: 1 };
    bench.backend().store.write(vec![rows::audience::put(&begun, Expect::Anything)]).await.unwrap();
    assert_eq!(outbox.sweep(&bench.desk).await.unwrap(), 0);
    assert_eq!(outbox.sweep(&bench.desk).await.unwrap(), 1);
    run_until_idle(&bench).await;
    assert!(bench.read(audience).await.snapshot().is_some());
    for _ in 0..3 {
        assert_eq!(outbox.sweep(&bench.desk).await.unwrap(), 0, "what is over is not enqueued");
    }
}

#[tokio::test]
async fn what_killed_resolvers_left_is_swept_and_what_others_are_at_is_not() {
    let bench = Bench::new();
    let staging = bench.backend().blobs.staging().to_owned();
    let left = ["work-0123", "work-4567"].map(|name| staging.join(name));
    for folder in &left {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join(".unfinished-1.users"), "u1").unwrap();
    }
    // One was killed while it removed its folder, lock first.
    std::fs::write(left[0].join("lock"), "").unwrap();
    let held = bench.desk.work_folder().unwrap();
    bench.desk.sweep();
    assert!(!left.iter().any(|folder| folder.exists()) && held.path().exists());
    drop(held);
    assert_eq!(bench.staged(), 0);
}

/// As a process that was killed in the middle leaves it: the message hidden, the row begun, files in staging.
async fn killed(bench: &Bench, audience: AudienceId) {
    ask(bench, &ToResolver::Resolve(Resolve { audience })).await;
    let taken = bench.backend().queues.receive(Queue::Resolve, 1, Duration::ZERO).await.unwrap();
    let mut begun = bench.read(audience).await;
    begun.state = AudienceState::Resolving { rows: 1 };
    bench.backend().store.write(vec![rows::audience::put(&begun, Expect::Anything)]).await.unwrap();
    let staging = bench.backend().blobs.staging();
    std::fs::write(staging.join("resolver-77"), &taken[0].receipt).unwrap();
    std::fs::create_dir(staging.join("work-77-1")).unwrap();
    std::fs::write(staging.join("work-77-1/left-out"), "ann").unwrap();
}

#[tokio::test]
async fn what_a_killed_resolver_was_at_is_taken_up_at_once_and_nothing_of_it_stays() {
    let bench = Bench::new();
    bench.know(&[device("u1", 1)]).await;
    let upload = bench.blob("uploads/1/1", b"user\nu1\n").await;
    let audience = bench.audience(1, None, upload).await;
    killed(&bench, audience).await;
    run_until_idle(&bench).await;
    assert!(bench.read(audience).await.snapshot().is_some());
    assert_eq!(bench.staged(), 0);
}

#[tokio::test]
async fn a_message_whose_resolver_lives_is_left_alone() {
    let bench = Bench::new();
    let upload = bench.blob("uploads/1/1", b"user\nu1\n").await;
    let audience = bench.audience(1, None, upload).await;
    killed(&bench, audience).await;
    let staging = bench.backend().blobs.staging();
    let living = std::fs::File::open(staging.join("resolver-77")).unwrap();
    living.lock().unwrap();
    assert_eq!(crate::presence::relieve_dead(&bench.desk).await.unwrap(), 0);
    let queues = &bench.backend().queues;
    assert!(queues.receive(Queue::Resolve, 1, Duration::ZERO).await.unwrap().is_empty());
    drop(living);
    assert_eq!(crate::presence::relieve_dead(&bench.desk).await.unwrap(), 1);
    let back = queues.receive(Queue::Resolve, 1, Duration::ZERO).await.unwrap();
    assert_eq!(back[0].receives, 2, "having been begun counts");
}

#[tokio::test]
async fn what_waits_is_enqueued_once_a_sweep_and_not_at_first_sight() {
    let bench = Bench::new();
    let upload = bench.blob("uploads/1/1", b"user\nu1\n").await;
    bench.audience(1, None, upload).await;
    let mut outbox = crate::outbox::Outbox::default();
    let mut sent = Vec::new();
    for _ in 0..4 {
        sent.push(outbox.sweep(&bench.desk).await.unwrap());
    }
    assert_eq!(sent, [0, 1, 0, 1]);
}
