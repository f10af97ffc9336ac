//! What a provider can do to a connection: the devices on it are sent again and marked, all others do not notice, and the
//! pool says what went wrong.

use std::time::Duration;

use model::{Class, Platform, Reason};
use provider_sim::Config;
use provider_sim::config::{Certificate, ConnectionFault, Hits, Storm};
use push::{EngineConfig, PoolConfig};

use crate::rig::{Accounts, Rig, pool_config};

/// Devices of a test, and connections: each has a share of the work that takes it a while.
const DEVICES: u32 = 8_000;
const CONNECTIONS: u32 = 4;

fn simulator(platform: Platform, storm: Storm) -> Config {
    let mut config = Config::of(platform);
    // Slow enough that every connection has its full number of requests open when one is hit.
    config.latency.base = Duration::from_millis(5);
    config.faults.storm = storm;
    config
}

/// Gives up early on requests and on connections.
fn impatient() -> EngineConfig {
    let mut engine = EngineConfig {
        answer_within: Duration::from_millis(400),
        no_connection_within: Duration::from_millis(500),
        ..EngineConfig::default()
    };
    engine.driver.pong_within = Duration::from_millis(400);
    engine
}

fn rig(platform: Platform, storm: Storm, engine: EngineConfig) -> Rig {
    Rig::with(simulator(platform, storm), pool_config(platform, CONNECTIONS), engine)
}

fn on_one(fault: ConnectionFault) -> Storm {
    Storm { connection: Some(fault), hits: Hits::One, at_request: 50, ..Storm::default() }
}

/// Whether the pool has met this trouble.
fn says(rig: &Rig, what: &str) -> bool {
    rig.pool.troubles().iter().any(|trouble| trouble.what.contains(what))
}

/// Hits one connection of four and sends; everybody is reached, and the pool names the trouble.
fn survive(
    platform: Platform,
    fault: ConnectionFault,
    trouble: &str,
    engine: EngineConfig,
) -> (Rig, Accounts) {
    let rig = rig(platform, on_one(fault), engine);
    let accounts = rig.send(DEVICES, 500);
    rig.compare(&accounts);
    assert_eq!(accounts.accepted(), DEVICES as usize, "{fault:?} at {platform}");
    assert_eq!(rig.simulator.stats().unwrap().connections.hit, 1, "{fault:?} at {platform}");
    assert!(says(&rig, trouble), "{fault:?} at {platform}: {:?}", rig.pool.troubles());
    (rig, accounts)
}

fn harms_only_its_own(fault: ConnectionFault, trouble: &str, engine: fn() -> EngineConfig) {
    for (platform, streams) in [(Platform::Apns, 1_000), (Platform::Fcm, 100)] {
        let (_, accounts) = survive(platform, fault, trouble, engine());
        assert!((1..=streams).contains(&accounts.resent()), "{fault:?} at {platform}: {}", accounts.resent());
    }
}

#[test]
fn an_alert_of_tls_harms_nobody_on_other_connections() {
    harms_only_its_own(ConnectionFault::TlsAlert, "ended TLS with an alert", EngineConfig::default);
}

#[test]
fn the_end_of_the_server_s_side_harms_nobody_on_other_connections() {
    harms_only_its_own(ConnectionFault::HalfClose, "server closed the connection", EngineConfig::default);
}

#[test]
fn a_close_notify_without_an_end_harms_nobody_on_other_connections() {
    harms_only_its_own(ConnectionFault::CloseNotify, "server closed the connection", EngineConfig::default);
}

#[test]
fn a_reset_in_mid_frame_harms_nobody_on_other_connections() {
    harms_only_its_own(ConnectionFault::Reset, "server reset the connection", EngineConfig::default);
}

#[test]
fn a_stall_in_mid_frame_harms_nobody_on_other_connections() {
    harms_only_its_own(ConnectionFault::Stall, "without answer", impatient);
}

#[test]
fn silence_in_mid_connection_harms_nobody_on_other_connections() {
    harms_only_its_own(ConnectionFault::Silence, "without answer", impatient);
}

#[test]
fn a_flood_of_settings_harms_nobody_on_other_connections() {
    harms_only_its_own(ConnectionFault::SettingsFlood, "too many frames without use", EngineConfig::default);
}

#[test]
fn a_flood_of_pings_harms_nobody_on_other_connections() {
    harms_only_its_own(ConnectionFault::PingFlood, "too many frames without use", EngineConfig::default);
}

#[test]
fn a_flood_of_resets_harms_nobody_on_other_connections() {
    harms_only_its_own(ConnectionFault::ResetFlood, "too many frames without use", EngineConfig::default);
}

#[test]
fn a_giant_header_list_harms_nobody_on_other_connections() {
    harms_only_its_own(ConnectionFault::GiantHeaders, "header block", EngineConfig::default);
}

#[test]
fn a_header_block_without_end_harms_nobody_on_other_connections() {
    harms_only_its_own(ConnectionFault::Continuations, "header block", EngineConfig::default);
}

