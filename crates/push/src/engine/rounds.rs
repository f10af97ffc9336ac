//! Between rounds of the driver: orders, gates and leases, what has waited too long, and when to come again.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use burst_h2::driver::{Control, OpenSpec, Tls, Wake};
use burst_h2::{ConnectionConfig, ConnectionError, Nanos};
use model::{Class, Platform, Reason};

use super::Listener;
use super::lane::{Lane, Link, Stage};
use super::port::Order;
use super::queue::Waiting;
use super::sender::{Errand, Sender};
use super::shard::Ending;
use super::tag::Tag;
use crate::back_off::Proof;
use crate::gate::Passage;
use crate::pool::{CLASSES, PoolId};
use crate::trouble;
use crate::verdict::Fault;
use crate::work::{Keys, LaunchStop, WhyOpen};

/// How often gates are looked at apart from every write: a fraction of the 50 ms that an abort has beyond the permission.
const SWEEP_EVERY: Nanos = 5_000_000;
/// How often idle connections are looked for.
const IDLE_CHECK_EVERY: Nanos = 10_000_000_000;
/// How often a thread without work comes round by itself.
const IDLE_ROUND: Nanos = 500_000_000;

/// Of a launch that cannot go on.
const STOPPED: Ending = Ending::Final(Class::NotSent, Reason::LaunchStopped);

impl<K: Keys, L: Listener> Sender<K, L> {
    pub(super) fn round(&mut self, control: &mut Control<'_, Tls>, now: Nanos) -> Wake {
        self.take_lanes();
        for order in self.port.take_orders() {
            match order {
                Order::Open { pool, class, address } => self.open(control, pool, class, address, now),
                Order::Stop { until } => self.stop_at = Some(until),
            }
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_EVERY;
            self.sweep(control, now);
        }
        if now >= self.next_idle_check {
            self.next_idle_check = now + IDLE_CHECK_EVERY;
            self.ping_idle(now);
        }
        self.run_errands(control);
        self.feed_lanes(control);
        self.wake(now)
    }

    fn wake(&self, now: Nanos) -> Wake {
        match self.stop_at {
            Some(until) if self.active == 0 || now >= until => Wake::Stop,
            _ if self.active > 0 || self.has_queued() => Wake::At(self.next_sweep),
            _ => Wake::At(now + IDLE_ROUND),
        }
    }

