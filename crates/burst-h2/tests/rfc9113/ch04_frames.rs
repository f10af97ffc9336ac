//! Section 4: HTTP frames.

use burst_h2::{Cause, ConnectionConfig, ErrorCode};

use crate::transcript::frames::*;
use crate::transcript::{MILLI, Wire};

fn with_table(bytes: u32) -> Wire {
    let config = ConnectionConfig { header_table_bytes: bytes, ..ConnectionConfig::default() };
    let mut wire = Wire::configured(config, &[]);
    wire.client_starts_many(4);
    wire
}

#[test]
fn s4_1_frames_of_unknown_types_are_discarded() {
    let mut wire = Wire::with_requests(1);
    for (kind, stream) in [(0x0a, 0), (0x0c, 1), (0x10, 2), (0xff, 0x7fff_ffff)] {
        wire.peer_sends(Frame::new(kind, 0xff, stream, b"whatever"));
    }
    wire.peer_sends(answer(1, OK));
    wire.tells(["1 answered 200"]);
    wire.client_writes([]);
}

#[test]
fn s4_1_flags_that_a_type_does_not_define_are_ignored() {
    let mut wire = Wire::with_requests(2);
    let with = |mut frame: Frame, flags: u8| {
        frame.flags |= flags;
        frame
    };
    wire.peer_sends(with(settings(&[]), 0xfe));
    wire.peer_sends(with(ping(b"12345678"), 0xfe));
    wire.peer_sends(with(window_update(0, 1), 0xff));
    wire.peer_sends(with(headers(1, &fields(&[(":status", "410")])), 0xd2));
    wire.peer_sends(with(data(1, "gone"), 0xf7));
    wire.peer_sends(with(reset(3, ErrorCode::REFUSED_STREAM), 0xff));
    wire.peer_sends(with(goaway(3, ErrorCode::NO_ERROR, ""), 0xff));
    wire.client_writes(["SETTINGS ack", "PING ack \"12345678\""]);
    wire.tells([
        "1 answered 410 \"gone\"",
        "2 not processed: Refused",
        "draining: GoAway { code: NO_ERROR, last_stream: 3 }",
    ]);
}

#[test]
fn s4_1_the_reserved_bit_is_ignored() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(Frame::new(PING, 0, 0x8000_0000, b"12345678"));
    wire.peer_sends(answer(0x8000_0001, OK));
    wire.tells(["1 answered 200"]);
}

#[test]
fn s4_2_a_frame_of_the_largest_size_is_taken() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(headers(1, &fields(&[(":status", "500")])));
    wire.peer_sends(data(1, &"x".repeat(16_384)).end());
    assert!(wire.told()[0].starts_with("1 answered 500"));
}

#[test]
fn s4_2_a_frame_longer_than_announced_is_a_frame_size_error() {
    for kind in [DATA, HEADERS, SETTINGS, PING, GOAWAY, CONTINUATION, 0xfe] {
        let long = Frame::new(kind, 0, 1, &[0; 16_385]);
        Wire::with_requests(1).breaks(long, ErrorCode::FRAME_SIZE_ERROR);
    }
}

#[test]
fn s4_2_ours_are_no_longer_than_the_peer_takes() {
    let mut wire = Wire::ready_with(&[(MAX_FRAME_SIZE, 20_000)]);
    wire.client_starts(1, &"x".repeat(20_001));
    wire.client_writes(["HEADERS 1", "DATA 1 20000 bytes", "DATA 1 \"x\" end"]);
    wire.peer_sends(settings(&[(MAX_FRAME_SIZE, 16_384)]));
    wire.client_starts(2, &"x".repeat(16_385));
    wire.client_writes(["SETTINGS ack", "HEADERS 3", "DATA 3 16384 bytes", "DATA 3 \"x\" end"]);
}

#[test]
fn s4_3_a_header_block_may_come_in_pieces() {
    let mut wire = Wire::with_requests(1);
    let block = fields(&[(":status", "429"), ("retry-after", "30")]);
    wire.peer_sends(answer(1, &block[..3]).open());
    wire.peer_sends(continuation(1, &block[3..20]).open());
    wire.peer_sends(continuation(1, b"").open());
    wire.peer_sends(continuation(1, &block[20..]));
    wire.tells(["1 answered 429 retry-after=30"]);
}

