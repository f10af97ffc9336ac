//! Connections: how many, warm, replaced, refused; and what is kept apart.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::Duration;

use model::runtime::SeededRandomness;
use model::{Class, LaunchId, Monotonic, Outcome, Platform, Reason};
use provider_sim::Config;
use provider_sim::config::{Goaway, Quota};
use push::{
    Endpoint, EngineConfig, LaunchGate, Live, Pool, PoolConfig, PoolStatus, Rehearsal, ShardWork, Side,
    Target, WhyOpen,
};

use crate::outside::{BREAKING, MadeUp, message};
use crate::rig::{APP, Rig, pool_config};

#[test]
fn a_pool_opens_and_warms_its_connections_before_anything_is_sent() {
    for config in [Config::apns(), Config::fcm()] {
        let streams = if config.provider == Platform::Apns { 1 } else { 100 };
        let engine = EngineConfig { threads: 2, ..EngineConfig::default() };
        let rig = Rig::with(config.clone(), pool_config(config.provider, 5), engine);
        // The counts are read one after the other, so all of them are waited for.
        let is_open = |status: &PoolStatus| (status.connections, status.ready, status.warm) == (5, 5, 5);
        let status = rig.until(|status| is_open(status) && status.streams_total == 5 * streams);
        assert_eq!(status.wanted, 5);
        assert!(status.has_token);
        assert_eq!(rig.simulator.report().unwrap().received, 0);
    }
}

#[test]
fn a_shard_that_a_stopped_engine_refuses_takes_up_no_room() {
    let rig = Rig::new(Config::apns(), 1);
    rig.engine.stop(Duration::ZERO);
    let gate = rig.open_gate();
    assert!(rig.engine.submit(rig.shard(&gate, 0, 100)).is_err());
    assert_eq!(rig.pool.status().devices, 0);
}

#[test]
fn closed_connections_are_replaced() {
    let mut config = Config::apns();
    config.faults.goaway = Goaway { after: Some(Duration::from_millis(100)), ..Goaway::default() };
    let rig = Rig::new(config, 3);
    rig.until(|status| status.closed >= 9);
    let accounts = rig.send(1_000, 100);
    assert_eq!((accounts.accepted(), accounts.resent()), (1_000, 0));
}

#[test]
fn a_peer_that_sends_connections_away_at_once_is_not_stormed() {
    for mut config in [Config::apns(), Config::fcm()] {
        config.faults.goaway = Goaway { after: Some(Duration::from_millis(50)), ..Goaway::default() };
        let hour = Duration::from_secs(3_600);
        let pool = PoolConfig { back_off_min: hour, back_off_max: hour, ..pool_config(config.provider, 1) };
        let rig = Rig::with(config, pool, EngineConfig::default());
        rig.until(|status| status.closed >= 1);
        let closed_at = rig.clock.monotonic();
        rig.until(|_| rig.clock.monotonic().since(closed_at) > Duration::from_millis(400));
        let opened = rig.simulator.stats().unwrap().connections.opened;
        assert!(opened <= 2, "{opened}: one more at once, the next after an hour");
    }
}

#[test]
fn connections_that_fail_are_tried_again_soon_while_devices_wait() {
    let mut config = Config::apns();
    config.faults.goaway = Goaway { after: Some(Duration::from_millis(50)), ..Goaway::default() };
    let hour = Duration::from_secs(3_600);
    let pool = PoolConfig {
        back_off_min: hour,
        back_off_max: hour,
        busy_back_off_max: Duration::from_millis(20),
        ..pool_config(config.provider, 1)
    };
    let rig = Rig::with(config, pool, EngineConfig::default());
    // The second of them is followed by an hour's pause, which the first device cuts short.
    rig.until(|status| status.closed >= 2);
    let gate = LaunchGate::new(rig.clock.monotonic() + Duration::from_secs(600));
    rig.engine.submit(rig.shard(&gate, 0, 1)).unwrap();
    rig.until(|status| status.closed >= 5);
    gate.permit(rig.clock.monotonic() + Duration::from_secs(600));
    assert_eq!(rig.wait(1).accepted(), 1);
}

#[test]
fn doubtful_keys_have_connections_of_their_own() {
    let pool = PoolConfig { doubtful_connections: 1, ..pool_config(Platform::Apns, 1) };
    let rig = Rig::with(Config::apns(), pool, EngineConfig::default());
    rig.until(|status| status.warm == 2);
    let gate = rig.open_gate();
    let mut doubtful = rig.shard(&gate, 0, 500);
    doubtful.is_doubtful = true;
    rig.engine.submit(doubtful).unwrap();
    let accounts = rig.wait(1);
    assert_eq!(accounts.accepted(), 500);
    // The valid requests of the doubtful connection have widened its limit and not the other's.
    let status = rig.pool.status();
    assert_eq!(status.streams_total, 1_000 + 1);
}

