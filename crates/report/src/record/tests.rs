//! Merging, settling and the bytes of records.

use proptest::prelude::*;

use super::*;
use crate::tally::tests::any_outcome;

const LAUNCH: LaunchId = LaunchId(42);

pub(crate) fn part(outcomes: &[Outcome]) -> Part {
    let mut latencies = Latencies::default();
    let accepted = outcomes.iter().filter(|outcome| outcome.class() == Class::Accepted).count();
    latencies.record_n(90_000, accepted as u64);
    Part {
        worker: "worker-1".into(),
        positions: Positions::all(outcomes.len() as u32),
        outcomes: OutcomeRuns::encode(outcomes.iter().copied()),
        requests: outcomes.iter().filter(|outcome| is_requested(**outcome)).count() as u64,
        repeated: Some(0),
        latencies,
        first_write_us: Some(20_000),
        last_answer_us: Some(90_000),
        ..Part::default()
    }
}

pub(crate) fn burst(epoch: u32, outcomes: &[Outcome]) -> ShardRecord {
    ShardRecord::new(LAUNCH, 3, 0, outcomes.len() as u32, epoch, part(outcomes)).unwrap()
}

pub(crate) fn late(attempt: u8, devices: u32, outcomes: &[(u32, Outcome)]) -> ShardRecord {
    let list: Vec<Outcome> = outcomes.iter().map(|(_, outcome)| *outcome).collect();
    let positions = outcomes.iter().map(|(position, _)| *position).collect();
    ShardRecord::new(LAUNCH, 3, attempt, devices, 1, Part { positions, ..part(&list) }).unwrap()
}

const DEVICES: usize = 12;

fn any_part() -> impl Strategy<Value = Part> {
    let outcomes = proptest::collection::vec(any_outcome(), DEVICES);
    let answers = proptest::collection::vec(0_u64..6_000_000, 0..20);
    let times = (proptest::option::of(0_u64..1_000), proptest::option::of(0_u64..6_000_000), 0_u64..9);
    (outcomes, answers, times, "[a-c]", 0_u64..99).prop_map(|(outcomes, answers, times, worker, requests)| {
        let mut latencies = Latencies::default();
        answers.iter().for_each(|us| latencies.record(*us));
        let (first_write_us, last_answer_us, clock_error_us) = times;
        let repeated = (requests > 20).then_some(requests / 7);
        let times = Part { first_write_us, last_answer_us, clock_error_us, ..part(&outcomes) };
        let retry_after_s = requests % 5;
        Part { worker, latencies, requests, repeated, retry_after_s, ..times }
    })
}

fn any_record() -> impl Strategy<Value = ShardRecord> {
    proptest::collection::btree_map(0_u32..4, any_part(), 1..4).prop_map(|parts| ShardRecord {
        launch: LAUNCH,
        shard: 3,
        attempt: 0,
        devices: DEVICES as u32,
        parts,
    })
}

