//! What `fanfare bench push` measures and how it shows it.

use model::{Class, Monotonic};
use push::{NO_ANSWER, ShardDone};
use report::Latencies;
use report::text::thousands;
use serde::Serialize;

use crate::machine;

/// The result. CPU is the whole process's, user and system; latencies run from the moment when a device's shard is
/// handed to the engine to its answer, so they include the wait for a free stream.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    accepted: u64,
    rejected: u64,
    unknown: u64,
    not_sent: u64,
    /// From the first write to the last answer.
    elapsed_s: f64,
    /// Answers per second of that.
    per_second: f64,
    /// CPU from the first write to the last answer, divided by the devices.
    cpu_us_per_device: f64,
    /// CPU before the first write: start, keys, TLS handshakes.
    setup_cpu_s: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    rss_bytes: u64,
}

/// What has come back so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    accepted: u64,
    rejected: u64,
    unknown: u64,
    not_sent: u64,
    latencies: Latencies,
    first_write: Option<Monotonic>,
    last_answer: Option<Monotonic>,
}

impl Tally {
    pub(super) fn take(&mut self, shard: &ShardDone) {
        for outcome in &shard.outcomes {
            match outcome.class() {
                Class::Accepted => self.accepted += 1,
                Class::Rejected => self.rejected += 1,
                Class::Unknown => self.unknown += 1,
                Class::Expired | Class::Suppressed | Class::NotSent => self.not_sent += 1,
            }
        }
        let answered = shard.answered_us.iter().filter(|us| **us != NO_ANSWER);
        self.latencies.record_all(answered.map(|us| u64::from(*us)));
        self.first_write = self.first_write.into_iter().chain(shard.first_write).min();
        self.last_answer = self.last_answer.max(shard.last_answer);
    }

    /// `setup_cpu_us` and `end_cpu_us` are the process's CPU time before the first write and after the last answer.
    pub(super) fn figures(self, setup_cpu_us: u64, end_cpu_us: u64) -> Figures {
        let devices = self.accepted + self.rejected + self.unknown + self.not_sent;
        let elapsed_s = match (self.first_write, self.last_answer) {
            (Some(first), Some(last)) => last.since(first).as_secs_f64(),
            _ => 0.0,
        };
        let answers = self.latencies.quantiles();
        let ms = |us: u64| us as f64 / 1e3;
        Figures {
            accepted: self.accepted,
            rejected: self.rejected,
            unknown: self.unknown,
            not_sent: self.not_sent,
            elapsed_s,
            per_second: if elapsed_s > 0.0 { answers.count as f64 / elapsed_s } else { 0.0 },
            cpu_us_per_device: (end_cpu_us - setup_cpu_us) as f64 / devices.max(1) as f64,
            setup_cpu_s: setup_cpu_us as f64 / 1e6,
            p50_ms: ms(answers.p50_us),
            p95_ms: ms(answers.p95_us),
            p99_ms: ms(answers.p99_us),
            p999_ms: ms(answers.p999_us),
            max_ms: ms(answers.max_us),
            rss_bytes: machine::resident_bytes(),
        }
    }
}

impl Figures {
    /// Whether the server answered every request.
    pub(super) const fn is_all_answered(&self) -> bool {
        self.unknown == 0 && self.not_sent == 0
    }

    /// What keeps the benchmark from being one.
    pub(super) fn missing(&self) -> String {
        let Self { unknown, not_sent, .. } = self;
        format!(
            "{unknown} unknown, {not_sent} not sent; the figures are of those that were, and waiting for others is not in them"
        )
    }

    pub(super) fn table(&self) -> String {
        format!(
            "accepted      {}\nrejected      {}\nunknown       {}\nnot sent      {}\n\
             elapsed       {:.3} s from the first write to the last answer, {} answers per second\n\
             CPU           {:.3} us per device, {:.2} s before the first write\n\
             latency       50 % {:.1} ms   95 % {:.1} ms   99 % {:.1} ms   99.9 % {:.1} ms   last {:.1} ms\n\
             \u{20}             (from handing a shard to the engine to the answer)\n\
             memory        {:.0} MiB resident\n",
            thousands(self.accepted),
            thousands(self.rejected),
            thousands(self.unknown),
            thousands(self.not_sent),
            self.elapsed_s,
            thousands(self.per_second as u64),
            self.cpu_us_per_device,
            self.setup_cpu_s,
            self.p50_ms,
            self.p95_ms,
            self.p99_ms,
            self.p999_ms,
            self.max_ms,
            self.rss_bytes as f64 / (1 << 20) as f64,
        )
    }
}
