//! What a provider can do to a request, and what becomes of the device.

use std::time::Duration;

use model::runtime::mix;
use model::{Class, OnUnknown, Outcome, Platform, Reason};
use provider_sim::Config;
use provider_sim::config::{Goaway, Quota, Shares, StreamChange};
use push::{EngineConfig, Fault, Renewal, WhyOpen};

use crate::rig::{Rig, pool_config};

fn apns(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::apns();
    change(&mut config);
    config
}

fn fcm(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::fcm();
    change(&mut config);
    config
}

fn shares(text: &str) -> Shares {
    text.parse().unwrap()
}

/// Tokens may be renewed at any time: a test does not last twenty minutes.
fn renewing() -> Option<Renewal> {
    let hour = Duration::from_secs(3_600);
    Some(Renewal { soonest: Duration::ZERO, ahead: hour, latest: hour })
}

#[test]
fn refused_streams_are_sent_again_elsewhere_and_not_marked() {
    let rig = Rig::new(apns(|sim| sim.faults.refused = 0.05), 4);
    let accounts = rig.send(10_000, 1_000);
    assert_eq!((accounts.accepted(), accounts.resent()), (10_000, 0));
    assert!(accounts.requests() > 10_000);
    rig.compare(&accounts);
}

#[test]
fn a_stream_refused_every_time_is_not_sent() {
    let rig = Rig::new(apns(|sim| sim.faults.refused = 1.0), 2);
    let accounts = rig.send(100, 100);
    assert_eq!(accounts.count(Class::NotSent, Reason::StreamRefused), 100);
    assert_eq!(accounts.requests(), 800, "the first and seven more");
    rig.compare(&accounts);
}

#[test]
fn a_peer_that_gives_back_half_of_what_it_is_sent_loses_nobody() {
    // By chance alone some would be refused eight times.
    let goaway = Goaway { every: Some(500), ..Goaway::default() };
    let rig = Rig::new(
        apns(|sim| {
            sim.faults.goaway = goaway;
            sim.limits.one_stream_until_valid = true;
            sim.latency.base = Duration::from_millis(60);
        }),
        8,
    );
    let accounts = rig.send(60_000, 2_000);
    rig.compare(&accounts);
    assert_eq!((accounts.accepted(), accounts.resent()), (60_000, 0));
}

#[test]
fn goaway_resends_only_unprocessed_streams() {
    let goaway = Goaway { every: Some(1_500), ..Goaway::default() };
    let rig = Rig::new(apns(|sim| sim.faults.goaway = goaway), 4);
    let accounts = rig.send(10_000, 1_000);
    assert_eq!((accounts.accepted(), accounts.resent()), (10_000, 0));
    rig.compare(&accounts);
    assert!(rig.simulator.stats().unwrap().connections.goaways >= 4);
}

#[test]
fn what_was_lost_with_its_connection_is_sent_once_more_and_marked() {
    let rig = Rig::new(
        apns(|sim| {
            sim.faults.dropped_before = 0.0005;
            sim.faults.dropped_after = 0.0005;
        }),
        8,
    );
    let accounts = rig.send(10_000, 1_000);
    rig.compare(&accounts);
    assert!(accounts.resent() > 0);
    let lost = accounts.count(Class::Unknown, Reason::ConnectionLost);
    let unsent = accounts.class(Class::NotSent);
    assert_eq!(accounts.accepted() + lost + unsent, 10_000);
    assert!(accounts.accepted() > 5_000, "{}", accounts.accepted());
}

#[test]
fn the_policy_to_leave_sends_nothing_twice() {
    let rig = Rig::new(apns(|sim| sim.faults.dropped_after = 0.001), 8);
    let shards = rig.submit(&rig.open_gate(), 10_000, 1_000, |shard| shard.on_unknown = OnUnknown::Leave);
    let accounts = rig.wait(shards);
    rig.compare(&accounts);
    assert_eq!(accounts.resent(), 0);
    assert_eq!(rig.simulator.report().unwrap().processed_twice, 0);
    assert!(accounts.count(Class::Unknown, Reason::ConnectionLost) > 0);
}

