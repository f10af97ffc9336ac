//! Late retries: devices with a transient answer are tried again within the launch's *not-after*, one message per shard
//! and attempt, reported apart from the burst.

use std::collections::BTreeMap;
use std::time::Duration;

use backend::rows::launch;
use backend::rows::shard::{self, ShardName, Standing, StoredShard};
use backend::store::Expect;
use model::runtime::mix;
use model::{LaunchId, Reason, Timestamp};
use report::{Positions, ShardRecord, record};
use tracing::info;

use crate::close::Closing;
use crate::config::LateDelays;
use crate::decide::{Moment, Phase, Step, Waiting, decide};
use crate::error::Result;
use crate::known::Known;
use crate::watch::{Stage, Tracked};
use crate::{Config, Dispatcher, messages};

/// How often the rows of late retries that are due are read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The shards with devices for a late retry, and when they were last looked at.
#[derive(Debug, Default)]
pub(crate) struct Late {
    pub(crate) shards: BTreeMap<u32, LateShard>,
    looked_at: Timestamp,
}

/// A shard's next attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LateShard {
    pub(crate) attempt: u8,
    wait: Wait,
    pub(crate) due: Timestamp,
    enqueued_at: Timestamp,
    /// How often the message of this attempt was sent again.
    times: u8,
}

/// How long the providers ask to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wait {
    worst: Worst,
    /// The longest `Retry-After`.
    at_least: Duration,
}

/// The reason that asks for the longest wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Worst {
    #[default]
    Other,
    FcmQuota,
    ApnsServer,
}

impl Worst {
    const fn of(reason: Reason) -> Self {
        match reason {
            Reason::InternalServerError | Reason::ServiceUnavailable | Reason::Shutdown => Worst::ApnsServer,
            Reason::QuotaExceeded => Worst::FcmQuota,
            _ => Worst::Other,
        }
    }
}

impl Late {
    /// Takes in a shard's record of the burst.
    pub(crate) fn take_burst(&mut self, burst: &ShardRecord) {
        if let Some(wait) = wait(burst, &[]) {
            let next = LateShard { attempt: 1, wait, due: Timestamp(0), enqueued_at: Timestamp(0), times: 0 };
            self.shards.insert(burst.shard(), next);
        }
    }

    /// Sets when each first attempt is due, counted from the end of the burst; drops those that would come after the
    /// launch's time. Whether any is left.
    pub(crate) fn schedule(&mut self, known: &Known, over_at: Timestamp, config: &Config) -> bool {
        self.shards.retain(|&number, shard| {
            shard.due = over_at + delay(known.id(), number, shard, &config.late);
            shard.due < known.launch.not_after
        });
        !self.shards.is_empty()
    }
}

/// How long the devices of a shard that could be tried again have to wait; `None` when there are no such devices.
fn wait(burst: &ShardRecord, late: &[&ShardRecord]) -> Option<Wait> {
    let settled = record::settle(burst, late);
    let transient = settled.runs().filter(|(outcome, _)| outcome.is_transient());
    let worst = transient.map(|(outcome, _)| Worst::of(outcome.reason())).max()?;
    let last = late.last().copied().unwrap_or(burst);
    Some(Wait { worst, at_least: Duration::from_secs(last.retry_after_s()) })
}

/// Doubles with each attempt, is never shorter than a `Retry-After`, and up to half as much again by chance, so that not all
/// come at once. The chance follows from the shard: every dispatcher comes to the same time.
fn delay(launch: LaunchId, number: u32, shard: &LateShard, delays: &LateDelays) -> Duration {
    let base = match shard.wait.worst {
        Worst::Other => delays.other,
        Worst::FcmQuota => delays.fcm_quota.max(delays.other),
        Worst::ApnsServer => delays.apns_server.max(delays.other),
    };
    let doubled = base * (1 << u32::from(shard.attempt.saturating_sub(1)).min(10));
    let chance = mix(launch.0 as u64 ^ u64::from(number) << 8 ^ u64::from(shard.attempt)) >> 32;
    let waited = doubled.max(shard.wait.at_least);
    waited + waited.mul_f64(chance as f64 / f64::from(u32::MAX) / 2.0)
}