fn merged(a: &ShardRecord, b: &ShardRecord) -> ShardRecord {
    let mut merged = a.clone();
    merged.merge(b).unwrap();
    merged
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(a in any_record(), b in any_record(), c in any_record()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a.clone());
        prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
    }

    #[test]
    fn merging_takes_nothing_back(a in any_record(), b in any_record()) {
        let both = merged(&a, &b);
        for (before, after) in a.outcomes().1.iter().zip(both.outcomes().1.iter()) {
            prop_assert!(after.class() >= before.class());
            prop_assert!(after.is_resent() >= before.is_resent());
        }
        prop_assert!(both.requests() >= a.requests());
    }

    #[test]
    fn bytes_read_back(record in any_record()) {
        prop_assert_eq!(ShardRecord::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn late_bytes_read_back(positions in proptest::collection::btree_set(0_u32..500, 0..40), outcome in any_outcome()) {
        let outcomes: Vec<_> = positions.into_iter().map(|position| (position, outcome)).collect();
        let record = late(2, 500, &outcomes);
        prop_assert_eq!(ShardRecord::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn damaged_bytes_are_an_error_or_a_sound_record(
        record in any_record(), place in any::<prop::sample::Index>(), flip in any::<u8>(), is_cut in any::<bool>()
    ) {
        let mut bytes = record.encode();
        let at = place.index(bytes.len());
        bytes[at] ^= flip;
        if is_cut {
            bytes.truncate(at);
            prop_assert!(ShardRecord::decode(&bytes).is_err());
        } else if let Ok(read) = ShardRecord::decode(&bytes) {
            let (positions, outcomes) = read.outcomes();
            prop_assert_eq!(positions.count(), outcomes.devices());
        }
    }

    #[test]
    fn rubbish_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let headed: Vec<u8> = [KIND, VERSION].iter().chain(&bytes).copied().collect();
        for bytes in [bytes, headed] {
            if let Ok(record) = ShardRecord::decode(&bytes) {
                record.outcomes();
            }
        }
    }

    #[test]
    fn a_settled_device_was_accepted_once_if_ever(
        burst_outcomes in proptest::collection::vec(any_outcome(), DEVICES), next in any_outcome(), at in 0..DEVICES
    ) {
        let first = burst(1, &burst_outcomes);
        let second = late(1, DEVICES as u32, &[(at as u32, next)]);
        let settled: Vec<Outcome> = settle(&first, &[&second]).iter().collect();
        prop_assert_eq!(settled.len(), DEVICES);
        let was_accepted = [burst_outcomes[at], next].iter().any(|one| one.class() == Class::Accepted);
        prop_assert_eq!(settled[at].class() == Class::Accepted, was_accepted);
        let was_twice = is_requested(burst_outcomes[at]) && is_requested(next);
        prop_assert!(!was_twice || settled[at].is_resent());
    }
}

const GONE: Outcome = Outcome::new(Class::Rejected, Reason::Unregistered);
const BUSY: Outcome = Outcome::new(Class::Rejected, Reason::ServiceUnavailable);
const SILENT: Outcome = Outcome::new(Class::Unknown, Reason::TimedOut);
const LOST: Outcome = Outcome::new(Class::Unknown, Reason::WorkerLost);
const EXPIRED: Outcome = Outcome::new(Class::Expired, Reason::None);
const ACCEPTED: Outcome = Outcome::ACCEPTED;

#[test]
fn two_epochs_that_both_sent_make_a_device_resent() {
    let first = burst(1, &[ACCEPTED, SILENT, EXPIRED, GONE]);
    let second = burst(2, &[ACCEPTED, ACCEPTED, ACCEPTED, EXPIRED]);
    let outcomes: Vec<_> = merged(&first, &second).outcomes().1.iter().collect();
    assert_eq!(outcomes, [ACCEPTED.resent(), ACCEPTED.resent(), ACCEPTED, GONE]);
}

#[test]
fn who_leaves_a_lost_workers_devices_alone_sent_them_nothing() {
    let left_alone = burst(2, &[LOST, LOST]);
    let came_late = burst(1, &[ACCEPTED, GONE]);
    let record = merged(&left_alone, &came_late);
    assert_eq!(record.outcomes().1.iter().collect::<Vec<_>>(), [ACCEPTED, GONE]);
    assert_eq!(record.epoch(), 2);
}

#[test]
fn a_request_behind_a_lost_worker_is_not_forgotten_by_a_third_epoch() {
    let record = merged(&merged(&burst(1, &[SILENT]), &burst(2, &[LOST])), &burst(3, &[ACCEPTED]));
    assert_eq!(record.outcomes().1.iter().collect::<Vec<_>>(), [ACCEPTED.resent()]);
}

#[test]
fn a_late_retry_changes_only_what_it_was_for() {
    let first = burst(1, &[ACCEPTED, BUSY, BUSY, GONE, BUSY]);
    assert_eq!(retryable(&first, &[]), [1, 2, 4].into_iter().collect());
    let not_sent = Outcome::new(Class::NotSent, Reason::Aborted);
    let second = late(1, 5, &[(1, ACCEPTED), (2, SILENT), (4, not_sent)]);
    let settled: Vec<_> = settle(&first, &[&second]).iter().collect();
    assert_eq!(settled, [ACCEPTED, ACCEPTED.resent(), SILENT.resent(), GONE, BUSY]);
}

/// The policy *leave* would be broken by a further attempt, and a refusal is not what became of the device.
#[test]
fn a_late_retry_whose_worker_was_lost_is_unknown_and_not_tried_again() {
    let first = burst(1, &[BUSY, BUSY, EXPIRED]);
    let exhausted = Outcome::new(Class::Unknown, Reason::AttemptsExhausted);
    let second = late(1, 3, &[(0, LOST), (1, exhausted)]);
    let settled: Vec<_> = settle(&first, &[&second]).iter().collect();
    assert_eq!(settled, [LOST.resent(), exhausted.resent(), EXPIRED]);
    assert!(retryable(&first, &[&second]).is_empty());
}

#[test]
fn late_attempts_count_in_their_order_whatever_order_they_come_in() {
    let first = burst(1, &[BUSY]);
    let (second, third) = (late(1, 1, &[(0, BUSY)]), late(2, 1, &[(0, GONE)]));
    assert_eq!(settle(&first, &[&third, &second]), settle(&first, &[&second, &third]));
    assert_eq!(settle(&first, &[&second, &third]).iter().next(), Some(GONE.resent()));
    assert!(retryable(&first, &[&second, &third]).is_empty());
}

#[test]
fn records_of_different_shards_do_not_merge() {
    let mut one = burst(1, &[ACCEPTED]);
    let other = ShardRecord { shard: 4, ..one.clone() };
    assert_eq!(one.merge(&other), Err(Error::OtherShard));
}

#[test]
fn a_part_must_cover_its_shard() {
    let short = ShardRecord::new(LAUNCH, 0, 0, 3, 1, part(&[ACCEPTED; 2]));
    assert_eq!(short, Err(Error::Misfit { outcomes: 2, positions: 2, devices: 3 }));
    let beyond = ShardRecord::new(LAUNCH, 0, 1, 1, 1, part(&[ACCEPTED; 2]));
    assert!(beyond.is_err());
    let huge = SHARD_DEVICES_MAX + 1;
    assert!(ShardRecord::uniform(LAUNCH, 0, huge, 1, "d", EXPIRED).is_err());
}

#[test]
fn a_record_of_2000_devices_with_a_percent_rejected_is_under_a_kilobyte() {
    let outcomes: Vec<_> = (0..2_000).map(|n| if n % 100 == 37 { GONE } else { ACCEPTED }).collect();
    let mut filled = part(&outcomes);
    filled.worker = "ip-10-0-12-34.eu-central-1.compute.internal/7f3a".into();
    filled.latencies = Latencies::default();
    // 1,980 answers, most of them between 60 and 120 ms, some up to 300 ms: as a provider answers.
    (0..1_980_u64).for_each(|n| filled.latencies.record(900_000 + n * 30 + (n % 50) * (n % 50) * 80));
    let bytes = ShardRecord::new(LAUNCH, 1, 0, 2_000, 1, filled).unwrap().encode().len();
    assert!(bytes < 1_000, "{bytes}");
}

#[test]
fn a_newer_version_is_named() {
    let mut bytes = burst(1, &[ACCEPTED]).encode();
    bytes[1] = 2;
    let error = Error::Version { what: "shard record", found: 2, known: 1 };
    assert_eq!(ShardRecord::decode(&bytes), Err(error));
}
