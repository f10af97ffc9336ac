//! RFC 9113 as a client meets it.

use proptest::prelude::*;

use super::wire::{Wire, block, bytes, goaway, post};
use crate::config::Config;
use crate::h2::Stop;
use crate::h2::frame::{self, ErrorCode, FLAG_ACK, FLAG_END_HEADERS, FLAG_END_STREAM, PREFACE};

const TOKEN: &str = "00ff00ff";

fn apns() -> Config {
    let mut config = Config::apns();
    config.limits.one_stream_until_valid = false;
    config
}

fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_settings(pairs, &mut bytes);
    bytes
}

fn headers(stream: u32, flags: u8) -> Vec<u8> {
    bytes(frame::HEADERS, flags, stream, &block(&post(&format!("/3/device/{TOKEN}"))))
}

#[test]
fn the_greeting_announces_what_is_configured() {
    let mut config = apns();
    config.limits.connection_window = 100_000;
    let mut wire = Wire::silent(config);
    let frames = wire.frames();
    let (settings, _) = frames[0].payload.as_chunks::<6>();
    let has = |id: u16, value: u32| {
        settings.contains(&[id.to_be_bytes().as_slice(), &value.to_be_bytes()].concat().try_into().unwrap())
    };
    assert!(has(1, 4_096) && has(3, 1_000) && has(4, 65_535) && has(5, 16_384), "{settings:?}");
    assert_eq!(
        (frames[1].kind, frames[1].payload.clone()),
        (frame::WINDOW_UPDATE, 34_465u32.to_be_bytes().to_vec())
    );
}

#[test]
fn settings_and_pings_are_acknowledged() {
    let mut wire = Wire::silent(apns());
    wire.send(PREFACE).unwrap();
    wire.frames();
    wire.send(&settings(&[])).unwrap();
    wire.send(&bytes(frame::PING, 0, 0, b"12345678")).unwrap();
    wire.send(&bytes(frame::PING, FLAG_ACK, 0, b"87654321")).unwrap();
    let frames = wire.frames();
    assert_eq!((frames[0].kind, frames[0].flags), (frame::SETTINGS, FLAG_ACK));
    assert_eq!(
        (frames[1].kind, frames[1].flags, &frames[1].payload[..]),
        (frame::PING, FLAG_ACK, &b"12345678"[..])
    );
    assert_eq!(frames.len(), 2);
}

#[test]
fn padding_priority_and_continuation_are_taken_off() {
    let mut wire = Wire::new(apns());
    let block = block(&post(&format!("/3/device/{TOKEN}")));
    let (front, back) = block.split_at(7);
    let padded = [&[3][..], &[0, 0, 0, 0, 16], front, &[0; 3]].concat();
    let flags = frame::FLAG_PADDED | frame::FLAG_PRIORITY;
    wire.send(&bytes(frame::HEADERS, flags, 1, &padded)).unwrap();
    wire.send(&bytes(frame::CONTINUATION, 0, 1, &back[..5])).unwrap();
    wire.send(&bytes(frame::CONTINUATION, FLAG_END_HEADERS, 1, &back[5..])).unwrap();
    wire.send(&bytes(frame::DATA, frame::FLAG_PADDED | FLAG_END_STREAM, 1, b"\x02{}\0\0")).unwrap();
    assert_eq!(wire.answers()[0].status(), "200");
}

#[test]
fn unknown_frames_and_settings_are_ignored() {
    let mut wire = Wire::new(apns());
    wire.send(&bytes(0xee, 0xff, 77, b"whatever")).unwrap();
    wire.send(&settings(&[(0x99, 5)])).unwrap();
    wire.send(&bytes(frame::PRIORITY, 0, 1, &[0, 0, 0, 0, 1])).unwrap();
    assert_eq!(wire.ask(TOKEN).status(), "200");
}

#[test]
fn trailers_end_a_request() {
    let mut wire = Wire::new(apns());
    wire.send(&headers(1, FLAG_END_HEADERS)).unwrap();
    wire.send(&bytes(frame::DATA, 0, 1, b"{}")).unwrap();
    wire.send(&bytes(frame::HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, &block(&[("x-trailer", "1")])))
        .unwrap();
    assert_eq!(wire.answers()[0].status(), "200");
}

