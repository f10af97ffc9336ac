//! The way back: what the end of a request means for its device, its connection, its pool and its launch.

use std::sync::atomic::Ordering;
use std::time::Duration;

use burst_h2::driver::{ConnectionEvent, ConnectionRef};
use burst_h2::{Cause, ConnectionError, DrainReason, End, EndResult, Fields, Nanos};
use model::{Outcome, Platform, Reason};

use super::Listener;
use super::lane::{Again, Stage};
use super::sender::{Errand, Sender};
use super::tag::Tag;
use crate::again::{self, Next};
use crate::back_off::Proof;
use crate::verdict::{Effect, Fault, KeyState, Verdict};
use crate::work::{Keys, LaunchStop};
use crate::{apns, fcm, trouble};

/// The same alarm of a pool is told this often at most.
const ALARM_EVERY: Nanos = 10_000_000_000;

/// Between two PINGs after timeouts on one connection: Google tells off who sends many.
const PROBE_EVERY: Nanos = 300_000_000_000;

/// A pause that ends less than this later than the one before is no news.
const PAUSE_NEWS: Nanos = 1_000_000_000;

/// Something people should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Where.
    pub pool: crate::PoolId,
    /// In the provider's words.
    pub reason: Reason,
    /// Whose fault it is, when it stops a launch.
    pub stops: Option<Fault>,
}

impl<K: Keys, L: Listener> Sender<K, L> {
    #[inline]
    pub(super) fn end_request(&mut self, connection: ConnectionRef, end: &End<'_>, now: Nanos) {
        let tag = Tag::from_code(end.tag);
        if let EndResult::Answered { status: 200, .. } = end.result
            && let Some(Some(shard)) = self.shards.get_mut(usize::from(tag.slot))
        {
            shard.answer(tag.index, Outcome::ACCEPTED.with_resent(tag.attempt.is_resent()), now);
            let is_done = shard.is_done();
            if is_done {
                self.report(tag.slot);
            }
            self.note_accepted(connection);
        } else {
            self.end_otherwise(connection, tag, end, now);
        }
    }

    /// An accepted request has shown that the connection works, and authenticated it.
    #[inline]
    fn note_accepted(&mut self, connection: ConnectionRef) {
        let Some(Some(link)) = self.links.get_mut(connection.user as usize) else { return };
        if !link.has_served {
            link.has_served = true;
            self.become_warm(connection, true, Proof::Use);
        }
    }

    #[cold]
    fn become_warm(&mut self, connection: ConnectionRef, is_authenticated: bool, proof: Proof) {
        let Self { links, lanes, .. } = self;
        let Some(Some(link)) = links.get_mut(connection.user as usize) else { return };
        let lane = &lanes[link.lane as usize];
        link.change(lane.share(), |link| {
            link.is_warm = true;
            link.is_authenticated |= is_authenticated;
        });
        if !link.is_sent_away && lane.pool.failures.clear(link.opened_at, proof) {
            lane.pool.connection_wanted.notify_one();
        }
    }

    fn end_otherwise(&mut self, connection: ConnectionRef, tag: Tag, end: &End<'_>, now: Nanos) {
        let Some(lane_at) = self.link(connection).map(|link| link.lane) else { return };
        if let EndResult::Unknown(Cause::Timeout) = end.result {
            self.probe(connection, lane_at, now);
        }
        let verdict = match end.result {
            EndResult::Answered { status, fields, body } => Some(self.judge(lane_at, status, fields, body)),
            _ => None,
        };
        if let Some(verdict) = &verdict {
            self.take_effect(connection, lane_at, tag, verdict, now);
        }
        if tag.slot == Tag::WARM_UP {
            return self.end_warm_up(connection, lane_at, tag, verdict);
        }
        let Some(Some(shard)) = self.shards.get_mut(usize::from(tag.slot)) else { return };
        let next = match (&end.result, &verdict) {
            (EndResult::NotProcessed(cause), _) => {
                shard.count_not_processed();
                if *cause == Cause::Refused {
                    self.lanes[lane_at as usize].pool.note_error("server refused a request unread");
                }
                again::after_refusal(tag.attempt, *cause, shard.platform())
            }
            (EndResult::Unknown(cause), _) => {
                again::after_silence(tag.attempt, *cause, shard.work.on_unknown)
            }
            (EndResult::Answered { .. }, Some(verdict)) => {
                shard.note(tag.index, verdict);
                again::after_answer(tag.attempt, verdict)
            }
            (EndResult::Answered { .. }, None) => return,
        };
        let has_answer = verdict.is_some();
        self.proceed(connection, lane_at, tag, next, has_answer, now);
    }

