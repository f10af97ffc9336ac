//! What a simulator says about itself: live counters, and the account of every device key.

use std::collections::BTreeMap;

use model::{Platform, Reason};
use serde::{Deserialize, Serialize};

use crate::fingerprint::Fingerprint;

/// Counters that cost nothing to read, also during a burst.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Requests that arrived whole, whatever became of them.
    pub requests: u64,
    /// Those that named no device: wrong path, topic, not a message.
    pub unkeyed: u64,
    /// FCM requests with `validate_only`; they reach nobody and are in no account.
    pub probes: u64,
    /// Answers written.
    pub answered: u64,
    /// Answers 200 written.
    pub accepted: u64,
    /// Requests that the protocol let go unprocessed: REFUSED_STREAM, or above a GOAWAY's last id.
    pub refused: u64,
    /// Requests whose connection was dropped before they were processed.
    pub dropped_before: u64,
    /// Requests that were processed and whose connection was dropped instead of the answer.
    pub dropped_after: u64,
    /// Requests that are never answered.
    pub silent: u64,
    /// Streams that the client reset before they were answered.
    pub cancelled: u64,
    /// Answers other than 200, by reason.
    pub reasons: BTreeMap<Reason, u64>,
    /// Connections, and what happened to them.
    pub connections: Connections,
    /// Bytes read from sockets, TLS included.
    pub bytes_read: u64,
    /// Bytes written to sockets, TLS included.
    pub bytes_written: u64,
    /// Reads that returned something.
    pub reads: u64,
    /// Writes that took something.
    pub writes: u64,
    /// User and system time of the process since the last reset, in microseconds.
    pub cpu_us: u64,
    /// The same of the serving threads alone, since their start.
    pub serving_cpu_us: u64,
}

/// Connections since the last reset; those open then count as opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// Accepted.
    pub opened: u64,
    /// Open now.
    pub open: u64,
    /// Most open at once, summed over threads.
    pub peak: u64,
    /// Closed because there were too many.
    pub refused: u64,
    /// Hit by the storm.
    #[serde(default)]
    pub hit: u64,
    /// GOAWAY frames sent by configuration or for too many streams.
    pub goaways: u64,
    /// Connections that ended because the client broke the protocol.
    pub violations: u64,
    /// Connections that ended in the TLS handshake.
    pub handshakes_failed: u64,
}

/// The account of every device key that arrived, and how long answers took.
///
/// A request is *received* when it arrived whole, headers and body, and was not refused (REFUSED_STREAM, or above
/// the last id of a GOAWAY that was sent). A received request is *processed* when the provider acted on it: it was
/// accepted, or the device or message was found wanting; not when it was turned away for a while (429, 5xx,
/// expired credentials) or its connection was dropped before. A processed request is *accepted* when the
/// notification would have gone on to the device, whether or not the answer got through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which provider.
    pub provider: Option<Platform>,
    /// Requests with a device key that arrived whole, refused ones too.
    pub arrived: u64,
    /// Of those, refused: the sender was told that they were not processed.
    pub refused: u64,
    /// Arrived and not refused.
    pub received: u64,
    /// Received, and the provider acted on them.
    pub processed: u64,
    /// Processed, and the notification would have gone on.
    pub accepted: u64,
    /// Received requests whose answer was written.
    pub answered: u64,
    /// Accepted requests whose answer was not written: dropped, silent, cancelled, or the connection was gone.
    pub accepted_unanswered: u64,
    /// Device keys that were received at least once.
    pub distinct: u64,
    /// Device keys that were received more than once.
    pub received_twice: u64,
    /// Device keys that were processed more than once.
    pub processed_twice: u64,
    /// Device keys that were accepted more than once: phones that would have got two.
    pub accepted_twice: u64,
    /// From arrival to answer.
    pub latency: Latencies,
    /// The wall clock at the simulator's start, in microseconds since the epoch; zero of the times below.
    pub start_unix_us: u64,
    /// The first arrival.
    pub first_arrival_us: Option<u64>,
    /// The last answer.
    pub last_answer_us: u64,
    /// Where `arrivals_per_100ms` begins: the 100 ms of the first arrival.
    pub arrivals_from_us: u64,
    /// Requests that arrived in each 100 ms.
    pub arrivals_per_100ms: Vec<u64>,
    /// Requests per second between the first arrival and the last answer.
    pub per_second: f64,
    /// User and system time of the process for each request since the last reset.
    pub cpu_us_per_request: f64,
    /// The counters.
    pub stats: Stats,
    /// Validating mode: what was wrong with requests, by kind. A sender without faults leaves it empty.
    #[serde(default)]
    pub faults_found: BTreeMap<String, Found>,
}

/// How often something was wrong with a request, and the first examples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// How often.
    pub count: u64,
    /// Where: a device's fingerprint, a field's name. No key, no token, no text.
    pub examples: Vec<String>,
}

/// Latencies in microseconds, to three significant digits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Half were at most this.
    pub p50_us: u64,
    /// 95 of 100 were.
    pub p95_us: u64,
    /// 99 of 100 were.
    pub p99_us: u64,
    /// 999 of 1,000 were.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
    /// Upper bounds and counts of all buckets that are not empty.
    pub buckets: Vec<(u64, u64)>,
}

/// How often one device key arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCount {
    /// Whose.
    pub key: Fingerprint,
    /// See [`Report`].
    pub received: u16,
    /// See [`Report`].
    pub processed: u16,
    /// See [`Report`].
    pub accepted: u16,
    /// Arrived, and refused.
    pub refused: u16,
}

impl KeyCount {
    /// Its length in a dump.
    pub const BYTES: usize = 24;

    /// As a dump holds it: the fingerprint and four counts, little-endian.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.key.to_bits().to_le_bytes());
        let counts = [self.received, self.processed, self.accepted, self.refused];
        for (place, count) in bytes[16..].as_chunks_mut::<2>().0.iter_mut().zip(counts) {
            *place = count.to_le_bytes();
        }
        bytes
    }

    /// Reads what [`KeyCount::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let count = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let mut key = [0; 16];
        key.copy_from_slice(&bytes[..16]);
        Self {
            key: Fingerprint::from_bits(u128::from_le_bytes(key)),
            received: count(16),
            processed: count(18),
            accepted: count(20),
            refused: count(22),
        }
    }
}
