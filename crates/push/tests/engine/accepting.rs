//! When nothing goes wrong.

use model::{Class, Platform, Reason};
use provider_sim::Config;
use push::EngineConfig;

use crate::rig::{Rig, pool_config};

const HOUR: std::time::Duration = std::time::Duration::from_secs(3_600);

#[test]
fn apns_accepts_every_device_once_though_connections_start_with_one_stream() {
    let rig = Rig::new(Config::apns(), 4);
    let accounts = rig.send(10_000, 1_000);
    assert_eq!(accounts.accepted(), 10_000);
    assert_eq!((accounts.resent(), accounts.requests()), (0, 10_000));
    rig.compare(&accounts);
    let report = rig.simulator.report().unwrap();
    assert_eq!((report.accepted, report.received_twice), (10_000, 0));
}

#[test]
fn fcm_accepts_tokens_and_fids_and_counts_the_requests_that_warm() {
    let rig = Rig::new(Config::fcm(), 8);
    rig.until(|status| status.warm == 8);
    let accounts = rig.send(5_000, 500);
    assert_eq!(accounts.accepted(), 5_000);
    rig.compare(&accounts);
    let stats = rig.simulator.stats().unwrap();
    assert_eq!(stats.probes, rig.pool.status().warm_up_requests);
    assert_eq!(stats.connections.violations, 0);
}

#[test]
fn several_threads_share_a_pool() {
    let engine = EngineConfig { threads: 3, ..EngineConfig::default() };
    let rig = Rig::with(Config::apns(), pool_config(Platform::Apns, 4), engine);
    let accounts = rig.send(20_000, 500);
    assert_eq!(accounts.accepted(), 20_000);
    rig.compare(&accounts);
}

#[test]
fn every_answer_is_timed_from_the_press() {
    let rig = Rig::new(Config::apns(), 1);
    let accounts = rig.send(100, 100);
    let shard = &accounts.shards[0];
    let (first, last) = (shard.first_write.unwrap(), shard.last_answer.unwrap());
    assert!(first <= last);
    let slowest = *shard.answered_us.iter().max().unwrap();
    assert!(slowest > 0 && slowest < push::NO_ANSWER);
}

#[test]
fn a_key_that_cannot_be_sent_harms_nobody_else() {
    let rig = Rig::new(Config::apns(), 1);
    let shards = rig.submit(&rig.open_gate(), 1_000, 100, |shard| shard.keys.has_unusable = true);
    let accounts = rig.wait(shards);
    assert_eq!(accounts.accepted(), 900);
    assert_eq!(accounts.count(Class::NotSent, Reason::UnusableKey), 100);
    rig.compare(&accounts);
}

#[test]
fn an_empty_shard_and_one_of_unusable_keys_come_back() {
    let rig = Rig::new(Config::fcm(), 1);
    let gate = rig.open_gate();
    rig.engine.submit(rig.shard(&gate, 0, 0)).unwrap();
    let mut unusable = rig.shard(&gate, 9, 1);
    unusable.keys = crate::outside::MadeUp { platform: Platform::Apns, ..unusable.keys };
    rig.engine.submit(unusable).unwrap();
    let accounts = rig.wait(2);
    assert_eq!(accounts.count(Class::NotSent, Reason::UnusableKey), 1);
}

#[test]
fn a_device_taken_over_is_marked_whatever_becomes_of_it() {
    let rig = Rig::new(Config::apns(), 1);
    let shards = rig.submit(&rig.open_gate(), 1_000, 500, |shard| shard.is_taken_over = true);
    let accounts = rig.wait(shards);
    assert_eq!((accounts.accepted(), accounts.resent()), (1_000, 1_000));
}

#[test]
fn a_shard_that_cannot_be_sent_does_not_hold_up_another_launch() {
    let rig = Rig::new(Config::apns(), 1);
    rig.until(|status| status.warm == 1);
    let (held, open) = (push::LaunchGate::new(rig.clock.monotonic() + HOUR), rig.open_gate());
    // Neither leaves before both are there.
    let mut unusable = rig.shard(&held, 0, 100);
    unusable.keys = crate::outside::MadeUp { platform: Platform::Fcm, ..unusable.keys };
    rig.engine.submit(unusable).unwrap();
    held.permit(rig.clock.monotonic() + HOUR);
    rig.engine.submit(rig.shard(&open, 100, 100)).unwrap();
    let accounts = rig.wait(2);
    assert_eq!((accounts.accepted(), accounts.count(Class::NotSent, Reason::UnusableKey)), (100, 100));
}