#[test]
fn silence_ends_with_the_deadline() {
    let engine = EngineConfig { answer_within: Duration::from_millis(400), ..EngineConfig::default() };
    let sim = apns(|sim| sim.faults.silent = 0.002);
    let rig = Rig::with(sim, pool_config(Platform::Apns, 4), engine);
    let accounts = rig.send(5_000, 500);
    rig.compare(&accounts);
    let silent = rig.simulator.stats().unwrap().silent;
    assert!(silent > 0 && accounts.resent() > 0);
    let unknown = accounts.count(Class::Unknown, Reason::TimedOut);
    assert_eq!(accounts.accepted() + unknown, 5_000);
}

#[test]
fn a_provider_silent_to_few_keeps_its_connections_and_one_silent_to_many_gets_new_ones() {
    let rig = |silent, connections| {
        let sim = apns(|sim| {
            sim.faults.silent = silent;
            sim.limits.one_stream_until_valid = false;
        });
        let answer_within = Duration::from_millis(400);
        let engine = EngineConfig { answer_within, ..EngineConfig::default() };
        Rig::with(sim, pool_config(Platform::Apns, connections), engine)
    };
    let sent = |silent| {
        let rig = rig(silent, 2);
        let accounts = rig.send(4_000, 500);
        rig.compare(&accounts);
        let silent = rig.simulator.stats().unwrap().silent;
        assert_eq!(accounts.accepted() + accounts.count(Class::Unknown, Reason::TimedOut), 4_000);
        (silent, rig)
    };
    // Each timeout resets a stream, and a connection may reset few.
    let (silent, few) = sent(0.002);
    assert!((1..16).contains(&silent), "{silent}");
    assert_eq!(few.pool.status().closed, 0, "{silent} timeouts on two connections");
    let (silent, many) = sent(0.02);
    assert!(silent > 40, "{silent}");
    many.until(|status| status.closed >= 1);

    let all = rig(1.0, 1);
    let accounts = all.send(200, 200);
    assert_eq!(accounts.count(Class::Unknown, Reason::TimedOut), 200);
    all.until(|status| status.closed >= 1);
}

#[test]
fn every_reason_of_apns_is_recorded_and_none_but_the_dead_keys_is_news() {
    let rig = Rig::new(
        apns(|sim| {
            sim.faults.dead = 0.03;
            sim.faults.shares = shares(
                "BadDeviceToken=0.02,TooManyRequests=0.02,InternalServerError=0.02,ServiceUnavailable=0.02",
            );
        }),
        2,
    );
    let accounts = rig.send(10_000, 1_000);
    rig.compare(&accounts);
    let reasons = rig.simulator.stats().unwrap().reasons;
    assert_eq!(reasons.len(), 5);
    for (reason, count) in reasons {
        assert_eq!(accounts.count(Class::Rejected, reason) as u64, count, "{reason}");
    }
    let dead: Vec<_> = accounts.shards.iter().flat_map(|shard| &shard.dead).collect();
    let of = |reason| dead.iter().filter(|dead| dead.reason == reason).count();
    assert_eq!(of(Reason::Unregistered), accounts.count(Class::Rejected, Reason::Unregistered));
    assert_eq!(of(Reason::BadDeviceToken), accounts.count(Class::Rejected, Reason::BadDeviceToken));
    assert!(dead.iter().all(|dead| dead.since.is_some() == (dead.reason == Reason::Unregistered)));
}

#[test]
fn every_reason_of_fcm_is_recorded() {
    let rig = Rig::new(
        fcm(|sim| {
            sim.faults.dead = 0.03;
            sim.faults.shares =
                shares("INVALID_ARGUMENT=0.01,SENDER_ID_MISMATCH=0.02,INTERNAL=0.02,UNAVAILABLE=0.02");
        }),
        8,
    );
    let accounts = rig.send(5_000, 500);
    rig.compare(&accounts);
    for (reason, count) in rig.simulator.stats().unwrap().reasons {
        assert_eq!(accounts.count(Class::Rejected, reason) as u64, count, "{reason}");
    }
    assert_eq!(accounts.accepted() + accounts.class(Class::Rejected), 5_000);
    assert!(accounts.shards.iter().any(|shard| shard.retry_after == Some(Duration::from_secs(10))));
}

