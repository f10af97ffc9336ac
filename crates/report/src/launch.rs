//! The final figures of a launch, from its plan and its records only.

use std::collections::BTreeMap;

use model::launch::{Control, Finish, LaunchState, Stop};
use model::{
    CampaignId, Class, Launch, LaunchId, Manifest, Market, OutcomeRuns, Plan, Platform, Purpose, ShardSpec,
    Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::check::{BrokenInvariant, Findings, Invariant};
use crate::curve::Curve;
use crate::latencies::{Latencies, Quantiles};
use crate::record::{self, ShardRecord};
use crate::tally::{Counts, Tally};
use crate::trouble::{self, Trouble};

/// Everything a report says about a launch. Times are microseconds since the press, except where they have a date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchReport {
    /// Launch.
    pub launch: LaunchId,
    /// Campaign.
    pub campaign: CampaignId,
    /// Its name at the press.
    pub campaign_name: String,
    /// Wave.
    pub wave: String,
    /// Purpose.
    pub purpose: Purpose,
    /// Who pressed.
    pub pressed_by: String,
    /// When.
    pub pressed_at: Timestamp,
    /// Where it stands; `None` while nobody said, see [`LaunchReport::with_state`].
    pub state: Option<LaunchState>,
    /// Who stopped it, if anybody did.
    pub aborted: Option<Stop>,
    /// Devices of the wave, from the plan.
    pub devices: u64,
    /// Shards of the plan.
    pub shards: u32,
    /// Shards with a record.
    pub shards_recorded: u32,
    /// Final classes: the burst, changed by its late retries.
    pub counts: Counts,
    /// Classes at the end of the burst.
    pub burst: Counts,
    /// Final outcomes.
    pub outcomes: Tally,
    /// By provider.
    pub by_platform: Vec<PlatformFigures>,
    /// By market and provider.
    pub by_market: Vec<MarketFigures>,
    /// From the press to the accepted answer, burst only.
    pub answers: Quantiles,
    /// Accepted answers of the burst per 100 ms since the press.
    pub curve: Curve,
    /// The late retries; `None` when there were none.
    pub late: Option<LateFigures>,
    /// Requests written, late retries and those sent again included.
    pub requests: u64,
    /// Of these, requests that the providers have certainly not processed, as far as the senders counted them.
    pub repeated: u64,
    /// First byte of the first request.
    pub first_write_us: Option<u64>,
    /// Last answer of the burst, accepted or not.
    pub last_answer_us: Option<u64>,
    /// The worst clock error of the workers, in microseconds: no time is better than this.
    pub clock_error_us: u64,
    /// What the records themselves got wrong.
    pub findings: Findings,
    /// What went wrong on the way to the providers, see [`LaunchReport::with_troubles`].
    #[serde(default)]
    pub troubles: Vec<Trouble>,
}

/// One provider's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformFigures {
    /// Provider.
    pub platform: Platform,
    /// Final classes.
    pub counts: Counts,
    /// Final outcomes.
    pub outcomes: Tally,
    /// From the press to the accepted answer, burst only.
    pub answers: Quantiles,
}

/// One market's part at one provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarketFigures {
    /// Market.
    pub market: Market,
    /// Provider.
    pub platform: Platform,
    /// Final classes.
    pub counts: Counts,
    /// From the press to the accepted answer, burst only.
    pub answers: Quantiles,
}

/// The late retries, apart from the burst.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LateFigures {
    /// Devices tried again, each attempt counted.
    pub attempts: u64,
    /// Outcomes of these attempts.
    pub outcomes: Tally,
    /// Devices accepted late that the burst had not brought through.
    pub accepted: u64,
    /// From the press to the accepted answer.
    pub answers: Quantiles,
    /// Requests written.
    pub requests: u64,
}

impl LaunchReport {
    /// Counts `records` of `launch` over its `plan`. Records may come in any order and more than once.
    pub fn new(
        launch: &Launch,
        plan: &Plan,
        manifest: &Manifest,
        records: impl IntoIterator<Item = ShardRecord>,
    ) -> Self {
        let mut sum = Sum::default();
        let mut shards = group(launch, plan, records, &mut sum.findings);
        for spec in plan.shards() {
            let Some(mut attempts) = shards.remove(&spec.number) else { continue };
            let late = attempts.split_off(&1);
            match attempts.remove(&0) {
                Some(burst) => sum.add(spec, market_of(manifest, spec), &burst, &late),
                None => sum.findings.add(Invariant::I2, || {
                    format!("shard {} has a record of a late retry and none of the burst", spec.number)
                }),
            }
        }
        sum.report(launch, plan)
    }

    /// Adds where the launch stands, from its other rows.
    #[must_use]
    pub fn with_state(self, control: &Control, finish: Option<&Finish>) -> Self {
        let state = Some(LaunchState::of(control, finish));
        Self { state, aborted: control.aborted.clone(), ..self }
    }

    /// Adds what the workers met on the way, which no record tells.
    #[must_use]
    pub fn with_troubles(self, troubles: impl IntoIterator<Item = Trouble>) -> Self {
        Self { troubles: trouble::merge(troubles), ..self }
    }

