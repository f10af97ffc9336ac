//! What holds a launch back: abort, pause, permission, lease, not-after, shutdown.

use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Class, Monotonic, Platform, Reason};
use provider_sim::Config;
use push::{EngineConfig, LaunchGate, Live, WhyOpen};

use crate::rig::{Rig, pool_config};

/// Slow enough that a launch is still under way when it is stopped: two connections carry 100 at once for 30 ms.
fn slow() -> Config {
    let mut config = Config::apns();
    config.latency.base = Duration::from_millis(30);
    config.limits.streams = 50;
    config.limits.one_stream_until_valid = false;
    config
}

fn slow_rig() -> Rig {
    let engine = EngineConfig { patience: Duration::from_millis(50), ..EngineConfig::default() };
    Rig::with(slow(), pool_config(Platform::Apns, 2), engine)
}

/// Waits until some requests have arrived.
fn until_under_way(rig: &Rig) {
    rig.until(|_| rig.simulator.stats().unwrap().requests > 0);
}

#[test]
fn an_abort_stops_what_has_not_left_and_says_what_had() {
    let rig = slow_rig();
    let gate = rig.open_gate();
    let shards = rig.submit(&gate, 20_000, 1_000, |_| {});
    until_under_way(&rig);
    gate.abort();
    let accounts = rig.wait(shards);
    rig.compare(&accounts);
    let aborted = accounts.count(Class::NotSent, Reason::Aborted);
    assert_eq!(accounts.accepted() + aborted, 20_000);
    assert!(aborted > 10_000 && accounts.accepted() > 0, "{aborted}");
    assert_eq!(rig.simulator.report().unwrap().processed as usize, accounts.accepted());
    assert_eq!(accounts.open(), 0);
}

#[test]
fn nothing_starts_later_than_a_quarter_of_a_second_after_an_abort() {
    // Connections that are always full, windows that hold bodies back, and two threads.
    let mut config = slow();
    config.limits.streams = 1_000;
    config.limits.connection_window = 65_535;
    let engine = EngineConfig { threads: 2, ..EngineConfig::default() };
    let rig = Rig::with(config, pool_config(Platform::Apns, 6), engine);
    let gate = rig.open_gate();
    let shards = rig.submit(&gate, 200_000, 1_000, |_| {});
    until_under_way(&rig);
    gate.abort();
    let aborted_at = rig.clock.monotonic();
    rig.until(|_| rig.clock.monotonic().since(aborted_at) > Duration::from_millis(250));
    let arrived = rig.simulator.stats().unwrap().requests;
    let accounts = rig.wait(shards);
    rig.compare(&accounts);
    assert_eq!(rig.simulator.stats().unwrap().requests, arrived, "a request came after the abort");
    assert!(accounts.count(Class::NotSent, Reason::Aborted) > 50_000);
    assert_eq!(accounts.class(Class::Unknown), 0);
}

#[test]
fn an_abort_of_one_launch_leaves_the_other_on_the_same_connections_alone() {
    let rig = slow_rig();
    let (one, other) = (rig.open_gate(), rig.open_gate());
    let shard = |gate: &LaunchGate<Live>, first, launch| {
        let mut shard = rig.shard(gate, first, 1_000);
        shard.message = rig.group_message(launch);
        rig.engine.submit(shard).unwrap();
    };
    (0..10).for_each(|number| shard(&one, number * 2_000, 1));
    (0..10).for_each(|number| shard(&other, number * 2_000 + 1_000, 2));
    until_under_way(&rig);
    one.abort();
    let accounts = rig.wait(20);
    rig.compare(&accounts);
    for shard in &accounts.shards {
        let is_of_other = shard.id % 2_000 != 0;
        let accepted = shard.outcomes.iter().filter(|outcome| outcome.class() == Class::Accepted).count();
        assert!(!is_of_other || accepted == 1_000, "shard {} of the other launch", shard.id);
    }
    assert!(accounts.count(Class::NotSent, Reason::Aborted) > 5_000);
}

#[test]
fn a_pause_hands_back_what_has_not_left_and_it_can_be_sent_later() {
    let rig = slow_rig();
    let gate = rig.open_gate();
    let shards = rig.submit(&gate, 5_000, 1_000, |_| {});
    until_under_way(&rig);
    gate.hand_back();
    let accounts = rig.wait(shards);
    rig.compare(&accounts);
    assert_eq!(accounts.accepted() + accounts.open(), 5_000);
    assert!(accounts.open() > 1_000);
    assert!(accounts.shards.iter().any(|shard| shard.is_untouched()));
    gate.reopen();
    let mut again = 0;
    for shard in accounts.shards.iter().filter(|shard| !shard.open.is_empty()) {
        assert_eq!(shard.why_open, Some(WhyOpen::Held));
        let first = shard.id as u32 + shard.open[0];
        let is_tail = shard.open.iter().zip(shard.open[0]..).all(|(open, next)| *open == next);
        assert!(is_tail, "nothing was refused, so what is open is what was not reached");
        rig.engine.submit(rig.shard(&gate, first, shard.open.len() as u32)).unwrap();
        again += 1;
    }
    let rest = rig.wait(again);
    assert_eq!(rest.accepted(), accounts.open());
    assert_eq!(rig.simulator.report().unwrap().received_twice, 0);
}

