//! Shards that nobody will send, and the end of a launch.

use std::time::Duration;

use backend::queues::{LEASE, RECEIVES_MAX};
use backend::rows::shard::{self, Claim, ShardName, ShardRow};
use backend::rows::{audience, audit, export, import, inquiry};
use backend::store::Expect;
use backend::{Outgoing, Queue};
use model::audience::{AudienceState, BadRows, Defaults, Packing, Upload, UploadFormat, UploadRows};
use model::export::{Export, ExportFormat, ExportState, Subject};
use model::import::{Destination, Import, ImportState};
use model::inquiry::{Inquiry, InquiryState};
use model::queued::{LookUp, Resolve, TakeIn, ToResolver, WriteOut};
use model::suppression::UserHash;
use model::{
    Audience, AudienceId, Class, Digest, ExportId, ImportId, InquiryId, LaunchId, Outcome, Platform, Policy,
    Reason, Timestamp,
};

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

const UPLOAD: &str = "imports/1/1";

/// Work for a resolver of each kind.
fn unfinished(stage: &Stage) -> (Audience, Import, Export) {
    let (id, created_at) = (AudienceId(4), stage.now());
    let (name, rows, state) = ("a".into(), Some(UploadRows::Users), AudienceState::Uploaded);
    let audience = Audience {
        id,
        name,
        rows,
        sample: None,
        control: None,
        sandbox: false,
        upload: None,
        state,
        report: None,
        created_at,
        worked_at: None,
    };
    let upload = Upload {
        blob: UPLOAD.into(),
        bytes: 1,
        digest: Digest::of(b"x"),
        format: UploadFormat::Csv,
        packing: Packing::None,
        bad_rows: BadRows::RejectAll,
        defaults: Defaults::default(),
    };
    let state = ImportState::Importing { rows: 1 };
    let import = Import {
        id: ImportId(5),
        into: Destination::Directory,
        upload,
        state,
        report: None,
        created_at,
        worked_at: None,
    };
    let (id, state, format) = (ExportId(6), ExportState::Asked, ExportFormat::Csv);
    (
        audience,
        import,
        Export {
            id,
            subject: Subject::Outcomes { launch: LaunchId(1) },
            format,
            state,
            created_at,
            worked_at: None,
        },
    )
}

#[tokio::test]
async fn what_no_resolver_gets_through_has_failed() {
    let stage = Stage::new().await;
    let (audience, import, export) = unfinished(&stage);
    let inquiry = Inquiry {
        id: InquiryId(4),
        user: UserHash([4; 16]),
        asked_by: "ann".into(),
        state: InquiryState::Asked,
        created_at: Timestamp(1),
    };
    let writes = vec![
        audience::put(&audience, Expect::Absent),
        import::put(&import, Expect::Absent),
        export::put(&export, Expect::Absent),
        inquiry::put(&inquiry, Expect::Absent),
    ];
    let store = &*stage.backend.store;
    store.write(writes).await.unwrap();
    stage.backend.blobs.put(UPLOAD, b"x".to_vec()).await.unwrap();
    let work = [
        ToResolver::Resolve(Resolve { audience: audience.id }),
        ToResolver::TakeIn(TakeIn { import: import.id }),
        ToResolver::WriteOut(WriteOut { export: export.id }),
        ToResolver::LookUp(LookUp { inquiry: inquiry.id }),
    ];
    let letters = work.iter().map(|work| Outgoing::now(serde_json::to_string(work).unwrap()));
    let letters = letters.chain([Outgoing::now("rubbish".into())]).collect();
    let dead = Queue::Resolve.dead().unwrap();
    stage.backend.queues.send(dead, letters).await.unwrap();
    stage.dispatcher(config("d1"));
    stage.pass(Duration::from_secs(2)).await;
    let audience = audience::get(store, audience.id).await.unwrap().unwrap().body;
    assert!(matches!(audience.state, AudienceState::Failed { .. }));
    let import = import::get(store, import.id).await.unwrap().unwrap().body;
    assert!(matches!(import.state, ImportState::Failed { .. }));
    assert_eq!(stage.backend.blobs.get(UPLOAD).await.unwrap(), None, "it holds keys");
    let export = export::get(store, export.id).await.unwrap().unwrap().body;
    assert!(matches!(export.state, ExportState::Failed { .. }));
    let inquiry = inquiry::get(store, inquiry.id).await.unwrap().unwrap().body;
    assert!(matches!(inquiry.state, InquiryState::Failed { .. }));
    assert_eq!(stage.backend.queues.depth(dead).await.unwrap(), 0);
}
