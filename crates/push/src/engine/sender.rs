//! A sending thread: walks its shards and starts requests. This is the path that each device takes; `ends` is the way
//! back, `rounds` what happens in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use burst_h2::driver::{ConnectionEvent, ConnectionRef, Control, Starter, Tls, Traffic, Wake};
use burst_h2::{ConnectionConfig, End, Nanos, Request};
use model::runtime::Clock;
use model::{Class, LaunchId, Outcome, Platform, Reason};

use super::lane::{Lane, Link};
use super::port::Port;
use super::shard::{Active, Ending};
use super::tag::Tag;
use super::{Listener, Shared};
use crate::again::Attempt;
use crate::apns::template::{Device, IdPrefix, KEY_BYTES_MAX};
use crate::fcm::template::KEY_CHARS_MAX;
use crate::gate::Passage;
use crate::group_message::Requests;
use crate::work::{Key, KeyBuf, Keys, WhyOpen, Work};

/// Shards that a lane takes up while those it has may not be written.
const SHUT_SHARDS_MAX: usize = 64;
/// A connection that could not be warmed is tried again after this long.
const WARM_UP_EVERY: Nanos = 10_000_000_000;
/// Shards of a thread at once: slots are 16 bits, the last is taken by warm-ups.
const SLOTS_MAX: usize = Tag::WARM_UP as usize;

/// What is to be done with a connection when the driver next listens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Errand {
    Drain(ConnectionRef),
    Ping(ConnectionRef),
    Ask(ConnectionRef),
}

/// A thread's state. No lock and no atomic of it is shared on the way of a device, except the gates that it reads.
pub(crate) struct Sender<K, L> {
    pub(super) thread: usize,
    pub(super) shared: Arc<Shared<K, L>>,
    pub(super) port: Arc<Port>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) connection: ConnectionConfig,
    pub(super) lanes: Vec<Lane<K>>,
    pub(super) links: Vec<Option<Link>>,
    pub(super) free_links: Vec<u64>,
    pub(super) shards: Vec<Option<Box<Active<K>>>>,
    pub(super) free_slots: Vec<u16>,
    pub(super) active: usize,
    pub(super) errands: Vec<Errand>,
    /// The last permit epoch given.
    pub(super) epoch: u64,
    pub(super) next_sweep: Nanos,
    pub(super) next_idle_check: Nanos,
    pub(super) stop_at: Option<Nanos>,
    pub(super) alarms: Vec<(crate::PoolId, Reason, Nanos)>,
    /// For keys that are stored packed.
    room: KeyBuf,
}

/// What came of trying to start a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Started,
    Full,
    Unusable,
}

impl<K: Keys, L: Listener> Sender<K, L> {
    pub(super) fn new(
        thread: usize,
        shared: Arc<Shared<K, L>>,
        port: Arc<Port>,
        clock: Arc<dyn Clock>,
        connection: ConnectionConfig,
    ) -> Self {
        Self {
            thread,
            shared,
            port,
            clock,
            connection,
            lanes: Vec::new(),
            links: Vec::new(),
            free_links: Vec::new(),
            shards: Vec::new(),
            free_slots: Vec::new(),
            active: 0,
            errands: Vec::new(),
            epoch: 0,
            next_sweep: 0,
            next_idle_check: 0,
            stop_at: None,
            alarms: Vec::new(),
            room: KeyBuf::new(),
        }
    }

    pub(super) fn link(&mut self, connection: ConnectionRef) -> Option<&mut Link> {
        self.links.get_mut(connection.user as usize)?.as_mut()
    }

    /// First what is to be sent again, then shard after shard. One call puts requests of one launch only into the
    /// connection, so that one gate decides about the write that follows.
    fn supply_lane(
        &mut self,
        connection: ConnectionRef,
        lane_at: u32,
        starter: &mut Starter<'_>,
        now: Nanos,
    ) {
        let mut launch = self.supply_again(connection, lane_at, starter, now);
        while starter.capacity() > 0 {
            let Some(slot) = self.walkable(lane_at, now) else { return };
            let next = self.launch_of(slot);
            if launch.is_some() && launch != next {
                return;
            }
            let open = starter.open();
            let is_through = self.walk(connection, slot, starter, now);
            if !is_through {
                return;
            }
            // Keys that cannot be sent put nothing into the connection.
            launch = if starter.open() > open { next } else { launch };
        }
    }

