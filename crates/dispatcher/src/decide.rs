//! What to do about a shard, and when looking is worth it: pure functions of what the rows say.

use std::time::Duration;

use backend::rows::shard::{Before, Standing};
use model::launch::Control;
use model::{Class, OnUnknown, Outcome, Platform, Reason, Timestamp};

use crate::Config;

/// What to do about a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing ever again.
    Done,
    /// Nothing now.
    Wait,
    /// Its message is lost or late: send another.
    Enqueue,
    /// Nobody will send it: give every device without an outcome this one.
    Close(Outcome),
}

/// What holds for every shard of a launch at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) phase: Phase,
    pub(crate) attempts_max: u32,
    pub(crate) on_unknown: OnUnknown,
    /// How long a free shard may wait before its message counts as lost, by provider.
    pub(crate) patience: [Patience; 2],
}

/// How long to wait for a shard's message to be received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Patience {
    /// No message is in the queues: this long, for those that are just on their way.
    Lost(Duration),
    /// Its message is probably among those that wait: this long, and twice as long after each message more.
    Queued(Duration),
    /// For ever.
    #[default]
    Endless,
}

impl Patience {
    /// Whether a shard that was enqueued again so often, last at `since`, has waited for too long.
    fn is_over(self, since: Timestamp, times: u8, now: Timestamp) -> bool {
        match self {
            Patience::Lost(patience) => now > since + patience,
            Patience::Queued(patience) => now > since + patience * (1 << u32::from(times.min(8))),
            Patience::Endless => false,
        }
    }
}

/// What a shard without record is waiting for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waiting {
    /// When its message could first be received, or its last one was sent.
    pub(crate) enqueued_at: Timestamp,
    /// How often it was enqueued again.
    pub(crate) times: u8,
}

/// Whether requests may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// They may.
    Open,
    /// Not now: paused, or stopped while some permission may still be good.
    Still,
    /// Never again: aborted, and every permission is over.
    Aborted,
    /// Never again: its time has passed, and every permission is over.
    Expired,
}

impl Phase {
    /// The phase of a launch with this control row.
    pub(crate) fn of(control: &Control, not_after: Timestamp, now: Timestamp, config: &Config) -> Self {
        let over_after = config.permission + config.clock_error;
        match &control.aborted {
            Some(stop) if now > stop.at + over_after => Phase::Aborted,
            Some(_) => Phase::Still,
            None if now > not_after + over_after => Phase::Expired,
            None if control.paused.is_some() => Phase::Still,
            None => Phase::Open,
        }
    }
}

/// What to do about a shard of a provider that stands so and waits like this.
pub(crate) fn decide(moment: &Moment, platform: Platform, standing: Standing, waiting: Waiting) -> Step {
    let before = match standing {
        Standing::Recorded => return Step::Done,
        Standing::Held(_) => return Step::Wait,
        Standing::Free(before) => before,
    };
    match moment.phase {
        Phase::Still => Step::Wait,
        Phase::Aborted => Step::Close(closing(before, Class::NotSent, Reason::Aborted)),
        Phase::Expired => Step::Close(closing(before, Class::Expired, Reason::None)),
        Phase::Open if before.is_started && moment.on_unknown == OnUnknown::Leave => {
            Step::Close(lost(before))
        }
        Phase::Open if before.attempts >= moment.attempts_max => Step::Close(exhausted(before)),
        Phase::Open => {
            let since = waiting.enqueued_at.max(before.lease_until);
            let is_overdue = moment.patience[platform.index()].is_over(since, waiting.times, moment.now);
            if is_overdue { Step::Enqueue } else { Step::Wait }
        }
    }
}

/// The outcome of devices that nobody tries again after too many attempts.
pub(crate) fn exhausted(before: Before) -> Outcome {
    let class = if before.is_started { Class::Unknown } else { Class::NotSent };
    Outcome::new(class, Reason::AttemptsExhausted).with_resent(is_doubtful(before))
}

/// What a request may have left for is unknown, whatever else holds.
pub(crate) fn closing(before: Before, class: Class, reason: Reason) -> Outcome {
    if before.is_started { lost(before) } else { Outcome::new(class, reason) }
}