#[test]
fn s4_3_a_block_that_cannot_be_decoded_is_a_compression_error() {
    for block in [&[0xff][..], &[0x88, 0xbe], &[0x80], &[0x00, 5, b'a']] {
        Wire::with_requests(1).breaks(answer(1, block), ErrorCode::COMPRESSION_ERROR);
    }
}

#[test]
fn s4_3_blocks_of_streams_that_are_over_are_decoded_too() {
    // Stream 1 timed out and was reset; stream 3 is answered. Late blocks for them enter two fields that stream 5 refers to.
    let mut wire = with_table(4096);
    wire.client_starts_until(9, "", wire.now + MILLI);
    wire.output();
    wire.passes(MILLI);
    wire.client_writes(["RST_STREAM 9 CANCEL"]);
    wire.peer_sends(answer(3, OK));
    wire.tells(["9 unknown: Timeout", "2 answered 200"]);
    wire.peer_sends(answer(9, b"\x88\x40\x01a\x03one"));
    wire.peer_sends(answer(3, b"\x88\x40\x01b\x03two"));
    wire.peer_sends(answer(5, b"\x8d\xbe\xbf"));
    wire.tells(["3 answered 404 b=two a=one"]);
}

#[test]
fn s4_3_blocks_of_refused_answers_are_decoded_too() {
    let mut wire = with_table(4096);
    wire.peer_sends(answer(1, b"\x88\x40\x01a\x03one\x00\x01A\x00\x40\x01b\x03two"));
    wire.client_writes(["RST_STREAM 1 PROTOCOL_ERROR"]);
    wire.peer_sends(answer(3, b"\x8d\xbe\xbf"));
    wire.tells(["1 unknown: Malformed", "2 answered 404 b=two a=one"]);
}

#[test]
fn s4_3_blocks_above_the_last_stream_of_goaway_are_decoded_too() {
    let mut wire = with_table(4096);
    wire.peer_sends(goaway(1, ErrorCode::NO_ERROR, ""));
    wire.told();
    wire.peer_sends(answer(7, b"\x88\x40\x01a\x03one"));
    wire.peer_sends(answer(1, b"\x8d\xbe"));
    wire.tells(["1 answered 404 a=one"]);
}

#[test]
fn s4_3_1_a_table_size_update_must_keep_to_what_we_announced() {
    let mut wire = with_table(4096);
    wire.peer_sends(answer(1, b"\x3f\xe1\x1f\x88"));
    wire.peer_sends(answer(3, b"\x20\x88"));
    wire.tells(["1 answered 200", "2 answered 200"]);
    wire.breaks(answer(5, b"\x3f\xe2\x1f\x88"), ErrorCode::COMPRESSION_ERROR);
    with_table(0).breaks(answer(1, b"\x21\x88"), ErrorCode::COMPRESSION_ERROR);
}

#[test]
fn s4_3_1_without_a_table_answers_with_and_without_an_update_to_0_are_read() {
    let mut wire = with_table(0);
    wire.peer_sends(answer(1, b"\x88"));
    wire.peer_sends(answer(3, b"\x20\x88"));
    wire.peer_sends(answer(5, b"\x20\x20\x8d\x40\x01a\x01b"));
    wire.tells(["1 answered 200", "2 answered 200", "3 answered 404 a=b"]);
    wire.breaks(answer(7, b"\x88\xbe"), ErrorCode::COMPRESSION_ERROR);
}

#[test]
fn s4_3_a_request_longer_than_a_frame_goes_in_several() {
    let mut wire = Wire::ready();
    wire.template = crate::transcript::template_with(&[("long", &"x".repeat(40_000))]);
    wire.client_starts(1, "body");
    wire.client_writes(["HEADERS 1 open", "CONTINUATION 1 open", "CONTINUATION 1", "DATA 1 \"body\" end"]);
    assert_eq!(wire.close(Cause::Local), ["1 unknown: Local"]);
}
