//! Final figures from records.

use model::{Content, Digest, Group, Outcome, Policy, Reason, ShardSizes, Wave};

use super::*;
use crate::record::Part;
use crate::record::tests::part;
use crate::tally::tests::any_outcome;
use proptest::prelude::*;

const GONE: Outcome = Outcome::new(Class::Rejected, Reason::Unregistered);
const BUSY: Outcome = Outcome::new(Class::Rejected, Reason::Unavailable);

pub(crate) fn manifest() -> Manifest {
    let group = |market: &str, platform, devices| Group {
        market: market.into(),
        platform,
        app: "app".into(),
        locale: "en".into(),
        devices,
    };
    let groups =
        vec![group("de", Platform::Apns, 5), group("us", Platform::Apns, 3), group("us", Platform::Fcm, 4)];
    Manifest { digest: Digest([0; 32]), devices: 12, users: 9, duplicate_devices: 0, file_bytes: 0, groups }
}

pub(crate) fn plan() -> Plan {
    let wave = Wave { name: "all".into(), markets: vec![] };
    Plan::new(&manifest(), &wave, &ShardSizes { apns: 3, fcm: 4, slices_max: 2 })
}

pub(crate) fn launch() -> Launch {
    Launch {
        id: LaunchId(42),
        campaign: CampaignId(7),
        campaign_name: "Super Bowl".into(),
        campaign_version: 3,
        wave: Wave { name: "all".into(), markets: vec![] },
        purpose: Purpose::Live,
        snapshot: Digest([0; 32]),
        content: Content::default(),
        policy: Policy::default(),
        sizes: ShardSizes { apns: 3, fcm: 4, slices_max: 2 },
        slices: 2,
        shards: 4,
        devices: 12,
        pressed_by: "ann".into(),
        pressed_at: Timestamp::from_secs(1_770_595_199),
        not_after: Timestamp::from_secs(1_770_598_799),
        ready_workers: 2,
        late_list: 0,
    }
}

pub(crate) fn record(shard: u32, epoch: u32, outcomes: &[Outcome]) -> ShardRecord {
    ShardRecord::new(LaunchId(42), shard, 0, outcomes.len() as u32, epoch, part(outcomes)).unwrap()
}

fn late(shard: u32, attempt: u8, devices: u32, outcomes: &[(u32, Outcome)]) -> ShardRecord {
    let list: Vec<Outcome> = outcomes.iter().map(|(_, outcome)| *outcome).collect();
    let positions = outcomes.iter().map(|(position, _)| *position).collect();
    let part = Part { positions, ..part(&list) };
    ShardRecord::new(LaunchId(42), shard, attempt, devices, 1, part).unwrap()
}

/// Shards 0 (de, 3), 1 (de, 2), 2 (us APNs, 3), 3 (us FCM, 4).
pub(crate) fn records() -> Vec<ShardRecord> {
    vec![
        record(0, 1, &[Outcome::ACCEPTED; 3]),
        record(1, 1, &[Outcome::ACCEPTED, GONE]),
        record(2, 1, &[Outcome::ACCEPTED; 3]),
        record(3, 1, &[Outcome::ACCEPTED, BUSY, BUSY, Outcome::ACCEPTED]),
    ]
}

pub(crate) fn report(records: Vec<ShardRecord>) -> LaunchReport {
    LaunchReport::new(&launch(), &plan(), &manifest(), records)
}

#[test]
fn figures_add_up_by_provider_and_market() {
    let report = report(records());
    assert_eq!(report.check(), []);
    let counts = Counts { devices: 12, accepted: 9, rejected: 3, ..Counts::default() };
    assert_eq!((report.counts, report.burst, report.requests), (counts, counts, 12));
    assert_eq!(report.by_platform[1].counts.rejected, 2);
    let us: u64 =
        report.by_market.iter().filter(|part| part.market == "us").map(|part| part.counts.devices).sum();
    assert_eq!(us, 7);
    assert_eq!((report.answers.count, report.answers.max_us, report.curve.slots()), (9, 90_000, &[9][..]));
    assert_eq!(
        (report.first_write_us, report.last_answer_us, report.late),
        (Some(20_000), Some(90_000), None)
    );
}

#[test]
fn late_retries_change_the_total_and_not_the_burst() {
    let mut records = records();
    records.push(late(3, 1, 4, &[(1, Outcome::ACCEPTED), (2, BUSY)]));
    records.push(late(3, 2, 4, &[(2, Outcome::ACCEPTED)]));
    let report = report(records);
    assert_eq!(report.check(), []);
    assert_eq!((report.burst.accepted, report.counts.accepted, report.counts.resent), (9, 11, 2));
    assert_eq!(report.answers.count, 9);
    let late = report.late.unwrap();
    assert_eq!((late.attempts, late.accepted, late.answers.count, late.requests), (3, 2, 2, 3));
    assert_eq!(report.requests, 15);
}

