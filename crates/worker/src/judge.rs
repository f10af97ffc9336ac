//! What to do with a received shard: pure functions of its message, the launch's permission and its row.

use std::time::Duration;

use backend::rows::shard::{Before, Claim, ShardRow, Standing};
use model::queued::ShardMessage;
use model::{Class, OnUnknown, Outcome, Reason, Timestamp};
use report::{Positions, ShardRecord, record};

/// What the rows that hold a launch back say of one project's part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Requests may start.
    Go,
    /// Nobody knows: the rows could not be read for too long.
    Unknown,
    /// Somebody paused the launch.
    Paused,
    /// The provider paused the project until then.
    PausedUntil(Timestamp),
    /// Never again.
    Aborted,
}

/// What to do with a message before its shard is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Claim the shard.
    Claim,
    /// Give the message back for this long.
    Later(Duration),
    /// Its place in the quota is gone, or it never had one: reserve another.
    Repace,
    /// Delete the message; the dispatcher closes the shard.
    Drop,
}

/// Judges a message at `now`. `pause` is the time after which a paused launch is looked at again.
pub(crate) fn enter(
    message: &ShardMessage,
    permit: Permit,
    has_quota: bool,
    now: Timestamp,
    pause: Duration,
) -> Entry {
    let has_window = message.window_until > Timestamp(0);
    let is_unpaced = message.attempt > 0 && !has_window && has_quota;
    if permit == Permit::Aborted || now > message.not_after {
        Entry::Drop
    } else if now < message.window_from {
        Entry::Later(message.window_from.since(now))
    } else {
        match permit {
            Permit::PausedUntil(until) => Entry::Later(until.since(now).max(pause)),
            Permit::Paused => Entry::Later(pause),
            Permit::Unknown => Entry::Later(pause.min(Duration::from_millis(200))),
            _ if has_window && now >= message.window_until => Entry::Repace,
            _ if is_unpaced => Entry::Repace,
            _ => Entry::Claim,
        }
    }
}

/// What to do with a shard whose row is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// Nobody has it: claim it.
    Claim(Before),
    /// Somebody else has it, or nobody should: neither send nor delete, look again.
    Later(Duration),
    /// Delete the message.
    Recorded,
}

/// How long a shard that the dispatcher has to close is left to it.
const LEFT_TO_DISPATCHER: Duration = Duration::from_secs(5);

/// Judges a shard by its row.
pub(crate) fn meet(standing: Standing, now: Timestamp, on_unknown: OnUnknown, attempts_max: u32) -> Meeting {
    match standing {
        Standing::Recorded => Meeting::Recorded,
        Standing::Held(until) => Meeting::Later(until.since(now).max(Duration::from_millis(1))),
        Standing::Free(before) => {
            let is_left = before.is_started && on_unknown == OnUnknown::Leave;
            let is_exhausted = before.attempts >= attempts_max;
            if is_left || is_exhausted { Meeting::Later(LEFT_TO_DISPATCHER) } else { Meeting::Claim(before) }
        }
    }
}

/// The claim that follows on what went before. It says *started* at once: whoever dies with it may have sent.
pub(crate) fn claim(before: Before, owner: u128, lease_until: Timestamp) -> Claim {
    Claim { owner, epoch: before.epoch + 1, attempts: before.attempts + 1, lease_until, is_started: true }
}

/// The claim of a shard that is given back: as if it had never been claimed, but of a later epoch.
pub(crate) fn given_back(before: Before, owner: u128) -> Claim {
    Claim {
        owner,
        epoch: before.epoch + 2,
        attempts: before.attempts,
        lease_until: Timestamp(0),
        is_started: before.is_started,
    }
}

/// Stands in a record for a device that its epoch has not sent to and that somebody else still may. Every other outcome
/// outranks it.
pub(crate) const OPEN: Outcome = Outcome::new(Class::NotSent, Reason::None);

fn is_open(outcome: Outcome) -> bool {
    outcome.with_resent(false) == OPEN
}

/// The devices of a shard that a claim has to send to, given what is known of them.
pub(crate) fn to_send(known: Option<&ShardRecord>, all: &Positions) -> Positions {
    let Some(known) = known else { return all.clone() };
    let (positions, outcomes) = known.outcomes();
    let settled = positions.iter().zip(outcomes.iter()).filter(|(_, outcome)| !is_open(*outcome));
    let mut settled = settled.map(|(position, _)| position).peekable();
    all.iter().filter(|position| settled.next_if_eq(position).is_none()).collect()
}

/// The outcomes of one epoch over all positions of its part: those of the devices it was given, and for the others what
/// changes nothing of what is known.
pub(crate) fn part_outcomes(
    known: Option<&ShardRecord>,
    before: Before,
    all: &Positions,
    sent: &Positions,
    outcomes: impl Iterator<Item = Outcome>,
) -> Vec<Outcome> {
    let mut sent = sent.iter().zip(outcomes).peekable();
    // Two lost workers may both have sent to a device of which a late record speaks of one only.
    let is_doubtful = before.is_started && before.attempts >= 2;
    let mut known = known.map(ShardRecord::outcomes).map(|(positions, outcomes)| {
        let list: Vec<(u32, Outcome)> = positions.iter().zip(outcomes.iter()).collect();
        list.into_iter().peekable()
    });
    let mut filler = |position| {
        let known = known.as_mut()?;
        while known.next_if(|(at, _)| *at < position).is_some() {}
        let (_, outcome) = known.next_if(|(at, _)| *at == position)?;
        Some(if record::is_requested(outcome) { OPEN.with_resent(is_doubtful) } else { outcome })
    };
    all.iter()
        .map(|position| match sent.next_if(|(at, _)| *at == position) {
            Some((_, outcome)) => outcome,
            None => filler(position).unwrap_or(OPEN),
        })
        .collect()
}

/// Says of the people on the late list that they got nothing; of those whom a lost worker may have sent to, that as well.
pub(crate) fn suppress(outcomes: &mut [Outcome], all: &Positions, suppressed: &[u32], before: Before) {
    let mut suppressed = suppressed.iter().copied().peekable();
    for (position, outcome) in all.iter().zip(outcomes) {
        if suppressed.next_if_eq(&position).is_some() {
            *outcome = SUPPRESSED.with_resent(before.is_started);
        }
    }
}

/// What a device of somebody on the late list has.
pub(crate) const SUPPRESSED: Outcome = Outcome::new(Class::Suppressed, Reason::None);

/// Adds a row's claim to what it says; what is known stays and waits for more.
pub(crate) fn claimed(row: Option<ShardRow>, claim: Claim) -> ShardRow {
    let record = row.and_then(|row| row.record);
    ShardRow { claim, is_open: record.is_some(), record }
}

#[cfg(test)]
mod tests;
