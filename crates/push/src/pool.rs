//! The connections to one provider for one app and credential, as everybody but its threads sees them.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use message::{ApnsMessage, FcmMessage};
use model::{LaunchId, Monotonic, Platform};
use rustls::client::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::sync::Notify;

use crate::apns::template::IdPrefix;
use crate::back_off::Failures;
use crate::error::Error;
use crate::group_message::{Body, GroupMessage, Message};
use crate::installation::{Reach, Side};
use crate::target::{Endpoint, Target};
use crate::token::{Renewal, TokenCell, TokenShelf};
use crate::trouble::{Trouble, Troubles};
use crate::{apns, fcm};

/// A pool of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolId(pub(crate) u32);

/// How many connections a pool has, and how they are opened and kept.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Connections, over all threads. APNs carries about 1,000 requests at once on each, FCM 100.
    pub connections: u32,
    /// Connections for doubtful keys; 0 sends them with the others.
    pub doubtful_connections: u32,
    /// Our own limit on requests at once per connection; the provider's counts if it is lower.
    pub streams_max: u32,
    /// What the provider's answers may keep in a table on our side: a table spares the eleven fields that Google repeats
    /// in each answer, and gains nothing with APNs'.
    pub header_table_bytes: u32,
    /// Requests of a connection that may run into their deadlines before it is replaced. A dead connection shows by the
    /// PING that follows a timeout; this is for one that answers PINGs and not requests. Each timeout resets a stream, and
    /// many resets look like an attack, hence few: with a provider that is silent to one request in a thousand, a fifth of
    /// the connections are replaced in order behind a burst. More than `burst_h2::ConnectionConfig::resets_max` is never
    /// reached.
    pub timeouts_max: u32,
    /// Devices submitted and not done, those of shards that straggle left out, at most: twice what the connections carry at once keeps them busy.
    pub devices_max: u32,
    /// Between two openings: opening quickly looks like an attack.
    pub open_spacing: Duration,
    /// Connections being opened at once.
    pub opening_max: u32,
    /// The wait after a connection that failed; it doubles with each that is tried afterwards and fails too.
    pub back_off_min: Duration,
    /// The longest such wait.
    pub back_off_max: Duration,
    /// The longest such wait while there are devices to send to: each second counts then, and one connection in two
    /// seconds looks like no attack.
    pub busy_back_off_max: Duration,
    /// Whether a connection is warmed: APNs by a PING, FCM by a `validate_only` request, which counts against the quota.
    pub warms_up: bool,
    /// APNs: raw tokens of devices that may get a background push which shows nothing, to authenticate a connection ahead.
    /// Without them the first request of a connection does so, and the others wait a round trip for it.
    pub canaries: Vec<Vec<u8>>,
    /// Between two such pushes to one canary: Apple lets two or three an hour through.
    pub canary_every: Duration,
    /// A connection without a request for this long gets a PING: Apple asks for about hourly.
    pub ping_after: Duration,
    /// When the token is renewed; `None`: as the provider asks.
    pub renewal: Option<Renewal>,
}