impl Dispatcher {
    /// Sends the messages of attempts that were not yet sent.
    pub(crate) async fn enqueue_late(&self, launch: &mut Tracked) -> Result<()> {
        let now = self.now();
        let is_unsent = |shard: &LateShard| shard.enqueued_at == Timestamp(0);
        let unsent = launch.late.shards.iter().filter(|(_, shard)| is_unsent(shard));
        let message = |(&number, shard): (&u32, &LateShard)| {
            messages::late(&launch.known, number, shard.attempt, shard.due, now)
        };
        let unsent: Vec<_> = unsent.map(message).collect();
        if !unsent.is_empty() {
            info!(launch = %launch.id(), shards = unsent.len(), "late retries are enqueued");
            self.send(unsent).await?;
        }
        let sent = launch.late.shards.values_mut().filter(|shard| is_unsent(shard));
        sent.for_each(|shard| shard.enqueued_at = now);
        Ok(())
    }

    /// Looks at the attempts that are due; when none is left, the launch is over.
    pub(crate) async fn look_late(&self, launch: &mut Tracked, phase: Phase, is_aborted: bool) -> Result<()> {
        let now = self.now();
        if now.since(launch.late.looked_at) >= LOOK_EVERY {
            launch.late.looked_at = now;
            let is_stopped = is_aborted || phase == Phase::Expired;
            let shards = launch.late.shards.iter().filter(|(_, shard)| is_stopped || shard.due <= now);
            let due: Vec<(u32, LateShard)> = shards.map(|(number, shard)| (*number, *shard)).collect();
            if !due.is_empty() {
                let moment = self.moment(&launch.known, phase).await?;
                for chunk in due.chunks(100) {
                    self.look_late_at(launch, &moment, chunk).await?;
                }
            }
        }
        if launch.late.shards.is_empty() {
            self.end_late(launch).await?;
        }
        Ok(())
    }

    async fn look_late_at(
        &self,
        launch: &mut Tracked,
        moment: &Moment,
        due: &[(u32, LateShard)],
    ) -> Result<()> {
        let name = |&(number, shard): &(u32, LateShard)| name(&launch.known, number, shard.attempt);
        let names: Vec<ShardName> = due.iter().map(name).collect();
        let rows = shard::get(&*self.backend.store, &names).await?;
        let mut closings = Vec::new();
        let mut is_enqueueing = false;
        for ((&(number, shard), name), row) in due.iter().zip(&names).zip(rows) {
            let standing =
                Standing::of(row.as_ref().map(|row| &row.row), moment.now, self.config.clock_error);
            let waiting = Waiting { enqueued_at: shard.due.max(shard.enqueued_at), times: shard.times };
            match decide(moment, launch.known.platform(number), standing, waiting) {
                Step::Done => is_enqueueing |= self.next_attempt(launch, number, shard).await?,
                Step::Wait => {}
                Step::Enqueue => {
                    is_enqueueing = true;
                    let times = shard.times.saturating_add(1);
                    launch
                        .late
                        .shards
                        .insert(number, LateShard { enqueued_at: Timestamp(0), times, ..shard });
                }
                Step::Close(outcome) => match standing {
                    Standing::Free(before) if before.is_started => {
                        closings.push(self.closing_late(launch, *name, row, outcome.resent()).await?);
                    }
                    // Nothing left for this attempt: the devices keep the outcome they have.
                    _ => {
                        launch.late.shards.remove(&number);
                    }
                },
            }
        }
        self.close(&launch.known, &closings).await?;
        if is_enqueueing { self.enqueue_late(launch).await } else { Ok(()) }
    }

    async fn closing_late(
        &self,
        launch: &Tracked,
        name: ShardName,
        row: Option<StoredShard>,
        outcome: model::Outcome,
    ) -> Result<Closing> {
        let records = self.records(&launch.known, name.shard, name.attempt - 1).await?;
        let late: Vec<&ShardRecord> = records.iter().skip(1).collect();
        let positions =
            records.first().map_or_else(Positions::default, |burst| record::retryable(burst, &late));
        let devices = launch.known.plan.shards()[name.shard as usize].count;
        Ok(Closing { name, row, positions, devices, outcome })
    }

    /// After a recorded attempt: the next one, if devices, attempts and time are left. Whether there is one.
    async fn next_attempt(&self, launch: &mut Tracked, number: u32, shard: LateShard) -> Result<bool> {
        let records = self.records(&launch.known, number, shard.attempt).await?;
        let late: Vec<&ShardRecord> = records.iter().skip(1).collect();
        let wait = records.first().and_then(|burst| wait(burst, &late));
        let attempts_max = launch.known.launch.policy.late_retries_max;
        let Some(wait) = wait.filter(|_| shard.attempt < attempts_max) else {
            launch.late.shards.remove(&number);
            return Ok(false);
        };
        let mut next =
            LateShard { attempt: shard.attempt + 1, wait, enqueued_at: Timestamp(0), times: 0, ..shard };
        // From the record, not from this look at it: whoever looks, and whenever, comes to the same time.
        let answered_us = records.last().and_then(ShardRecord::last_answer_us);
        let pressed_at = launch.known.launch.pressed_at;
        let answered_at = answered_us.map_or(self.now(), |us| pressed_at + Duration::from_micros(us));
        next.due = answered_at + delay(launch.id(), number, &next, &self.config.late);
        if next.due >= launch.known.launch.not_after {
            launch.late.shards.remove(&number);
            return Ok(false);
        }
        launch.late.shards.insert(number, next);
        Ok(true)
    }

