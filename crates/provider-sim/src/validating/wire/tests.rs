//! Frames of the library's and ours, however the bytes are cut.

use proptest::prelude::*;

use super::*;

const STREAMS: [u8; 6] = [0, 3, 0, 0, 0, 9];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_header(payload.len(), kind, flags, stream, &mut out);
    out.extend_from_slice(payload);
    out
}

/// The library's frames, with ours told to go out when half of it is written.
fn library() -> Vec<Vec<u8>> {
    vec![
        frame(frame::SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0]),
        frame(frame::HEADERS, 0, 1, b"front"),
        frame(frame::CONTINUATION, FLAG_END_HEADERS, 1, b"rest"),
        frame(frame::DATA, 1, 1, b""),
        frame(frame::RST_STREAM, 0, 3, &[0, 0, 0, 1]),
        frame(frame::GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]),
        frame(frame::SETTINGS, FLAG_ACK, 0, b""),
    ]
}

proptest! {
    #[test]
    fn ours_stand_between_the_library_s_and_never_within_one_or_a_header_block(
        cuts in proptest::collection::vec(0..150_usize, 0..8),
        told_at in 0..150_usize,
    ) {
        let bytes = library().concat();
        let mut places: Vec<usize> = cuts.into_iter().chain([told_at, 0, bytes.len()]).map(|at| at.min(bytes.len())).collect();
        places.sort_unstable();
        let (mut wire, mut out) = (Wire::new(9, Rc::default()), Vec::new());
        let goaway_ends_at = library()[..6].concat().len();
        let mut was_told_before = false;
        for place in places.windows(2) {
            if place[0] >= told_at.min(bytes.len()) {
                wire.announce(4);
                wire.say_goodbye(1, ErrorCode::NoError, b"why");
                was_told_before |= place[0] < goaway_ends_at;
            }
            wire.send(&bytes[place[0]..place[1]], &mut out);
            wire.interject(&mut out);
        }
        wire.announce(4);
        wire.say_goodbye(1, ErrorCode::NoError, b"why");
        wire.interject(&mut out);
        let mut frames = Vec::new();
        let mut rest = &out[..];
        while let Some(header) = FrameHeader::read(rest) {
            let (one, next) = rest.split_at(HEADER_BYTES + header.length);
            frames.push(one.to_vec());
            rest = next;
        }
        let limit = frame(frame::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 4]);
        let goodbye = frame(frame::GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\0why");
        let ours = frames.iter().position(|one| *one == limit).unwrap();
        prop_assert_eq!(&frames[ours + 1], &goodbye);
        frames.drain(ours..ours + 2);
        let mut expected = library();
        expected[0] = frame(frame::SETTINGS, 0, 0, &[&[0, 1, 0, 0, 16, 0], &STREAMS[..]].concat());
        // Its goodbye is dropped once ours is to be said, and not before.
        if was_told_before {
            expected.remove(5);
        }
        prop_assert!(ours != 2, "within a header block");
        prop_assert_eq!(frames, expected);
        prop_assert_eq!(wire.complaints, [1]);
    }

    #[test]
    fn the_library_sees_the_acknowledgement_of_its_own_settings_alone(cut in 0..90_usize) {
        let ack = frame(frame::SETTINGS, FLAG_ACK, 0, b"");
        let ping = frame(frame::PING, 0, 0, &[7; 8]);
        let bytes = [PREFACE, &ack, &ping, &ack, &frame(frame::SETTINGS, 0, 0, b""), &ack].concat();
        let (mut wire, mut out) = (Wire::new(9, Rc::default()), Vec::new());
        wire.announce(4);
        wire.announce(5);
        let (front, rest) = bytes.split_at(cut.min(bytes.len()));
        wire.receive(front, &mut out);
        wire.receive(rest, &mut out);
        let expected = [PREFACE, &ack, &ping, &frame(frame::SETTINGS, 0, 0, b"")].concat();
        prop_assert_eq!(out, expected);
        prop_assert!(wire.limit.is_settled() && wire.limit.allowed() == 5);
    }
}