#[test]
fn malformed_requests_are_reset_and_the_connection_goes_on() {
    let mut wire = Wire::new(apns());
    let path = format!("/3/device/{TOKEN}");
    let malformed = [
        vec![(":method", "POST"), (":scheme", "https")],
        [post(&path), vec![("Upper", "1")]].concat(),
        [post(&path), vec![("connection", "close")]].concat(),
        [post(&path), vec![(":path", "/")]].concat(),
        [vec![("apns-topic", "t")], post(&path)].concat(),
    ];
    for fields in malformed {
        let stream = wire.next_stream();
        wire.send(&bytes(frame::HEADERS, FLAG_END_HEADERS, stream, &block(&fields))).unwrap();
        let reset = wire.frames().pop().unwrap();
        assert_eq!(
            (reset.kind, reset.stream, reset.payload[3]),
            (frame::RST_STREAM, stream, 1),
            "{fields:?}"
        );
        wire.send(&bytes(frame::DATA, FLAG_END_STREAM, stream, b"{}")).unwrap();
    }
    assert_eq!(wire.ask(TOKEN).status(), "200");
}

#[test]
fn a_reset_stream_is_not_answered_and_leaves_room() {
    let mut config = apns();
    config.latency.base = std::time::Duration::from_millis(10);
    config.limits.streams = 2;
    let mut wire = Wire::new(config);
    for code in [8u32, 0] {
        let stream = wire.request(TOKEN);
        wire.send(&bytes(frame::RST_STREAM, 0, stream, &code.to_be_bytes())).unwrap();
        wire.send(&bytes(frame::RST_STREAM, 0, stream, &code.to_be_bytes())).unwrap();
    }
    let kept = [wire.request(TOKEN), wire.request(TOKEN)];
    wire.advance(11_000).unwrap();
    let answers = wire.answers();
    assert_eq!(answers.iter().map(|answer| answer.stream).collect::<Vec<_>>(), kept);
    assert_eq!(wire.desk.ledger.counts.cancelled, 2);
}

#[test]
fn violations_end_the_connection_with_their_code() {
    let ended = |kind, flags, stream, payload: &[u8]| bytes(kind, flags, stream, payload);
    let huge = bytes(frame::DATA, 0, 1, &[0; 16_385]);
    let cases: Vec<(&str, Vec<u8>, ErrorCode)> = vec![
        ("DATA on an idle stream", ended(frame::DATA, 0, 9, b"x"), ErrorCode::Protocol),
        ("an even stream", headers(2, FLAG_END_HEADERS), ErrorCode::Protocol),
        ("a frame that is too long", huge, ErrorCode::FrameSize),
        ("a PING of seven bytes", ended(frame::PING, 0, 0, b"1234567"), ErrorCode::FrameSize),
        ("a PING on a stream", ended(frame::PING, 0, 1, b"12345678"), ErrorCode::Protocol),
        ("SETTINGS of five bytes", ended(frame::SETTINGS, 0, 0, b"12345"), ErrorCode::FrameSize),
        ("SETTINGS on a stream", ended(frame::SETTINGS, 0, 1, b""), ErrorCode::Protocol),
        ("a window of 2^31", settings(&[(4, 1 << 31)]), ErrorCode::FlowControl),
        ("ENABLE_PUSH of 2", settings(&[(2, 2)]), ErrorCode::Protocol),
        ("a window update of nothing", ended(frame::WINDOW_UPDATE, 0, 0, &[0; 4]), ErrorCode::Protocol),
        (
            "a window beyond 2^31",
            ended(frame::WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255]),
            ErrorCode::FlowControl,
        ),
        ("RST_STREAM of an idle stream", ended(frame::RST_STREAM, 0, 5, &[0; 4]), ErrorCode::Protocol),
        ("PUSH_PROMISE", ended(frame::PUSH_PROMISE, 0, 1, &[0; 8]), ErrorCode::Protocol),
        ("CONTINUATION of nothing", ended(frame::CONTINUATION, 0, 1, b""), ErrorCode::Protocol),
        ("too much padding", ended(frame::DATA, frame::FLAG_PADDED, 1, b"\x05abc"), ErrorCode::Protocol),
        (
            "an index that is not there",
            ended(frame::HEADERS, FLAG_END_HEADERS, 1, &[0xff, 0x40]),
            ErrorCode::Compression,
        ),
        (
            "a block that another frame interrupts",
            [headers(1, 0), ended(frame::PING, 0, 0, b"12345678")].concat(),
            ErrorCode::Protocol,
        ),
    ];
    for (what, bytes, code) in cases {
        let mut wire = Wire::new(apns());
        assert_eq!(wire.send(&bytes), Err(Stop::Violation(code)), "{what}");
        let (_, sent, _) = goaway(&wire.frames().pop().unwrap());
        assert_eq!(sent, code as u32, "{what}");
    }
}