    /// A request got no answer: a PING tells whether the connection is dead, which the driver then closes.
    fn probe(&mut self, connection: ConnectionRef, lane_at: u32, now: Nanos) {
        self.lanes[lane_at as usize].pool.note_error("request without answer in time");
        let Some(link) = self.link(connection).filter(|link| now >= link.probe_at) else { return };
        link.probe_at = now + PROBE_EVERY;
        self.errands.push(Errand::Ping(connection));
    }

    fn proceed(
        &mut self,
        connection: ConnectionRef,
        lane_at: u32,
        tag: Tag,
        next: Next,
        has_answer: bool,
        now: Nanos,
    ) {
        let Some(Some(shard)) = self.shards.get_mut(usize::from(tag.slot)) else { return };
        match next {
            Next::Again(attempt) if shard.is_ending() => shard.leave(tag.index, attempt),
            Next::Again(attempt) => {
                let lane = &mut self.lanes[lane_at as usize];
                let again = Again { tag: Tag { attempt, ..tag }, not_on: connection.user };
                if attempt.is_urgent() {
                    lane.again.push_front(again)
                } else {
                    lane.again.push_back(again)
                }
                lane.has_news = true;
            }
            Next::Final(outcome) | Next::Stop(outcome, _) if has_answer => {
                shard.answer(tag.index, outcome, now)
            }
            Next::Final(outcome) | Next::Stop(outcome, _) => shard.finish(tag.index, outcome),
        }
        if let Next::Stop(outcome, fault) = next {
            self.stop_launch(tag.slot, lane_at, LaunchStop { fault, reason: outcome.reason() }, now);
        }
        if self.shards[usize::from(tag.slot)].as_ref().is_some_and(|shard| shard.is_done()) {
            self.report(tag.slot);
        }
    }

    fn judge(&self, lane_at: u32, status: u16, fields: &Fields, body: &[u8]) -> Verdict {
        match self.lanes[lane_at as usize].pool.platform {
            Platform::Apns => apns::answer::judge(status, body),
            Platform::Fcm => fcm::answer::judge(status, body, fields.get("retry-after"), self.clock.now()),
        }
    }

    /// What an answer means beyond its device.
    fn take_effect(
        &mut self,
        connection: ConnectionRef,
        lane_at: u32,
        tag: Tag,
        verdict: &Verdict,
        now: Nanos,
    ) {
        let lane = &self.lanes[lane_at as usize];
        match verdict.effect {
            Effect::None | Effect::StopLaunch(_) => {}
            Effect::RenewToken { closes_connection } => {
                if lane.refuse_token(tag) {
                    let reason = verdict.outcome.reason();
                    lane.pool.note_error(&format!("provider no longer takes the token: {reason}"));
                }
                if closes_connection {
                    self.condemn(connection);
                }
            }
            Effect::Reconnect | Effect::ReplaceConnection => self.condemn(connection),
            Effect::KeepToken => {
                lane.keep_older_token(tag, self.clock.now());
                self.alarm(lane_at, verdict.outcome.reason(), None, now);
            }
            Effect::Alarm => self.alarm(lane_at, verdict.outcome.reason(), None, now),
            Effect::PauseQuota(pause) => self.pause(lane_at, tag.slot, pause, now),
        }
    }

    /// The project's quota is used up. Every answer that says so repeats it: only the first is news.
    fn pause(&mut self, lane_at: u32, slot: u16, pause: Duration, now: Nanos) {
        if let Some(Some(shard)) = self.shards.get_mut(usize::from(slot)) {
            shard.note_pause(pause);
        }
        let pool = &self.lanes[lane_at as usize].pool;
        let until = now + pause.as_nanos() as u64;
        let before = pool.paused_until.fetch_max(until, Ordering::Relaxed);
        if before + PAUSE_NEWS < until {
            pool.note_error("project's quota is used up");
            self.shared.listener.paused(pool.id, pause);
        }
    }

    /// A connection takes no further request; the answers that it owes may come.
    fn condemn(&mut self, connection: ConnectionRef) {
        if let Some(link) = self.link(connection).filter(|link| !link.is_condemned) {
            link.is_condemned = true;
            self.errands.push(Errand::Drain(connection));
        }
    }

    /// A fault that every device would meet: the launch is stopped, for all threads.
    pub(super) fn stop_launch(&mut self, slot: u16, lane_at: u32, stop: LaunchStop, now: Nanos) {
        let Some(Some(shard)) = self.shards.get_mut(usize::from(slot)) else { return };
        let (is_first, id) = (shard.work.gate.stop(), shard.work.id);
        shard.note_stop(stop);
        if is_first {
            self.shared.listener.stopped(id, stop);
        }
        // The sweep of this and of every other thread finds the gate stopped.
        self.next_sweep = now;
        self.alarm(lane_at, stop.reason, Some(stop.fault), now);
    }

