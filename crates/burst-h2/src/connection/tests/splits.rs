//! However the peer's bytes are cut, and whatever they are, the outcome is the same and every request ends once.

use proptest::prelude::*;

use super::*;

const REQUESTS: u64 = 12;

/// Something a peer might send, sensible or not.
fn frame_bytes() -> impl Strategy<Value = Vec<u8>> {
    let stream = || (0..REQUESTS as u32 + 1).prop_map(|n| n * 2 + 1);
    let block = prop_oneof![
        4 => Just(vec![0x88]),
        2 => Just([&[0x8c][..], &literal("retry-after", "3")].concat()),
        1 => Just(literal(":status", "100")),
        1 => Just(literal(":status", "503")),
        1 => Just([&[0x40][..], &literal(":status", "410")[1..]].concat()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    let payload = || prop::collection::vec(any::<u8>(), 0..40);
    let code =
        prop_oneof![Just(ErrorCode::NO_ERROR), Just(ErrorCode::REFUSED_STREAM), Just(ErrorCode::CANCEL)];
    prop_oneof![
        12 => (stream(), block, any::<bool>(), 0..4usize).prop_map(|(stream, block, is_end, cuts)| {
            pieces(stream, &block, is_end, cuts)
        }),
        4 => (stream(), payload(), any::<bool>()).prop_map(|(stream, payload, is_end)| {
            if is_end { last_data(stream, &payload) } else { data(stream, &payload) }
        }),
        2 => (stream(), code).prop_map(|(stream, code)| reset(stream, code)),
        1 => (1..6u16, prop_oneof![Just(1u32), Just(0), 1000..70_000u32])
            .prop_map(|(name, value)| settings(&[(name, value)])),
        1 => (stream(), payload()).prop_map(|(last, debug)| goaway(last, ErrorCode::NO_ERROR, &debug)),
        1 => (stream(), 0..3u32).prop_map(|(stream, n)| window_update(stream, n)),
        1 => Just(frame_of(kind::PING, 0, 0, b"12345678")),
        1 => (any::<u8>(), any::<u8>(), stream(), payload())
            .prop_map(|(kind, flags, stream, payload)| frame_of(kind, flags, stream, &payload)),
    ]
}

/// A header block in one frame and this many CONTINUATION frames.
fn pieces(stream: u32, block: &[u8], is_end: bool, cuts: usize) -> Vec<u8> {
    let end = if is_end { flag::END_STREAM } else { 0 };
    if cuts == 0 {
        return frame_of(kind::HEADERS, flag::END_HEADERS | end, stream, block);
    }
    let half = block.len() / 2;
    let mut out = frame_of(kind::HEADERS, end, stream, &block[..half]);
    out.extend(frame_of(kind::CONTINUATION, 0, stream, b"").repeat(cuts - 1));
    out.extend(frame_of(kind::CONTINUATION, flag::END_HEADERS, stream, &block[half..]));
    out
}

/// What a connection with a few open requests tells and sends when it receives these bytes in these pieces.
fn outcome(pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>, bool) {
    let config = ConnectionConfig { header_table_bytes: 4096, noise_max: 40, ..Default::default() };
    let mut wire = Wire::ready_with(config);
    wire.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 10)]));
    for tag in 1..=REQUESTS {
        wire.start(tag, if tag % 3 == 0 { b"longer than the window" } else { b"short" });
    }
    wire.sent();
    let mut is_broken = false;
    for piece in pieces {
        is_broken = is_broken || wire.try_receive(piece).is_err();
    }
    let output = wire.connection.output().to_vec();
    (wire.close(Cause::Transport), output, is_broken)
}

fn cut<'a>(bytes: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = at.iter().map(|index| index.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn assert_each_ends_once(told: &[String]) {
    for tag in 1..=REQUESTS {
        let own = format!("{tag} ");
        assert_eq!(told.iter().filter(|line| line.starts_with(&own)).count(), 1, "tag {tag} in {told:#?}");
    }
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_outcome(
        frames in prop::collection::vec(frame_bytes(), 0..30),
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let bytes = frames.concat();
        let whole = outcome(&[&bytes]);
        assert_each_ends_once(&whole.0);
        prop_assert_eq!(&outcome(&cut(&bytes, &at)), &whole);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&outcome(&single), &whole);
    }

    #[test]
    fn rubbish_never_panics_and_loses_nobody(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        assert_each_ends_once(&outcome(&[&bytes]).0);
    }
}
