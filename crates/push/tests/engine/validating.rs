//! The engine against simulators that check every request as the providers would: nothing is found, whatever goes wrong.

use model::{LaunchId, Platform};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use provider_sim::Config;
use provider_sim::config::{Goaway, Mode};
use push::EngineConfig;

use crate::campaigns::{composed, manner, variant};
use crate::rig::{APP, Rig, pool_config};

fn validating(platform: Platform) -> Config {
    let mut config = Config::of(platform);
    config.mode = Mode::Validating;
    match platform {
        Platform::Apns => config.checks.topics = vec![APP.to_owned()],
        Platform::Fcm => config.checks.projects = vec![APP.to_owned()],
    }
    config
}

fn assert_nothing_found(rig: &Rig) {
    let report = rig.simulator.report().unwrap();
    assert!(report.faults_found.is_empty(), "{:#?}", report.faults_found);
    assert_eq!(report.stats.connections.violations, 0);
}

#[test]
fn thousands_are_accepted_and_nothing_is_found() {
    for platform in Platform::ALL {
        let engine = EngineConfig { threads: 2, ..EngineConfig::default() };
        let rig = Rig::with(validating(platform), pool_config(platform, 4), engine);
        let accounts = rig.send(6_000, 500);
        assert_eq!((accounts.accepted(), accounts.resent()), (6_000, 0));
        rig.compare(&accounts);
        assert_eq!(rig.simulator.report().unwrap().accepted, 6_000);
        assert_nothing_found(&rig);
    }
}

#[test]
fn what_goes_wrong_adds_up_and_is_no_fault_of_ours() {
    for platform in Platform::ALL {
        let mut config = validating(platform);
        let faults = &mut config.faults;
        (faults.dead, faults.refused, faults.dropped_before, faults.dropped_after) =
            (0.05, 0.01, 0.001, 0.001);
        faults.goaway = Goaway { every: Some(900), ..Goaway::default() };
        let passing = if platform == Platform::Apns { "InternalServerError=0.01" } else { "INTERNAL=0.01" };
        faults.shares = passing.parse().unwrap();
        config.latency.base = std::time::Duration::from_millis(2);
        let rig = Rig::new(config, 4);
        let accounts = rig.send(5_000, 500);
        assert_eq!((accounts.outcomes.len(), accounts.open()), (5_000, 0));
        rig.compare(&accounts);
        assert!(accounts.accepted() > 4_000, "{}", accounts.accepted());
        assert_nothing_found(&rig);
    }
}

#[test]
fn canaries_and_every_kind_of_campaign_are_as_the_providers_want_them() {
    for platform in Platform::ALL {
        let mut pool = pool_config(platform, 2);
        if platform == Platform::Apns {
            pool.canaries = vec![vec![1; 32], vec![2; 20]];
        }
        let rig = Rig::with(validating(platform), pool, EngineConfig::default());
        let (mut runner, mut shards) = (TestRunner::deterministic(), 0);
        let gate = rig.open_gate();
        for number in 0..150 {
            let (variant, manner) = (variant(), manner()).new_tree(&mut runner).unwrap().current();
            let Some(composed) = composed(&variant, &manner) else { continue };
            let mut shard = rig.shard(&gate, number * 4, 4);
            shard.message = match platform {
                Platform::Apns => rig.pool.apns_message(LaunchId(1 << 64), &composed.apns).unwrap(),
                Platform::Fcm => rig.pool.fcm_message(&composed.fcm, 3_600).unwrap(),
            };
            rig.engine.submit(shard).unwrap();
            shards += 1;
        }
        assert!(shards > 75, "{shards}");
        assert_eq!(rig.wait(shards).accepted(), 4 * shards);
        assert_nothing_found(&rig);
    }
}
