//! What goes wrong on purpose. Every share is decided by the seed and the device key, so that the same run fails in
//! the same places; passing faults also by how often the key had one before, so that a retry may succeed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use model::{Platform, Reason};
use serde::{Deserialize, Serialize};

use super::storm::Storm;
use super::text;
use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::{apns, fcm};

/// What goes wrong. The default is nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The share of keys that are dead: 410 Unregistered, 404 UNREGISTERED; see [`crate::is_dead`].
    pub dead: f64,
    /// Shares of the other reasons, of all keys. A reason that [`Reason::is_transient`] passes: it is drawn again
    /// for the key's next request. The others are for ever.
    pub shares: Shares,
    /// Which seed decides `dead`; `None`: the configuration's. A demo sets the seed of its population.
    pub dead_seed: Option<u64>,
    /// 410 answers carry a timestamp this long before the simulator started, at most; each key its own.
    #[serde(with = "text::duration")]
    pub unregistered_within: Duration,
    /// The value of `retry-after` with TooManyRequests, ServiceUnavailable, QUOTA_EXCEEDED and UNAVAILABLE; whole seconds,
    /// 0 sends none.
    #[serde(with = "text::duration")]
    pub retry_after: Duration,
    /// The share answered with REFUSED_STREAM.
    pub refused: f64,
    /// The share whose connection is dropped before the request is processed.
    pub dropped_before: f64,
    /// The share whose connection is dropped when the answer is due: processed, the answer lost.
    pub dropped_after: f64,
    /// The share that is processed and never answered.
    pub silent: f64,
    /// Drops the connection before processing every n-th request of the simulator.
    pub drop_before_every: Option<u64>,
    /// Drops the connection instead of the answer to every n-th request of the simulator.
    pub drop_after_every: Option<u64>,
    /// Faults of single keys; they come before every share.
    pub listed: Vec<ListedFault>,
    /// FCM's quota of the project. `None`: no quota.
    pub quota: Option<Quota>,
    /// When connections end with GOAWAY.
    pub goaway: Goaway,
    /// From this long after the start, credentials first seen before are answered with 403 ExpiredProviderToken
    /// (FCM: 401 UNAUTHENTICATED), and an APNs connection that had such an answer stays wedged.
    #[serde(with = "text::duration_option")]
    pub credentials_expire_after: Option<Duration>,
    /// What happens to connections, and to all requests at once.
    pub storm: Storm,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            dead: 0.0,
            shares: Shares::default(),
            dead_seed: None,
            unregistered_within: Duration::from_secs(30 * 24 * 3_600),
            retry_after: Duration::from_secs(10),
            refused: 0.0,
            dropped_before: 0.0,
            dropped_after: 0.0,
            silent: 0.0,
            drop_before_every: None,
            drop_after_every: None,
            listed: Vec::new(),
            quota: None,
            goaway: Goaway::default(),
            credentials_expire_after: None,
            storm: Storm::default(),
        }
    }
}

/// Shares (0 to 1) by reason. As text: `BadDeviceToken=0.01,ServiceUnavailable=0.002`.
///
/// A text that both providers use, such as `UNREGISTERED`, names FCM's reason; APNs writes `Unregistered`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shares(pub BTreeMap<Reason, f64>);

impl FromStr for Shares {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid =
            |part: &str| Error::invalid("share", part, "reason=share, for example BadDeviceToken=0.01");
        let pair = |part: &str| {
            let (reason, share) = part.split_once('=').ok_or_else(|| invalid(part))?;
            let reason = reason.trim().parse::<Reason>().map_err(|_| invalid(part))?;
            Ok((reason, share.trim().parse::<f64>().map_err(|_| invalid(part))?))
        };
        text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect::<Result<_, _>>().map(Shares)
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(reason, share)| format!("{reason}={share}")).collect();
        f.write_str(&parts.join(","))
    }
}

/// A fault of one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedFault {
    /// Whose.
    pub key: Fingerprint,
    /// What happens to the request.
    #[serde(default)]
    pub manner: Manner,
    /// What it is answered, if it is; `none` accepts it.
    #[serde(default = "accepted")]
    pub reason: Reason,
    /// For how many requests of the key; `None`: for all.
    #[serde(default)]
    pub times: Option<u32>,
}