#[test]
fn a_stream_cannot_be_used_again() {
    let mut wire = Wire::new(apns());
    wire.ask(TOKEN);
    assert_eq!(wire.send(&headers(1, FLAG_END_HEADERS)), Err(Stop::Violation(ErrorCode::StreamClosed)));
}

#[test]
fn a_greeting_that_is_none_is_refused() {
    let mut wire = Wire::silent(apns());
    assert_eq!(wire.send(b"GET / HTTP/1.1\r\n\r\n"), Err(Stop::Violation(ErrorCode::Protocol)));
    let mut wire = Wire::silent(apns());
    wire.send(PREFACE).unwrap();
    assert_eq!(wire.send(&headers(1, FLAG_END_HEADERS)), Err(Stop::Violation(ErrorCode::Protocol)));
}

#[test]
fn a_client_that_floods_without_reading_is_cut_off() {
    let mut wire = Wire::new(apns());
    let pings = bytes(frame::PING, 0, 0, b"12345678").repeat(1_000);
    let stop = (0..1_000).find_map(|_| wire.send(&pings).err());
    assert_eq!(stop, Some(Stop::Violation(ErrorCode::EnhanceYourCalm)));
    let mut wire = Wire::new(apns());
    wire.send(&bytes(frame::HEADERS, 0, 1, &[0x82; 100])).unwrap();
    let more = bytes(frame::CONTINUATION, 0, 1, &[0x82; 10_000]);
    let stop = (0..10).find_map(|_| wire.send(&more).err());
    assert_eq!(stop, Some(Stop::Violation(ErrorCode::EnhanceYourCalm)));
}

#[test]
fn a_header_block_above_the_limit_is_refused_in_one_frame_as_in_several() {
    let mut config = apns();
    config.limits.header_block_bytes_max = 256;
    let long = |bytes: usize| block(&[post("/3/device/aa"), vec![("a", &"x".repeat(bytes))]].concat());
    let least = long(0).len();
    let fits = long(256 - least - 2);
    assert!((250..=256).contains(&fits.len()), "{}", fits.len());
    let mut wire = Wire::new(config.clone());
    wire.send(&bytes(frame::HEADERS, FLAG_END_HEADERS, 1, &fits)).unwrap();
    let data = bytes(frame::DATA, FLAG_END_STREAM, 3, b"{}");
    let above = bytes(frame::HEADERS, FLAG_END_HEADERS, 3, &long(256));
    for request in [above.clone(), [above, data].concat()] {
        let mut wire = Wire::new(config.clone());
        assert_eq!(wire.send(&request), Err(Stop::Violation(ErrorCode::EnhanceYourCalm)));
    }
}

#[test]
fn the_connection_window_is_granted_again_and_enforced() {
    let mut config = apns();
    config.limits.connection_window = 65_535;
    let mut wire = Wire::new(config);
    wire.send(&headers(1, FLAG_END_HEADERS)).unwrap();
    for _ in 0..20 {
        wire.send(&bytes(frame::DATA, 0, 1, &[b' '; 16_000])).unwrap();
    }
    let granted = |frames: &[super::wire::Frame], stream: u32| -> u32 {
        let updates =
            frames.iter().filter(|frame| frame.kind == frame::WINDOW_UPDATE && frame.stream == stream);
        updates.map(|update| u32::from_be_bytes(update.payload[..].try_into().unwrap())).sum()
    };
    let frames = wire.frames();
    assert!((285_000..=320_000).contains(&granted(&frames, 0)), "{}", granted(&frames, 0));
    assert!((285_000..=320_000).contains(&granted(&frames, 1)), "{}", granted(&frames, 1));
}

#[test]
fn a_stream_that_sends_more_than_its_window_breaks_flow_control() {
    let mut config = apns();
    config.limits.stream_window = 0;
    let mut wire = Wire::new(config.clone());
    wire.send(&headers(1, FLAG_END_HEADERS)).unwrap();
    let stop = wire.send(&bytes(frame::DATA, 0, 1, b"x"));
    assert_eq!(stop, Err(Stop::Violation(ErrorCode::FlowControl)));
    config.limits.stream_window = 9;
    let mut wire = Wire::new(config);
    let whole = wire.request_bytes(1, TOKEN);
    assert_eq!(wire.send(&whole), Err(Stop::Violation(ErrorCode::FlowControl)));
}