#[test]
fn nobody_there_ends_as_not_sent() {
    let simulator = provider_sim::start(Config::apns()).unwrap();
    let ca = simulator.ca_pem().as_bytes().to_vec();
    let closed_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let engine = EngineConfig { no_connection_within: Duration::from_millis(300), ..EngineConfig::default() };
    let rig = Rig::on(simulator, Platform::Apns, closed_port, ca, pool_config(Platform::Apns, 2), engine);
    let accounts = rig.send(1_000, 500);
    assert_eq!(accounts.count(Class::NotSent, Reason::NoConnection), 1_000);
    assert!(rig.pool.status().last_error.is_some());
}

#[test]
fn a_simulator_with_another_authority_is_not_trusted() {
    let (simulator, other) =
        (provider_sim::start(Config::apns()).unwrap(), provider_sim::start(Config::apns()).unwrap());
    let ca = other.ca_pem().as_bytes().to_vec();
    let port = simulator.address().port();
    let rig =
        Rig::on(simulator, Platform::Apns, port, ca, pool_config(Platform::Apns, 1), EngineConfig::default());
    let status = rig.until(|status| status.last_error.is_some() && status.closed > 0);
    assert_eq!(status.ready, 0);
    assert_eq!(status.last_error.unwrap(), "server's certificate is vouched for by nobody we trust");
}

#[test]
fn the_same_target_is_the_same_pool_and_another_side_is_another() {
    let rig = Rig::new(Config::apns(), 1);
    let randomness = SeededRandomness::new(1);
    let rehearsal = || {
        let endpoint = Endpoint { host: "127.0.0.1".into(), port: rig.simulator.address().port() };
        let ca = rig.simulator.ca_pem().as_bytes().to_vec();
        Target::<Rehearsal>::rehearsal(Platform::Apns, APP, endpoint, ca, &randomness).unwrap()
    };
    let config = pool_config(Platform::Apns, 1);
    let one = rig.engine.open(rehearsal(), config.clone()).unwrap();
    let two = rig.engine.open(rehearsal(), config).unwrap();
    assert_eq!(one.id(), two.id());
    assert_ne!(one.id(), rig.pool.id());
    let sides: Vec<_> = rig.engine.status().iter().map(|status| status.side).collect();
    assert_eq!(sides, ["live", "rehearsal"]);
}

#[test]
fn a_pool_takes_no_more_devices_than_it_should() {
    let pool = PoolConfig { devices_max: 1_500, ..pool_config(Platform::Apns, 1) };
    let rig = Rig::with(Config::apns(), pool, EngineConfig::default());
    // Without permission nothing leaves, so the pool stays as full as it is.
    let gate = LaunchGate::new(rig.clock.monotonic() + Duration::from_secs(600));
    rig.engine.submit(rig.shard(&gate, 0, 1_000)).unwrap();
    assert_eq!(rig.pool.free_devices(), 500);
    let refused = rig.engine.submit(rig.shard(&gate, 1_000, 1_000)).unwrap_err();
    assert_eq!(refused.0.id, 1_000);
    gate.permit(rig.clock.monotonic() + Duration::from_secs(600));
    assert_eq!(rig.wait(1).accepted(), 1_000);
    assert_eq!(rig.pool.free_devices(), 1_500);
}

#[test]
fn a_closed_pool_gives_its_shards_back_and_ends_its_connections() {
    let rig = Rig::new(Config::apns(), 2);
    rig.until(|status| status.warm == 2);
    let gate = LaunchGate::new(rig.clock.monotonic() + Duration::from_secs(600));
    rig.engine.submit(rig.shard(&gate, 0, 1_000)).unwrap();
    rig.engine.close(&rig.pool);
    let accounts = rig.wait(1);
    assert!(accounts.shards[0].is_untouched());
    assert_eq!(accounts.shards[0].why_open, Some(WhyOpen::Shutdown));
    rig.until(|status| status.connections + status.draining == 0);
    assert!(rig.engine.submit(rig.shard(&rig.open_gate(), 0, 1)).is_err());
    assert_eq!(rig.simulator.stats().unwrap().connections.open, 0);
}

#[test]
fn tiny_windows_and_frames_lose_nobody() {
    let mut config = Config::apns();
    config.limits.stream_window = 100;
    config.limits.connection_window = 65_535;
    let rig = Rig::new(config, 2);
    let accounts = rig.send(5_000, 500);
    assert_eq!((accounts.accepted(), accounts.resent()), (5_000, 0));
    rig.compare(&accounts);
}

#[test]
fn canaries_authenticate_connections_ahead_and_each_is_asked_once() {
    let canaries: Vec<Vec<u8>> = (0..3).map(|number| vec![number; 32]).collect();
    let pool = PoolConfig { canaries, ..pool_config(Platform::Apns, 5) };
    let rig = Rig::with(Config::apns(), pool, EngineConfig::default());
    // The limit comes by SETTINGS behind the answer.
    let status = rig.until(|status| (status.warm, status.streams_total) == (5, 3 * 1_000 + 2));
    assert_eq!((status.authenticated, status.warm_up_requests), (3, 3));
    let report = rig.simulator.report().unwrap();
    assert_eq!((report.accepted, report.received_twice), (3, 0));
}

