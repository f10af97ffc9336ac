//! Exports of outcomes.

use backend::rows::shard::{Claim, ShardName, ShardRow};
use model::export::{Export, ExportFormat, ExportState, Subject};
use model::{
    CampaignId, Class, Content, ExportId, Launch, LaunchId, Outcome, OutcomeRuns, Plan, Policy, Purpose,
    Reason, ShardSizes, Wave,
};

use super::*;
use crate::{export, resolve};

pub(super) const LAUNCH: LaunchId = LaunchId(5);

/// A launch of all devices of a frozen audience, in shards of four.
pub(super) async fn launched(bench: &Bench, devices: &[Device]) -> (Launch, Plan) {
    let upload = bench.blob("uploads/a/1", csv(devices).as_bytes()).await;
    let id = bench.audience(1, None, upload).await;
    resolve::run(&bench.desk, id, 1).await.unwrap();
    let snapshot = bench.read(id).await.snapshot().unwrap();
    let manifest = rows::audience::manifest(&*bench.backend().blobs, snapshot).await.unwrap().unwrap();
    let wave = Wave { name: "all".into(), markets: vec!["us".into()] };
    let sizes = ShardSizes { apns: 4, fcm: 3, slices_max: 3 };
    let plan = Plan::new(&manifest, &wave, &sizes);
    let launch = Launch {
        id: LAUNCH,
        campaign: CampaignId(1),
        campaign_name: "c".into(),
        campaign_version: 1,
        wave,
        purpose: Purpose::Live,
        snapshot,
        content: Content::default(),
        policy: Policy::default(),
        sizes,
        slices: plan.slices(),
        shards: plan.shards().len() as u32,
        devices: plan.devices(),
        pressed_by: "ann".into(),
        pressed_at: Timestamp::from_secs(1_000),
        not_after: Timestamp::from_secs(2_000),
        ready_workers: 1,
        late_list: 0,
    };
    bench.backend().store.write(rows::launch::create(&launch)).await.unwrap();
    (launch, plan)
}

pub(super) async fn record(bench: &Bench, plan: &Plan, shard: u32, outcomes: OutcomeRuns) {
    let attempt = 0;
    record_attempt(
        bench,
        plan,
        ShardName { launch: LAUNCH, slice: plan.slice_of(shard), shard, attempt },
        outcomes,
    )
    .await;
}

async fn record_attempt(bench: &Bench, plan: &Plan, name: ShardName, outcomes: OutcomeRuns) {
    let (shard, attempt) = (name.shard, name.attempt);
    let devices = plan.shards()[shard as usize].count;
    let part = report::Part {
        worker: "w".into(),
        positions: report::Positions::all(outcomes.devices()),
        outcomes,
        ..report::Part::default()
    };
    let record = report::ShardRecord::new(LAUNCH, shard, attempt, devices, 1, part).unwrap();
    let claim = Claim { owner: 1, epoch: 1, attempts: 1, lease_until: Timestamp(0), is_started: false };
    let row = ShardRow { claim, record: Some(record.encode()), is_open: false };
    let write = rows::shard::put(&name, &row, Expect::Absent);
    bench.backend().store.write(vec![write]).await.unwrap();
}

async fn exported(bench: &Bench, format: ExportFormat) -> Export {
    exported_of(bench, Subject::Outcomes { launch: LAUNCH }, format).await
}

pub(super) async fn exported_of(bench: &Bench, subject: Subject, format: ExportFormat) -> Export {
    let id = ExportId(bench.desk.runtime.randomness.u128());
    let created_at = Timestamp::from_secs(1_500);
    let state = ExportState::Asked;
    let export = Export { id, subject, format, state, created_at, worked_at: None };
    bench.backend().store.write(vec![rows::export::put(&export, Expect::Absent)]).await.unwrap();
    export::run(&bench.desk, id, 1).await.unwrap();
    rows::export::get(&*bench.backend().store, id).await.unwrap().unwrap().body
}

