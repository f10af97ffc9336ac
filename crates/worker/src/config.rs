//! What can be set, and why it is what it is.

use std::time::Duration;

/// A worker's settings. [`Config::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// A name unique to the process: one that starts again starts another.
    pub name: String,
    /// The program's version, for the heartbeat.
    pub version: String,
    /// Calls per provider that receive shards, of up to ten each.
    pub receivers: usize,
    /// How long one call waits for messages; also how long a shutdown waits for it.
    pub receive_wait: Duration,
    /// How often control and project rows are read.
    pub permission_every: Duration,
    /// How long what they said is good for: an abort stops everybody within this.
    pub permission: Duration,
    /// How often claims are looked at for renewal.
    pub renewal_every: Duration,
    /// How old a claim gets before it is renewed; a lease lasts ten seconds.
    pub renewal_after: Duration,
    /// How far two clocks of the fleet may be apart: readiness refuses a clock error above 50 ms on either side.
    pub clock_error: Duration,
    /// How often a launch's progress is published while it changes.
    pub progress_every: Duration,
    /// How often the heartbeat is written; readers take one of up to a second for alive.
    pub heartbeat_every: Duration,
    /// When a message of a paused launch is looked at again.
    pub pause: Duration,
    /// Pause after a failed call on the backend.
    pub retry_every: Duration,
    /// Messages per minute of an FCM project whose quota nobody declared; `None`: no limit. As the dispatchers have it.
    pub fcm_quota: Option<u64>,
    /// Claims after which the shard is left to the dispatcher, which closes it.
    pub attempts_max: u32,
    /// Records written in one call, at most.
    pub records_max: usize,
    /// How long finished shards wait for others to be recorded with.
    pub record_linger: Duration,
    /// How long a shutdown lets requests in flight finish.
    pub drain: Duration,
    /// How long a launch must have been quiet before its dead keys are taken out of the directory.
    pub prune_after: Duration,
}

impl Config {
    /// The defaults, under a name unique to the process.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            receivers: 3,
            receive_wait: Duration::from_secs(1),
            permission_every: Duration::from_millis(50),
            permission: Duration::from_millis(200),
            renewal_every: Duration::from_millis(500),
            renewal_after: Duration::from_secs(3),
            clock_error: Duration::from_millis(100),
            progress_every: Duration::from_millis(200),
            heartbeat_every: Duration::from_millis(400),
            pause: Duration::from_secs(1),
            retry_every: Duration::from_millis(100),
            fcm_quota: Some(600_000),
            attempts_max: 5,
            records_max: 64,
            record_linger: Duration::from_millis(8),
            drain: Duration::from_secs(5),
            prune_after: Duration::from_secs(3),
        }
    }
}

/// What a worker reports of its machine; reading it is the program's affair.
pub trait Machine: Send + Sync {
    /// The kernel's estimate of its clock's error.
    fn clock_error(&self) -> Duration;
    /// Resident memory of the process, in bytes.
    fn resident_bytes(&self) -> u64;
}
