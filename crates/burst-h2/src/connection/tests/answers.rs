//! What counts as an answer, in all the shapes that servers give it.

use super::*;

#[test]
fn a_request_is_headers_and_data_and_ends_with_its_status() {
    let mut wire = Wire::ready();
    wire.start(7, b"hello");
    assert_eq!(wire.sent(), ["HEADERS 1", "DATA 1 \"hello\" end"]);
    wire.receive(&answer(1, &[0x88]));
    assert_eq!(wire.told(), ["7 answered 200"]);
    assert_eq!((wire.connection.open(), wire.sent()), (0, vec![]));
}

#[test]
fn a_request_without_body_ends_with_its_headers() {
    let mut wire = Wire::ready();
    wire.start(7, b"");
    assert_eq!(wire.sent(), ["HEADERS 1 end"]);
}

#[test]
fn answers_come_in_any_order() {
    let mut wire = Wire::ready();
    wire.start_and_send(3);
    wire.receive(&[answer(5, &[0x88]), answer(1, &[0x88]), answer(3, &[0x88])].concat());
    assert_eq!(wire.told(), ["3 answered 200", "1 answered 200", "2 answered 200"]);
}

#[test]
fn an_error_keeps_its_fields_and_its_body() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    let block = [&[0x8c][..], &literal("apns-id", "a-b"), &literal("retry-after", "9")].concat();
    wire.receive(&headers(1, &block));
    wire.receive(&data(1, b"{\"reason\":"));
    assert_eq!(wire.told(), [""; 0]);
    wire.receive(&last_data(1, b"\"BadDeviceToken\"}"));
    let expected = "1 answered 400 apns-id=a-b retry-after=9 \"{\\\"reason\\\":\\\"BadDeviceToken\\\"}\"";
    assert_eq!(wire.told(), [expected]);
}

#[test]
fn fields_and_body_of_a_success_are_not_kept_unless_asked() {
    for (keeps_success_bodies, expected) in [(false, "1 answered 200"), (true, "1 answered 200 \"name\"")] {
        for block in [vec![0x88], [&[0x20, 0x88][..], &literal("a", "b")].concat()] {
            let mut wire =
                Wire::ready_with(ConnectionConfig { keeps_success_bodies, ..ConnectionConfig::default() });
            wire.start_and_send(1);
            wire.receive(&[headers(1, &block), last_data(1, b"name")].concat());
            assert_eq!(wire.told(), [expected]);
        }
    }
}

#[test]
fn interim_answers_are_skipped() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    wire.receive(&headers(1, &literal(":status", "103")));
    wire.receive(&headers(1, &literal(":status", "100")));
    assert_eq!(wire.told(), [""; 0]);
    wire.receive(&answer(1, &[0x8e]));
    assert_eq!(wire.told(), ["1 answered 500"]);
}

#[test]
fn trailers_end_an_answer_and_are_not_among_its_fields() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    wire.receive(&[headers(1, &[0x8d]), data(1, b"x"), answer(1, &literal("grpc-status", "0"))].concat());
    assert_eq!(wire.told(), ["1 answered 404 \"x\""]);
}

#[test]
fn padding_and_priority_are_left_out() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    let flags = flag::PADDED | flag::PRIORITY | flag::END_HEADERS;
    wire.receive(&frame_of(kind::HEADERS, flags, 1, &[3, 0, 0, 0, 0, 16, 0x8c, 0, 0, 0]));
    wire.receive(&frame_of(kind::DATA, flag::PADDED | flag::END_STREAM, 1, b"\x04badxxxx"));
    assert_eq!(wire.told(), ["1 answered 400 \"bad\""]);
}

#[test]
fn a_header_block_may_come_in_pieces() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    let block = [&[0x8c][..], &literal("reason", "BadPath")].concat();
    wire.receive(&frame_of(kind::HEADERS, flag::END_STREAM, 1, &block[..1]));
    wire.receive(&frame_of(kind::CONTINUATION, 0, 1, &block[1..6]));
    wire.receive(&frame_of(kind::CONTINUATION, 0, 1, b""));
    assert_eq!(wire.told(), [""; 0]);
    wire.receive(&frame_of(kind::CONTINUATION, flag::END_HEADERS, 1, &block[6..]));
    assert_eq!(wire.told(), ["1 answered 400 reason=BadPath"]);
}