fn accepted() -> Reason {
    Reason::None
}

/// What happens to a request, whatever its answer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// It is answered.
    #[default]
    Answered,
    /// REFUSED_STREAM: not processed, the sender may send it again at once.
    Refused,
    /// The connection is dropped, the request not processed.
    DroppedBefore,
    /// The request is processed, the connection dropped instead of the answer.
    DroppedAfter,
    /// The request is processed and never answered.
    Silent,
}

/// A quota that is refilled whole each window; windows start with the first request, not with the clock's minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Requests per window; whatever they are answered, they count.
    pub requests: u64,
    /// The window.
    #[serde(default = "a_minute", with = "text::duration")]
    pub window: Duration,
}

fn a_minute() -> Duration {
    Duration::from_secs(60)
}

impl Quota {
    /// So many requests a minute.
    pub fn per_minute(requests: u64) -> Self {
        Self { requests, window: a_minute() }
    }
}

/// When connections end with GOAWAY: what is above its last id is not processed, the rest is answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Goaway {
    /// After so many requests of a connection.
    pub every: Option<u64>,
    /// After so many answers of a connection that said a device or a message was wrong: 400, 404, 405 and 413, but
    /// not 410 nor FCM's UNREGISTERED. APNs closes connections that have too many of them.
    pub after_rejections: Option<u64>,
    /// At this age of a connection.
    #[serde(with = "text::duration_option")]
    pub after: Option<Duration>,
    /// APNs: the `reason` of the debug data; FCM: the debug data. Empty: none.
    pub reason: String,
}

impl Faults {
    pub(super) fn check(&self, provider: Platform) -> Result<(), Error> {
        let single = [self.dead, self.refused, self.dropped_before, self.dropped_after, self.silent];
        for share in single.iter().chain(self.shares.0.values()) {
            if !(0.0..=1.0).contains(share) {
                return Err(Error::invalid("share", &share.to_string(), "0 to 1"));
            }
        }
        self.check_sums()?;
        self.storm.check()?;
        if let Some(quota) = &self.quota {
            if provider == Platform::Apns {
                return Err(Error::invalid("quota", &quota.requests.to_string(), "none: APNs has no quota"));
            }
            if quota.window.is_zero() {
                return Err(Error::invalid("quota window", "0", "more than nothing"));
            }
        }
        let stands_for_itself = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if !self.goaway.reason.bytes().all(stands_for_itself) {
            let expected = "printable ASCII without quotation marks and backslashes";
            return Err(Error::invalid("goaway reason", &self.goaway.reason, expected));
        }
        let of_keys = self.shares.0.keys().chain(self.listed.iter().map(|fault| &fault.reason));
        let reasons = of_keys.chain(&self.storm.answers);
        for reason in reasons.filter(|reason| **reason != Reason::None) {
            let is_known = match provider {
                Platform::Apns => apns::status(*reason).is_some(),
                Platform::Fcm => fcm::status(*reason).is_some(),
            };
            if !is_known {
                return Err(Error::invalid("reason", reason.text(), format!("a reason of {provider}")));
            }
        }
        Ok(())
    }

    /// Of the faults that exclude each other no more than all keys can have one.
    fn check_sums(&self) -> Result<(), Error> {
        let of = |is_transient: bool| -> f64 {
            let shares = self.shares.0.iter().filter(|(reason, _)| reason.is_transient() == is_transient);
            shares.map(|(_, share)| share).sum()
        };
        let manners = self.refused + self.dropped_before + self.dropped_after + self.silent;
        let sums = [("sum of lasting shares", of(false)), ("sum of passing shares", of(true) + manners)];
        // A sum of decimal fractions that add up to 1 may be a little above.
        let over = sums.into_iter().find(|(_, sum)| *sum > 1.0 + 1e-9);
        over.map_or(Ok(()), |(what, sum)| Err(Error::invalid(what, &sum.to_string(), "at most 1")))
    }
}
