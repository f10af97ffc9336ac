//! What can be set, and why it is what it is.

use std::time::Duration;

/// A dispatcher's settings. [`Config::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// A name unique to the process: it stands in the records of shards that it closes.
    pub name: String,
    /// Calls that receive triggers, of up to ten each. Five take the fifty triggers of a full launch at once.
    pub receivers: usize,
    /// How long one call waits for messages; also how long a shutdown may take.
    pub receive_wait: Duration,
    /// How often open launches are read, and triggers that a crash left are sent.
    pub sweep_every: Duration,
    /// How often an open launch's progress is looked at. A launch is declared over about this long after its last record.
    pub look_every: Duration,
    /// Pause after a failed call on the backend.
    pub retry_every: Duration,
    /// A trigger that led to no planned slice for this long is sent again; longer than the queue's visibility.
    pub trigger_patience: Duration,
    /// An unclaimed shard is enqueued again after this long when its queues are empty, longer than a lease.
    pub patience: Duration,
    /// The same when its queues are not empty: its message is probably among those that wait.
    pub patience_queued: Duration,
    /// Attempts after which a shard is closed.
    pub attempts_max: u32,
    /// How far two clocks of the fleet may be apart: readiness refuses a clock error above 50 ms on either side.
    pub clock_error: Duration,
    /// How long after an abort or after *not-after* a worker may still start requests: a send permission's 200 ms and the
    /// time to notice.
    pub permission: Duration,
    /// Messages per minute of an FCM project whose quota nobody declared; `None`: no limit.
    pub fcm_quota: Option<u64>,
    /// When a late retry goes, by what went before.
    pub late: LateDelays,
}

impl Config {
    /// The defaults, under a name unique to the process.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            receivers: 5,
            receive_wait: Duration::from_secs(1),
            sweep_every: Duration::from_millis(500),
            look_every: Duration::from_millis(100),
            retry_every: Duration::from_millis(200),
            trigger_patience: Duration::from_secs(15),
            patience: Duration::from_secs(12),
            patience_queued: Duration::from_secs(60),
            attempts_max: 5,
            clock_error: Duration::from_millis(100),
            permission: Duration::from_millis(300),
            fcm_quota: Some(600_000),
            late: LateDelays::default(),
        }
    }
}

/// How long after a transient answer the device is tried again, before doubling and jitter.
#[derive(Clone, Copy, Debug)]
pub struct LateDelays {
    /// APNs 500 and 503: Apple asks for 15 minutes.
    pub apns_server: Duration,
    /// FCM 429 without `Retry-After`: 60 s.
    pub fcm_quota: Duration,
    /// Everything else: Google asks for at least 10 s.
    pub other: Duration,
}

impl Default for LateDelays {
    fn default() -> Self {
        Self {
            apns_server: Duration::from_secs(900),
            fcm_quota: Duration::from_secs(60),
            other: Duration::from_secs(10),
        }
    }
}