impl PoolConfig {
    /// The usual values for so many connections to a provider.
    pub fn new(platform: Platform, connections: u32) -> Self {
        let (streams_max, header_table_bytes) = match platform {
            Platform::Apns => (1_000, 0),
            Platform::Fcm => (100, 4_096),
        };
        Self {
            connections,
            doubtful_connections: 1,
            streams_max,
            header_table_bytes,
            timeouts_max: (streams_max / 10).min(TIMEOUTS_MAX),
            devices_max: connections.saturating_mul(streams_max).saturating_mul(2),
            open_spacing: Duration::from_millis(5),
            opening_max: 16,
            back_off_min: Duration::from_millis(250),
            back_off_max: Duration::from_secs(30),
            busy_back_off_max: Duration::from_secs(2),
            warms_up: true,
            canaries: Vec::new(),
            canary_every: Duration::from_secs(30 * 60),
            ping_after: Duration::from_secs(3_600),
            renewal: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let bounds =
            |is_fine: bool, what, bounds| is_fine.then_some(()).ok_or(Error::Bounds { what, bounds });
        bounds((1..=10_000).contains(&self.connections), "connections", "1 to 10,000")?;
        bounds(self.doubtful_connections <= 1_000, "doubtful connections", "0 to 1,000")?;
        bounds((1..=10_000).contains(&self.streams_max), "streams per connection", "1 to 10,000")?;
        bounds(self.timeouts_max >= 1, "timeouts of a connection", "at least 1")?;
        bounds(self.devices_max >= 1, "devices in a pool", "at least 1")?;
        bounds(self.opening_max >= 1, "connections being opened", "at least 1")?;
        let usable = |key: &Vec<u8>| (1..=apns::template::KEY_BYTES_MAX).contains(&key.len());
        bounds(self.canaries.iter().all(usable), "bytes of a canary's token", "1 to 1,024")?;
        let waits = self.back_off_min.as_millis() >= 1 && self.back_off_max >= self.back_off_min;
        bounds(self.busy_back_off_max.as_millis() >= 1, "back-off while busy", "at least a millisecond")?;
        bounds(waits, "back-off", "at least a millisecond, and not above its maximum")
    }
}

/// A pool as it stands.
#[derive(Clone, Debug)]
pub struct PoolStatus {
    /// Which.
    pub id: PoolId,
    /// `live` or `rehearsal`.
    pub side: &'static str,
    /// Provider.
    pub platform: Platform,
    /// Topic or project.
    pub app: String,
    /// Host and, unless it is 443, port.
    pub endpoint: String,
    /// Connections wanted, those for doubtful keys included.
    pub wanted: u32,
    /// Connections open or being opened that take or will take requests.
    pub connections: u32,
    /// Of those, connections that take requests.
    pub ready: u32,
    /// Of those, connections that have shown that they work: a PING or a request was answered.
    pub warm: u32,
    /// Of those, connections on which a request was accepted. One of APNs that is not among them carries one request
    /// until its first answer.
    pub authenticated: u32,
    /// Requests that may be open at once on the ready ones, by the limits in force.
    pub streams_total: u32,
    /// Connections that finish their requests and take no more.
    pub draining: u32,
    /// Connections closed since the pool was opened, whatever the reason.
    pub closed: u64,
    /// Requests sent to warm connections, `validate_only` or to canaries: FCM counts them against the quota.
    pub warm_up_requests: u64,
    /// Devices submitted and not done, those of shards that straggle left out.
    pub devices: u32,
    /// Whether there is a token that the provider has not refused.
    pub has_token: bool,
    /// Until when the project's quota pauses it.
    pub paused_until: Option<Monotonic>,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
    /// Everything that went wrong since the pool was opened.
    pub troubles: Vec<Trouble>,
}

/// The usual number of timeouts after which a connection is replaced, at most.
const TIMEOUTS_MAX: u32 = 16;
/// The two kinds of connections of a pool.
pub(crate) const CLASSES: usize = 2;
/// For keys that nothing speaks against.
pub(crate) const PLAIN: usize = 0;
/// For doubtful keys.
pub(crate) const DOUBTFUL: usize = 1;

/// What a thread's part of a pool is and how it stands. Written by its thread and the pool's keeper.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// Connections that the thread should have.
    pub(crate) wanted: u32,
    /// Opening or open, and not draining.
    pub(crate) alive: AtomicU32,
    pub(crate) opening: AtomicU32,
    pub(crate) ready: AtomicU32,
    pub(crate) warm: AtomicU32,
    pub(crate) authenticated: AtomicU32,
    pub(crate) draining: AtomicU32,
    pub(crate) streams: AtomicU32,
}

/// What a connection, or its change, adds to its share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) alive: u32,
    pub(crate) opening: u32,
    pub(crate) ready: u32,
    pub(crate) warm: u32,
    pub(crate) authenticated: u32,
    pub(crate) draining: u32,
    pub(crate) streams: u32,
}

impl Share {
    /// A connection that counted as `before` counts as `after`.
    pub(crate) fn add(&self, before: Counts, after: Counts) {
        let changes = [
            (&self.alive, before.alive, after.alive),
            (&self.opening, before.opening, after.opening),
            (&self.ready, before.ready, after.ready),
            (&self.warm, before.warm, after.warm),
            (&self.authenticated, before.authenticated, after.authenticated),
            (&self.draining, before.draining, after.draining),
            (&self.streams, before.streams, after.streams),
        ];
        for (counter, before, after) in changes {
            if before != after {
                counter.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
            }
        }
    }
}

