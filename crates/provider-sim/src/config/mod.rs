//! Everything a simulator can be told: each latency, limit, quota and fault is a field here, and a flag of
//! `fanfare sim`. Durations read and write as text such as `60ms`.

mod checks;
mod faults;
mod storm;
pub mod text;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use model::Platform;
use serde::{Deserialize, Serialize};

pub use checks::{Checks, Mode};
pub use faults::{Faults, Goaway, ListedFault, Manner, Quota, Shares};
pub use storm::{Certificate, ConnectionFault, Hits, Storm};

use crate::error::Error;

/// A whole simulator. [`Config::apns`] and [`Config::fcm`] give each provider's usual values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which provider to stand in for.
    pub provider: Platform,
    /// How strictly requests are judged.
    #[serde(default)]
    pub mode: Mode,
    /// Where to listen; port 0 takes any free one.
    #[serde(default = "loopback")]
    pub listen: SocketAddr,
    /// Where the control channel listens; port 0 takes any free one.
    #[serde(default = "loopback")]
    pub control: SocketAddr,
    /// Threads that serve connections, each its own. At least 1; one serves about 2.5 M APNs requests a second.
    #[serde(default = "one")]
    pub threads: usize,
    /// Names of the server's certificate besides `localhost`, `127.0.0.1` and `::1`.
    #[serde(default)]
    pub names: Vec<String>,
    /// Where to write the certificate of the authority that was made at the start, as PEM.
    #[serde(default)]
    pub ca_out: Option<PathBuf>,
    /// Decides every draw: faults by key, jitter, ids.
    #[serde(default)]
    pub seed: u64,
    /// Memory for so many requests is touched at the start, so that a burst does not wait for page faults.
    #[serde(default)]
    pub requests_expected: usize,
    /// [`crate::run`] returns when standard input closes: a child never outlives the parent that holds the pipe.
    #[serde(default)]
    pub exit_when_stdin_closes: bool,
    /// Falsifies the account on purpose: n > 0 hides n arrivals, n < 0 counts -n arrivals twice. It proves that
    /// whoever compares accounts would notice.
    #[serde(default)]
    pub miscount: i64,
    /// When answers come.
    #[serde(default)]
    pub latency: Latency,
    /// HTTP/2 limits.
    pub limits: Limits,
    /// What answers look like.
    #[serde(default)]
    pub answers: Answers,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Faults,
    /// What the validating mode checks besides.
    #[serde(default)]
    pub checks: Checks,
}

/// When answers come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Latency {
    /// From a request's last byte to its answer.
    #[serde(with = "text::duration")]
    pub base: Duration,
    /// How far answers stray from `base`; see [`Distribution`].
    #[serde(with = "text::duration")]
    pub spread: Duration,
    /// How they stray.
    pub distribution: Distribution,
    /// Answers become due on ticks of this length, so that those of one connection travel together. An answer is
    /// never early and at most one tick late.
    #[serde(with = "text::duration")]
    pub tick: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            base: Duration::ZERO,
            spread: Duration::ZERO,
            distribution: Distribution::Uniform,
            tick: Duration::from_millis(1),
        }
    }
}

/// How latencies are distributed around their base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Evenly within base ± spread.
    #[default]
    Uniform,
    /// Base plus an exponential tail with the mean `spread`, cut at ten times that.
    Exponential,
}

/// HTTP/2 limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    pub streams: u32,
    /// Changes of it: the connection's age, and the limit from then on.
    #[serde(default)]
    pub stream_changes: Vec<StreamChange>,
    /// One stream until the first request was answered with 200, as APNs does with token authentication.
    pub one_stream_until_valid: bool,
    /// What happens to a stream above the limit once the client has acknowledged it.
    pub over_limit: OverLimit,
    /// SETTINGS_INITIAL_WINDOW_SIZE: what a request may send before more is granted.
    #[serde(default = "stream_window")]
    pub stream_window: u32,
    /// The connection's window; granted at once and again whenever half is used. 65,535 at least.
    #[serde(default = "connection_window")]
    pub connection_window: u32,
    /// SETTINGS_HEADER_TABLE_SIZE: what the client's encoder may use.
    #[serde(default = "header_table_bytes")]
    pub header_table_bytes: u32,
    /// SETTINGS_MAX_FRAME_SIZE, 16,384 to 16,777,215.
    #[serde(default = "frame_bytes_max")]
    pub frame_bytes_max: u32,
    /// SETTINGS_MAX_HEADER_LIST_SIZE, and the longest header block that is read.
    #[serde(default = "header_block_bytes_max")]
    pub header_block_bytes_max: u32,
    /// Connections open at once; more are closed as soon as they come. `None`: no limit.
    #[serde(default)]
    pub connections: Option<usize>,
    /// How long a new connection waits before its first byte is read.
    #[serde(default, with = "text::duration")]
    pub accept_delay: Duration,
}