    /// Which launch a shard belongs to: the address of its gate, good for comparing only.
    fn launch_of(&self, slot: u16) -> Option<usize> {
        let shard = self.shards[usize::from(slot)].as_ref()?;
        Some(Arc::as_ptr(&shard.work.gate).addr())
    }

    /// The slot of a shard of the lane that may be written now, taken from the pool's queue if need be. It is the
    /// first of those being walked.
    fn walkable(&mut self, lane_at: u32, now: Nanos) -> Option<u16> {
        for _ in 0..self.lanes[lane_at as usize].walking.len() {
            let slot = *self.lanes[lane_at as usize].walking.front()?;
            if self.passage(slot, now) == Some(Passage::Open) {
                return Some(slot);
            }
            // It may open again, or the sweep ends it.
            self.lanes[lane_at as usize].walking.rotate_left(1);
        }
        self.take_up(lane_at, now)
    }

    /// What may be done for a shard now; `None` when nothing more is written for it anyway.
    pub(super) fn passage(&self, slot: u16, now: Nanos) -> Option<Passage> {
        let shard = self.shards[usize::from(slot)].as_ref()?;
        (!shard.is_ending()).then(|| shard.work.gate.passage(&shard.work.lease_until, now))
    }

    /// Takes shards from the queue until one may be written.
    fn take_up(&mut self, lane_at: u32, now: Nanos) -> Option<u16> {
        while self.lanes[lane_at as usize].walking.len() < SHUT_SHARDS_MAX && self.active < SLOTS_MAX {
            let work = self.lanes[lane_at as usize].queue.pop()?;
            let slot = self.activate(work, lane_at);
            if self.shards[usize::from(slot)].as_ref().is_some_and(|shard| shard.is_done()) {
                self.report(slot);
                continue;
            }
            let lane = &mut self.lanes[lane_at as usize];
            if self.shards[usize::from(slot)].as_ref().is_some_and(|shard| shard.unstarted() > 0) {
                lane.walking.push_front(slot);
            }
            match self.passage(slot, now) {
                Some(Passage::Open) => return Some(slot),
                _ => self.lanes[lane_at as usize].walking.rotate_left(1),
            }
        }
        None
    }

    pub(super) fn activate(&mut self, work: Work<K>, lane_at: u32) -> u16 {
        self.epoch += 1;
        let shard = Box::new(Active::new(work, lane_at, self.epoch));
        self.active += 1;
        match self.free_slots.pop() {
            Some(slot) => {
                self.shards[usize::from(slot)] = Some(shard);
                slot
            }
            None => {
                self.shards.push(Some(shard));
                (self.shards.len() - 1) as u16
            }
        }
    }

    /// Starts requests for the shard's next devices until the shard is through, or the connection is full: then `false`.
    fn walk(&mut self, connection: ConnectionRef, slot: u16, starter: &mut Starter<'_>, now: Nanos) -> bool {
        let Self { shards, lanes, room, links, shared, .. } = self;
        let Some(shard) = shards[usize::from(slot)].as_deref_mut() else { return false };
        let lane = &mut lanes[shard.lane as usize];
        let Some(prepared) = lane.token().and_then(|token| shard.prepared(token, now)) else { return false };
        let deadline = now + shared.config.answer_within.as_nanos() as u64;
        let tag = Tag { index: 0, slot, attempt: shard.first_attempt(), token: prepared.generation as u8 };
        let (mut index, mut started) = (shard.next, 0);
        let devices = shard.work.keys.len();
        while index < devices {
            let tag = Tag { index, ..tag }.code();
            match start(&shard.work, index, tag, &prepared.requests, deadline, room, starter) {
                Start::Started => started += 1,
                Start::Full => break,
                Start::Unusable => {
                    shard.finish(index, Outcome::new(Class::NotSent, Reason::UnusableKey));
                }
            }
            index += 1;
        }
        shard.next = index;
        shard.count(started, now);
        let is_through = index == devices;
        if is_through {
            shard.note_through(now);
            lane.walking.retain(|walked| *walked != slot);
        }
        if let Some(Some(link)) = links.get_mut(connection.user as usize) {
            link.wrote = Some((slot, shard.permit_epoch));
            link.token = prepared.generation;
            link.used_at = now;
        }
        if shard.is_done() {
            self.report(slot);
        }
        is_through
    }

