//! What all connections of one thread share: the time, the judge, the ledger and the answers that are due later.

use std::sync::Arc;

use model::runtime::mix;
use model::time::Timestamp;
use model::{Platform, Reason};

use crate::apns::ApnsId;
use crate::config::{Config, Distribution, Latency};
use crate::fcm::body::Templates;
use crate::fcm::{Stamp, stamp};
use crate::fingerprint::{Fingerprint, unit};
use crate::judge::{Judge, Verdict};
use crate::ledger::{Ledger, NO_RECORD};
use crate::wheel::Wheel;

/// An answer that is due: 64 bytes or less, because there are as many as requests in flight.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    /// Which connection, and which of those that had its place.
    pub(crate) connection: u32,
    pub(crate) generation: u32,
    pub(crate) stream: u32,
    pub(crate) record: u32,
    pub(crate) arrived_us: u64,
    pub(crate) verdict: Verdict,
    /// APNs only.
    pub(crate) apns_id: ApnsId,
}

/// Shared by the connections of one thread.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) config: Arc<Config>,
    pub(crate) judge: Judge,
    pub(crate) ledger: Ledger,
    pub(crate) due: Wheel<Due>,
    pub(crate) templates: Templates,
    pub(crate) time: Time,
    delay: Delay,
    salt: u64,
    ids: u64,
}

/// The time of the thread's current turn.
#[derive(Clone, Debug)]
pub(crate) struct Time {
    /// Microseconds since the simulator's start.
    pub(crate) now_us: u64,
    /// The wall clock at the start.
    pub(crate) start: Timestamp,
    date_second: u64,
    date: String,
    stamp_us: u64,
    stamp: Stamp,
}

impl Time {
    pub(crate) fn new(start: Timestamp) -> Self {
        Self {
            now_us: 0,
            start,
            date_second: u64::MAX,
            date: String::new(),
            stamp_us: 0,
            stamp: stamp(start.as_micros()),
        }
    }

    /// The wall clock.
    pub(crate) fn unix(&self) -> Timestamp {
        Timestamp(self.start.as_micros() + self.now_us)
    }

    /// The wall clock as FCM's message names begin with it.
    #[inline]
    pub(crate) fn stamp(&mut self) -> &Stamp {
        if self.stamp_us != self.now_us {
            self.stamp_us = self.now_us;
            self.stamp = stamp(self.unix().as_micros());
        }
        &self.stamp
    }

    /// The `date` header of this second.
    pub(crate) fn date(&mut self) -> (u64, &str) {
        let unix = self.unix();
        if self.date_second != unix.as_secs() {
            self.date_second = unix.as_secs();
            self.date = http_date(unix);
        }
        (self.date_second, &self.date)
    }
}

/// RFC 9110, 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(time: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = time.to_string();
    let weekday = DAYS[(time.as_secs() / 86_400 % 7) as usize];
    let month = text[5..7].parse::<usize>().map_or("Jan", |month| MONTHS[(month - 1) % 12]);
    format!("{weekday}, {} {month} {} {} GMT", &text[8..10], &text[..4], &text[11..19])
}

impl Desk {
    pub(crate) fn new(config: Arc<Config>, judge: Judge, start: Timestamp, thread: usize) -> Self {
        let delay = Delay::new(&config.latency, config.seed ^ mix(thread as u64));
        let due = Wheel::new(config.latency.tick.as_micros() as u64, delay.max_us());
        let ledger = Ledger::new(config.requests_expected.div_ceil(config.threads));
        let salt = mix(mix(config.seed) ^ start.as_micros() ^ ((thread as u64) << 56));
        Self {
            config,
            judge,
            ledger,
            due,
            templates: Templates::default(),
            time: Time::new(start),
            delay,
            salt,
            ids: 0,
        }
    }

    /// What happens to a request of `key`, and the place of its record.
    #[inline]
    pub(crate) fn arrive(&mut self, key: Fingerprint) -> (Verdict, u32) {
        let verdict = self.judge.judge(key, self.time.now_us);
        (verdict, self.ledger.record(key, verdict))
    }

    /// What happens to a request that reaches no device; it counts against the quota all the same.
    pub(crate) fn pass(&mut self) -> Verdict {
        self.judge.pass(self.time.now_us)
    }