pub(super) async fn text(bench: &Bench, export: &Export) -> String {
    let ExportState::Done { blob, bytes, digest, .. } = &export.state else { panic!("{:?}", export.state) };
    let text = bench.backend().blobs.get(blob).await.unwrap().unwrap();
    assert_eq!((text.len() as u64, Digest::of(&text)), (*bytes, *digest));
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn every_device_of_the_wave_has_one_row_with_its_outcome_and_no_key() {
    let bench = Bench::new();
    let devices: Vec<Device> = (0..40).map(|number| device(&format!("u{number}"), number)).collect();
    let (launch, plan) = launched(&bench, &devices).await;
    let gone = Outcome::new(Class::Rejected, Reason::Unregistered).resent();
    for shard in plan.shards() {
        let outcomes = (0..shard.count).map(|place| if place == 0 { gone } else { Outcome::ACCEPTED });
        record(&bench, &plan, shard.number, OutcomeRuns::encode(outcomes)).await;
    }
    let lines = text(&bench, &exported(&bench, ExportFormat::Csv).await).await;
    let mut users: Vec<&str> = lines.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    users.sort_unstable();
    let mut wanted: Vec<&str> =
        devices.iter().filter(|device| device.market == "us").map(|device| device.user.as_str()).collect();
    wanted.sort_unstable();
    assert_eq!(users, wanted);
    assert_eq!(launch.devices as usize, wanted.len());
    let gone = lines.lines().filter(|line| line.contains(",rejected,Unregistered,true,")).count();
    assert_eq!(gone, plan.shards().len());
    let hash = &blake3::hash(devices[1].key.as_bytes()).to_hex()[..32];
    assert!(lines.contains("u1,fcm,org.example,us,en,") && lines.contains(hash));
    assert!(!lines.contains(&devices[1].key));
    let objects = text(&bench, &exported(&bench, ExportFormat::Ndjson).await).await;
    assert_eq!(objects.lines().count(), wanted.len());
    let first: serde_json::Value = serde_json::from_str(objects.lines().next().unwrap()).unwrap();
    assert_eq!(first["resent"], true);
    assert_eq!(bench.staged(), 0);
}

#[tokio::test]
async fn what_a_late_retry_brought_through_is_accepted() {
    let bench = Bench::new();
    let devices: Vec<Device> = (0..20).map(|number| device("u", number)).collect();
    let (_, plan) = launched(&bench, &devices).await;
    let busy = Outcome::new(Class::Rejected, Reason::ServiceUnavailable);
    for shard in plan.shards() {
        let outcomes = (0..shard.count).map(|place| if place == 0 { busy } else { Outcome::ACCEPTED });
        record(&bench, &plan, shard.number, OutcomeRuns::encode(outcomes)).await;
    }
    let name = ShardName { launch: LAUNCH, slice: plan.slice_of(1), shard: 1, attempt: 1 };
    record_attempt(&bench, &plan, name, OutcomeRuns::uniform(Outcome::ACCEPTED, 1)).await;
    let lines = text(&bench, &exported(&bench, ExportFormat::Csv).await).await;
    let rejected = lines.lines().filter(|line| line.contains(",rejected,ServiceUnavailable,")).count();
    assert_eq!(rejected, plan.shards().len() - 1);
}

#[tokio::test]
async fn a_launch_with_a_shard_unrecorded_is_not_exported() {
    let bench = Bench::new();
    let devices: Vec<Device> = (0..40).map(|number| device("u", number)).collect();
    let (_, plan) = launched(&bench, &devices).await;
    for shard in &plan.shards()[1..] {
        record(&bench, &plan, shard.number, OutcomeRuns::uniform(Outcome::ACCEPTED, shard.count)).await;
    }
    let ExportState::Failed { why } = exported(&bench, ExportFormat::Csv).await.state else {
        panic!("it failed")
    };
    assert!(why.starts_with("the launch is not over: 1 of its "), "{why}");
}

#[tokio::test]
async fn an_export_of_no_launch_fails() {
    let bench = Bench::new();
    let ExportState::Failed { why } = exported(&bench, ExportFormat::Csv).await.state else {
        panic!("it failed")
    };
    assert!(why.starts_with("there is no launch lnc_"), "{why}");
}

#[tokio::test]
async fn devices_that_the_provider_called_dead_are_exported_with_their_keys() {
    let bench = Bench::new();
    let devices: Vec<Device> = (0..40).map(|number| device(&format!("u{number}"), number)).collect();
    let (_, plan) = launched(&bench, &devices).await;
    let dead = [Reason::Unregistered, Reason::FcmUnregistered];
    for shard in plan.shards() {
        let outcomes = (0..shard.count).map(|place| match place {
            0 => Outcome::new(Class::Rejected, dead[shard.platform.index()]),
            1 => Outcome::new(Class::Rejected, Reason::PayloadTooLarge),
            _ => Outcome::ACCEPTED,
        });
        record(&bench, &plan, shard.number, OutcomeRuns::encode(outcomes)).await;
    }
    let export = exported_of(&bench, Subject::DeadDevices { launch: LAUNCH }, ExportFormat::Csv).await;
    let ExportState::Done { devices: rows, .. } = &export.state else { panic!("{:?}", export.state) };
    assert_eq!(*rows, plan.shards().len() as u64);
    let lines = text(&bench, &export).await;
    assert_eq!(lines.lines().next(), Some("user,platform,app,market,locale,key,reason"));
    for line in lines.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let known = devices.iter().find(|device| device.user == fields[0]).unwrap();
        assert_eq!((fields[1], fields[5]), (known.platform.name(), &*known.key));
        assert_eq!(fields[6], dead[known.platform.index()].text());
    }
    let objects = text(
        &bench,
        &exported_of(&bench, Subject::DeadDevices { launch: LAUNCH }, ExportFormat::Ndjson).await,
    )
    .await;
    assert_eq!(objects.lines().count() as u64, *rows);
}
