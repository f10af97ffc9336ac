//! What holds for any bytes of a peer, and that a silent stream harms nobody.

use burst_h2::{Cause, ConnectionConfig, ErrorCode};
use proptest::prelude::*;

use crate::transcript::frames::*;
use crate::transcript::{MILLI, Wire};

const REQUESTS: u64 = 12;

/// Frames that a server might send, right and wrong ones.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let stream = (0..14u32).prop_map(|half| if half == 13 { 0 } else { half * 2 + 1 });
    let payload = prop::collection::vec(any::<u8>(), 0..40);
    let block = prop_oneof![
        Just(OK.to_vec()),
        Just(fields(&[(":status", "410"), ("a", "b")])),
        Just(fields(&[(":status", "103")])),
        Just(b"\x48\x03503\x40\x01a\x03two".to_vec()),
        Just(b"\x8d\xbe".to_vec()),
        Just(fields(&[("trailer", "x")])),
        payload.clone(),
    ];
    prop_oneof![
        6 => (stream.clone(), block, any::<bool>(), any::<bool>()).prop_map(|(stream, block, is_end, is_cut)| {
            let whole = if is_end { answer(stream, &block) } else { headers(stream, &block) };
            if !is_cut {
                return whole.bytes();
            }
            let (first, rest) = block.split_at(block.len() / 2);
            let begin = Frame { payload: first.to_vec(), ..whole }.open();
            [begin.bytes(), continuation(stream, rest).bytes()].concat()
        }),
        3 => (stream.clone(), payload.clone(), any::<u8>())
            .prop_map(|(stream, payload, flags)| Frame::new(DATA, flags & 9, stream, &payload).bytes()),
        2 => (stream.clone(), 0..14u32).prop_map(|(stream, code)| reset(stream, ErrorCode(code)).bytes()),
        2 => (stream.clone(), 0..3000u32).prop_map(|(stream, by)| window_update(stream, by).bytes()),
        2 => (1..7u16, 0..70_000u32).prop_map(|(name, value)| settings(&[(name, value)]).bytes()),
        1 => payload.clone().prop_map(|payload| Frame::new(PING, 0, 0, &payload).bytes()),
        1 => (0..30u32).prop_map(|last| goaway(last, ErrorCode::NO_ERROR, "why").bytes()),
        1 => (any::<u8>(), any::<u8>(), stream, payload)
            .prop_map(|(kind, flags, stream, payload)| Frame::new(kind, flags, stream, &payload).bytes()),
    ]
}

/// What a connection with open requests, some of them held back, tells and writes when these pieces come.
fn outcome(pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>, bool) {
    let config =
        ConnectionConfig { header_table_bytes: 4096, resets_max: 4, noise_max: 50, ..Default::default() };
    let mut wire = Wire::configured(config, &[(INITIAL_WINDOW_SIZE, 10)]);
    for tag in 0..REQUESTS {
        wire.client_starts_until(tag, if tag % 3 == 0 { "longer than the window" } else { "short" }, MILLI);
    }
    wire.output();
    let is_good = pieces.iter().all(|piece| wire.try_send(piece).is_ok());
    let mut output = wire.output();
    let mut told = wire.told();
    if is_good {
        wire.passes(MILLI);
        told.extend(wire.told());
        output.extend(wire.output());
    }
    told.extend(wire.close(Cause::Transport));
    (told, output, is_good)
}

fn cut<'a>(bytes: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = at.iter().map(|index| index.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_outcomes_and_output(
        frames in prop::collection::vec(frame(), 0..40),
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let bytes = frames.concat();
        let whole = outcome(&[&bytes]);
        prop_assert_eq!(&outcome(&cut(&bytes, &at)), &whole);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&outcome(&single), &whole);
        for tag in 0..REQUESTS {
            let own = format!("{tag} ");
            let ends = whole.0.iter().filter(|line| line.starts_with(&own)).count();
            prop_assert_eq!(ends, 1, "request {} in {:?}", tag, whole.0);
        }
        let resets = words(&whole.1).iter().filter(|word| word.starts_with("RST_STREAM")).count();
        prop_assert!(resets <= 4, "{} resets", resets);
    }
}

#[test]
fn a_silent_stream_outlived_by_a_million_others_harms_nobody() {
    const OTHERS: u32 = 1_000_000;
    let config = ConnectionConfig { noise_max: u32::MAX, ..ConnectionConfig::default() };
    let mut wire = Wire::configured(config, &[]);
    wire.client_starts(u64::MAX, "silent");
    wire.output();
    for number in 1..=OTHERS {
        wire.client_starts(number.into(), "");
        wire.connection.taken(wire.connection.output().len());
        wire.try_send(&answer(number * 2 + 1, OK).bytes()).unwrap();
        if number % 1000 == 0 {
            let told = wire.told();
            assert_eq!(told.len(), 1000);
            assert_eq!(told[999], format!("{number} answered 200"));
            assert_eq!(wire.connection.open(), 1);
        }
    }
    // It is still known, whatever has taken its place a thousand times.
    wire.try_send(&answer(1, &fields(&[(":status", "503")])).bytes()).unwrap();
    wire.tells([&*format!("{} answered 503", u64::MAX)]);
}