/// One or two epochs for each shard, and late retries of what they left transient.
fn any_records() -> impl Strategy<Value = Vec<ShardRecord>> {
    let outcomes = |devices| proptest::collection::vec(any_outcome(), devices);
    let shard =
        |devices| (outcomes(devices), proptest::option::of(outcomes(devices)), any_outcome(), any::<bool>());
    (shard(3), shard(2), shard(3), shard(4)).prop_map(|(zero, one, two, three)| {
        let mut records = Vec::new();
        for (number, (first, second, next, has_late)) in (0..).zip([zero, one, two, three]) {
            let mut burst = record(number, 1, &first);
            records.push(burst.clone());
            if let Some(second) = second {
                records.push(record(number, 2, &second));
                burst.merge(&records[records.len() - 1]).unwrap();
            }
            let again = crate::record::retryable(&burst, &[]);
            if has_late && !again.is_empty() {
                let outcomes: Vec<_> = again.iter().map(|position| (position, next)).collect();
                records.push(late(number, 1, first.len() as u32, &outcomes));
            }
        }
        records
    })
}

proptest! {
    #[test]
    fn whatever_happened_is_conserved_and_told_alike_in_any_order(
        records in any_records(), turn in any::<prop::sample::Index>(), copies in any::<prop::sample::Index>()
    ) {
        let told = report(records.clone());
        prop_assert!(told.is_conserved());
        prop_assert_eq!(told.check(), vec![]);
        let mut turned = records.clone();
        turned.rotate_left(turn.index(records.len()));
        turned.extend_from_slice(&records[copies.index(records.len())..]);
        prop_assert_eq!(report(turned), told);
    }
}

#[test]
fn order_and_repetition_of_records_do_not_matter() {
    let mut shuffled = records();
    shuffled.push(late(3, 1, 4, &[(1, Outcome::ACCEPTED)]));
    let in_order = report(shuffled.clone());
    shuffled.reverse();
    shuffled.extend(shuffled.clone());
    assert_eq!(report(shuffled), in_order);
}

#[test]
fn a_missing_shard_breaks_conservation() {
    let mut records = records();
    records.pop();
    let broken = report(records).check();
    assert!(broken.iter().all(|broken| broken.invariant == Invariant::I2));
    assert!(broken[0].detail.contains("3 of 4 shards"), "{broken:?}");
    assert!(broken[1].detail.contains("the wave has 12 devices"), "{broken:?}");
}

#[test]
fn records_that_the_plan_does_not_know_are_named_and_not_counted() {
    let mut records = records();
    records.push(record(9, 1, &[Outcome::ACCEPTED]));
    records.push(record(0, 1, &[Outcome::ACCEPTED]));
    let foreign = ShardRecord::new(LaunchId(1), 0, 0, 3, 1, part(&[GONE; 3])).unwrap();
    records.push(foreign);
    let report = report(records);
    assert_eq!(report.counts.accepted, 9);
    assert_eq!(report.check().len(), 3);
}

#[test]
fn a_late_retry_without_a_burst_is_named() {
    let mut records = records();
    records.remove(0);
    records.push(late(0, 1, 3, &[(0, Outcome::ACCEPTED)]));
    let broken = report(records).check();
    assert!(broken[0].detail.contains("shard 0 has a record of a late retry"), "{broken:?}");
}

#[test]
fn more_requests_than_devices_without_resent_break_nobody_twice() {
    let mut twice = part(&[Outcome::ACCEPTED; 3]);
    twice.requests = 4;
    let mut records = records();
    records[0] = ShardRecord::new(LaunchId(42), 0, 0, 3, 1, twice.clone()).unwrap();
    let broken = report(records.clone()).check();
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0].invariant, Invariant::I3);
    // A stream that the provider refused was not processed, so it may go again; and who does not count cannot tell.
    for repeated in [Some(1), None] {
        let part = Part { repeated, ..twice.clone() };
        records[0] = ShardRecord::new(LaunchId(42), 0, 0, 3, 1, part).unwrap();
        assert_eq!(report(records.clone()).check(), []);
    }
}

#[test]
fn answers_without_requests_are_named() {
    let silent = Part { requests: 2, ..part(&[Outcome::ACCEPTED; 3]) };
    let mut records = records();
    records[0] = ShardRecord::new(LaunchId(42), 0, 0, 3, 1, silent).unwrap();
    assert!(report(records).check()[0].detail.contains("3 devices with a request, 2 requests"));
}

#[test]
fn a_takeover_counts_requests_of_both_epochs_and_devices_once() {
    let mut records = records();
    records.push(record(0, 2, &[Outcome::ACCEPTED.resent(); 3]));
    let report = report(records);
    assert_eq!(report.check(), []);
    assert_eq!((report.requests, report.counts.accepted, report.counts.resent), (15, 9, 3));
}

#[test]
fn a_report_reads_back_from_json() {
    let finish = Finish { at: Timestamp(5), late_over_at: None };
    let report = report(records()).with_state(&Control::default(), Some(&finish));
    assert_eq!(report.state, Some(LaunchState::LateRetry));
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<LaunchReport>(&json).unwrap(), report);
}