/// A change of the stream limit during a connection's life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamChange {
    /// The connection's age.
    #[serde(with = "text::duration")]
    pub after: Duration,
    /// The limit from then on.
    pub streams: u32,
}

/// What happens to a stream above the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverLimit {
    /// RST_STREAM with REFUSED_STREAM.
    Refuse,
    /// The connection ends with GOAWAY and the debug data `exceeded_max_concurrent_streams`, as Google's does.
    Goaway,
}

/// What answers look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answers {
    /// APNs: the sandbox, whose answers carry `apns-unique-id` besides `apns-id`.
    pub sandbox: bool,
    /// The headers that the real provider sends; `false` leaves `:status` and what a client needs.
    pub realistic: bool,
    /// The dynamic table used for answers, if the client allows as much; 0 sends literals only.
    pub header_table_bytes: u32,
}

impl Default for Answers {
    fn default() -> Self {
        Self { sandbox: false, realistic: true, header_table_bytes: 4_096 }
    }
}

impl Config {
    /// APNs: 1,000 streams, one until the first valid request.
    pub fn apns() -> Self {
        Self::new(Platform::Apns, 1_000, true, OverLimit::Refuse)
    }

    /// FCM: 100 streams, GOAWAY for whoever takes more.
    pub fn fcm() -> Self {
        Self::new(Platform::Fcm, 100, false, OverLimit::Goaway)
    }

    /// The usual values of `provider`.
    pub fn of(provider: Platform) -> Self {
        match provider {
            Platform::Apns => Self::apns(),
            Platform::Fcm => Self::fcm(),
        }
    }

    fn new(provider: Platform, streams: u32, one_stream_until_valid: bool, over_limit: OverLimit) -> Self {
        Self {
            provider,
            mode: Mode::Fast,
            listen: loopback(),
            control: loopback(),
            threads: one(),
            names: Vec::new(),
            ca_out: None,
            seed: 0,
            requests_expected: 0,
            exit_when_stdin_closes: false,
            miscount: 0,
            latency: Latency::default(),
            limits: Limits {
                streams,
                stream_changes: Vec::new(),
                one_stream_until_valid,
                over_limit,
                stream_window: stream_window(),
                connection_window: connection_window(),
                header_table_bytes: header_table_bytes(),
                frame_bytes_max: frame_bytes_max(),
                header_block_bytes_max: header_block_bytes_max(),
                connections: None,
                accept_delay: Duration::ZERO,
            },
            answers: Answers::default(),
            faults: Faults::default(),
            checks: Checks::default(),
        }
    }

    /// Refuses what cannot be meant.
    pub fn check(&self) -> Result<(), Error> {
        let limits = &self.limits;
        let range = |what, value: u64, from: u64, to: u64| {
            let fits = (from..=to).contains(&value);
            fits.then_some(())
                .ok_or_else(|| Error::invalid(what, &value.to_string(), format!("{from} to {to}")))
        };
        range("threads", self.threads as u64, 1, 64)?;
        range("max frame size", limits.frame_bytes_max.into(), 16_384, 16_777_215)?;
        range("stream window", limits.stream_window.into(), 0, 0x7fff_ffff)?;
        range("connection window", limits.connection_window.into(), 65_535, 0x7fff_ffff)?;
        range("header table size", limits.header_table_bytes.into(), 0, 1 << 20)?;
        range("header block", limits.header_block_bytes_max.into(), 256, 1 << 20)?;
        range("tick", self.latency.tick.as_micros() as u64, 1, 10_000_000)?;
        range("latency", self.latency.base.as_secs(), 0, 3_600)?;
        range("spread", self.latency.spread.as_secs(), 0, 3_600)?;
        let longest = self.latency.base + 10 * self.latency.spread;
        let ticks = longest.as_micros() / self.latency.tick.as_micros();
        range("longest latency in ticks", u64::try_from(ticks).unwrap_or(u64::MAX), 0, TICKS_MAX)?;
        self.checks.check(self)?;
        self.faults.check(self.provider)
    }
}

/// More slots than this are not kept for answers that are due.
const TICKS_MAX: u64 = 4 << 20;

fn loopback() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
}

fn one() -> usize {
    1
}

fn stream_window() -> u32 {
    65_535
}

fn connection_window() -> u32 {
    16 << 20
}

fn header_table_bytes() -> u32 {
    4_096
}

fn frame_bytes_max() -> u32 {
    16_384
}

fn header_block_bytes_max() -> u32 {
    16_384
}