/// Everything of a pool that threads and tasks share.
pub(crate) struct PoolState {
    pub(crate) id: PoolId,
    pub(crate) key: String,
    pub(crate) side: &'static str,
    pub(crate) platform: Platform,
    pub(crate) app: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) authority: String,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) reach: Reach,
    pub(crate) config: PoolConfig,
    pub(crate) tokens: TokenCell,
    /// By thread, then by class.
    pub(crate) shares: Vec<[Share; CLASSES]>,
    pub(crate) devices: AtomicU32,
    pub(crate) paused_until: AtomicU64,
    pub(crate) failures: Failures,
    pub(crate) closed: AtomicU64,
    pub(crate) warm_up_requests: AtomicU64,
    /// Connections are neither opened nor replaced, shards go back.
    pub(crate) is_closing: AtomicBool,
    /// Canaries and when each may be asked again.
    canaries: Mutex<Vec<(Box<[u8]>, u64)>>,
    /// A connection is wanted.
    pub(crate) connection_wanted: Notify,
    /// A token is wanted.
    pub(crate) token_wanted: Notify,
    troubles: Mutex<Troubles>,
}

impl PoolState {
    pub(crate) fn new<S: Side>(
        id: PoolId,
        target: Target<S>,
        config: PoolConfig,
        threads: usize,
        shelf: Arc<dyn TokenShelf>,
    ) -> Self {
        let renewal = config.renewal.unwrap_or_else(|| target.tokens.renewal());
        let shares = (0..threads).map(|thread| {
            [config.connections, config.doubtful_connections].map(|count| {
                let (each, rest) = (count / threads as u32, count % threads as u32);
                let wanted = each + u32::from((thread as u32) < rest);
                Share { wanted, ..Share::default() }
            })
        });
        let canaries = config.canaries.iter().map(|key| (key.clone().into(), 0)).collect();
        Self {
            id,
            key: target.key(),
            side: S::NAME,
            platform: target.platform,
            shares: shares.collect(),
            tokens: TokenCell::new(target.tokens, shelf, renewal),
            app: target.app,
            endpoint: target.endpoint,
            authority: target.authority,
            server_name: target.server_name,
            tls: target.tls,
            reach: target.reach,
            config,
            devices: AtomicU32::new(0),
            paused_until: AtomicU64::new(0),
            failures: Failures::default(),
            closed: AtomicU64::new(0),
            warm_up_requests: AtomicU64::new(0),
            is_closing: AtomicBool::new(false),
            canaries: Mutex::new(canaries),
            connection_wanted: Notify::new(),
            token_wanted: Notify::new(),
            troubles: Mutex::default(),
        }
    }

    /// The class whose connections send keys of this kind.
    pub(crate) fn class(&self, is_doubtful: bool) -> usize {
        if is_doubtful && self.config.doubtful_connections > 0 { DOUBTFUL } else { PLAIN }
    }

    #[inline]
    pub(crate) fn is_paused(&self, now: u64) -> bool {
        now < self.paused_until.load(Ordering::Relaxed)
    }

    pub(crate) fn note_error(&self, error: &str) {
        self.lock_troubles().add(error);
    }