#[test]
fn an_expired_jwt_is_renewed_once_and_its_connections_are_replaced() {
    let pool = push::PoolConfig { renewal: renewing(), ..pool_config(Platform::Apns, 4) };
    let sim = apns(|sim| sim.faults.credentials_expire_after = Some(Duration::from_millis(300)));
    let rig = Rig::with(sim, pool, EngineConfig::default());
    // APNs sees a token with the first request, not with a PING.
    assert_eq!(rig.send(10, 10).accepted(), 10);
    rig.simulator.reset().unwrap();
    rig.until(|_| rig.clock.monotonic().0 > 600_000_000);
    let accounts = rig.send(10_000, 1_000);
    assert_eq!(accounts.accepted(), 10_000);
    let twice = rig.simulator.report().unwrap().received_twice as usize;
    assert!(twice > 0 && accounts.resent() == twice, "those that were answered with the old token");
    assert!(rig.pool.status().closed >= 1);
    rig.compare(&accounts);
}

#[test]
fn an_expired_access_token_is_renewed_once() {
    let pool = push::PoolConfig { renewal: renewing(), ..pool_config(Platform::Fcm, 4) };
    let sim = fcm(|sim| sim.faults.credentials_expire_after = Some(Duration::from_millis(300)));
    let rig = Rig::with(sim, pool, EngineConfig::default());
    rig.until(|status| status.warm == 4);
    rig.until(|_| rig.clock.monotonic().0 > 600_000_000);
    let accounts = rig.send(5_000, 500);
    assert_eq!(accounts.accepted(), 5_000);
    let twice = rig.simulator.report().unwrap().received_twice as usize;
    assert!(twice > 0 && accounts.resent() == twice, "those that were answered with the old token");
    assert_eq!(rig.pool.status().closed, 0, "fcm's connections are not wedged");
    rig.compare(&accounts);
}

#[test]
fn credentials_that_no_renewal_cures_stop_the_launch() {
    let pool = push::PoolConfig { renewal: renewing(), ..pool_config(Platform::Fcm, 2) };
    let sim = fcm(|sim| sim.faults.shares = shares("PERMISSION_DENIED=1.0"));
    let rig = Rig::with(sim, pool, EngineConfig::default());
    let accounts = rig.send(5_000, 500);
    rig.compare(&accounts);
    let stop = accounts.shards.iter().find_map(|shard| shard.stop).unwrap();
    assert_eq!((stop.fault, stop.reason), (Fault::Credentials, Reason::PermissionDenied));
}

#[test]
fn a_token_that_cannot_be_renewed_stops_the_launch() {
    let engine = EngineConfig { token_within: Duration::from_millis(200), ..EngineConfig::default() };
    let sim = apns(|sim| sim.faults.credentials_expire_after = Some(Duration::from_millis(300)));
    // Apple's own rule holds: a token just minted is not renewed.
    let rig = Rig::with(sim, pool_config(Platform::Apns, 2), engine);
    assert_eq!(rig.send(10, 10).accepted(), 10);
    rig.simulator.reset().unwrap();
    rig.until(|_| rig.clock.monotonic().0 > 600_000_000);
    let accounts = rig.send(1_000, 100);
    rig.compare(&accounts);
    assert_eq!(accounts.accepted(), 0);
    let stop = accounts.shards.iter().find_map(|shard| shard.stop).unwrap();
    assert_eq!((stop.fault, stop.reason), (Fault::Credentials, Reason::ExpiredProviderToken));
}

#[test]
fn a_fault_of_the_message_stops_the_launch_at_its_first_answers() {
    let rig = Rig::new(apns(|sim| sim.faults.shares = shares("BadTopic=1.0")), 2);
    let accounts = rig.send(20_000, 1_000);
    rig.compare(&accounts);
    let stopped = accounts.count(Class::NotSent, Reason::LaunchStopped);
    assert_eq!(stopped + accounts.count(Class::Rejected, Reason::BadTopic), 20_000);
    assert!(stopped > 15_000, "{stopped}");
    let stop = accounts.shards.iter().find_map(|shard| shard.stop).unwrap();
    assert_eq!((stop.fault, stop.reason), (Fault::Message, Reason::BadTopic));
    assert_eq!(rig.alarms.lock().unwrap().len(), 1, "one alarm, not one per device");
}

