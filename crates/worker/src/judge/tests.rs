//! The decision table of claims and messages.

use super::*;
use model::{Digest, LaunchId, OutcomeRuns, Platform};
use report::Part;

const NOW: Timestamp = Timestamp::from_secs(1_000);
const PAUSE: Duration = Duration::from_secs(1);

fn message() -> ShardMessage {
    ShardMessage {
        launch: LaunchId(1),
        shard: 3,
        snapshot: Digest([0; 32]),
        platform: Platform::Fcm,
        group: 0,
        start: 0,
        count: 4,
        not_after: NOW + Duration::from_secs(100),
        window_from: Timestamp(0),
        window_until: Timestamp(0),
        attempt: 0,
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_message_within_its_window_is_claimed_and_one_outside_waits_or_is_paced_again() {
    let paced = |from, until| ShardMessage { window_from: from, window_until: until, ..message() };
    let enter = |message| enter(&message, Permit::Go, true, NOW, PAUSE);
    assert_eq!(enter(message()), Entry::Claim);
    assert_eq!(enter(paced(NOW, NOW + seconds(60))), Entry::Claim);
    assert_eq!(enter(paced(NOW + seconds(7), NOW + seconds(67))), Entry::Later(seconds(7)));
    assert_eq!(enter(paced(NOW - seconds(60), NOW)), Entry::Repace);
}

#[test]
fn a_late_retry_counts_against_the_quota_too() {
    let late = ShardMessage { attempt: 1, window_from: NOW, ..message() };
    assert_eq!(enter(&late, Permit::Go, true, NOW, PAUSE), Entry::Repace);
    assert_eq!(enter(&late, Permit::Go, false, NOW, PAUSE), Entry::Claim);
    let reserved = ShardMessage { window_until: NOW + seconds(60), ..late };
    assert_eq!(enter(&reserved, Permit::Go, true, NOW, PAUSE), Entry::Claim);
}

#[test]
fn without_permission_nothing_is_claimed() {
    let enter = |permit| enter(&message(), permit, false, NOW, PAUSE);
    assert_eq!(enter(Permit::Aborted), Entry::Drop);
    assert_eq!(enter(Permit::Paused), Entry::Later(PAUSE));
    assert_eq!(enter(Permit::PausedUntil(NOW + seconds(9))), Entry::Later(seconds(9)));
    assert!(matches!(enter(Permit::Unknown), Entry::Later(_)));
}

#[test]
fn past_its_time_a_message_is_dropped_whatever_else_holds() {
    let expired = ShardMessage { not_after: NOW - seconds(1), window_from: NOW + seconds(5), ..message() };
    assert_eq!(enter(&expired, Permit::Go, true, NOW, PAUSE), Entry::Drop);
}

fn before(attempts: u32, is_started: bool) -> Before {
    Before { epoch: attempts, attempts, is_started, lease_until: Timestamp(0) }
}

#[test]
fn only_a_free_shard_is_claimed() {
    let meet = |standing, policy| meet(standing, NOW, policy, 3);
    let free = |attempts, is_started| Standing::Free(before(attempts, is_started));
    let claim = |attempts, is_started| Meeting::Claim(before(attempts, is_started));
    assert_eq!(meet(Standing::Recorded, OnUnknown::ResendOnce), Meeting::Recorded);
    assert_eq!(meet(Standing::Held(NOW + seconds(4)), OnUnknown::ResendOnce), Meeting::Later(seconds(4)));
    assert_eq!(meet(free(0, false), OnUnknown::Leave), claim(0, false));
    assert_eq!(meet(free(1, true), OnUnknown::ResendOnce), claim(1, true));
    assert_eq!(meet(free(1, true), OnUnknown::Leave), Meeting::Later(LEFT_TO_DISPATCHER));
    assert_eq!(meet(free(3, true), OnUnknown::ResendOnce), Meeting::Later(LEFT_TO_DISPATCHER));
}

#[test]
fn giving_back_is_no_attempt_and_leaves_no_doubt_that_was_not_there() {
    let first = claim(Before::default(), 7, NOW);
    assert_eq!((first.epoch, first.attempts, first.is_started), (1, 1, true));
    let back = given_back(Before::default(), 7);
    assert_eq!((back.epoch, back.attempts, back.is_started), (2, 0, false));
    assert!(given_back(before(1, true), 7).is_started);
}

fn record(epoch: u32, outcomes: &[Outcome]) -> ShardRecord {
    let devices = outcomes.len() as u32;
    let outcomes = OutcomeRuns::encode(outcomes.iter().copied());
    let part = Part { positions: Positions::all(devices), outcomes, ..Part::default() };
    ShardRecord::new(LaunchId(1), 3, 0, devices, epoch, part).unwrap()
}

const REJECTED: Outcome = Outcome::new(Class::Rejected, Reason::Unregistered);
const NO_CONNECTION: Outcome = Outcome::new(Class::NotSent, Reason::NoConnection);

#[test]
fn what_an_earlier_epoch_left_open_is_sent_and_nothing_else() {
    let known = record(1, &[Outcome::ACCEPTED, OPEN, REJECTED, OPEN.resent()]);
    let all = Positions::all(4);
    assert_eq!(to_send(None, &all), all);
    assert_eq!(to_send(Some(&known), &all), [1, 3].into_iter().collect());
}

#[test]
fn a_second_epoch_changes_nothing_of_what_the_first_one_knew() {
    let known = record(1, &[Outcome::ACCEPTED, OPEN, NO_CONNECTION, OPEN]);
    let all = Positions::all(4);
    let sent = to_send(Some(&known), &all);
    let answers = [Outcome::ACCEPTED, REJECTED];
    let outcomes = part_outcomes(Some(&known), before(0, false), &all, &sent, answers.into_iter());
    let mut merged = known.clone();
    merged.merge(&record(3, &outcomes)).unwrap();
    let merged: Vec<Outcome> = merged.outcomes().1.iter().collect();
    assert_eq!(merged, [Outcome::ACCEPTED, Outcome::ACCEPTED, NO_CONNECTION, REJECTED]);
}

#[test]
fn after_two_lost_workers_every_device_counts_as_resent() {
    let known = record(1, &[Outcome::ACCEPTED, OPEN]);
    let all = Positions::all(2);
    let sent = to_send(Some(&known), &all);
    let answers = [Outcome::ACCEPTED.resent()].into_iter();
    let outcomes = part_outcomes(Some(&known), before(2, true), &all, &sent, answers);
    let mut merged = known;
    merged.merge(&record(3, &outcomes)).unwrap();
    assert!(merged.outcomes().1.iter().all(Outcome::is_resent));
}

#[test]
fn what_stays_open_gives_way_to_the_reason_for_which_it_is_closed() {
    for reason in [Reason::Aborted, Reason::AttemptsExhausted, Reason::LaunchStopped] {
        let closed = Outcome::new(Class::NotSent, reason);
        assert_eq!(OPEN.join(closed), closed);
    }
}

#[test]
fn people_on_the_late_list_are_marked_when_a_lost_worker_may_have_sent_to_them() {
    for (before, is_resent) in [(before(0, false), false), (before(1, true), true)] {
        let all: Positions = [2, 5, 7].into_iter().collect();
        let mut outcomes = [Outcome::ACCEPTED, OPEN, OPEN];
        suppress(&mut outcomes, &all, &[5, 7], before);
        assert_eq!(
            outcomes,
            [Outcome::ACCEPTED, SUPPRESSED.with_resent(is_resent), SUPPRESSED.with_resent(is_resent)]
        );
    }
}