    /// Whether every device of the wave is in exactly one class.
    pub fn is_conserved(&self) -> bool {
        self.counts.is_conserved() && self.counts.devices == self.devices
    }

    /// What does not hold of I2 and of the part of I3 that records can tell, once every shard should be recorded.
    pub fn check(&self) -> Vec<BrokenInvariant> {
        let mut broken = self.findings.kept.clone();
        let mut add = |detail: String| broken.push(BrokenInvariant::new(Invariant::I2, detail));
        if self.findings.more > 0 {
            add(format!("{} more findings", self.findings.more));
        }
        if self.shards_recorded != self.shards {
            add(format!("{} of {} shards have a record", self.shards_recorded, self.shards));
        }
        if !self.is_conserved() {
            let sum: u64 = Class::ALL.iter().map(|&class| self.counts.of(class)).sum();
            add(format!("the classes add up to {sum}, the wave has {} devices", self.devices));
        }
        let sums = [
            ("providers", sum_of(self.by_platform.iter().map(|part| &part.counts))),
            ("markets", sum_of(self.by_market.iter().map(|part| &part.counts))),
            ("outcomes", self.outcomes.counts()),
        ];
        for (name, sum) in sums.iter().filter(|(_, sum)| *sum != self.counts) {
            add(format!("{name} add up to {} devices, the total to {}", sum.devices, self.counts.devices));
        }
        broken
    }
}

fn sum_of<'a>(parts: impl Iterator<Item = &'a Counts>) -> Counts {
    let mut sum = Counts::default();
    parts.for_each(|part| sum.merge(part));
    sum
}

fn market_of<'a>(manifest: &'a Manifest, spec: &ShardSpec) -> &'a str {
    manifest.groups.get(spec.group as usize).map_or("", |group| &group.market)
}

/// Requests for one device in one epoch that a provider may have processed: the first, one more after a token or connection
/// that had to be renewed, one more after silence.
const REQUESTS_OF_EPOCH_MAX: u64 = 3;

type Attempts = BTreeMap<u8, ShardRecord>;

/// Merges records of the same shard and attempt, and names those that the plan knows nothing of.
fn group(
    launch: &Launch,
    plan: &Plan,
    records: impl IntoIterator<Item = ShardRecord>,
    findings: &mut Findings,
) -> BTreeMap<u32, Attempts> {
    let mut shards: BTreeMap<u32, Attempts> = BTreeMap::new();
    for record in records {
        let (shard, attempt, devices) = (record.shard(), record.attempt(), record.devices());
        let planned = plan.shards().get(shard as usize).map(|spec| spec.count);
        if record.launch() != launch.id {
            findings.add(Invariant::I2, || format!("a record of shard {shard} is of {}", record.launch()));
        } else if planned != Some(devices) {
            let planned = planned.unwrap_or(0);
            findings.add(Invariant::I2, || {
                format!("the record of shard {shard} has {devices} devices, the plan {planned}")
            });
        } else {
            let attempts = shards.entry(shard).or_default();
            let merged = attempts.get_mut(&attempt).map(|known| known.merge(&record));
            if merged.is_none() {
                attempts.insert(attempt, record);
            }
        }
    }
    shards
}

/// What is added up shard by shard.
#[derive(Default)]
struct Sum {
    shards_recorded: u32,
    burst: Counts,
    platforms: [(Tally, Latencies); 2],
    markets: BTreeMap<(Market, Platform), (Counts, Latencies)>,
    late: Late,
    requests: u64,
    repeated: u64,
    first_write_us: Option<u64>,
    last_answer_us: Option<u64>,
    clock_error_us: u64,
    findings: Findings,
}

#[derive(Default)]
struct Late {
    attempts: u64,
    outcomes: Tally,
    accepted: u64,
    latencies: Latencies,
    requests: u64,
}

impl Sum {
    fn add(&mut self, spec: &ShardSpec, market: &str, burst: &ShardRecord, late: &Attempts) {
        let late: Vec<&ShardRecord> = late.values().collect();
        let settled = record::settle(burst, &late);
        self.shards_recorded += 1;
        self.check_requests(burst, &late, &settled);
        let at_end_of_burst = self.add_burst(burst);
        self.add_late(&late, accepted(&settled).saturating_sub(at_end_of_burst.accepted));
        let latencies = burst.latencies();
        let platform = &mut self.platforms[spec.platform.index()];
        platform.0.add_runs(&settled);
        platform.1.merge(&latencies);
        let market = self.markets.entry((market.to_string(), spec.platform)).or_default();
        settled.runs().for_each(|(outcome, devices)| market.0.add(outcome, u64::from(devices)));
        market.1.merge(&latencies);
    }

