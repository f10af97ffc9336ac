//! A shard while a thread sends it: which devices have their outcome, and what else came to light.

use std::time::Duration;

use burst_h2::Nanos;
use model::{Class, Monotonic, Outcome, Platform, Reason, Timestamp};

use crate::again::Attempt;
use crate::fcm::template::ttl_s;
use crate::group_message::{Body, Requests};
use crate::token::Token;
use crate::verdict::{KeyState, Verdict};
use crate::work::{DeadKey, Keys, LaunchStop, NO_ANSWER, ShardDone, ShardSoFar, WhyOpen, Work};

/// Why nothing more is written for a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its unwritten devices stay open.
    Return(WhyOpen),
    /// Its unwritten devices end like this.
    Final(Class, Reason),
}

/// What the requests of a shard have in common for a while. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// Of the token in `requests`.
    pub(crate) generation: u64,
    pub(crate) requests: Requests,
    /// FCM: the time to live behind the key is good for requests started until then.
    good_until: Nanos,
}

/// What a device without outcome has instead; no device ends like this.
const UNFINISHED: Outcome = Outcome::new(Class::NotSent, Reason::None);
/// A shard straggles when at most one in so many of its devices is without outcome.
const STRAGGLERS_SHARE: u32 = 10;
/// How long after its last device was started a shard that is not done straggles: providers usually answer earlier.
const STRAGGLES_AFTER: Nanos = 250_000_000;