    /// A shard's record of the burst, then those of its late retries up to `attempt`.
    async fn records(&self, known: &Known, number: u32, attempt: u8) -> Result<Vec<ShardRecord>> {
        let names: Vec<ShardName> = (0..=attempt).map(|attempt| name(known, number, attempt)).collect();
        let rows = shard::get(&*self.backend.store, &names).await?;
        let records = rows.into_iter().flatten().map(|row| row.row.read_record());
        Ok(records.filter_map(backend::Result::transpose).collect::<backend::Result<_>>()?)
    }

    async fn end_late(&self, launch: &mut Tracked) -> Result<()> {
        let id = launch.id();
        let Some(mut finish) = launch::finish(&*self.backend.store, id).await? else { return Ok(()) };
        if finish.body.late_over_at.is_none() {
            finish.body.late_over_at = Some(self.now());
            let expect = Expect::Version(finish.version);
            let writes = vec![launch::put_finish(id, &finish.body, expect), launch::close(id)];
            if !self.audited(id, "launch.late_over", serde_json::json!({}), writes).await? {
                return Ok(());
            }
            info!(launch = %id, "late retries are over");
        }
        launch.stage = Stage::Over;
        Ok(())
    }
}

fn name(known: &Known, number: u32, attempt: u8) -> ShardName {
    ShardName { launch: known.id(), slice: known.plan.slice_of(number), shard: number, attempt }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Class, Outcome, OutcomeRuns};
    use report::Part;

    fn record(outcomes: &[Outcome]) -> ShardRecord {
        let part = Part {
            positions: Positions::all(outcomes.len() as u32),
            outcomes: OutcomeRuns::encode(outcomes.iter().copied()),
            ..Part::default()
        };
        ShardRecord::new(LaunchId(1), 7, 0, outcomes.len() as u32, 1, part).unwrap()
    }

    fn rejected(reason: Reason) -> Outcome {
        Outcome::new(Class::Rejected, reason)
    }

    #[test]
    fn only_transient_outcomes_are_tried_again_and_the_slowest_sets_the_time() {
        let mut late = Late::default();
        late.take_burst(&record(&[Outcome::ACCEPTED, rejected(Reason::Unregistered)]));
        assert!(late.shards.is_empty());
        late.take_burst(&record(&[rejected(Reason::Unavailable), rejected(Reason::QuotaExceeded)]));
        assert_eq!(late.shards[&7].wait.worst, Worst::FcmQuota);
    }

    #[test]
    fn a_delay_doubles_stays_within_half_as_much_again_and_is_the_same_for_everybody() {
        let delays = LateDelays::default();
        for attempt in 1..5_u8 {
            let due = Timestamp(0);
            let shard = LateShard { attempt, wait: Wait::default(), due, enqueued_at: due, times: 0 };
            let base = delays.other * (1 << (attempt - 1));
            for number in 0..50 {
                let delay_of = || delay(LaunchId(9), number, &shard, &delays);
                assert!(delay_of() >= base && delay_of() <= base.mul_f64(1.5));
                assert_eq!(delay_of(), delay_of());
            }
        }
    }

    #[test]
    fn no_retry_comes_before_the_provider_said() {
        let part = Part {
            positions: Positions::all(1),
            outcomes: OutcomeRuns::uniform(rejected(Reason::Unavailable), 1),
            retry_after_s: 77,
            ..Part::default()
        };
        let burst = ShardRecord::new(LaunchId(1), 7, 0, 1, 1, part).unwrap();
        let mut late = Late::default();
        late.take_burst(&burst);
        let wait = delay(LaunchId(1), 7, &late.shards[&7], &LateDelays::default());
        assert!((77..=116).contains(&wait.as_secs()), "{wait:?}");
    }

    #[test]
    fn providers_own_pauses_are_kept() {
        assert_eq!(Worst::of(Reason::ServiceUnavailable), Worst::ApnsServer);
        assert_eq!(Worst::of(Reason::Unavailable), Worst::Other);
        assert!(Worst::ApnsServer > Worst::FcmQuota && Worst::FcmQuota > Worst::Other);
    }
}