#[test]
fn without_permission_nothing_leaves_and_the_shard_comes_back() {
    let rig = slow_rig();
    let gate = LaunchGate::new(rig.clock.monotonic() + Duration::from_secs(600));
    let shards = rig.submit(&gate, 2_000, 1_000, |_| {});
    let accounts = rig.wait(shards);
    assert!(accounts.shards.iter().all(|shard| shard.is_untouched()));
    assert_eq!(rig.simulator.stats().unwrap().requests, 0);
}

#[test]
fn a_permission_that_lapses_for_a_moment_holds_nothing_up_for_good() {
    let engine = EngineConfig { patience: Duration::from_secs(30), ..EngineConfig::default() };
    let rig = Rig::with(slow(), pool_config(Platform::Apns, 2), engine);
    let gate = rig.open_gate();
    let shards = rig.submit(&gate, 2_000, 500, |_| {});
    until_under_way(&rig);
    gate.withdraw();
    let start = rig.clock.monotonic();
    rig.until(|_| rig.clock.monotonic().since(start) > Duration::from_millis(300));
    let held = rig.simulator.stats().unwrap().requests;
    rig.until(|_| rig.clock.monotonic().since(start) > Duration::from_millis(500));
    assert_eq!(rig.simulator.stats().unwrap().requests, held, "something left without permission");
    gate.permit(rig.clock.monotonic() + Duration::from_secs(600));
    let accounts = rig.wait(shards);
    assert_eq!((accounts.accepted(), accounts.resent(), accounts.open()), (2_000, 0, 0));
    rig.compare(&accounts);
}

#[test]
fn a_permission_that_flickers_holds_nobody_up_and_sends_nobody_twice() {
    let mut config = slow();
    config.limits.stream_window = 100;
    let (patience, answer_within) = (Duration::from_secs(300), Duration::from_secs(300));
    let engine = EngineConfig { patience, answer_within, ..EngineConfig::default() };
    let rig = Rig::with(config, pool_config(Platform::Apns, 2), engine);
    let gate = rig.open_gate();
    let shards = rig.submit(&gate, 2_000, 500, |_| {});
    let turn = std::cell::Cell::new(0);
    rig.until(|status| {
        turn.set(turn.get() + 1);
        match turn.get() % 2 {
            0 => gate.withdraw(),
            _ => gate.permit(rig.clock.monotonic() + Duration::from_secs(600)),
        }
        status.devices == 0
    });
    let accounts = rig.wait(shards);
    assert_eq!((accounts.accepted(), accounts.resent(), accounts.open()), (2_000, 0, 0));
    rig.compare(&accounts);
}

#[test]
fn a_lease_that_nobody_renews_ends_the_writing() {
    let rig = slow_rig();
    let lease = rig.clock.monotonic() + Duration::from_millis(1_200);
    let shards = rig
        .submit(&rig.open_gate(), 5_000, 1_000, |shard| shard.lease_until.store(lease.0, Ordering::Relaxed));
    let accounts = rig.wait(shards);
    rig.compare(&accounts);
    assert!(accounts.open() > 0);
    assert_eq!(accounts.accepted() + accounts.open(), 5_000);
    assert!(accounts.shards.iter().any(|shard| shard.why_open == Some(WhyOpen::Lease)));
}

#[test]
fn past_the_not_after_devices_expire() {
    let rig = slow_rig();
    let now = rig.clock.monotonic();
    let gate = LaunchGate::<Live>::new(now + Duration::from_millis(200));
    gate.permit(now + Duration::from_secs(600));
    let shards = rig.submit(&gate, 10_000, 1_000, |_| {});
    let accounts = rig.wait(shards);
    rig.compare(&accounts);
    assert!(accounts.class(Class::Expired) > 1_000);
    assert_eq!(accounts.accepted() + accounts.class(Class::Expired), 10_000);
}

#[test]
fn a_launch_past_its_end_sends_nothing() {
    let rig = slow_rig();
    let gate = LaunchGate::<Live>::new(Monotonic(0));
    let shards = rig.submit(&gate, 1_000, 1_000, |_| {});
    let accounts = rig.wait(shards);
    assert_eq!(accounts.class(Class::Expired), 1_000);
    assert_eq!(rig.simulator.stats().unwrap().requests, 0);
}

#[test]
fn a_shutdown_waits_for_answers_and_hands_back_the_rest() {
    let rig = slow_rig();
    let shards = rig.submit(&rig.open_gate(), 5_000, 1_000, |_| {});
    until_under_way(&rig);
    rig.engine.stop(Duration::from_secs(30));
    let accounts = rig.wait(shards);
    rig.compare(&accounts);
    assert_eq!(accounts.accepted() + accounts.open(), 5_000);
    assert!(accounts.open() > 0);
    assert!(accounts.shards.iter().any(|shard| shard.why_open == Some(WhyOpen::Shutdown)));
    let late = rig.engine.submit(rig.shard(&rig.open_gate(), 0, 1));
    assert!(late.is_err(), "a stopped engine takes nothing");
    rig.engine.join();
}

#[test]
fn an_engine_that_is_dropped_returns_every_shard() {
    let rig = slow_rig();
    let shards = rig.submit(&rig.open_gate(), 5_000, 1_000, |_| {});
    until_under_way(&rig);
    rig.engine.stop(Duration::ZERO);
    let accounts = rig.wait(shards);
    rig.compare(&accounts);
    assert_eq!(accounts.outcomes.len(), 5_000);
    assert!(accounts.count(Class::Unknown, Reason::ConnectionLost) > 0, "what was in flight is unknown");
}