pub(crate) struct Active<K> {
    pub(crate) work: Work<K>,
    /// The lane that sends it.
    pub(crate) lane: u32,
    /// Asked for when the shard is first sent.
    prepared: Option<Prepared>,
    /// Changes when its writing was stopped and what waited was taken back. No two shards of a thread share one.
    pub(crate) permit_epoch: u64,
    /// Since when writing has not been permitted.
    pub(crate) shut_since: Option<Nanos>,
    /// The first device for which nothing was started.
    pub(crate) next: u32,
    ending: Option<Ending>,
    /// When a request for its last device was started.
    through_at: Option<Nanos>,
    /// Its room in the pool was given back.
    is_released: bool,
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
            outcomes: vec![UNFINISHED; count],
            answered_us: vec![NO_ANSWER; count],
            requests: 0,
            not_processed: 0,
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
            prepared: None,
            permit_epoch,
            shut_since: None,
            next: 0,
            ending: None,
            through_at: None,
            is_released: false,
            left: devices,
            done,
        }
    }

    pub(crate) fn platform(&self) -> Platform {
        self.work.message.body.platform()
    }

    /// Devices for which nothing was started yet.
    #[inline]
    pub(crate) fn unstarted(&self) -> u32 {
        self.work.keys.len() - self.next
    }

    /// What requests started now have in common. `None` for a token that cannot stand in a header: its other fields were
    /// tried when the message was made.
    #[inline]
    pub(crate) fn prepared(&mut self, token: &(u64, Token), now: Nanos) -> Option<Prepared> {
        let is_good = |known: &Prepared| known.generation == token.0 && now <= known.good_until;
        if !self.prepared.as_ref().is_some_and(is_good) {
            self.prepared = self.prepare(token, now);
        }
        self.prepared.clone()
    }

    #[cold]
    fn prepare(&self, (generation, token): &(u64, Token), now: Nanos) -> Option<Prepared> {
        let (ttl_s, good_until) = match &self.work.message.body {
            Body::Apns { .. } => (0, Nanos::MAX),
            Body::Fcm { ttl_s_max, .. } => ttl_s(*ttl_s_max, self.work.gate.not_after(), now),
        };
        let requests = self.work.message.requests(*generation, token, ttl_s).ok()?;
        Some(Prepared { generation: *generation, requests, good_until })
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

    /// For every device a request was started.
    pub(crate) fn note_through(&mut self, now: Nanos) {
        self.through_at.get_or_insert(now);
    }

    /// What is known, when only a few of its devices still wait for answers; told once, and its room is given back then. The
    /// few take up streams, and that is what bounds them.
    pub(crate) fn straggles(&mut self, now: Nanos) -> Option<ShardSoFar> {
        if self.is_ending() {
            self.note_through(now);
        }
        let is_late = self.through_at.is_some_and(|through_at| now >= through_at + STRAGGLES_AFTER);
        let few = (self.work.keys.len() / STRAGGLERS_SHARE).max(1);
        if self.is_released || !is_late || self.is_done() || self.left > few {
            return None;
        }
        self.is_released = true;
        let known = |outcome: &Outcome| (*outcome != UNFINISHED).then_some(*outcome);
        Some(ShardSoFar {
            id: self.done.id,
            outcomes: self.done.outcomes.iter().map(known).collect(),
            answered_us: self.done.answered_us.clone(),
            requests: self.done.requests,
            first_write: self.done.first_write,
            last_answer: self.done.last_answer,
        })
    }

    /// Devices that take up room in the pool.
    pub(crate) fn room(&self) -> u32 {
        if self.is_released { 0 } else { self.work.keys.len() }
    }

    /// Requests were started.
    #[inline]
    pub(crate) fn count(&mut self, requests: u32, now: Nanos) {
        self.done.requests += requests;
        if self.done.first_write.is_none() && requests > 0 {
            self.done.first_write = Some(Monotonic(now));
        }
    }

    /// A request was started and has certainly not been processed.
    pub(crate) fn count_not_processed(&mut self) {
        self.done.not_processed += 1;
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
        let (class, reason) = match self.ending.unwrap_or(Ending::Return(WhyOpen::Held)) {
            Ending::Final(class, reason) => (class, reason),
            Ending::Return(why) => {
                if attempt.is_open() {
                    self.done.open.push(index);
                    self.done.why_open = Some(why);
                }
                (Class::NotSent, Reason::WorkerStopped)
            }
        };
        self.finish(index, attempt.unsent(self.platform(), class, reason));
    }

    /// What became of it; every device has its outcome.
    pub(crate) fn into_done(mut self) -> ShardDone {
        debug_assert_eq!(self.left, 0, "a device without outcome");
        self.done.open.sort_unstable();
        self.done.dead.sort_unstable_by_key(|dead| dead.index);
        self.done
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use burst_h2::{Field, Part, Template};
    use model::{Content, LaunchId, OnUnknown, Variant};

    use super::*;
    use crate::gate::LaunchGate;
    use crate::group_message::Message;
    use crate::installation::Live;
    use crate::pool::PoolId;
    use crate::secret::Secret;
    use crate::work::{Key, KeyBuf};

    const SECOND: Nanos = 1_000_000_000;

    struct One;

    impl Keys for One {
        fn len(&self) -> u32 {
            1
        }

        fn key<'a>(&'a self, _: u32, _: &'a mut KeyBuf) -> Key<'a> {
            Key::FcmToken(b"token")
        }

        fn ordinal(&self, _: u32) -> u64 {
            0
        }
    }

    fn of_fcm(not_after: Nanos, ttl_s_max: u32) -> Active<One> {
        let variant = Variant { title: "Fanfare".into(), body: "Go".into(), ..Variant::default() };
        let content = Content { variants: BTreeMap::from([("en".into(), variant)]), fallback: "en".into() };
        let context = message::compose::Context {
            collapse_id: message::compose::collapse_id(LaunchId(1)),
            not_after: Timestamp::from_secs(9_000),
            now: Timestamp::from_secs(0),
        };
        let message = message::compose(&content, "en", &context).unwrap().fcm;
        let fields = [(":method", "POST"), (":scheme", "https"), (":path", "/")];
        let fields = fields.iter().map(|(name, value)| Field::constant(name, value)).collect();
        let message = Message::new(PoolId(0), fields, Body::Fcm { message, ttl_s_max }).unwrap();
        let gate = LaunchGate::<Live>::new(Monotonic(not_after));
        let work = Work {
            id: 1,
            message: Arc::new(message),
            keys: One,
            gate: Arc::clone(gate.inner()),
            lease_until: Arc::new(AtomicU64::new(u64::MAX)),
            is_taken_over: false,
            on_unknown: OnUnknown::Leave,
            pressed: Monotonic(0),
        };
        Active::new(work, 0, 1)
    }

    fn of_tokens(prepared: &Prepared) -> &Template {
        let Requests::Fcm { token, .. } = &prepared.requests else { panic!("a message to FCM") };
        token
    }

    fn token(text: &str) -> Token {
        let now = Timestamp::from_secs(1);
        Token { text: Secret::new(text), minted_at: now, good_until: now }
    }

    #[test]
    fn a_shard_that_waits_gets_a_shorter_time_to_live() {
        let mut shard = of_fcm(600 * SECOND, 580);
        let token = (1, token("one"));
        let mut at = |seconds: u64| {
            let prepared = shard.prepared(&token, seconds * SECOND).unwrap();
            let template = of_tokens(&prepared);
            let Some(Part::Constant(after)) = template.body().last() else {
                panic!("a body ends in a constant")
            };
            let text = str::from_utf8(after).unwrap();
            let ttl = text.split_once(r#""ttl":""#).unwrap().1.split_once('s').unwrap().0;
            (ttl.parse::<u64>().unwrap(), template.id())
        };
        let first = at(0);
        assert_eq!(first.0, 570);
        assert_eq!(at(15), first, "as long as it is good");
        for seconds in [16, 45, 300, 590, 599, 600] {
            let (ttl, template) = at(seconds);
            assert!(seconds + ttl <= 600, "{ttl} s to live from {seconds} s on");
            assert_ne!(template, first.1);
        }
    }

    #[test]
    fn a_new_token_is_taken_up_at_once_and_one_that_cannot_be_sent_is_none() {
        let mut shard = of_fcm(600 * SECOND, 60);
        let first = shard.prepared(&(1, token("one")), 0).unwrap();
        let second = shard.prepared(&(2, token("two")), 0).unwrap();
        assert_eq!((first.generation, second.generation), (1, 2));
        assert_ne!(of_tokens(&first).id(), of_tokens(&second).id());
        assert!(shard.prepared(&(3, token("a\nb")), 0).is_none());
    }
}