    /// Sends again over this connection what failed on others; the launch that it did so for.
    fn supply_again(
        &mut self,
        connection: ConnectionRef,
        lane_at: u32,
        starter: &mut Starter<'_>,
        now: Nanos,
    ) -> Option<usize> {
        let mut launch = None;
        for _ in 0..self.lanes[lane_at as usize].again.len() {
            if starter.capacity() == 0 {
                break;
            }
            let Some(again) = self.lanes[lane_at as usize].next_again(connection) else { break };
            let next = self.launch_of(again.tag.slot);
            let is_of_other = launch.is_some() && launch != next;
            if is_of_other || self.passage(again.tag.slot, now) != Some(Passage::Open) {
                // The sweep will find it if its shard is over; a shut gate may open again.
                self.lanes[lane_at as usize].again.push_back(again);
                continue;
            }
            match self.start_again(connection, again.tag, starter, now) {
                Start::Started => launch = next,
                Start::Unusable => {}
                Start::Full => {
                    self.lanes[lane_at as usize].again.push_front(again);
                    break;
                }
            }
        }
        launch
    }

    fn start_again(
        &mut self,
        connection: ConnectionRef,
        tag: Tag,
        starter: &mut Starter<'_>,
        now: Nanos,
    ) -> Start {
        let Self { shards, lanes, room, links, shared, .. } = self;
        let Some(shard) = shards[usize::from(tag.slot)].as_deref_mut() else { return Start::Unusable };
        let lane = &mut lanes[shard.lane as usize];
        let Some(prepared) = lane.token().and_then(|token| shard.prepared(token, now)) else {
            return Start::Full;
        };
        let deadline = now + shared.config.answer_within.as_nanos() as u64;
        let code = Tag { token: prepared.generation as u8, ..tag }.code();
        let start = start(&shard.work, tag.index, code, &prepared.requests, deadline, room, starter);
        if start == Start::Unusable {
            // It was usable the first time: the store of its keys has changed under us. The sweep reports the shard.
            let outcome = tag.attempt.unsent(shard.platform(), Class::NotSent, Reason::UnusableKey);
            shard.finish(tag.index, outcome);
        }
        shard.count(u32::from(start == Start::Started), now);
        if let Some(Some(link)) = links.get_mut(connection.user as usize) {
            link.wrote = Some((tag.slot, shard.permit_epoch));
            link.token = prepared.generation;
            link.used_at = now;
        }
        start
    }

