//! A thread's part of a pool, for one kind of keys: its connections and the devices that wait for one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use burst_h2::driver::ConnectionRef;
use burst_h2::{Nanos, Part, Template};
use model::{Platform, Timestamp};

use super::queue::Queue;
use super::tag::Tag;
use crate::group_message::with_token;
use crate::pool::{Counts, PoolState, Share};
use crate::token::Token;
use crate::{apns, fcm};

/// A connection that lasts as long as this was of use, if only to wait for a burst.
const SHORT_LIFE: Nanos = 10_000_000_000;

/// A device to be sent again, on another connection if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Again {
    pub(crate) tag: Tag,
    /// The connection that did not do.
    pub(crate) not_on: u64,
}

pub(crate) struct Lane<K> {
    pub(crate) pool: Arc<PoolState>,
    pub(crate) queue: Arc<Queue<K>>,
    thread: usize,
    class: usize,
    /// Connections opening, open or draining.
    pub(crate) links: Vec<ConnectionRef>,
    /// Slots of shards with devices for which nothing was started, the one being walked first.
    pub(crate) walking: VecDeque<u16>,
    pub(crate) again: VecDeque<Again>,
    /// The token in use and its generation.
    token: Option<(u64, Token)>,
    warm_up: Option<(u64, Template)>,
    /// Since when no connection of this lane has taken requests.
    pub(crate) unready_since: Option<Nanos>,
    /// Since when no connection that takes from the queue has, of whatever thread.
    pub(crate) queue_unready_since: Option<Nanos>,
    /// Since when there has been no usable token.
    pub(crate) tokenless_since: Option<Nanos>,
    /// Something came up that its connections should be asked about.
    pub(crate) has_news: bool,
    /// The pool was closed, and so were its connections.
    pub(crate) is_closed: bool,
    /// A connection had room and found nothing to start: only then do connections need to be asked.
    pub(crate) is_starved: bool,
}

impl<K> Lane<K> {
    pub(crate) fn new(pool: Arc<PoolState>, queue: Arc<Queue<K>>, thread: usize, class: usize) -> Self {
        Self {
            pool,
            queue,
            thread,
            class,
            links: Vec::new(),
            walking: VecDeque::new(),
            again: VecDeque::new(),
            token: None,
            warm_up: None,
            unready_since: None,
            queue_unready_since: None,
            tokenless_since: None,
            has_news: false,
            is_closed: false,
            is_starved: false,
        }
    }

    pub(crate) fn share(&self) -> &Share {
        &self.pool.shares[self.thread][self.class]
    }

    #[inline]
    pub(crate) fn ready(&self) -> u32 {
        self.share().ready.load(Ordering::Relaxed)
    }

    /// Connections that take requests from the queue, those of other threads included.
    pub(crate) fn ready_of_queue(&self) -> u32 {
        self.pool.ready(self.class)
    }

    /// Whether requests may be started now, as far as token and quota are concerned. Takes up a new token.
    #[inline]
    pub(crate) fn may_start(&mut self, now: Nanos) -> bool {
        if !self.pool.tokens.is_usable() || self.pool.is_paused(now) {
            return false;
        }
        let is_current =
            self.token.as_ref().is_some_and(|(known, _)| *known == self.pool.tokens.generation());
        is_current || self.take_token()
    }

    #[cold]
    fn take_token(&mut self) -> bool {
        self.token = self.pool.tokens.current();
        self.token.is_some()
    }

    /// The token in use and its generation; there is one once [`Lane::may_start`] has said so.
    #[inline]
    pub(crate) fn token(&self) -> Option<&(u64, Token)> {
        self.token.as_ref()
    }

    /// The generation of the token that a request with this tag carried, if that is the one in use.
    fn token_in_use(&self, tag: Tag) -> Option<u64> {
        let in_use = self.token.as_ref().filter(|(generation, _)| *generation as u8 == tag.token);
        in_use.map(|(generation, _)| *generation)
    }

    /// The provider refused the token that a request with this tag carried. Whether that is news.
    pub(crate) fn refuse_token(&self, tag: Tag) -> bool {
        let Some(generation) = self.token_in_use(tag) else { return false };
        let is_news = !self.pool.tokens.is_refused(generation);
        self.pool.tokens.refuse(generation);
        self.pool.token_wanted.notify_one();
        is_news
    }

    /// The provider finds that the token of a request with this tag came too soon after the one before.
    pub(crate) fn keep_older_token(&self, tag: Tag, now: Timestamp) {
        if let Some(generation) = self.token_in_use(tag) {
            self.pool.tokens.keep_older(generation, now);
        }
    }

    /// Whether a connection with so many requests open may be given another. One of APNs that had a request with an
    /// expired token stays wedged, whatever comes after: as long as answers to such requests may come it is suspect.
    #[inline]
    pub(crate) fn trusts(&self, link: &Link, open: u32) -> bool {
        let is_suspect = || self.pool.platform == Platform::Apns && self.pool.tokens.is_refused(link.token);
        !link.is_condemned && (open == 0 || !is_suspect())
    }

    /// Whether a connection of this lane should be warmed by a request.
    pub(crate) fn warms_by_request(&self, link: &Link) -> bool {
        let config = &self.pool.config;
        let is_wanted = match self.pool.platform {
            Platform::Apns => !link.is_authenticated && !config.canaries.is_empty(),
            Platform::Fcm => !link.is_warm,
        };
        is_wanted && config.warms_up
    }

