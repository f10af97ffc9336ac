//! A shard while a thread sends it: which devices have their outcome, and what else came to light.

use std::time::Duration;

use burst_h2::{Nanos, Template};
use model::{Class, Monotonic, Outcome, Reason, Timestamp};

use crate::again::Attempt;
use crate::verdict::{KeyState, Verdict};
use crate::work::{DeadKey, Keys, LaunchStop, NO_ANSWER, ShardDone, WhyOpen, Work};

/// Why nothing more is written for a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its unwritten devices stay open.
    Return(WhyOpen),
    /// Its unwritten devices end like this.
    Final(Class, Reason),
}

pub(crate) struct Active<K> {
    pub(crate) work: Work<K>,
    /// The lane that sends it.
    pub(crate) lane: u32,
    /// Template for the token of a generation, asked for when the shard is first sent.
    pub(crate) template: Option<(u64, Template)>,
    /// Changes when its writing was stopped and what waited was taken back. No two shards of a thread share one.
    pub(crate) permit_epoch: u64,
    /// Since when writing has not been permitted.
    pub(crate) shut_since: Option<Nanos>,
    /// The first device for which nothing was started.
    pub(crate) next: u32,
    ending: Option<Ending>,
    /// Devices without outcome.
    left: u32,
    done: ShardDone,
}

impl<K: Keys> Active<K> {
    pub(crate) fn new(work: Work<K>, lane: u32, permit_epoch: u64) -> Self {
        let devices = work.keys.len();
        let count = devices as usize;
        let done = ShardDone {
            id: work.id,
            outcomes: vec![Outcome::new(Class::NotSent, Reason::WorkerStopped); count],
            answered_us: vec![NO_ANSWER; count],
            requests: 0,
            first_write: None,
            last_answer: None,
            open: Vec::new(),
            why_open: None,
            dead: Vec::new(),
            stop: None,
            quota_pause: None,
            retry_after: None,
        };
        Self {
            work,
            lane,
            template: None,
            permit_epoch,
            shut_since: None,
            next: 0,
            ending: None,
            left: devices,
            done,
        }
    }

    /// Devices for which nothing was started yet.
    #[inline]
    pub(crate) fn unstarted(&self) -> u32 {
        self.work.keys.len() - self.next
    }

    /// Whether every device has its outcome or stays open.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Whether nothing more is written for it.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// What was tried for each of its devices before the first request of this submission.
    #[inline]
    pub(crate) fn first_attempt(&self) -> Attempt {
        if self.work.is_taken_over { Attempt::TAKEN_OVER } else { Attempt::FIRST }
    }

    /// Requests were started.
    #[inline]
    pub(crate) fn count(&mut self, requests: u32, now: Nanos) {
        self.done.requests += requests;
        if self.done.first_write.is_none() && requests > 0 {
            self.done.first_write = Some(Monotonic(now));
        }
    }

    /// A device has its final answer.
    #[inline]
    pub(crate) fn answer(&mut self, index: u32, outcome: Outcome, now: Nanos) {
        let elapsed_us = now.saturating_sub(self.work.pressed.0) / 1_000;
        self.done.answered_us[index as usize] = elapsed_us.min(u64::from(NO_ANSWER - 1)) as u32;
        self.done.last_answer = Some(Monotonic(now));
        self.finish(index, outcome);
    }

    /// A device has its outcome without an answer.
    #[inline]
    pub(crate) fn finish(&mut self, index: u32, outcome: Outcome) {
        self.done.outcomes[index as usize] = outcome;
        self.left -= 1;
    }

    /// What an answer said besides the outcome.
    pub(crate) fn note(&mut self, index: u32, verdict: &Verdict) {
        if let KeyState::Dead(since) = verdict.key {
            self.note_dead(index, verdict.outcome.reason(), since);
        }
        self.done.retry_after = self.done.retry_after.max(verdict.retry_after);
    }

    fn note_dead(&mut self, index: u32, reason: Reason, since: Option<Timestamp>) {
        self.done.dead.push(DeadKey { index, reason, since });
    }

    pub(crate) fn note_pause(&mut self, pause: Duration) {
        self.done.quota_pause = self.done.quota_pause.max(Some(pause));
    }

    pub(crate) fn note_stop(&mut self, stop: LaunchStop) {
        self.done.stop.get_or_insert(stop);
    }

    /// Nothing more is written for it. Devices in flight still get their answers.
    pub(crate) fn end_writing(&mut self, ending: Ending) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(ending);
        let attempt = self.first_attempt();
        for index in self.next..self.work.keys.len() {
            self.leave(index, attempt);
        }
        self.next = self.work.keys.len();
    }

    /// A device whose last request did not reach the provider, in a shard for which nothing more is written.
    pub(crate) fn leave(&mut self, index: u32, attempt: Attempt) {
        let ending = self.ending.unwrap_or(Ending::Return(WhyOpen::Held));
        let outcome = match ending {
            Ending::Final(class, reason) => attempt.unsent(class, reason),
            Ending::Return(why) => {
                if attempt.is_open() {
                    self.done.open.push(index);
                    self.done.why_open = Some(why);
                }
                attempt.unsent(Class::NotSent, Reason::WorkerStopped)
            }
        };
        self.finish(index, outcome);
    }

    /// What became of it; every device has its outcome.
    pub(crate) fn into_done(mut self) -> ShardDone {
        debug_assert_eq!(self.left, 0, "a device without outcome");
        self.done.open.sort_unstable();
        self.done.dead.sort_unstable_by_key(|dead| dead.index);
        self.done
    }
}
