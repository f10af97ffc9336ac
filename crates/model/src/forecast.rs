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

/// FCM's quota is refilled whole after so many seconds.
const WINDOW_S: f64 = 60.0;

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
    // A lane that takes longer than a minute for a minute's quota never waits for the next.
    let waits = |quota: u64| quota < lane.devices && (quota as f64) < per_second * WINDOW_S;
    let limit = if lane.quota_per_minute.is_some_and(waits) { Limit::Quota } else { limit };
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
    windows * WINDOW_S.max(quota / per_second) + rest / per_second + lane.latency_s
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    #[test]
    fn a_quota_that_is_never_used_up_limits_nothing() {
        let slow = Lane { connections: 1, quota_per_minute: Some(600_000), ..LANE };
        let arrival = forecast(&slow, 1.0);
        assert_eq!((arrival.per_second, arrival.limit), (1_000.0, Limit::Streams));
        assert!((arrival.last_s - 3_000.1).abs() < 1e-6, "{}", arrival.last_s);
    }

    fn any_lane() -> impl Strategy<Value = Lane> {
        let quota = proptest::option::of(0_u64..4_000_000);
        (0_u64..9_000_000, 0_u32..3_000, 0_u32..2_000, 0.0..2.0, 0.0..1e-4, quota).prop_map(
            |(devices, connections, streams, latency_s, cpu_s_per_device, quota_per_minute)| Lane {
                devices,
                connections,
                streams,
                latency_s,
                cpu_s_per_device,
                quota_per_minute,
            },
        )
    }

    /// Not later, up to what adding floating-point numbers in another order changes.
    fn is_not_later(one: &Arrival, other: &Arrival) -> bool {
        let pairs = [(one.p95_s, other.p95_s), (one.p99_s, other.p99_s), (one.last_s, other.last_s)];
        pairs.iter().all(|(one, other)| *one <= other * (1.0 + 1e-9) + 1e-9)
    }

    proptest! {
        #[test]
        fn more_means_come_no_later_and_more_devices_no_sooner(
            lane in any_lane(), cores in 0.0..64.0, more in 1_u32..1_000
        ) {
            let arrival = forecast(&lane, cores);
            prop_assert!(arrival.p95_s <= arrival.p99_s && arrival.p99_s <= arrival.last_s);
            prop_assert!(arrival.last_s.is_finite());
            let wider = [
                Lane { connections: lane.connections + more, ..lane },
                Lane { streams: lane.streams + more, ..lane },
                Lane { quota_per_minute: lane.quota_per_minute.map(|quota| quota + u64::from(more)), ..lane },
                Lane { quota_per_minute: None, ..lane },
            ];
            for wider in &wider {
                prop_assert!(is_not_later(&forecast(wider, cores), &arrival), "{wider:?}");
            }
            prop_assert!(is_not_later(&forecast(&lane, cores + f64::from(more)), &arrival));
            let larger = Lane { devices: lane.devices + u64::from(more), ..lane };
            prop_assert!(is_not_later(&arrival, &forecast(&larger, cores)));
        }

        #[test]
        fn no_minute_brings_more_than_the_quota(lane in any_lane(), cores in 0.0..64.0) {
            let Some(quota) = lane.quota_per_minute.filter(|quota| *quota > 0) else { return Ok(()) };
            let windows = lane.devices.div_ceil(quota).saturating_sub(1);
            prop_assert!(forecast(&lane, cores).last_s >= windows as f64 * 60.0);
        }
    }
}
