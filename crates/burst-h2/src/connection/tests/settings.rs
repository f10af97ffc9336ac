//! SETTINGS at any time, and PING.

use super::*;

#[test]
fn nothing_starts_before_the_peers_settings() {
    let mut wire = Wire::silent(ConnectionConfig::default());
    assert_eq!(wire.connection.output()[..24], *PREFACE);
    assert_eq!((wire.connection.capacity(), wire.start_with(1, b"", 0)), (0, Err(crate::Full)));
    wire.receive(&settings(&[(setting::MAX_CONCURRENT_STREAMS, 1)]));
    assert_eq!(wire.told(), ["ready, limit 1"]);
    assert_eq!(wire.connection.capacity(), 1);
    assert_eq!(wire.sent().last().unwrap(), "SETTINGS ack");
}

#[test]
fn the_first_frame_must_be_settings() {
    let acknowledgement = frame_of(kind::SETTINGS, flag::ACK, 0, b"");
    let ping = frame_of(kind::PING, 0, 0, &[0; 8]);
    for first in [acknowledgement, ping, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()] {
        let mut wire = Wire::silent(ConnectionConfig::default());
        assert!(wire.try_receive(&first).is_err());
        assert!(wire.sent().last().unwrap().starts_with("GOAWAY"));
    }
}

#[test]
fn the_stream_limit_follows_the_peer_up_and_down() {
    let mut wire = Wire::ready();
    assert_eq!(wire.connection.stream_limit(), 1000, "our own limit while the peer names none");
    wire.receive(&settings(&[(setting::MAX_CONCURRENT_STREAMS, 1)]));
    wire.start_and_send(1);
    assert_eq!(wire.connection.capacity(), 0);
    wire.receive(&settings(&[(setting::MAX_CONCURRENT_STREAMS, 1500)]));
    assert_eq!(wire.connection.capacity(), 999);
    wire.receive(&settings(&[(setting::MAX_CONCURRENT_STREAMS, 500)]));
    assert_eq!(wire.told(), ["limit 1", "limit 1000", "limit 500"]);
    for tag in 2..=500 {
        wire.start(tag, b"");
    }
    wire.receive(&settings(&[(setting::MAX_CONCURRENT_STREAMS, 1)]));
    assert_eq!((wire.connection.capacity(), wire.connection.open()), (0, 500));
    for stream in (1..=999).step_by(2) {
        assert_eq!(wire.connection.capacity(), 0);
        wire.receive(&answer(stream, &[0x88]));
    }
    assert_eq!(wire.connection.capacity(), 1);
    wire.receive(&settings(&[(setting::MAX_CONCURRENT_STREAMS, 0)]));
    assert_eq!(wire.connection.capacity(), 0);
}

#[test]
fn settings_are_acknowledged_each_and_ours_once() {
    let mut wire = Wire::silent(ConnectionConfig::default());
    assert_eq!(wire.connection.settings_unacknowledged(), Some(0));
    wire.receive(&[settings(&[]), settings(&[(0x99, 7)])].concat());
    wire.receive(&frame_of(kind::SETTINGS, flag::ACK, 0, b""));
    assert_eq!(wire.connection.settings_unacknowledged(), None);
    assert_eq!(wire.sent()[2..], ["SETTINGS ack", "SETTINGS ack"]);
}

#[test]
fn faulty_settings_break_the_connection() {
    for (bytes, code) in [
        (frame_of(kind::SETTINGS, 0, 0, &[0; 5]), ErrorCode::FRAME_SIZE_ERROR),
        (frame_of(kind::SETTINGS, flag::ACK, 0, &[0; 6]), ErrorCode::FRAME_SIZE_ERROR),
        (frame_of(kind::SETTINGS, 0, 1, b""), ErrorCode::PROTOCOL_ERROR),
        (settings(&[(setting::ENABLE_PUSH, 1)]), ErrorCode::PROTOCOL_ERROR),
        (settings(&[(setting::MAX_FRAME_SIZE, 16_383)]), ErrorCode::PROTOCOL_ERROR),
        (settings(&[(setting::MAX_FRAME_SIZE, 1 << 24)]), ErrorCode::PROTOCOL_ERROR),
    ] {
        Wire::ready().breaks(&bytes, code);
    }
}

#[test]
fn a_larger_frame_size_of_the_peer_is_used() {
    let mut wire = Wire::ready();
    wire.receive(&settings(&[(setting::MAX_FRAME_SIZE, 20_000)]));
    wire.start(1, &[b'x'; 20_000]);
    assert_eq!(wire.sent().len(), 3);
}

#[test]
fn a_header_block_larger_than_a_frame_goes_in_several() {
    let mut wire = Wire::ready();
    let fields = vec![
        Field::constant(":method", "POST"),
        Field::constant(":scheme", "https"),
        Field::varying(":path"),
        Field::constant("long", "x".repeat(40_000)),
    ];
    wire.template = Template::with_body(fields, vec![Part::Varying]).unwrap();
    wire.start(1, b"");
    assert_eq!(wire.sent(), ["HEADERS 1 open end", "CONTINUATION 1 open", "CONTINUATION 1"]);
    wire.start(2, b"b");
    assert_eq!(wire.sent(), ["HEADERS 3 open", "CONTINUATION 3 open", "CONTINUATION 3", "DATA 3 \"b\" end"]);
}

#[test]
fn a_smaller_header_table_of_the_peer_is_told_in_the_next_block() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    wire.receive(&settings(&[(setting::HEADER_TABLE_SIZE, 0)]));
    wire.sent();
    wire.start(2, b"");
    assert_eq!(wire.connection.output()[HEAD_BYTES], 0x20);
}

#[test]
fn pings_are_answered_and_ours_are_timed() {
    let mut wire = Wire::ready();
    wire.receive(&frame_of(kind::PING, 0, 0, b"12345678"));
    assert_eq!(wire.sent(), ["PING ack \"12345678\""]);
    wire.connection.ping(100);
    wire.connection.ping(101);
    assert_eq!(wire.connection.ping_unanswered(), Some(100));
    assert_eq!(wire.sent(), ["PING"]);
    wire.now = 350;
    wire.receive(&frame_of(kind::PING, flag::ACK, 0, b"not ours"));
    wire.receive(&frame_of(kind::PING, flag::ACK, 0, b"fanfare!"));
    wire.receive(&frame_of(kind::PING, flag::ACK, 0, b"fanfare!"));
    assert_eq!(wire.told(), ["pong after 250"]);
    wire.breaks(&frame_of(kind::PING, 0, 0, &[0; 7]), ErrorCode::FRAME_SIZE_ERROR);
    Wire::ready().breaks(&frame_of(kind::PING, 0, 1, &[0; 8]), ErrorCode::PROTOCOL_ERROR);
}