#[test]
fn answers_wait_for_the_clients_windows() {
    let mut wire = Wire::new(Config::fcm());
    wire.send(&settings(&[(frame::SETTINGS_INITIAL_WINDOW_SIZE, 10)])).unwrap();
    let stream = wire.request("k");
    wire.read();
    assert_eq!((wire.answers[0].body.len(), wire.answers[0].is_ended), (10, false));
    wire.send(&bytes(frame::WINDOW_UPDATE, 0, stream, &5u32.to_be_bytes())).unwrap();
    wire.read();
    assert_eq!(wire.answers[0].body.len(), 15);
    wire.send(&settings(&[(frame::SETTINGS_INITIAL_WINDOW_SIZE, 5)])).unwrap();
    wire.send(&bytes(frame::WINDOW_UPDATE, 0, stream, &5u32.to_be_bytes())).unwrap();
    wire.read();
    assert_eq!(wire.answers[0].body.len(), 15, "the window was reduced below zero");
    wire.send(&settings(&[(frame::SETTINGS_INITIAL_WINDOW_SIZE, 65_535)])).unwrap();
    wire.read();
    assert!(wire.answers[0].is_ended);
    assert!(wire.answers[0].json()["name"].as_str().unwrap().starts_with("projects/demo/messages/0:"));
}

#[test]
fn a_window_widened_before_the_answer_counts() {
    let mut config = Config::fcm();
    config.latency.base = std::time::Duration::from_millis(5);
    let mut wire = Wire::new(config);
    wire.send(&settings(&[(frame::SETTINGS_INITIAL_WINDOW_SIZE, 0)])).unwrap();
    let stream = wire.request("k");
    wire.send(&bytes(frame::WINDOW_UPDATE, 0, stream, &1_000u32.to_be_bytes())).unwrap();
    wire.advance(6_000).unwrap();
    assert!(wire.answers().pop().unwrap().is_ended);
}

#[test]
fn the_connection_window_of_the_client_is_respected() {
    let mut wire = Wire::new(Config::fcm());
    let mut answers = Vec::new();
    for number in 0..1_000 {
        wire.request(&format!("k{number}"));
        answers.extend(wire.answers());
        if !answers.last().unwrap().is_ended {
            break;
        }
    }
    let sent: usize = answers.iter().map(|answer| answer.body.len()).sum();
    assert_eq!(sent, 65_535);
}

#[test]
fn a_changed_header_table_is_announced_and_used() {
    let mut wire = Wire::new(Config::fcm());
    for size in [4_096, 0, 0, 4_096, 100, 65_536] {
        wire.send(&settings(&[(frame::SETTINGS_HEADER_TABLE_SIZE, size)])).unwrap();
        for _ in 0..3 {
            let answer = wire.ask("k");
            assert_eq!(answer.header("server"), Some("scaffolding on HTTPServer2"));
            assert_eq!(answer.header("date"), Some("Mon, 02 Feb 2026 02:40:00 GMT"));
        }
    }
}

proptest! {
    #[test]
    fn it_does_not_matter_how_the_bytes_are_cut(cuts in prop::collection::vec(1usize..90, 1..60), seed in 0u8..4) {
        let mut wire = Wire::silent(if seed % 2 == 0 { apns() } else { Config::fcm() });
        let mut all = PREFACE.to_vec();
        all.extend(settings(&[]));
        for stream in (1..40).step_by(2) {
            all.extend(wire.request_bytes(stream, &format!("{stream:04x}")));
        }
        let mut rest = &all[..];
        for cut in cuts.iter().cycle() {
            let (front, back) = rest.split_at((*cut).min(rest.len()));
            wire.send(front).unwrap();
            rest = back;
            if rest.is_empty() {
                break;
            }
        }
        let answers = wire.answers();
        prop_assert!(answers.iter().all(|answer| answer.status() == "200" && answer.is_ended));
        prop_assert_eq!(answers.len(), 20);
        prop_assert_eq!(wire.desk.ledger.len(), 20);
    }

    #[test]
    fn no_bytes_make_it_panic(frames in prop::collection::vec((0u8..12, any::<u8>(), 0u32..12, prop::collection::vec(any::<u8>(), 0..40)), 0..40)) {
        let mut wire = Wire::new(apns());
        for (kind, flags, stream, payload) in frames {
            if wire.send(&bytes(kind, flags, stream, &payload)).is_err() {
                break;
            }
        }
    }
}