fn lost(before: Before) -> Outcome {
    Outcome::new(Class::Unknown, Reason::WorkerLost).with_resent(is_doubtful(before))
}

/// Whether two lost workers may both have sent to a device.
const fn is_doubtful(before: Before) -> bool {
    before.is_started && before.attempts >= 2
}

/// What is known of a launch's course without reading its shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Course {
    /// Devices with an outcome, by the workers' progress; one that was taken over may count twice.
    pub(crate) devices: u64,
    /// Shards claimed and not recorded, by the same.
    pub(crate) shards_in_flight: u64,
    /// When either last changed.
    pub(crate) changed_at: Timestamp,
    /// When the shards' rows were last read; zero: never.
    pub(crate) scanned_at: Timestamp,
}

/// Without news for this long something may be lost.
const QUIET: Duration = Duration::from_secs(1);
/// Between two readings of the rows while something may be lost.
const SCAN_EVERY: Duration = Duration::from_secs(2);
/// Between two readings while the end is near.
const SCAN_AT_END_EVERY: Duration = Duration::from_millis(100);

/// Whether the shards' rows are worth reading: the end is near, the launch is stopped for good, or nothing has moved.
pub(crate) fn is_scan_due(course: &Course, devices: u64, phase: Phase, now: Timestamp) -> bool {
    let since_scan = now.since(course.scanned_at);
    let is_near_end = course.devices >= devices && course.shards_in_flight == 0;
    let is_stopped = matches!(phase, Phase::Aborted | Phase::Expired);
    let is_quiet = now.since(course.changed_at) >= QUIET;
    let is_first_stopped = is_stopped && course.shards_in_flight == 0;
    (is_near_end && since_scan >= SCAN_AT_END_EVERY)
        || (is_first_stopped && since_scan >= SCAN_AT_END_EVERY * 2)
        || ((is_quiet || is_stopped) && since_scan >= SCAN_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::launch::Stop;

    const NOW: Timestamp = Timestamp::from_secs(1_000);
    const PATIENCE: Duration = Duration::from_secs(10);

    fn moment(phase: Phase) -> Moment {
        let on_unknown = OnUnknown::ResendOnce;
        Moment { now: NOW, phase, attempts_max: 3, on_unknown, patience: [Patience::Lost(PATIENCE); 2] }
    }

    const APNS: Platform = Platform::Apns;

    fn since(enqueued_at: Timestamp) -> Waiting {
        Waiting { enqueued_at, times: 0 }
    }

    fn free(attempts: u32, is_started: bool, lease_until: Timestamp) -> Standing {
        Standing::Free(Before { epoch: attempts, attempts, is_started, lease_until })
    }

    #[test]
    fn what_is_recorded_or_held_is_let_be_whatever_happens() {
        for phase in [Phase::Open, Phase::Still, Phase::Aborted, Phase::Expired] {
            let decide = |standing| decide(&moment(phase), APNS, standing, Waiting::default());
            assert_eq!(decide(Standing::Recorded), Step::Done);
            assert_eq!(decide(Standing::Held(NOW)), Step::Wait);
        }
    }

    #[test]
    fn a_free_shard_is_enqueued_again_once_its_message_must_be_lost() {
        let open = moment(Phase::Open);
        let never = free(0, false, Timestamp(0));
        assert_eq!(decide(&open, APNS, never, since(NOW - PATIENCE)), Step::Wait);
        assert_eq!(decide(&open, APNS, never, since(NOW - PATIENCE - Duration::from_secs(1))), Step::Enqueue);
        let lost = free(1, true, NOW - Duration::from_secs(2));
        assert_eq!(decide(&open, APNS, lost, Waiting::default()), Step::Wait);
        let long_lost = free(1, true, NOW - Duration::from_secs(11));
        assert_eq!(decide(&open, APNS, long_lost, Waiting::default()), Step::Enqueue);
    }

    #[test]
    fn messages_that_wait_in_a_queue_are_doubled_less_and_less_often() {
        let queued = Patience::Queued(PATIENCE);
        let is_over = |times, waited| queued.is_over(NOW - PATIENCE * waited, times, NOW);
        assert!(is_over(0, 2) && !is_over(1, 2) && is_over(1, 3) && !is_over(3, 8) && is_over(3, 9));
        assert!(!Patience::Endless.is_over(Timestamp(0), 0, NOW));
    }

    #[test]
    fn after_too_many_attempts_a_shard_is_closed() {
        let open = moment(Phase::Open);
        let close = |class| Outcome::new(class, Reason::AttemptsExhausted);
        assert_eq!(decide(&open, APNS, free(3, false, NOW), since(NOW)), Step::Close(close(Class::NotSent)));
        let twice = close(Class::Unknown).resent();
        assert_eq!(decide(&open, APNS, free(3, true, NOW), since(NOW)), Step::Close(twice));
    }

    #[test]
    fn what_may_have_left_is_unknown_and_the_rest_says_why_it_never_will() {
        let unclaimed = free(0, false, Timestamp(0));
        let lost = free(1, true, NOW);
        let close = |class, reason| Step::Close(Outcome::new(class, reason));
        let step = |phase, standing| decide(&moment(phase), APNS, standing, since(NOW));
        assert_eq!(step(Phase::Aborted, unclaimed), close(Class::NotSent, Reason::Aborted));
        assert_eq!(step(Phase::Expired, unclaimed), close(Class::Expired, Reason::None));
        assert_eq!(step(Phase::Aborted, lost), close(Class::Unknown, Reason::WorkerLost));
        assert_eq!(step(Phase::Expired, lost), close(Class::Unknown, Reason::WorkerLost));
        assert_eq!(step(Phase::Still, unclaimed), Step::Wait);
    }

    #[test]
    fn with_the_policy_to_leave_what_may_have_left_is_not_sent_again() {
        let leave = Moment { on_unknown: OnUnknown::Leave, ..moment(Phase::Open) };
        let lost = Outcome::new(Class::Unknown, Reason::WorkerLost);
        assert_eq!(decide(&leave, APNS, free(1, true, NOW), since(NOW)), Step::Close(lost));
        assert_eq!(decide(&leave, APNS, free(0, false, NOW), since(NOW)), Step::Wait);
    }

    #[test]
    fn an_abort_closes_nothing_while_a_permission_may_be_good() {
        let config = Config::new("d");
        let stop = |at| Some(Stop { at, by: "ann".into(), why: String::new() });
        let phase = |aborted, paused| {
            let control = Control { aborted, paused };
            Phase::of(&control, NOW, NOW, &config)
        };
        assert_eq!(phase(None, None), Phase::Open);
        assert_eq!(phase(None, stop(NOW)), Phase::Still);
        assert_eq!(phase(stop(NOW - Duration::from_millis(250)), None), Phase::Still);
        assert_eq!(phase(stop(NOW - Duration::from_millis(500)), stop(NOW)), Phase::Aborted);
        let late = NOW + Duration::from_millis(500);
        assert_eq!(Phase::of(&Control::default(), NOW, late, &config), Phase::Expired);
    }

    #[test]
    fn rows_are_read_at_the_end_and_when_nothing_moves() {
        let busy = Course { devices: 5, shards_in_flight: 2, changed_at: NOW, scanned_at: Timestamp(0) };
        assert!(!is_scan_due(&busy, 10, Phase::Open, NOW));
        assert!(!is_scan_due(&Course { devices: 10, ..busy }, 10, Phase::Open, NOW));
        let at_end = Course { devices: 10, shards_in_flight: 0, ..busy };
        assert!(is_scan_due(&at_end, 10, Phase::Open, NOW));
        assert!(!is_scan_due(&Course { scanned_at: NOW, ..at_end }, 10, Phase::Open, NOW));
        assert!(is_scan_due(&Course { changed_at: NOW - QUIET, ..busy }, 10, Phase::Open, NOW));
        assert!(is_scan_due(&busy, 10, Phase::Aborted, NOW));
    }
}
