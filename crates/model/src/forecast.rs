//! How long a wave will take: a pure function of counts and of what each provider and each machine can do.

use serde::{Deserialize, Serialize};

/// What one provider's part of a wave meets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// Devices to reach.
    pub devices: u64,
    /// Open connections of all workers.
    pub connections: u32,
    /// Streams that the provider allows on each.
    pub streams: u32,
    /// Time from a request to its answer, in seconds.
    pub latency_s: f64,
    /// The sender's CPU per device, in seconds.
    pub cpu_s_per_device: f64,
    /// Messages per minute that the provider grants; `None` when it states no quota.
    pub quota_per_minute: Option<u64>,
}

/// When the answers of one provider will have come, in seconds from the press.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arrival {
    /// Devices per second while sending.
    pub per_second: f64,
    /// 95 % answered.
    pub p95_s: f64,
    /// 99 % answered.
    pub p99_s: f64,
    /// All answered.
    pub last_s: f64,
    /// What limits the rate.
    pub limit: Limit,
}

/// What limits a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Connections x streams / latency.
    Streams,
    /// The senders' cores.
    Cpu,
    /// The provider's quota.
    Quota,
    /// Nothing to send.
    Nothing,
}

/// Forecasts one lane that has `cores` (at least a fraction of one) to itself. Within a quota window all of the quota may go at once, as FCM
/// refills it whole each minute.
pub fn forecast(lane: &Lane, cores: f64) -> Arrival {
    if lane.devices == 0 {
        return Arrival { per_second: 0.0, p95_s: 0.0, p99_s: 0.0, last_s: 0.0, limit: Limit::Nothing };
    }
    let by_streams =
        f64::from(lane.connections.max(1)) * f64::from(lane.streams.max(1)) / lane.latency_s.max(1e-6);
    let by_cpu = cores.max(0.01) / lane.cpu_s_per_device.max(1e-9);
    let (per_second, limit) =
        if by_streams < by_cpu { (by_streams, Limit::Streams) } else { (by_cpu, Limit::Cpu) };
    let at = |share: f64| answered_at(lane, per_second, share);
    let is_over_quota = lane.quota_per_minute.is_some_and(|quota| quota < lane.devices);
    let limit = if is_over_quota { Limit::Quota } else { limit };
    Arrival { per_second, p95_s: at(0.95), p99_s: at(0.99), last_s: at(1.0), limit }
}

fn answered_at(lane: &Lane, per_second: f64, share: f64) -> f64 {
    let devices = lane.devices as f64 * share;
    let Some(quota) = lane.quota_per_minute.map(|quota| quota.max(1) as f64) else {
        return devices / per_second + lane.latency_s;
    };
    // Whole windows that must pass before the last of them may go, then what is left at the lane's own rate.
    let windows = ((devices / quota).ceil() - 1.0).max(0.0);
    let rest = devices - windows * quota;
    windows * 60.0_f64.max(quota / per_second) + rest / per_second + lane.latency_s
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: Lane = Lane {
        devices: 3_000_000,
        connections: 1_500,
        streams: 100,
        latency_s: 0.1,
        cpu_s_per_device: 0.8e-6,
        quota_per_minute: None,
    };

    #[test]
    fn streams_over_latency_bound_the_rate() {
        let arrival = forecast(&Lane { connections: 100, ..LANE }, 1.0);
        assert_eq!((arrival.per_second, arrival.limit), (100_000.0, Limit::Streams));
        assert!((arrival.last_s - 30.1).abs() < 1e-9);
    }

    #[test]
    fn the_default_quota_takes_five_windows_for_three_million() {
        let arrival = forecast(&Lane { quota_per_minute: Some(600_000), ..LANE }, 1.0);
        assert_eq!(arrival.limit, Limit::Quota);
        assert!((240.0..242.0).contains(&arrival.last_s), "{}", arrival.last_s);
    }

    #[test]
    fn nobody_to_reach_takes_no_time() {
        assert_eq!(forecast(&Lane { devices: 0, ..LANE }, 1.0).limit, Limit::Nothing);
    }
}