    /// The request that shows that token, app and connection work, while nothing better does.
    fn warm(&mut self, connection: ConnectionRef, lane_at: u32, starter: &mut Starter<'_>, now: Nanos) {
        let deadline = now + self.shared.config.answer_within.as_nanos() as u64;
        let Self { lanes, links, .. } = self;
        let Some(Some(link)) = links.get_mut(connection.user as usize) else { return };
        let lane = &mut lanes[lane_at as usize];
        if now < link.warm_up_at || !lane.warms_by_request(link) || lane.has_work() || starter.capacity() == 0
        {
            return;
        }
        let Some((generation, _)) = lane.token() else { return };
        let tag = Tag { index: 0, slot: Tag::WARM_UP, attempt: Attempt::FIRST, token: *generation as u8 };
        let pool = Arc::clone(&lane.pool);
        let Some(template) = lane.warm_up() else { return };
        let started = match pool.platform {
            Platform::Fcm => starter.start(&Request { template, values: &[], tag: tag.code(), deadline }),
            Platform::Apns => {
                let Some((number, key)) = pool.take_canary(now) else { return };
                let values = Device { launch: &IdPrefix::of(LaunchId(0)), key: &key, ordinal: now };
                let tag = Tag { index: number, ..tag }.code();
                starter.start(&Request { template, values: &values, tag, deadline })
            }
        };
        if started.is_ok() {
            link.warm_up_at = now + WARM_UP_EVERY;
            link.used_at = now;
            pool.warm_up_requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hands the shard back; its slot is free.
    pub(super) fn report(&mut self, slot: u16) {
        let Some(shard) = self.shards[usize::from(slot)].take() else { return };
        self.free_slots.push(slot);
        self.active -= 1;
        let lane = &self.lanes[shard.lane as usize];
        lane.pool.devices.fetch_sub(shard.room(), Ordering::Relaxed);
        self.shared.listener.done(shard.into_done());
    }

    /// After the driver's end: what it could not hand back in order goes back as it stands.
    pub(super) fn finish(&mut self) {
        for lane_at in 0..self.lanes.len() {
            while let Some(work) = self.lanes[lane_at].queue.pop() {
                let slot = self.activate(work, lane_at as u32);
                self.end_writing(slot, Ending::Return(WhyOpen::Shutdown));
            }
        }
        for slot in 0..self.shards.len() as u16 {
            self.end_writing(slot, Ending::Return(WhyOpen::Shutdown));
        }
    }

    /// Ends a shard's writing; what of it waits to be sent again gets its outcome too.
    pub(super) fn end_writing(&mut self, slot: u16, ending: Ending) {
        let Some(shard) = self.shards[usize::from(slot)].as_deref_mut() else { return };
        if shard.is_ending() {
            return;
        }
        shard.end_writing(ending);
        let lane = &mut self.lanes[shard.lane as usize];
        lane.walking.retain(|walked| *walked != slot);
        lane.again.retain(|again| {
            let is_other = again.tag.slot != slot;
            if !is_other {
                shard.leave(again.tag.index, again.tag.attempt);
            }
            is_other
        });
        if shard.is_done() {
            self.report(slot);
        }
    }
}

/// Starts the request of one device.
#[inline]
fn start<K: Keys>(
    work: &Work<K>,
    index: u32,
    tag: u64,
    requests: &Requests,
    deadline: Nanos,
    room: &mut KeyBuf,
    starter: &mut Starter<'_>,
) -> Start {
    let started = match (requests, work.keys.key(index, room)) {
        (Requests::Apns { template, id_prefix }, Key::Apns(key)) if is_usable(key, KEY_BYTES_MAX) => {
            let values = Device { launch: id_prefix, key, ordinal: work.keys.ordinal(index) };
            starter.start(&Request { template, values: &values, tag, deadline })
        }
        (Requests::Fcm { token: template, .. }, Key::FcmToken(key))
        | (Requests::Fcm { fid: template, .. }, Key::FcmFid(key))
            if is_usable(key, KEY_CHARS_MAX) =>
        {
            starter.start(&Request { template, values: &[key], tag, deadline })
        }
        _ => return Start::Unusable,
    };
    if started.is_ok() { Start::Started } else { Start::Full }
}

#[inline]
fn is_usable(key: &[u8], length_max: usize) -> bool {
    !key.is_empty() && key.len() <= length_max
}

impl<K: Keys, L: Listener> Traffic for Sender<K, L> {
    type Transport = Tls;

    fn supply(&mut self, connection: ConnectionRef, starter: &mut Starter<'_>, now: Nanos) {
        let Some(Some(link)) = self.links.get(connection.user as usize) else { return };
        let lane_at = link.lane;
        let lane = &mut self.lanes[lane_at as usize];
        if lane.may_start(now) && lane.trusts(link, starter.open()) {
            self.supply_lane(connection, lane_at, starter, now);
            self.warm(connection, lane_at, starter, now);
        }
        if starter.capacity() > 0 {
            self.lanes[lane_at as usize].is_starved = true;
        }
    }

    fn end(&mut self, connection: ConnectionRef, end: End<'_>, now: Nanos) {
        self.end_request(connection, &end, now);
    }

    fn event(&mut self, connection: ConnectionRef, event: ConnectionEvent<'_>) {
        self.connection_event(connection, event);
    }

    fn may_write(&mut self, connection: ConnectionRef, now: Nanos) -> bool {
        let Some((slot, epoch)) = self.link(connection).and_then(|link| link.wrote) else { return true };
        let Some(shard) = self.shards[usize::from(slot)].as_deref() else { return true };
        // Another shard by now, or what it wrote was taken back.
        let is_other = shard.permit_epoch != epoch;
        let may_write = is_other || shard.work.gate.passage(&shard.work.lease_until, now) == Passage::Open;
        if !may_write {
            // The gate may open again before the sweep sees it shut and takes the rest back.
            self.errands.push(Errand::Ask(connection));
        }
        may_write
    }

    fn tick(&mut self, control: &mut Control<'_, Tls>, now: Nanos) -> Wake {
        self.round(control, now)
    }
}