#[test]
fn two_goaways_falling_or_rising_lose_nobody_and_send_to_nobody_twice() {
    for fault in [ConnectionFault::GoawayTwice, ConnectionFault::GoawayRising] {
        for platform in Platform::ALL {
            let (_, accounts) = survive(platform, fault, "GOAWAY", EngineConfig::default());
            assert_eq!(accounts.resent(), 0, "{fault:?} at {platform}");
        }
    }
}

#[test]
fn a_stream_limit_of_zero_that_is_lifted_again_loses_nobody() {
    for hits in [Hits::One, Hits::All] {
        let pause = Duration::from_millis(100);
        let storm = Storm { hits, pause, ..on_one(ConnectionFault::NoStreams) };
        let rig = rig(Platform::Apns, storm, EngineConfig::default());
        let accounts = rig.send(DEVICES, 500);
        rig.compare(&accounts);
        assert_eq!((accounts.accepted(), accounts.resent()), (DEVICES as usize, 0));
        assert!(says(&rig, "server allows no request"), "{:?}", rig.pool.troubles());
        assert_eq!(rig.pool.status().closed, 0, "the connections were good");
    }
}

#[test]
fn a_stream_limit_of_zero_for_ever_ends_like_no_connection_at_all() {
    let pause = Duration::from_secs(3_600);
    let storm = Storm { hits: Hits::All, pause, ..on_one(ConnectionFault::NoStreams) };
    let rig = rig(Platform::Apns, storm, impatient());
    let accounts = rig.send(DEVICES, 500);
    rig.compare(&accounts);
    let unsent = accounts.count(Class::NotSent, Reason::NoConnection);
    assert!(unsent > 0);
    assert_eq!(accounts.accepted() + unsent, DEVICES as usize, "nothing is lost, and nothing waits for ever");
}

#[test]
fn when_every_connection_is_cut_and_refused_for_a_while_the_rest_goes_afterwards() {
    let storm = Storm {
        from_request: 2_000,
        lasts: Some(Duration::from_millis(300)),
        refuses: true,
        hits: Hits::All,
        ..on_one(ConnectionFault::Reset)
    };
    let rig = rig(Platform::Apns, storm, EngineConfig::default());
    let accounts = rig.send(DEVICES, 500);
    rig.compare(&accounts);
    let hit = rig.simulator.stats().unwrap().connections.hit as usize;
    assert!((1..=CONNECTIONS as usize).contains(&hit), "{hit}");
    assert!(accounts.accepted() + hit * 1_000 >= DEVICES as usize, "{}", accounts.accepted());
    assert!(says(&rig, "server refuses connections"), "{:?}", rig.pool.troubles());
}

#[test]
fn devices_do_not_wait_for_connections_of_the_other_class() {
    let cut = on_one(ConnectionFault::Reset);
    let storm = Storm { from_request: 2_000, refuses: true, hits: Hits::All, at_request: 1, ..cut };
    // The one for doubtful keys has no request, so nothing happens to it.
    let pool = PoolConfig { doubtful_connections: 1, ..pool_config(Platform::Apns, CONNECTIONS) };
    let engine = EngineConfig { threads: 2, ..impatient() };
    let rig = Rig::with(simulator(Platform::Apns, storm), pool, engine);
    let accounts = rig.send(DEVICES, 500);
    rig.compare(&accounts);
    assert!(accounts.count(Class::NotSent, Reason::NoConnection) > 0);
    // Those that come when all is over find nobody to take them either.
    let accounts = rig.send(DEVICES, 500);
    assert_eq!(accounts.count(Class::NotSent, Reason::NoConnection), DEVICES as usize);
    assert_eq!(rig.pool.status().ready, 1);
}

#[test]
fn a_bad_certificate_is_named_in_words_and_nothing_is_sent() {
    let bad = [(Certificate::Expired, "has expired"), (Certificate::OtherName, "is for another name")];
    for (certificate, trouble) in bad {
        let storm = Storm { certificate, ..Storm::default() };
        let rig = rig(Platform::Apns, storm, impatient());
        let accounts = rig.send(1_000, 500);
        rig.compare(&accounts);
        assert_eq!(accounts.count(Class::NotSent, Reason::NoConnection), 1_000);
        assert!(says(&rig, &format!("server's certificate {trouble}")), "{:?}", rig.pool.troubles());
        assert_eq!(rig.simulator.stats().unwrap().requests, 0);
    }
}

#[test]
fn answers_of_a_storm_are_those_of_its_time_only() {
    let storm = Storm {
        from_request: 1_000,
        lasts: Some(Duration::from_millis(20)),
        answers: Some(Reason::TooManyRequests),
        ..Storm::default()
    };
    let rig = rig(Platform::Apns, storm, EngineConfig::default());
    let accounts = rig.send(DEVICES, 500);
    rig.compare(&accounts);
    let rejected = accounts.count(Class::Rejected, Reason::TooManyRequests);
    assert!(rejected > 0);
    assert_eq!(accounts.accepted() + rejected, DEVICES as usize);
    assert!(accounts.accepted() >= 999, "those before the storm");
}