    /// What happens to a request that is answered `reason` whatever its device: like any other it counts against the quota.
    pub(crate) fn pass_or(&mut self, reason: Reason) -> Verdict {
        match self.pass() {
            Verdict::ACCEPTED => Verdict::answered(reason),
            refusal => refusal,
        }
    }

    /// Records a request that the protocol lets go unprocessed.
    pub(crate) fn refuse(&mut self, key: Option<Fingerprint>) {
        let verdict = Verdict { manner: crate::config::Manner::Refused, ..Verdict::ACCEPTED };
        match key {
            Some(key) => drop(self.ledger.record(key, verdict)),
            None => self.ledger.counts.refused += 1,
        }
    }

    /// When the answer to a request that arrived now is due; `None`: at once.
    #[inline]
    pub(crate) fn due_us(&mut self) -> Option<u64> {
        let delay_us = self.delay.next_us();
        (delay_us > 0).then(|| self.time.now_us + delay_us)
    }

    /// A number that no other answer of this run has.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.ids += 1;
        mix(self.salt ^ self.ids)
    }

    /// The timestamp of a 410, in milliseconds: before the start, and the same whenever the key is asked about.
    pub(crate) fn unregistered_at_ms(&self, record: u32) -> u64 {
        const AGE: u64 = 410;
        let key = if record == NO_RECORD { None } else { self.ledger.key(record) };
        let age = unit(key.unwrap_or_default().draw(self.config.seed, AGE));
        let within = self.config.faults.unregistered_within.mul_f64(age);
        (self.time.start - within).as_millis()
    }

    /// The value of `retry-after` for this verdict, if it has one.
    pub(crate) fn retry_after_s(&self, verdict: Verdict) -> Option<u64> {
        if verdict.is_project_quota {
            return Some(self.judge.quota_refilled_in_s(self.time.now_us));
        }
        let seconds = self.config.faults.retry_after.as_secs();
        let has_one = matches!(
            verdict.reason,
            Reason::TooManyRequests
                | Reason::ServiceUnavailable
                | Reason::QuotaExceeded
                | Reason::Unavailable
        );
        (has_one && seconds > 0).then_some(seconds)
    }

    /// The provider that this is.
    pub(crate) fn platform(&self) -> Platform {
        self.config.provider
    }
}

/// Draws latencies.
#[derive(Debug)]
struct Delay {
    base_us: u64,
    spread_us: u64,
    distribution: Distribution,
    state: u64,
}

impl Delay {
    fn new(latency: &Latency, seed: u64) -> Self {
        Self {
            base_us: latency.base.as_micros() as u64,
            spread_us: latency.spread.as_micros() as u64,
            distribution: latency.distribution,
            state: mix(seed),
        }
    }

    fn max_us(&self) -> u64 {
        match self.distribution {
            Distribution::Uniform => self.base_us + self.spread_us,
            Distribution::Exponential => self.base_us + 10 * self.spread_us,
        }
    }

    #[inline]
    fn next_us(&mut self) -> u64 {
        if self.spread_us == 0 { self.base_us } else { self.stray_us() }
    }

    fn stray_us(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let (draw, spread) = (unit(mix(self.state)), self.spread_us as f64);
        match self.distribution {
            Distribution::Uniform => (self.base_us as f64 + spread * (2.0 * draw - 1.0)).max(0.0) as u64,
            Distribution::Exponential => self.base_us + (spread * (-(1.0 - draw).ln()).min(10.0)) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_written_as_http_writes_them() {
        assert_eq!(http_date(Timestamp::from_secs(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn latencies_keep_to_their_distribution() {
        let mut latency = Latency { base: Duration::from_millis(60), ..Latency::default() };
        assert_eq!(Delay::new(&latency, 1).next_us(), 60_000);
        latency.spread = Duration::from_millis(10);
        let draws = |latency: &Latency| -> Vec<u64> {
            let mut delay = Delay::new(latency, 1);
            (0..10_000).map(|_| delay.next_us()).collect()
        };
        let uniform = draws(&latency);
        assert!(uniform.iter().all(|us| (50_000..=70_000).contains(us)));
        assert_eq!(uniform, draws(&latency), "the seed decides");
        latency.distribution = Distribution::Exponential;
        let tail = draws(&latency);
        assert!(tail.iter().all(|us| (60_000..=160_000).contains(us)));
        let mean = tail.iter().sum::<u64>() / 10_000;
        assert!((69_000..71_000).contains(&mean), "{mean}");
    }
}
