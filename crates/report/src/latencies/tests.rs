//! The histogram against HdrHistogram, its merges, and its bytes.

use hdrhistogram::Histogram;
use proptest::prelude::*;

use super::*;

pub(crate) fn any_us() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..300, 50_000_u64..6_000_000, 0..=TRACKED_US_MAX, Just(u64::MAX)]
}

fn of(list: &[u64]) -> Latencies {
    let mut latencies = Latencies::default();
    list.iter().for_each(|us| latencies.record(*us));
    latencies
}

fn merged(a: &Latencies, b: &Latencies) -> Latencies {
    let mut merged = a.clone();
    merged.merge(b);
    merged
}

fn joined(a: &Latencies, b: &Latencies) -> Latencies {
    let mut joined = a.clone();
    joined.join(b);
    joined
}

fn list() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(any_us(), 0..200)
}

proptest! {
    #[test]
    fn quantiles_are_those_of_hdr_histogram_up_to_the_exact_maximum(
        list in proptest::collection::vec(0..=TRACKED_US_MAX, 1..300), quantile in 0.001_f64..=1.0
    ) {
        let mut oracle = Histogram::<u64>::new_with_bounds(1, TRACKED_US_MAX, 2).unwrap();
        list.iter().for_each(|us| oracle.record(*us).unwrap());
        let ours = of(&list);
        let max = *list.iter().max().unwrap();
        prop_assert_eq!(ours.quantile_us(quantile), Some(oracle.value_at_quantile(quantile).min(max)));
        prop_assert_eq!(ours.max_us(), Some(max));
        prop_assert_eq!(ours.min_us(), list.iter().min().copied());
    }

    #[test]
    fn a_quantile_is_never_too_low_and_at_most_a_128th_too_high(mut list in list(), quantile in 0.0_f64..=1.0) {
        prop_assume!(!list.is_empty());
        list.sort_unstable();
        let rank = ((quantile * list.len() as f64).ceil() as usize).max(1);
        let exact = list[rank - 1];
        let told = of(&list).quantile_us(quantile).unwrap();
        prop_assert!(told >= exact, "{told} < {exact}");
        prop_assert!(exact > TRACKED_US_MAX / 128 * 127 || told - exact <= exact / 128, "{told} for {exact}");
    }

    #[test]
    fn merging_is_commutative_and_associative(a in list(), b in list(), c in list()) {
        let (a, b, c) = (of(&a), of(&b), of(&c));
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
    }

    #[test]
    fn merging_equals_recording_everything(a in list(), b in list()) {
        let together: Vec<u64> = a.iter().chain(&b).copied().collect();
        prop_assert_eq!(merged(&of(&a), &of(&b)), of(&together));
    }

    #[test]
    fn joining_is_commutative_associative_and_idempotent(a in list(), b in list(), c in list()) {
        let (a, b, c) = (of(&a), of(&b), of(&c));
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(joined(&a, &a), a);
    }

    #[test]
    fn bytes_read_back(list in list()) {
        let latencies = of(&list);
        prop_assert_eq!(Latencies::decode(&latencies.encode()), Ok(latencies));
    }

    #[test]
    fn coarse_bytes_keep_count_and_bounds_and_err_upwards(list in list(), bytes_max in 0_usize..600) {
        let exact = of(&list);
        let bytes = exact.encode_within(bytes_max);
        let coarse = Latencies::decode(&bytes).unwrap();
        prop_assert_eq!(
            (coarse.count(), coarse.min_us(), coarse.max_us()), (exact.count(), exact.min_us(), exact.max_us())
        );
        prop_assert!(coarse.quantiles().p50_us >= exact.quantiles().p50_us);
    }

    #[test]
    fn rubbish_is_an_error_and_never_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..80), is_headed in any::<bool>()
    ) {
        let head: &[u8] = if is_headed { &[KIND, VERSION, 0] } else { &[] };
        let bytes: Vec<u8> = head.iter().chain(&bytes).copied().collect();
        if let Ok(latencies) = Latencies::decode(&bytes) {
            latencies.quantiles();
            prop_assert_eq!(Latencies::decode(&latencies.encode()), Ok(latencies));
        }
    }

    #[test]
    fn ranges_hold_every_answer_once(list in list()) {
        let latencies = of(&list);
        prop_assert_eq!(latencies.ranges().map(|(_, _, n)| n).sum::<u64>(), list.len() as u64);
        for (lowest, highest, _) in latencies.ranges() {
            prop_assert!(lowest <= highest);
        }
    }
}

#[test]
fn buckets_tile_the_whole_range() {
    for bucket in 0..BUCKETS {
        assert_eq!(bucket_of(lowest_of(bucket)), bucket);
        assert_eq!(bucket_of(highest_of(bucket)), bucket);
    }
    assert_eq!(lowest_of(0), 0);
    assert_eq!(highest_of(BUCKETS - 1), TRACKED_US_MAX);
}

#[test]
fn the_worst_case_fits_whatever_is_asked_for_down_to_400_bytes() {
    let mut latencies = Latencies::default();
    (0..BUCKETS).for_each(|bucket| latencies.record_n(lowest_of(bucket), u64::MAX / 4_000));
    assert!(latencies.encode().len() > 25_000);
    for bytes_max in [8_000, 1_500, 400] {
        assert!(latencies.encode_within(bytes_max).len() <= bytes_max);
    }
}

#[test]
fn a_shard_of_a_burst_takes_a_few_hundred_bytes() {
    // 2,000 answers between 80 ms and 400 ms.
    let mut latencies = Latencies::default();
    (0..2_000).for_each(|n| latencies.record(80_000 + n * 160));
    let bytes = latencies.encode().len();
    assert!(bytes < 700, "{bytes}");
    assert!(latencies.counts.len() <= 4 * OCTAVE);
}

#[test]
fn nothing_counted_has_no_extremes() {
    let latencies = Latencies::default();
    assert_eq!((latencies.min_us(), latencies.max_us(), latencies.quantile_us(0.5)), (None, None, None));
    assert_eq!(latencies.quantiles(), Quantiles::default());
    assert_eq!(Latencies::decode(&latencies.encode()), Ok(latencies));
}

#[test]
fn a_newer_version_is_named() {
    let error = Latencies::decode(&[KIND, 9, 0]);
    assert_eq!(error, Err(Error::Version { what: "latencies", found: 9, known: 1 }));
}