#[test]
fn a_projects_quota_pauses_the_pool_and_the_rest_comes_back_open() {
    let sim = fcm(|sim| {
        sim.faults.quota = Some(Quota::per_minute(1_000));
    });
    let rig = Rig::with(
        sim,
        push::PoolConfig { warms_up: false, ..pool_config(Platform::Fcm, 2) },
        EngineConfig::default(),
    );
    let accounts = rig.send(5_000, 500);
    rig.compare(&accounts);
    let over = accounts.count(Class::Rejected, Reason::QuotaExceeded);
    assert_eq!((accounts.accepted(), accounts.accepted() + over + accounts.open()), (1_000, 5_000));
    assert!(over <= 200, "{over}: more than what was in flight");
    let pause = accounts.shards.iter().find_map(|shard| shard.quota_pause);
    assert!(pause.is_some_and(|pause| pause > Duration::from_secs(50)), "until the window's end: {pause:?}");
    assert!(accounts.shards.iter().any(|shard| shard.why_open == Some(WhyOpen::Quota)));
    assert!(rig.pool.status().paused_until.is_some());
}

#[test]
fn a_stream_limit_that_falls_to_one_and_rises_again_loses_nobody() {
    let change = |ms, streams| StreamChange { after: Duration::from_millis(ms), streams };
    let sim = apns(|sim| {
        sim.limits.stream_changes = vec![change(20, 1), change(200, 50), change(300, 1_000)];
        sim.latency.base = Duration::from_millis(5);
    });
    let rig = Rig::new(sim, 2);
    let accounts = rig.send(20_000, 1_000);
    assert_eq!((accounts.accepted(), accounts.resent()), (20_000, 0));
    rig.compare(&accounts);
}

/// Faults that follow from a seed: each kind is there or not, at some share.
fn seeded(platform: Platform, seed: u64) -> Config {
    let draw = |kind: u64| mix(mix(seed).wrapping_add(kind));
    let share =
        |kind: u64, max: f64| if draw(kind) % 3 == 0 { 0.0 } else { max * (draw(kind) % 1_000) as f64 / 1e3 };
    let (passing, lasting, odd) = match platform {
        Platform::Apns => ("ServiceUnavailable", "BadDeviceToken", "IdleTimeout"),
        Platform::Fcm => ("UNAVAILABLE", "SENDER_ID_MISMATCH", "INTERNAL"),
    };
    let mut config = Config::of(platform);
    config.seed = seed;
    config.latency.base = Duration::from_millis(draw(0) % 20);
    config.latency.spread = config.latency.base / 2;
    let faults = &mut config.faults;
    faults.dead = share(1, 0.05);
    faults.refused = share(2, 0.03);
    faults.silent = share(3, 0.001);
    faults.dropped_before = share(4, 0.0002);
    faults.dropped_after = share(5, 0.0002);
    faults.goaway.every = (draw(6) % 2 == 0).then_some(1_000 + draw(7) % 3_000);
    let text =
        format!("{passing}={},{lasting}={},{odd}={}", share(8, 0.02), share(9, 0.02), share(10, 0.002));
    faults.shares = shares(&text);
    config
}

#[test]
fn everything_at_once_still_adds_up() {
    for seed in 1..=6 {
        let platform = Platform::ALL[seed as usize % 2];
        let sim = seeded(platform, seed);
        println!("seed {seed}: {:?}", sim.faults);
        let answer_within = Duration::from_millis(800);
        let engine =
            EngineConfig { threads: 1 + seed as usize % 3, answer_within, ..EngineConfig::default() };
        let rig = Rig::with(sim, pool_config(platform, 12), engine);
        let accounts = rig.send(12_000, 500);
        assert_eq!((accounts.outcomes.len(), accounts.open()), (12_000, 0));
        rig.compare(&accounts);
        let unmarked = accounts.outcomes.values().filter(|outcome| **outcome == Outcome::ACCEPTED).count();
        assert!(unmarked > 4_000, "{unmarked}");
    }
}