    fn lock_troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A canary that may be asked at `now`, and its number. Who gets it has asked.
    pub(crate) fn take_canary(&self, now: u64) -> Option<(u32, Box<[u8]>)> {
        let every = self.config.canary_every.as_nanos() as u64;
        let mut canaries = self.canaries.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, (key, next)) = canaries.iter_mut().enumerate().find(|(_, (_, next))| now >= *next)?;
        *next = now.saturating_add(every);
        Some((number as u32, key.clone()))
    }

    /// A canary whose token the provider does not know harms the connections that ask it: it is never asked again.
    pub(crate) fn drop_canary(&self, number: u32) {
        let mut canaries = self.canaries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, next)) = canaries.get_mut(number as usize) {
            *next = u64::MAX;
        }
    }

    /// Closes it: its keepers end, its threads drain the connections.
    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.connection_wanted.notify_one();
        self.token_wanted.notify_one();
    }

    /// Connections of a class that take requests. Those of the other do not take its devices.
    pub(crate) fn ready(&self, class: usize) -> u32 {
        self.shares.iter().map(|classes| classes[class].ready.load(Ordering::Relaxed)).sum()
    }

    fn sum(&self, count: impl Fn(&Share) -> u32) -> u32 {
        self.shares.iter().flatten().map(count).sum()
    }

    pub(crate) fn status(&self) -> PoolStatus {
        let load =
            |counter: fn(&Share) -> &AtomicU32| self.sum(|share| counter(share).load(Ordering::Relaxed));
        let paused_until = self.paused_until.load(Ordering::Relaxed);
        let (last_error, troubles) = {
            let troubles = self.lock_troubles();
            (troubles.last(), troubles.all())
        };
        PoolStatus {
            id: self.id,
            side: self.side,
            platform: self.platform,
            app: self.app.clone(),
            endpoint: self.authority.clone(),
            wanted: self.sum(|share| share.wanted),
            connections: load(|share| &share.alive),
            ready: load(|share| &share.ready),
            warm: load(|share| &share.warm),
            authenticated: load(|share| &share.authenticated),
            streams_total: load(|share| &share.streams),
            draining: load(|share| &share.draining),
            closed: self.closed.load(Ordering::Relaxed),
            warm_up_requests: self.warm_up_requests.load(Ordering::Relaxed),
            devices: self.devices.load(Ordering::Relaxed),
            has_token: self.tokens.is_usable(),
            paused_until: (paused_until > 0).then_some(Monotonic(paused_until)),
            last_error,
            troubles,
        }
    }
}

/// A pool of an engine, for messages of its side. Clones are the same pool.
pub struct Pool<S> {
    state: Arc<PoolState>,
    side: PhantomData<fn(S)>,
}

impl<S: Side> Pool<S> {
    pub(crate) fn new(state: Arc<PoolState>) -> Self {
        Self { state, side: PhantomData }
    }

    /// Its name.
    pub fn id(&self) -> PoolId {
        self.state.id
    }

    /// What makes it another pool than the others: side, provider, environment, credential and topic or project.
    pub fn key(&self) -> &str {
        &self.state.key
    }

    /// How it stands.
    pub fn status(&self) -> PoolStatus {
        self.state.status()
    }

    /// What went wrong since it was opened.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.state.lock_troubles().all()
    }

    /// How many more devices it takes now.
    pub fn free_devices(&self) -> u32 {
        self.state.config.devices_max.saturating_sub(self.state.devices.load(Ordering::Relaxed))
    }

    /// A group's message for APNs in a launch.
    ///
    /// # Errors
    /// The pool is FCM's, or a value cannot stand in a header.
    pub fn apns_message(&self, launch: LaunchId, message: &ApnsMessage) -> Result<GroupMessage<S>, Error> {
        self.check_platform(Platform::Apns)?;
        let fields = apns::template::fields(&self.state.authority, &self.state.app, message);
        let body = Body::Apns { payload: message.body.clone().into(), id_prefix: IdPrefix::of(launch) };
        Message::new(self.state.id, fields, body).map(GroupMessage::new)
    }

    /// A group's message for FCM with at most this time to live: what is left to the launch's not-after, as its gate
    /// knows it, when a request starts.
    ///
    /// # Errors
    /// The pool is APNs', or a value cannot stand in a header.
    pub fn fcm_message(&self, message: &FcmMessage, ttl_s_max: u32) -> Result<GroupMessage<S>, Error> {
        self.check_platform(Platform::Fcm)?;
        let fields = fcm::template::fields(&self.state.authority, &self.state.app);
        let body = Body::Fcm { message: message.clone(), ttl_s_max };
        Message::new(self.state.id, fields, body).map(GroupMessage::new)
    }

    fn check_platform(&self, wanted: Platform) -> Result<(), Error> {
        (self.state.platform == wanted).then_some(()).ok_or(Error::OtherProvider)
    }
}

impl<S> Clone for Pool<S> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), side: PhantomData }
    }
}

impl<S: Side> std::fmt::Debug for Pool<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pool").field(&self.key()).finish()
    }
}