#[test]
fn a_reset_behind_the_end_is_no_news() {
    let mut wire = Wire::ready();
    wire.start_and_send(2);
    wire.receive(&[answer(1, &[0x88]), reset(1, ErrorCode::NO_ERROR)].concat());
    assert_eq!(wire.told(), ["1 answered 200"]);
    assert_eq!(wire.connection.open(), 1);
}

#[test]
fn a_reset_behind_the_status_is_an_answer() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    wire.receive(&[headers(1, &[0x8c]), data(1, b"cut"), reset(1, ErrorCode::NO_ERROR)].concat());
    assert_eq!(wire.told(), ["1 answered 400 \"cut\""]);
}

#[test]
fn malformed_answers_reset_their_stream_only() {
    for block in [
        literal("no-status", "1"),
        literal(":status", "20"),
        literal(":status", "2x0"),
        literal(":status", "099"),
        literal(":other", "200"),
        [literal("first", "1"), literal(":status", "200")].concat(),
        [literal(":status", "200"), literal(":status", "200")].concat(),
        [literal(":status", "200"), literal("Upper", "x")].concat(),
        [literal(":status", "404"), literal("Upper", "x")].concat(),
        vec![0x88, 0x88],
        literal(":status", "101"),
        vec![],
    ] {
        let mut wire = Wire::ready();
        wire.start_and_send(2);
        wire.receive(&answer(1, &block));
        assert_eq!(wire.told(), ["1 unknown: Malformed"], "{block:?}");
        assert_eq!(wire.sent(), ["RST_STREAM 1 PROTOCOL_ERROR"]);
        wire.receive(&answer(3, &[0x88]));
        assert_eq!(wire.told(), ["2 answered 200"]);
    }
}

#[test]
fn data_before_headers_is_malformed() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    wire.receive(&data(1, b"x"));
    assert_eq!(wire.told(), ["1 unknown: Malformed"]);
}

#[test]
fn headers_twice_without_end_keep_the_status_that_came() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    wire.receive(&[headers(1, &[0x8c]), headers(1, &literal("late", "1"))].concat());
    assert_eq!(wire.told(), ["1 answered 400"]);
    assert_eq!(wire.sent(), ["RST_STREAM 1 PROTOCOL_ERROR"]);
}

#[test]
fn frames_on_a_stream_that_is_over_keep_the_decoder_in_step() {
    let config = ConnectionConfig { header_table_bytes: 4096, ..ConnectionConfig::default() };
    let mut wire = Wire::ready_with(config);
    wire.start(1, b"");
    wire.start_with(2, b"", 5 * MILLI).unwrap();
    wire.sent();
    wire.connection.expire(5 * MILLI, &mut wire.log).unwrap();
    assert_eq!(wire.told(), ["2 unknown: Timeout"]);
    assert_eq!(wire.sent(), ["RST_STREAM 3 CANCEL"]);
    // The late answer enters ":status 410" into the table; the next one refers to it.
    let mut indexed = literal(":status", "410");
    indexed[0] = 0x40;
    wire.receive(&[headers(3, &indexed), last_data(3, b"late"), answer(1, &[0xbe])].concat());
    assert_eq!(wire.told(), ["1 answered 410"]);
}

#[test]
fn two_thousand_answers_reuse_the_slots_of_one_hundred() {
    let mut wire = Wire::ready_with(ConnectionConfig { streams_max: 100, ..ConnectionConfig::default() });
    for round in 0..20 {
        for tag in 0..100 {
            wire.start(tag, b"");
        }
        assert_eq!(wire.connection.capacity(), 0);
        assert_eq!(wire.start_with(0, b"", 0), Err(crate::Full));
        wire.sent();
        for place in 0..100 {
            wire.receive(&answer(round * 200 + place * 2 + 1, &[0x88]));
        }
        assert_eq!(wire.told().len(), 100);
        assert_eq!(wire.connection.capacity(), 100);
    }
}
