//! Progress in its 8 KB.

use model::Reason;
use proptest::prelude::*;

use super::*;
use crate::tally::tests::any_outcome;

pub(crate) fn any_progress() -> impl Strategy<Value = Progress> {
    let cell = (any::<bool>(), 0_u8..5, any_outcome(), 0_u64..100_000);
    let cells = proptest::collection::vec(cell, 0..30);
    let times = (0_u64..50, proptest::option::of(0_u64..1_000), proptest::option::of(0_u64..9_000_000));
    (0_u8..4, times, cells, proptest::collection::vec((any::<bool>(), 0_u64..6_000_000), 0..40)).prop_map(
        |(worker, (updated_at, first_write_us, last_answer_us), cells, answers)| {
            let worker = format!("worker-{worker}");
            let mut progress = Progress::new(LaunchId(7), &worker, Timestamp(updated_at));
            progress.first_write_us = first_write_us;
            progress.last_answer_us = last_answer_us;
            for (is_apns, market, outcome, devices) in cells {
                let platform = if is_apns { Platform::Apns } else { Platform::Fcm };
                progress.add(platform, &format!("m{market}"), outcome, devices + 1);
            }
            answers.iter().for_each(|&(is_apns, us)| progress.latencies[usize::from(is_apns)].record(us));
            progress
        },
    )
}

proptest! {
    #[test]
    fn ordinary_progress_reads_back_exactly(progress in any_progress()) {
        prop_assert_eq!(Progress::decode(&progress.encode()), Ok(progress));
    }

    #[test]
    fn rubbish_is_an_error_and_never_a_panic(
        progress in any_progress(), cut in any::<prop::sample::Index>(), flip in any::<u8>()
    ) {
        let mut bytes = progress.encode();
        let at = cut.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(read) = Progress::decode(&bytes) {
            prop_assert!(read.encode().len() <= PROGRESS_BYTES_MAX);
        }
        bytes.truncate(at);
        prop_assert!(at > 60 || Progress::decode(&bytes).is_err());
    }
}

#[test]
fn the_worst_case_keeps_its_bound_and_loses_no_device() {
    let mut progress = Progress::new(LaunchId(u128::MAX), &"ö".repeat(500), Timestamp(u64::MAX));
    (progress.shards_recorded, progress.shards_in_flight) = (u32::MAX, u32::MAX);
    (progress.requests, progress.requests_in_flight) = (u64::MAX, u64::MAX);
    (progress.first_write_us, progress.last_answer_us) = (Some(u64::MAX - 1), Some(u64::MAX - 1));
    progress.clock_error_us = u64::MAX;
    let many = u64::MAX / 100_000;
    for platform in Platform::ALL {
        for class in Class::ALL {
            for reason in Reason::ALL {
                progress.add(platform, "big", Outcome::new(class, *reason), many);
                progress.add(platform, "big", Outcome::new(class, *reason).resent(), many);
            }
        }
        for market in 0..2_000 {
            let name = format!("{market:0128}");
            progress.add(platform, &name, Outcome::ACCEPTED.resent(), u64::from(u32::MAX));
        }
        for octave in 0..32 {
            (0..256).for_each(|part| {
                let us = (1 << octave) + part * (1 << octave) / 256;
                progress.latencies[platform.index()].record_n(us, many);
            });
        }
    }
    let bytes = progress.encode();
    assert!(bytes.len() <= PROGRESS_BYTES_MAX, "{}", bytes.len());
    let read = Progress::decode(&bytes).unwrap();
    for platform in Platform::ALL {
        let at = platform.index();
        assert_eq!(read.by_platform[at].counts(), progress.by_platform[at].counts());
        assert_eq!(read.latencies[at].count(), progress.latencies[at].count());
        assert_eq!(read.latencies[at].max_us(), progress.latencies[at].max_us());
        let of = |progress: &Progress| {
            let mut counts = Counts::default();
            let cells = progress.by_market.iter().filter(|((of, _), _)| *of == platform);
            cells.for_each(|(_, cell)| counts.merge(cell));
            counts
        };
        assert_eq!(of(&read), of(&progress));
    }
}

#[test]
fn a_burst_in_seven_markets_is_told_exactly_in_half_the_bound() {
    let mut progress = Progress::new(LaunchId(1), "worker-1", Timestamp::from_secs(1_800_000_000));
    for market in ["br", "de", "fr", "gb", "jp", "mx", "us"] {
        for platform in Platform::ALL {
            progress.add(platform, market, Outcome::ACCEPTED, 400_000);
            progress.add(platform, market, Outcome::new(Class::Rejected, Reason::Unregistered), 3_000);
        }
    }
    for n in 0..40_000_u64 {
        progress.latencies[0].record(60_000 + n * 10);
        progress.latencies[1].record(110_000 + n * 60);
    }
    let bytes = progress.encode();
    assert!(bytes.len() <= PROGRESS_BYTES_MAX / 2, "{}", bytes.len());
    assert_eq!(Progress::decode(&bytes), Ok(progress));
}

#[test]
fn a_damaged_provider_is_refused() {
    let bytes = {
        let mut progress = Progress::new(LaunchId(1), "w", Timestamp(0));
        progress.add(Platform::Fcm, "us", Outcome::ACCEPTED, 1);
        progress.encode()
    };
    let at = bytes.len() - 11;
    let mut damaged = bytes.clone();
    assert_eq!(damaged[at], 1);
    damaged[at] = 2;
    assert!(Progress::decode(&bytes).is_ok());
    assert!(Progress::decode(&damaged).is_err());
}
