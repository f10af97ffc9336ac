//! The role while calls fail, answers get lost and messages come twice, in another order, or late.

use backend::fault::{self, Fault, Operation, Shares};
use backend::{Key, Outgoing, Write};
use model::queued::{Resolve, TakeIn, ToResolver};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::role;

/// Two resolvers at the same queue, over a backend with `shares` of faults; they end when `is_over` says so. Returns how
/// many faults were made.
async fn run_faulty(bench: &Bench, seed: u64, shares: Shares, is_over: impl AsyncFn() -> bool) -> u64 {
    let (backend, faults) = fault::wrap(bench.backend().clone(), bench.clock.clone(), seed);
    for operation in [
        Operation::Get,
        Operation::Query,
        Operation::Write,
        Operation::Transact,
        Operation::Receive,
        Operation::Delete,
        Operation::Extend,
        Operation::GiveBack,
        Operation::PutFile,
        Operation::PutBlob,
        Operation::DeleteBlob,
        Operation::Import,
        Operation::Holdings,
    ] {
        faults.set(operation, shares);
    }
    let shutdown = CancellationToken::new();
    let run = || {
        let (runtime, config) = (bench.desk.runtime.clone(), bench.desk.config.clone());
        role::run(backend.clone(), runtime, config, shutdown.clone())
    };
    let watching = async {
        while !is_over().await {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
    };
    bench.moving_on(async { futures::join!(run(), run(), watching) }).await;
    faults.made().values().sum()
}

#[tokio::test]
async fn faults_of_the_backend_change_nothing_of_what_comes_out() {
    let devices: Vec<Device> = (0..90).map(|number| device(&format!("u{}", number / 2), number)).collect();
    let mut listed: Vec<String> = (0..40).map(|number| format!("u{number}")).collect();
    listed.push("nobody".into());
    let text = format!("user\n{}\n", listed.join("\n"));
    let config = || Config { resolve_users: 9, import_devices: 20, attempts_max: 1_000, ..Config::default() };
    let shares = Shares {
        transient: 0.04,
        request_lost: 0.02,
        answer_lost: 0.04,
        partial: 0.02,
        delay: 0.05,
        delay_max: Duration::from_millis(500),
        duplicate: 0.2,
        reorder: 0.2,
        ..Shares::default()
    };
    let (mut snapshots, mut made) = (Vec::new(), 0);
    for seed in 0..12 {
        let bench = Bench::with(config());
        let upload = bench.blob("imports/1/1", csv(&devices).as_bytes()).await;
        let import = bench.import(1, upload).await;
        ask(&bench, &ToResolver::TakeIn(TakeIn { import })).await;
        made +=
            run_faulty(&bench, seed, shares, async || bench.read_import(import).await.body.state.is_over())
                .await;
        let import = bench.read_import(import).await.body;
        assert!(matches!(import.state, ImportState::Done { .. }), "seed {seed}: {import:?}");
        assert_eq!(bench.backend().directory.count().await.unwrap(), (45, 90), "seed {seed}");

        let upload = bench.blob("uploads/1/1", text.as_bytes()).await;
        let audience = bench.audience(1, None, upload).await;
        ask(&bench, &ToResolver::Resolve(Resolve { audience })).await;
        let is_over = async || {
            matches!(
                bench.read(audience).await.state,
                AudienceState::Frozen { .. } | AudienceState::Failed { .. }
            )
        };
        made += run_faulty(&bench, seed, shares, is_over).await;
        let audience = bench.read(audience).await;
        let report = audience.report.clone().unwrap();
        assert_eq!(
            (report.read.rows, report.users, report.devices),
            (41, 40, 80),
            "seed {seed}: {audience:?}"
        );
        assert_eq!((report.unknown_users, report.duplicate_users), (1, 0), "seed {seed}");
        snapshots.push(audience.snapshot().unwrap());
        let ends = bench.actions().await;
        assert_eq!(
            ends.iter().filter(|action| action.starts_with("audience.frozen")).count(),
            1,
            "seed {seed}"
        );
    }
    assert!(made > 100, "only {made} faults");
    assert!(snapshots.iter().all(|snapshot| *snapshot == snapshots[0]));
}

/// Two resolvers that begin the same work write the same row.
#[tokio::test]
async fn a_row_that_looks_as_ours_is_ours_only_after_a_lost_answer() {
    let bench = Bench::new();
    let (backend, faults) = fault::wrap(bench.backend().clone(), bench.clock.clone(), 1);
    let runtime = bench.desk.runtime.clone();
    let desk = Desk { backend, runtime, config: Config::default() };
    let write = |sort: &str| Write::put(Key::new("p", sort), Expect::Absent, b"x".to_vec());
    assert_eq!(desk.put(write("a")).await.unwrap(), 1);
    assert!(matches!(desk.put(write("a")).await, Err(crate::Error::Overtaken)));
    faults.next(Operation::Write, Some(Fault::AnswerLost));
    assert_eq!(bench.moving_on(desk.put(write("b"))).await.unwrap(), 1);
}

async fn ask(bench: &Bench, message: &ToResolver) {
    let body = serde_json::to_string(message).unwrap();
    bench.backend().queues.send(Queue::Resolve, vec![Outgoing::now(body)]).await.unwrap();
}