    /// The template of the request that warms a connection.
    pub(crate) fn warm_up(&mut self) -> Option<&Template> {
        let (generation, token) = self.token.as_ref()?;
        if self.warm_up.as_ref().is_none_or(|(known, _)| known != generation) {
            let (authority, app) = (&self.pool.authority, &self.pool.app);
            let (fields, body) = match self.pool.platform {
                Platform::Apns => {
                    let canary = apns::template::canary();
                    (apns::template::fields(authority, app, &canary), Part::constant(&canary.body))
                }
                Platform::Fcm => {
                    (fcm::template::fields(authority, app), Part::constant(fcm::template::WARM_UP_BODY))
                }
            };
            self.warm_up = Some((*generation, with_token(fields, vec![body], token).ok()?));
        }
        self.warm_up.as_ref().map(|(_, template)| template)
    }

    /// The next device to send again over this connection: one that did not fail there, unless there is no other.
    pub(crate) fn next_again(&mut self, connection: ConnectionRef) -> Option<Again> {
        // Looking further would cost each connection the same look again and again.
        const LOOK: usize = 32;
        let is_only = self.ready() <= 1;
        let fits = |again: &Again| is_only || again.not_on != connection.user;
        let place = self.again.iter().take(LOOK).position(fits)?;
        self.again.remove(place)
    }

    /// Whether its connections should be asked now; asking is what follows.
    pub(crate) fn take_news(&mut self) -> bool {
        let is_due = self.is_starved && (self.has_news || !self.queue.is_empty());
        if is_due {
            (self.is_starved, self.has_news) = (false, false);
        }
        is_due
    }

    /// Whether devices wait for a connection of this lane.
    pub(crate) fn has_work(&self) -> bool {
        !self.walking.is_empty() || !self.again.is_empty()
    }
}

/// A connection, as its lane knows it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: ConnectionRef,
    pub(crate) lane: u32,
    pub(crate) stage: Stage,
    pub(crate) is_warm: bool,
    /// A request on it was accepted, if only one that warms it.
    pub(crate) is_authenticated: bool,
    /// A device's request on it was accepted.
    pub(crate) has_served: bool,
    /// No request to warm it before this moment.
    pub(crate) warm_up_at: Nanos,
    pub(crate) stream_limit: u32,
    /// Told to drain: it takes no further request.
    pub(crate) is_condemned: bool,
    /// The peer said GOAWAY.
    pub(crate) is_sent_away: bool,
    pub(crate) opened_at: Nanos,
    /// No PING for a timeout before this moment.
    pub(crate) probe_at: Nanos,
    /// The generation of the token that its last request carried.
    pub(crate) token: u64,
    /// When it last had a request or a PING.
    pub(crate) used_at: Nanos,
    /// The shard whose requests were last put into it: its slot and permit epoch.
    pub(crate) wrote: Option<(u16, u64)>,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Opening,
    Ready,
    Draining,
}

impl Link {
    pub(crate) fn new(connection: ConnectionRef, lane: u32, now: Nanos) -> Self {
        Self {
            connection,
            lane,
            stage: Stage::Opening,
            is_warm: false,
            is_authenticated: false,
            has_served: false,
            warm_up_at: 0,
            stream_limit: 0,
            is_condemned: false,
            is_sent_away: false,
            opened_at: now,
            probe_at: 0,
            token: 0,
            used_at: now,
            wrote: None,
        }
    }

    /// Moves on to another stage; the counts of its share follow.
    pub(crate) fn enter(&mut self, stage: Stage, share: &Share) {
        self.change(share, |link| link.stage = stage);
    }

    /// Changes it in a way that counts. Whoever reads the counts meanwhile sees no other connection come or go.
    pub(crate) fn change(&mut self, share: &Share, change: impl FnOnce(&mut Link)) {
        let before = self.counts();
        change(self);
        share.add(before, self.counts());
    }

    /// Whether it never worked, or ends soon after it was opened and before a shard's request was accepted: the next ones
    /// wait longer and longer, for opening and closing quickly looks like an attack.
    pub(crate) fn was_of_no_use(&self, now: Nanos) -> bool {
        !self.has_served && !self.has_lasted(now)
    }

    /// Whether it has worked for long.
    pub(crate) fn has_lasted(&self, now: Nanos) -> bool {
        self.is_warm && now >= self.opened_at + SHORT_LIFE
    }

    /// Takes it out of the counts.
    pub(crate) fn leave(&self, share: &Share) {
        share.add(self.counts(), Counts::default());
    }

    fn counts(&self) -> Counts {
        let is = |stage: Stage| u32::from(self.stage == stage);
        // One whose peer allows no stream is alive and of no use: whoever waits only for such ones waits for nothing.
        let is_ready = is(Stage::Ready) * u32::from(self.stream_limit > 0);
        Counts {
            alive: is(Stage::Opening) + is(Stage::Ready),
            opening: is(Stage::Opening),
            ready: is_ready,
            warm: is_ready * u32::from(self.is_warm),
            authenticated: is_ready * u32::from(self.is_authenticated),
            draining: is(Stage::Draining),
            streams: is_ready * self.stream_limit,
        }
    }
}
