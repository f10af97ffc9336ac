//! What a peer may not do: break the protocol, or make us keep or do too much.

use super::*;

#[test]
fn frames_that_break_the_protocol_break_the_connection() {
    use ErrorCode as E;
    let head = |length: usize, kind| Head { length, kind, flags: 0, stream: 1 }.bytes().to_vec();
    for (bytes, code, what) in [
        (head(16_385, kind::DATA), E::FRAME_SIZE_ERROR, "a frame longer than announced"),
        (head(16_385, 0xfe), E::FRAME_SIZE_ERROR, "an unknown frame longer than announced"),
        (frame_of(kind::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2]), E::PROTOCOL_ERROR, "push"),
        (answer(3, &[0x88]), E::PROTOCOL_ERROR, "an answer to nobody"),
        (answer(2, &[0x88]), E::PROTOCOL_ERROR, "an even stream"),
        (answer(0, &[0x88]), E::PROTOCOL_ERROR, "HEADERS on stream 0"),
        (data(0, b""), E::PROTOCOL_ERROR, "DATA on stream 0"),
        (data(5, b""), E::PROTOCOL_ERROR, "DATA on an idle stream"),
        (reset(0, E::CANCEL), E::PROTOCOL_ERROR, "RST_STREAM on stream 0"),
        (reset(9, E::CANCEL), E::PROTOCOL_ERROR, "RST_STREAM on an idle stream"),
        (frame_of(kind::RST_STREAM, 0, 1, &[0; 3]), E::FRAME_SIZE_ERROR, "a short RST_STREAM"),
        (window_update(7, 1), E::PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream"),
        (frame_of(kind::WINDOW_UPDATE, 0, 0, &[0; 5]), E::FRAME_SIZE_ERROR, "a long WINDOW_UPDATE"),
        (frame_of(kind::GOAWAY, 0, 0, &[0; 7]), E::FRAME_SIZE_ERROR, "a short GOAWAY"),
        (frame_of(kind::GOAWAY, 0, 1, &[0; 8]), E::PROTOCOL_ERROR, "GOAWAY on a stream"),
        (frame_of(kind::PRIORITY, 0, 0, &[0; 5]), E::PROTOCOL_ERROR, "PRIORITY on stream 0"),
        (frame_of(kind::PRIORITY, 0, 1, &[0; 4]), E::FRAME_SIZE_ERROR, "a short PRIORITY"),
        (frame_of(kind::CONTINUATION, 4, 1, b""), E::PROTOCOL_ERROR, "CONTINUATION of nothing"),
        (frame_of(kind::DATA, flag::PADDED, 1, &[1]), E::PROTOCOL_ERROR, "more padding than frame"),
        (frame_of(kind::DATA, flag::PADDED, 1, b""), E::FRAME_SIZE_ERROR, "no room for padding"),
        (frame_of(kind::HEADERS, 4 | flag::PADDED, 1, &[9, 0x88]), E::PROTOCOL_ERROR, "padded HEADERS"),
        (frame_of(kind::HEADERS, 4 | flag::PRIORITY, 1, &[0; 4]), E::FRAME_SIZE_ERROR, "priority cut"),
        (answer(1, &[0x88, 0xff]), E::COMPRESSION_ERROR, "a broken block"),
        (answer(1, &[0xbe]), E::COMPRESSION_ERROR, "an index beyond the table"),
    ] {
        let mut wire = Wire::ready();
        wire.start_and_send(1);
        println!("{what}");
        wire.breaks(&bytes, code);
        assert_eq!(wire.close(Cause::Protocol), ["1 unknown: Protocol"], "{what}");
    }
}

