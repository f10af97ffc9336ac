//! Devices whose requests are never answered keep nobody else waiting.

use std::time::Duration;

use model::{Class, Platform, Reason};
use provider_sim::Config;
use provider_sim::config::{ListedFault, Manner};
use push::{EngineConfig, NO_ANSWER, PoolConfig};

use crate::rig::{Rig, fingerprint, pool_config};

const SIZE: u32 = 500;
/// Shards that fit into the pool together.
const ROOM: u32 = 4;

/// A provider that never answers for the last device of each of the first `shards`, and an engine that is patient.
fn rig(platform: Platform, shards: u32) -> Rig {
    rig_with(platform, shards, None, Duration::from_secs(3_600))
}

/// A provider that `times` leaves the last device of each of the first `shards` without answer.
fn rig_with(platform: Platform, shards: u32, times: Option<u32>, answer_within: Duration) -> Rig {
    let mut config = Config::of(platform);
    let silent = |shard| ListedFault {
        key: fingerprint(platform, (shard + 1) * SIZE - 1),
        manner: Manner::Silent,
        reason: Reason::None,
        times,
    };
    config.faults.listed = (0..shards).map(silent).collect();
    let pool = PoolConfig { devices_max: ROOM * SIZE, ..pool_config(platform, 4) };
    let engine = EngineConfig { answer_within, ..EngineConfig::default() };
    Rig::with(config, pool, engine)
}

#[test]
fn devices_without_answer_do_not_keep_others_out_of_the_pool() {
    for platform in Platform::ALL {
        // More shards with a silent device than there is room for: if they kept their room, nobody would come after them.
        let silent = 2 * ROOM;
        let rig = rig(platform, silent);
        let gate = rig.open_gate();
        for shard in 0..10 * ROOM {
            rig.until(|status| status.devices + SIZE <= ROOM * SIZE);
            rig.engine.submit(rig.shard(&gate, shard * SIZE, SIZE)).unwrap();
        }
        let accounts = rig.wait((10 * ROOM - silent) as usize);
        assert_eq!(accounts.accepted(), ((10 * ROOM - silent) * SIZE) as usize);
        rig.until(|status| status.devices == 0);
        assert_eq!(rig.stragglers.lock().unwrap().len(), silent as usize);
    }
}

#[test]
fn what_is_known_of_a_shard_that_straggles_is_told_once() {
    let rig = rig(Platform::Apns, 1);
    let gate = rig.open_gate();
    rig.engine.submit(rig.shard(&gate, 0, SIZE)).unwrap();
    rig.until(|status| status.devices == 0);
    let told = std::mem::take(&mut *rig.stragglers.lock().unwrap());
    let [so_far] = &told[..] else { panic!("{} shards straggle", told.len()) };
    assert_eq!((so_far.id, so_far.requests), (0, SIZE));
    let silent = SIZE as usize - 1;
    assert!(so_far.outcomes[..silent].iter().all(|outcome| outcome.is_some_and(|known| !known.is_resent())));
    assert_eq!((so_far.outcomes[silent], so_far.answered_us[silent]), (None, NO_ANSWER));
    assert!(so_far.answered_us[..silent].iter().all(|us| *us != NO_ANSWER));

    // It comes back like any other, with what was told before in it.
    rig.engine.stop(Duration::ZERO);
    let accounts = rig.wait(1);
    let done = &accounts.shards[0];
    assert_eq!(done.answered_us[..silent], so_far.answered_us[..silent]);
    assert_eq!((accounts.accepted(), done.outcomes[silent].class()), (silent, Class::Unknown));
    assert!(rig.stragglers.lock().unwrap().is_empty());
    assert_eq!(rig.pool.status().devices, 0, "its room is given back once");
}

#[test]
fn a_device_that_straggled_is_sent_once_more_and_has_its_own_outcome() {
    for platform in Platform::ALL {
        let rig = rig_with(platform, 1, Some(1), Duration::from_secs(1));
        let gate = rig.open_gate();
        rig.engine.submit(rig.shard(&gate, 0, SIZE)).unwrap();
        let accounts = rig.wait(1);
        let told = rig.stragglers.lock().unwrap();
        let [so_far] = &told[..] else { panic!("{} shards straggle", told.len()) };
        let silent = SIZE as usize - 1;
        let done = &accounts.shards[0];
        assert_eq!((so_far.outcomes[silent], so_far.requests), (None, SIZE), "{platform}");
        assert_eq!((accounts.accepted(), accounts.resent(), done.requests), (SIZE as usize, 1, SIZE + 1));
        assert!(done.outcomes[silent].is_resent() && done.answered_us[silent] != NO_ANSWER);
        let others = done.outcomes[..silent].iter().copied().map(Some);
        assert!(others.eq(so_far.outcomes[..silent].iter().copied()));
        assert_eq!(rig.pool.status().devices, 0, "its room is given back once");
        rig.compare(&accounts);
    }
}