#[test]
fn a_canary_that_apns_does_not_know_is_not_asked_again_and_the_connection_is_still_warm() {
    let mut config = Config::apns();
    config.faults.shares = "BadDeviceToken=1.0".parse().unwrap();
    let every = Duration::ZERO;
    let pool =
        PoolConfig { canaries: vec![vec![7; 32]], canary_every: every, ..pool_config(Platform::Apns, 1) };
    let rig = Rig::with(config, pool, EngineConfig::default());
    let is_told = |status: &PoolStatus| status.last_error.as_deref() == Some("BadDeviceToken");
    let status = rig.until(|status| status.warm == 1 && is_told(status));
    assert_eq!((status.authenticated, status.warm_up_requests), (0, 1));
}

/// A shard like another, for a launch of its own through another pool.
fn through<S: Side>(pool: &Pool<S>, like: ShardWork<MadeUp, Live>, until: Monotonic) -> ShardWork<MadeUp, S> {
    let launch = LaunchGate::new(until);
    launch.permit(until);
    let (apns, fcm) = message();
    let platform = pool.status().platform;
    let message = match platform {
        Platform::Apns => pool.apns_message(LaunchId(5), &apns).unwrap(),
        Platform::Fcm => pool.fcm_message(&fcm, 3_600).unwrap(),
    };
    ShardWork {
        message,
        launch,
        id: like.id,
        keys: MadeUp { platform, ..like.keys },
        lease_until: like.lease_until,
        is_taken_over: like.is_taken_over,
        is_doubtful: like.is_doubtful,
        on_unknown: like.on_unknown,
        pressed: like.pressed,
    }
}

#[test]
fn a_rehearsal_sends_to_its_simulator() {
    let rig = Rig::new(Config::apns(), 1);
    let randomness = SeededRandomness::new(1);
    let endpoint = Endpoint { host: "localhost".into(), port: rig.simulator.address().port() };
    let ca = rig.simulator.ca_pem().as_bytes().to_vec();
    let target = Target::<Rehearsal>::rehearsal(Platform::Apns, APP, endpoint, ca, &randomness).unwrap();
    let pool = rig.engine.open(target, pool_config(Platform::Apns, 1)).unwrap();
    let hour = rig.clock.monotonic() + Duration::from_secs(3_600);
    let work = through(&pool, rig.shard(&rig.open_gate(), 0, 100), hour);
    rig.engine.submit(work).unwrap();
    assert_eq!(rig.wait(1).accepted(), 100);
}

#[test]
fn a_provider_that_pauses_does_not_hold_up_the_other_in_the_same_thread() {
    let rig = Rig::new(Config::apns(), 1);
    let mut fcm = Config::fcm();
    fcm.faults.quota = Some(Quota::per_minute(100));
    let fcm = provider_sim::start(fcm).unwrap();
    let target = Target::<Rehearsal>::rehearsal(
        Platform::Fcm,
        "a-project",
        Endpoint { host: "127.0.0.1".into(), port: fcm.address().port() },
        fcm.ca_pem().as_bytes().to_vec(),
        &SeededRandomness::new(1),
    );
    let pool = rig.engine.open(target.unwrap(), pool_config(Platform::Fcm, 2)).unwrap();
    let (gate, hour) = (rig.open_gate(), rig.clock.monotonic() + Duration::from_secs(3_600));
    for number in 0..20 {
        rig.engine.submit(through(&pool, rig.shard(&gate, number * 1_000, 500), hour)).unwrap();
        rig.engine.submit(rig.shard(&gate, number * 1_000 + 500, 500)).unwrap();
    }
    let accounts = rig.wait(40);
    let of_fcm = |number: &u32| number % 1_000 < 500;
    let (fcm, apns): (Vec<_>, Vec<_>) = accounts.outcomes.iter().partition(|(number, _)| of_fcm(number));
    assert!(apns.iter().all(|(_, outcome)| **outcome == Outcome::ACCEPTED), "{} of apns", apns.len());
    let accepted = fcm.iter().filter(|(_, outcome)| **outcome == Outcome::ACCEPTED).count();
    assert!(accepted <= 100 && accounts.open() > 8_000, "{accepted} and {} open", accounts.open());
    assert!(pool.status().paused_until.is_some() && rig.pool.status().paused_until.is_none());
}

/// Tells this test that it is the process which breaks.
const BREAKS: &str = "PUSH_TEST_BREAKS";

#[test]
fn a_sending_thread_that_breaks_takes_the_process_with_it() {
    if std::env::var_os(BREAKS).is_some() {
        let rig = Rig::new(Config::apns(), 1);
        rig.engine.submit(rig.shard(&rig.open_gate(), BREAKING, 1)).unwrap();
        rig.wait(1);
        return;
    }
    let name = "pools::a_sending_thread_that_breaks_takes_the_process_with_it";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name]).env(BREAKS, "1").output().unwrap();
    assert_eq!(output.status.signal(), Some(rustix::process::Signal::ABORT.as_raw()), "{output:?}");
}