#[test]
fn nothing_may_stand_inside_a_header_block() {
    for inside in [
        frame_of(kind::PING, 0, 0, &[0; 8]),
        frame_of(0xfe, 0, 0, b""),
        answer(3, &[0x88]),
        frame_of(kind::CONTINUATION, flag::END_HEADERS, 3, &[0x88]),
    ] {
        let mut wire = Wire::ready();
        wire.start_and_send(2);
        wire.receive(&frame_of(kind::HEADERS, 0, 1, b""));
        wire.breaks(&inside, ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn unknown_frames_are_ignored() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    wire.receive(&[frame_of(0xfe, 0xff, 77, b"grease"), frame_of(0x0a, 0, 0, b"altsvc")].concat());
    wire.receive(&frame_of(kind::PRIORITY, 0, 1, &[0; 5]));
    wire.receive(&answer(1, &[0x88]));
    assert_eq!(wire.told(), ["1 answered 200"]);
}

#[test]
fn after_an_error_nothing_is_taken_any_more() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    wire.breaks(&data(0, b""), ErrorCode::PROTOCOL_ERROR);
    assert!(wire.try_receive(&answer(1, &[0x88])).is_err());
    assert_eq!(wire.sent(), [""; 0], "one GOAWAY is enough");
    assert_eq!(wire.told(), [""; 0]);
}

#[test]
fn header_blocks_are_limited_in_bytes_and_in_frames() {
    let config =
        ConnectionConfig { continuations_max: 3, header_block_bytes_max: 1000, ..Default::default() };
    let mut wire = Wire::ready_with(config.clone());
    wire.start_and_send(1);
    wire.receive(&frame_of(kind::HEADERS, 0, 1, &[0x88]));
    wire.receive(&frame_of(kind::CONTINUATION, 0, 1, b"").repeat(3));
    wire.breaks(&frame_of(kind::CONTINUATION, 4, 1, b""), ErrorCode::ENHANCE_YOUR_CALM);

    let mut wire = Wire::ready_with(config);
    wire.start_and_send(1);
    wire.receive(&frame_of(kind::HEADERS, 0, 1, &[0x88; 600]));
    wire.breaks(&frame_of(kind::CONTINUATION, 4, 1, &[0x88; 401]), ErrorCode::ENHANCE_YOUR_CALM);
}

#[test]
fn fields_and_bodies_are_kept_within_their_limits() {
    let config = ConnectionConfig {
        answer_fields_bytes_max: 10,
        answer_body_bytes_max: 6,
        answers_bytes_max: 14,
        ..Default::default()
    };
    let mut wire = Wire::ready_with(config);
    wire.start_and_send(2);
    let block = [&[0x8c][..], &literal("a", "1234567"), &literal("b", "234"), &literal("c", "4")].concat();
    wire.receive(&[headers(1, &block), headers(3, &[0x8c])].concat());
    wire.receive(&[data(1, b"abc"), data(3, b"defghij"), last_data(1, b"klm"), last_data(3, b"n")].concat());
    // The first keeps 8 + 2 bytes of fields and 3 of body, so 1 is left for the second while both are open.
    assert_eq!(wire.told(), ["1 answered 400 a=1234567 c=4 \"abc\"", "2 answered 400 \"dn\""]);
}

#[test]
fn floods_of_useless_frames_are_answered_with_enhance_your_calm() {
    for useless in [
        settings(&[]),
        frame_of(kind::SETTINGS, flag::ACK, 0, b""),
        frame_of(kind::PING, 0, 0, &[0; 8]),
        frame_of(kind::PRIORITY, 0, 1, &[0; 5]),
        frame_of(0xfe, 0, 0, b""),
        window_update(0, 1),
        window_update(1, 1),
        reset(1, ErrorCode::CANCEL),
        data(3, b""),
        headers(1, &[0x88]),
        headers(3, &literal(":status", "100")),
        goaway(STREAM_ID_MAX, ErrorCode::NO_ERROR, b""),
    ] {
        let mut wire = Wire::ready_with(ConnectionConfig { noise_max: 50, ..Default::default() });
        wire.start_and_send(2);
        // The first is answered, the second has its status.
        wire.receive(&answer(1, &[0x88]));
        if useless[3] == kind::DATA {
            wire.receive(&headers(3, &[0x8c]));
        }
        wire.receive(&useless.repeat(49));
        wire.sent();
        wire.breaks(&useless.repeat(3), ErrorCode::ENHANCE_YOUR_CALM);
    }
}

#[test]
fn noise_is_forgiven_with_answers_and_with_time() {
    let ping = frame_of(kind::PING, 0, 0, &[0; 8]);
    let mut wire = Wire::ready_with(ConnectionConfig { noise_max: 50, ..Default::default() });
    for round in 0..100 {
        wire.start(1, b"");
        wire.sent();
        wire.receive(&[ping.repeat(4), answer(round * 2 + 1, &[0x88])].concat());
    }
    for second in 1..10 {
        wire.now = second * 1001 * MILLI;
        wire.receive(&ping.repeat(40));
        wire.sent();
    }
}

#[test]
fn a_peer_that_asks_and_never_reads_is_cut_off() {
    let ping = frame_of(kind::PING, 0, 0, &[0; 8]);
    let mut wire = Wire::ready_with(ConnectionConfig { noise_max: 50, ..Default::default() });
    for second in 0..2 {
        wire.now = second * 1001 * MILLI;
        wire.receive(&ping.repeat(49));
    }
    wire.now = 5000 * MILLI;
    assert!(wire.try_receive(&ping.repeat(3)).is_err());
    assert!(wire.connection.output().len() < 3000);
}

#[test]
fn a_partial_frame_is_all_that_is_kept_between_reads() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    wire.receive(&headers(1, &[0x88]));
    let long = last_data(1, &[0; 16_384]);
    wire.receive(&long[..16_000]);
    assert_eq!(wire.connection.partial.len(), 16_000);
    wire.receive(&long[16_000..]);
    assert_eq!(wire.connection.partial.capacity(), 0, "memory of a large one is given back");
    assert_eq!(wire.told(), ["1 answered 200"]);
}