    pub(super) fn alarm(&mut self, lane_at: u32, reason: Reason, stops: Option<Fault>, now: Nanos) {
        let pool = &self.lanes[lane_at as usize].pool;
        let id = pool.id;
        self.alarms.retain(|(.., until)| now < *until);
        if self.alarms.iter().any(|(pool, known, _)| (*pool, *known) == (id, reason)) {
            return;
        }
        self.alarms.push((id, reason, now + ALARM_EVERY));
        pool.note_error(&reason.to_string());
        self.shared.listener.alarm(Alarm { pool: id, reason, stops });
    }

    /// The answer to the request that warms a connection. A refusal of the canary's key is the canary's fault: the
    /// connection works.
    fn end_warm_up(&mut self, connection: ConnectionRef, lane_at: u32, tag: Tag, verdict: Option<Verdict>) {
        let Some(verdict) = verdict else { return };
        let pool = &self.lanes[lane_at as usize].pool;
        if verdict == Verdict::ACCEPTED {
            return self.become_warm(connection, true, Proof::Answer);
        }
        pool.note_error(&verdict.outcome.reason().to_string());
        if matches!(verdict.key, KeyState::Dead(_)) {
            pool.drop_canary(tag.index);
        }
        let is_of_canary = matches!(verdict.effect, Effect::None | Effect::Alarm);
        if is_of_canary && !verdict.outcome.is_transient() {
            self.become_warm(connection, false, Proof::Answer);
        }
    }

    pub(super) fn connection_event(&mut self, connection: ConnectionRef, event: ConnectionEvent<'_>) {
        let Self { links, lanes, .. } = self;
        let Some(Some(link)) = links.get_mut(connection.user as usize) else { return };
        let lane = &mut lanes[link.lane as usize];
        match event {
            ConnectionEvent::Ready { stream_limit } => {
                link.stream_limit = stream_limit;
                link.enter(Stage::Ready, lane.share());
                lane.pool.connection_wanted.notify_one();
                self.errands.push(Errand::Ask(connection));
                if lane.pool.config.warms_up && lane.pool.platform == Platform::Apns {
                    self.errands.push(Errand::Ping(connection));
                }
            }
            ConnectionEvent::StreamLimit(limit) => {
                link.change(lane.share(), |link| link.stream_limit = limit);
                if limit == 0 {
                    lane.pool.note_error("server allows no request on a connection");
                }
                self.errands.push(Errand::Ask(connection));
            }
            ConnectionEvent::Draining { reason, debug_data } => self.drains(connection, reason, debug_data),
            ConnectionEvent::Pong { .. } => {
                let is_of_apns = lane.pool.platform == Platform::Apns;
                if is_of_apns && !link.is_warm {
                    self.become_warm(connection, false, Proof::Answer);
                }
            }
            ConnectionEvent::Closed { error } => self.forget_link(connection, &error),
            _ => {}
        }
    }

    /// A connection takes no new requests; the peer may have said why.
    fn drains(&mut self, connection: ConnectionRef, reason: DrainReason, debug_data: &[u8]) {
        let Self { links, lanes, .. } = self;
        let Some(Some(link)) = links.get_mut(connection.user as usize) else { return };
        let lane = &mut lanes[link.lane as usize];
        let now = self.clock.monotonic().0;
        let is_goaway = matches!(reason, DrainReason::GoAway { .. });
        if is_goaway && !link.is_sent_away && link.was_of_no_use(now) {
            lane.pool.failures.add(link.opened_at, link.is_warm, now);
        }
        link.is_sent_away |= is_goaway;
        if let Some(trouble) = trouble::of_draining(reason) {
            lane.pool.note_error(&trouble);
        }
        link.enter(Stage::Draining, lane.share());
        lane.has_news = true;
        lane.pool.connection_wanted.notify_one();
        let lane_at = link.lane;
        let goodbye = apns::answer::goodbye(debug_data);
        if let Some(reason) = goodbye.filter(|_| lane.pool.platform == Platform::Apns) {
            self.alarm(lane_at, reason, None, now);
        }
    }

    fn forget_link(&mut self, connection: ConnectionRef, error: &ConnectionError) {
        let Some(link) = self.links[connection.user as usize].take() else { return };
        self.free_links.push(connection.user);
        let lane = &mut self.lanes[link.lane as usize];
        link.leave(lane.share());
        lane.links.retain(|known| *known != connection);
        lane.pool.closed.fetch_add(1, Ordering::Relaxed);
        if !matches!(error, ConnectionError::Local) {
            let error = trouble::of_connection(error);
            tracing::debug!(pool = lane.pool.key, error, "connection closed");
            lane.pool.note_error(&error);
            let now = self.clock.monotonic().0;
            if !link.is_sent_away && link.was_of_no_use(now) {
                lane.pool.failures.add(link.opened_at, link.is_warm, now);
            }
        }
        lane.has_news = true;
        lane.pool.connection_wanted.notify_one();
    }
}