    fn has_queued(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.queue.is_empty())
    }

    /// A lane per pool and class, in the order of the pools.
    fn take_lanes(&mut self) {
        let known = self.lanes.len() / CLASSES;
        if known == self.shared.pool_count.load(Ordering::Acquire) {
            return;
        }
        for entry in self.shared.pools_from(known) {
            for class in 0..CLASSES {
                let queue = Arc::clone(&entry.queues[class]);
                self.lanes.push(Lane::new(Arc::clone(&entry.state), queue, self.thread, class));
            }
        }
    }

    fn open(
        &mut self,
        control: &mut Control<'_, Tls>,
        pool: PoolId,
        class: usize,
        address: SocketAddr,
        now: Nanos,
    ) {
        let lane_at = pool.0 as usize * CLASSES + class;
        let Some(lane) = self.lanes.get_mut(lane_at) else { return };
        if lane.is_closed {
            return give_up(lane, &ConnectionError::Local, now);
        }
        let transport = Tls::connect(address, lane.pool.server_name.clone(), Arc::clone(&lane.pool.tls));
        let transport = match transport {
            Ok(transport) => transport,
            Err(error) => return give_up(lane, &error, now),
        };
        let config = ConnectionConfig {
            streams_max: lane.pool.config.streams_max,
            header_table_bytes: lane.pool.config.header_table_bytes,
            timeouts_max: lane.pool.config.timeouts_max,
            ..self.connection.clone()
        };
        let user = self.free_links.pop().unwrap_or(self.links.len() as u64);
        let connection = control.open(OpenSpec { transport, config, user });
        lane.links.push(connection);
        let link = Some(Link::new(connection, lane_at as u32, now));
        match self.links.get_mut(user as usize) {
            Some(place) => *place = link,
            None => self.links.push(link),
        }
    }

    /// Looks at every gate and lease, and at what has waited too long.
    fn sweep(&mut self, control: &mut Control<'_, Tls>, now: Nanos) {
        let mut revoked = HashSet::new();
        for slot in 0..self.shards.len() as u16 {
            if let Some(ending) = self.ending_of(slot, &mut revoked, now) {
                revoked.insert(slot);
                self.end_writing(slot, ending);
            } else if self.shards[usize::from(slot)].as_ref().is_some_and(|shard| shard.is_done()) {
                self.report(slot);
            } else {
                self.release_straggler(slot, now);
            }
        }
        if !revoked.is_empty() {
            // What a full socket or flow control holds back of these shards must not leave any more.
            control.revoke(move |_, tag| revoked.contains(&Tag::from_code(tag).slot));
        }
        for lane_at in 0..self.lanes.len() {
            self.sweep_lane(lane_at, now);
        }
    }

    /// A device that waits for its answer does not keep others out of the pool.
    fn release_straggler(&mut self, slot: u16, now: Nanos) {
        let Some(shard) = self.shards[usize::from(slot)].as_deref_mut() else { return };
        let devices = shard.room();
        let Some(so_far) = shard.straggles(now) else { return };
        self.shared.listener.straggles(so_far);
        self.lanes[shard.lane as usize].pool.devices.fetch_sub(devices, Ordering::Relaxed);
    }

    /// Whether nothing more may be written for a shard, and what becomes of it then. Notes when its gate shuts and opens.
    fn ending_of(&mut self, slot: u16, revoked: &mut HashSet<u16>, now: Nanos) -> Option<Ending> {
        let passage = self.passage(slot, now)?;
        let config = &self.shared.config;
        let shard = self.shards[usize::from(slot)].as_deref()?;
        let lane = &self.lanes[shard.lane as usize];
        let ending = self.ending_by(passage, lane, now).or_else(|| match passage {
            Passage::Shut => {
                let is_over = self.is_over(shard.shut_since, config.patience, now);
                is_over.then_some(Ending::Return(WhyOpen::Held))
            }
            _ => {
                let is_over = self.is_over(lane.unready_since, config.no_connection_within, now);
                is_over.then_some(Ending::Final(Class::NotSent, Reason::NoConnection))
            }
        });
        let shard = self.shards[usize::from(slot)].as_deref_mut()?;
        let lane = &mut self.lanes[shard.lane as usize];
        let was_shut = shard.shut_since.is_some();
        let is_shut = passage != Passage::Open;
        if ending.is_some() || (is_shut && !was_shut) {
            self.epoch += 1;
            shard.permit_epoch = self.epoch;
            revoked.insert(slot);
        }
        if is_shut != was_shut {
            shard.shut_since = is_shut.then_some(now);
            lane.has_news |= !is_shut;
        }
        ending
    }

    fn sweep_lane(&mut self, lane_at: usize, now: Nanos) {
        let lane = &mut self.lanes[lane_at];
        let is_unready = lane.ready() == 0;
        let is_tokenless = !lane.pool.tokens.is_usable();
        lane.unready_since = is_unready.then(|| lane.unready_since.unwrap_or(now));
        let was_tokenless = lane.tokenless_since.is_some();
        lane.tokenless_since = is_tokenless.then(|| lane.tokenless_since.unwrap_or(now));
        lane.has_news |= was_tokenless && !is_tokenless;
        let is_queue_unready = is_unready && lane.ready_of_queue() == 0;
        lane.queue_unready_since = is_queue_unready.then(|| lane.queue_unready_since.unwrap_or(now));
        if !lane.is_closed && lane.pool.is_closing.load(Ordering::Acquire) {
            lane.is_closed = true;
            self.errands.extend(lane.links.iter().map(|connection| Errand::Drain(*connection)));
        }
        if self.is_over(self.lanes[lane_at].tokenless_since, self.shared.config.token_within, now) {
            self.stop_for_want_of_token(lane_at as u32, now);
        }
        self.sweep_queue(lane_at, now);
    }

    fn is_over(&self, since: Option<Nanos>, within: Duration, now: Nanos) -> bool {
        since.is_some_and(|since| now >= since + within.as_nanos() as u64)
    }

    /// The token was refused, or never came, and no new one can be had.
    fn stop_for_want_of_token(&mut self, lane_at: u32, now: Nanos) {
        let of_lane = |slot: &u16| {
            self.shards[usize::from(*slot)]
                .as_ref()
                .is_some_and(|shard| shard.lane == lane_at && !shard.is_ending())
        };
        let slots: Vec<u16> = (0..self.shards.len() as u16).filter(of_lane).collect();
        let stop = self.want_of_token(lane_at);
        for slot in slots {
            self.stop_launch(slot, lane_at, stop, now);
        }
    }

    fn want_of_token(&self, lane_at: u32) -> LaunchStop {
        let reason = match self.lanes[lane_at as usize].pool.platform {
            Platform::Apns => Reason::ExpiredProviderToken,
            Platform::Fcm => Reason::Unauthenticated,
        };
        LaunchStop { fault: Fault::Credentials, reason }
    }

    /// Shards that no thread has taken up go back too when they may not be written, or cannot be.
    fn sweep_queue(&mut self, lane_at: usize, now: Nanos) {
        let lane = &self.lanes[lane_at];
        if lane.queue.is_empty() {
            return;
        }
        let taken = lane.queue.take(|waiting| self.ending_in_queue(lane, waiting, now).is_some());
        for waiting in taken {
            let ending = self.ending_in_queue(&self.lanes[lane_at], &waiting, now);
            let is_stopped = ending == Some(STOPPED);
            let slot = self.activate(waiting.work, lane_at as u32);
            if is_stopped && !self.is_gate_stopped(slot) {
                self.stop_launch(slot, lane_at as u32, self.want_of_token(lane_at as u32), now);
            }
            // What it was taken out for cannot have passed at the same moment; handing back is never wrong.
            self.end_writing(slot, ending.unwrap_or(Ending::Return(WhyOpen::Held)));
        }
    }

    fn is_gate_stopped(&self, slot: u16) -> bool {
        let shard = self.shards[usize::from(slot)].as_ref();
        shard.is_some_and(|shard| shard.work.gate.is_stopped())
    }

    /// Whether a shard that waits in the queue goes back, and how.
    fn ending_in_queue(&self, lane: &Lane<K>, waiting: &Waiting<K>, now: Nanos) -> Option<Ending> {
        let config = &self.shared.config;
        let passage = waiting.work.gate.passage(&waiting.work.lease_until, now);
        let ending = self.ending_by(passage, lane, now);
        ending.or_else(|| match passage {
            Passage::Shut => {
                let is_over = self.is_over(Some(waiting.since), config.patience, now);
                is_over.then_some(Ending::Return(WhyOpen::Held))
            }
            _ if self.is_over(lane.queue_unready_since, config.no_connection_within, now) => {
                Some(Ending::Final(Class::NotSent, Reason::NoConnection))
            }
            _ => self.is_over(lane.tokenless_since, config.token_within, now).then_some(STOPPED),
        })
    }

    /// What ends a shard's writing for good, wherever it is.
    fn ending_by(&self, passage: Passage, lane: &Lane<K>, now: Nanos) -> Option<Ending> {
        Some(match passage {
            Passage::Aborted => Ending::Final(Class::NotSent, Reason::Aborted),
            Passage::Stopped => STOPPED,
            Passage::Over => Ending::Final(Class::Expired, Reason::None),
            Passage::Return(why) => Ending::Return(why),
            _ if self.stop_at.is_some() || lane.is_closed => Ending::Return(WhyOpen::Shutdown),
            _ if lane.pool.is_paused(now) => Ending::Return(WhyOpen::Quota),
            _ => return None,
        })
    }

    /// An idle connection is kept by a PING, one that is not warm yet tried again.
    fn ping_idle(&mut self, now: Nanos) {
        for link in self.links.iter_mut().flatten() {
            let after = self.lanes[link.lane as usize].pool.config.ping_after.as_nanos() as u64;
            if link.stage != Stage::Ready {
                continue;
            }
            if now >= link.used_at + after {
                link.used_at = now;
                self.errands.push(Errand::Ping(link.connection));
            }
            if !link.is_authenticated {
                self.errands.push(Errand::Ask(link.connection));
            }
            let pool = &self.lanes[link.lane as usize].pool;
            if link.has_lasted(now) && pool.failures.clear(link.opened_at, Proof::Use) {
                pool.connection_wanted.notify_one();
            }
        }
    }

    fn run_errands(&mut self, control: &mut Control<'_, Tls>) {
        for errand in self.errands.drain(..) {
            match errand {
                Errand::Drain(connection) => control.drain(connection),
                Errand::Ping(connection) => control.ping(connection),
                Errand::Ask(connection) => control.ask(connection),
            }
        }
    }

    /// Has the connections of a lane asked when something came up for them.
    fn feed_lanes(&mut self, control: &mut Control<'_, Tls>) {
        // Whoever submits from now on wakes the thread; whoever did before is seen below.
        self.port.hunger();
        for lane in &mut self.lanes {
            if lane.take_news() {
                lane.links.iter().for_each(|connection| control.ask(*connection));
            }
        }
    }
}

/// A connection that could not even begin.
fn give_up<K>(lane: &Lane<K>, error: &ConnectionError, now: Nanos) {
    let share = lane.share();
    share.alive.fetch_sub(1, Ordering::Relaxed);
    share.opening.fetch_sub(1, Ordering::Relaxed);
    if !matches!(error, ConnectionError::Local) {
        lane.pool.failures.add(now, false, now);
        lane.pool.note_error(&trouble::of_connection(error));
    }
    lane.pool.connection_wanted.notify_one();
}