    fn add_burst(&mut self, burst: &ShardRecord) -> Counts {
        let mut counts = Counts::default();
        let outcomes = burst.outcomes().1;
        outcomes.runs().for_each(|(outcome, devices)| counts.add(outcome, u64::from(devices)));
        self.burst.merge(&counts);
        self.count_requests(burst);
        self.first_write_us = self.first_write_us.into_iter().chain(burst.first_write_us()).min();
        self.last_answer_us = self.last_answer_us.max(burst.last_answer_us());
        self.clock_error_us = self.clock_error_us.max(burst.clock_error_us());
        counts
    }

    fn add_late(&mut self, late: &[&ShardRecord], accepted: u64) {
        self.late.accepted += accepted;
        for record in late {
            let (positions, outcomes) = record.outcomes();
            self.late.attempts += u64::from(positions.count());
            self.late.outcomes.add_runs(&outcomes);
            self.late.latencies.merge(&record.latencies());
            self.late.requests = self.late.requests.saturating_add(record.requests());
            self.count_requests(record);
            self.clock_error_us = self.clock_error_us.max(record.clock_error_us());
        }
    }

    fn count_requests(&mut self, record: &ShardRecord) {
        self.requests = self.requests.saturating_add(record.requests());
        self.repeated = self.repeated.saturating_add(record.repeated().unwrap_or(0));
    }

    /// What requests tell: no answer without one (I2), and, where the senders count those that were not processed, more of
    /// the others than devices only with devices marked *resent* (I3).
    fn check_requests(&mut self, burst: &ShardRecord, late: &[&ShardRecord], settled: &OutcomeRuns) {
        let shard = burst.shard();
        let records = || std::iter::once(&burst).chain(late);
        let written = records().map(|record| record.requests()).fold(0, u64::saturating_add);
        let devices = record::requested(burst, late);
        if written < devices {
            self.findings.add(Invariant::I2, || {
                format!("shard {shard}: {devices} devices with a request, {written} requests")
            });
        }
        let repeated = records().try_fold(0, |sum: u64, record| Some(sum.saturating_add(record.repeated()?)));
        let Some(repeated) = repeated else { return };
        let excess = written.saturating_sub(repeated).saturating_sub(devices);
        let marked = settled.runs().filter(|(outcome, _)| outcome.is_resent());
        let resent: u64 = marked.map(|(_, devices)| u64::from(devices)).sum();
        let epochs: usize = records().map(|record| record.parts().len()).sum();
        if excess > resent.saturating_mul(REQUESTS_OF_EPOCH_MAX * epochs as u64 - 1) {
            self.findings.add(Invariant::I3, || {
                format!("shard {shard}: {excess} requests more than devices, {resent} marked resent")
            });
        }
    }

    fn report(self, launch: &Launch, plan: &Plan) -> LaunchReport {
        let mut outcomes = Tally::default();
        let mut latencies = Latencies::default();
        for (tally, part) in &self.platforms {
            outcomes.merge(tally);
            latencies.merge(part);
        }
        let late = LateFigures {
            attempts: self.late.attempts,
            outcomes: self.late.outcomes,
            accepted: self.late.accepted,
            answers: self.late.latencies.quantiles(),
            requests: self.late.requests,
        };
        LaunchReport {
            launch: launch.id,
            campaign: launch.campaign,
            campaign_name: launch.campaign_name.clone(),
            wave: launch.wave.name.clone(),
            purpose: launch.purpose,
            pressed_by: launch.pressed_by.clone(),
            pressed_at: launch.pressed_at,
            state: None,
            aborted: None,
            devices: plan.devices(),
            shards: plan.shards().len() as u32,
            shards_recorded: self.shards_recorded,
            counts: outcomes.counts(),
            burst: self.burst,
            outcomes,
            by_platform: platforms(self.platforms),
            by_market: markets(self.markets),
            answers: latencies.quantiles(),
            curve: Curve::of(&latencies),
            late: (late.attempts > 0).then_some(late),
            requests: self.requests,
            repeated: self.repeated,
            first_write_us: self.first_write_us,
            last_answer_us: self.last_answer_us,
            clock_error_us: self.clock_error_us,
            findings: self.findings,
            troubles: Vec::new(),
        }
    }
}

fn accepted(runs: &OutcomeRuns) -> u64 {
    let accepted = runs.runs().filter(|(outcome, _)| outcome.class() == Class::Accepted);
    accepted.map(|(_, devices)| u64::from(devices)).sum()
}

fn platforms(sums: [(Tally, Latencies); 2]) -> Vec<PlatformFigures> {
    let sums = Platform::ALL.into_iter().zip(sums).filter(|(_, (tally, _))| !tally.is_empty());
    let figures = sums.map(|(platform, (outcomes, latencies))| PlatformFigures {
        platform,
        counts: outcomes.counts(),
        outcomes,
        answers: latencies.quantiles(),
    });
    figures.collect()
}

fn markets(sums: BTreeMap<(Market, Platform), (Counts, Latencies)>) -> Vec<MarketFigures> {
    let figures = sums.into_iter().map(|((market, platform), (counts, latencies))| MarketFigures {
        market,
        platform,
        counts,
        answers: latencies.quantiles(),
    });
    figures.collect()
}

#[cfg(test)]
pub(crate) mod tests;
