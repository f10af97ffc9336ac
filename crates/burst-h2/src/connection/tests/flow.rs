//! Flow control in both directions.

use super::*;

fn with_window(window: u32) -> Wire {
    let mut wire = Wire::ready();
    wire.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, window)]));
    wire.sent();
    wire.told();
    wire
}

#[test]
fn a_body_waits_for_its_streams_window() {
    let mut wire = with_window(3);
    wire.start(1, b"abcdef");
    assert_eq!(wire.sent(), ["HEADERS 1", "DATA 1 \"abc\""]);
    wire.receive(&window_update(1, 2));
    assert_eq!(wire.sent(), ["DATA 1 \"de\""]);
    wire.receive(&window_update(1, 100));
    assert_eq!(wire.sent(), ["DATA 1 \"f\" end"]);
    wire.receive(&answer(1, &[0x88]));
    assert_eq!(wire.told(), ["1 answered 200"]);
}

#[test]
fn a_window_of_zero_sends_headers_only() {
    let mut wire = with_window(0);
    wire.start(1, b"abc");
    assert_eq!(wire.sent(), ["HEADERS 1"]);
    wire.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 10)]));
    assert_eq!(wire.sent(), ["SETTINGS ack", "DATA 1 \"abc\" end"]);
}

#[test]
fn settings_move_a_window_below_zero_and_back() {
    let mut wire = with_window(4);
    wire.start(1, b"abcdefgh");
    assert_eq!(wire.sent(), ["HEADERS 1", "DATA 1 \"abcd\""]);
    wire.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 1)]));
    wire.receive(&window_update(1, 3));
    assert_eq!(wire.sent(), ["SETTINGS ack"], "the window is 0 now, after -3");
    wire.receive(&window_update(1, 4));
    assert_eq!(wire.sent(), ["DATA 1 \"efgh\" end"]);
}

#[test]
fn release_is_the_caller_s_so_that_an_abort_holds() {
    let mut wire = with_window(0);
    wire.start(1, b"abc");
    wire.sent();
    wire.receive(&window_update(1, 3));
    assert!(wire.connection.output().is_empty());
    wire.connection.release();
    assert_eq!(words(wire.connection.output()), ["DATA 1 \"abc\" end"]);
}

#[test]
fn the_connections_window_stops_all_and_splits_one_body() {
    let mut wire = Wire::ready();
    let body = [b'x'; 1000];
    for tag in 0..65 {
        wire.start(tag, &body);
    }
    assert!(wire.connection.capacity() > 0, "535 bytes are left");
    wire.start(65, &body);
    assert_eq!(wire.connection.capacity(), 0);
    assert_eq!(wire.start_with(66, &body, 0), Err(crate::Full));
    let sent = wire.sent();
    assert_eq!(sent.last().unwrap(), &format!("DATA 131 {:?}", "x".repeat(535)));
    wire.receive(&window_update(0, 465));
    assert_eq!(wire.sent(), [format!("DATA 131 {:?} end", "x".repeat(465))]);
    assert_eq!(wire.connection.capacity(), 0, "the window is used up again");
    wire.receive(&window_update(0, 5));
    assert!(wire.connection.capacity() > 0);
}

#[test]
fn bodies_larger_than_a_frame_go_in_several() {
    let mut wire = Wire::ready();
    wire.start(1, &[b'x'; 20_000]);
    let sent = wire.sent();
    assert_eq!(sent[1].len(), "DATA 1 \"\"".len() + 16_384);
    assert_eq!(sent[2].len(), "DATA 1 \"\" end".len() + 3_616);
}

#[test]
fn held_bodies_have_a_limit() {
    let mut wire = Wire::ready_with(ConnectionConfig { held_bytes_max: 10, ..ConnectionConfig::default() });
    wire.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]));
    wire.start(1, b"abcd");
    wire.start(2, b"abcd");
    assert_eq!(wire.start_with(3, b"abcd", 0), Err(crate::Full));
    wire.start(4, b"ab");
    assert_eq!(wire.connection.capacity(), 0);
    wire.receive(&window_update(1, 4));
    wire.sent();
    assert!(wire.connection.capacity() > 0);
}

#[test]
fn an_answer_before_the_end_of_the_body_cancels_the_rest() {
    let mut wire = with_window(2);
    wire.start(1, b"abcdef");
    wire.sent();
    wire.receive(&answer(1, &literal(":status", "413")));
    assert_eq!(wire.told(), ["1 answered 413"]);
    assert_eq!(wire.sent(), ["RST_STREAM 1 CANCEL"]);
    wire.receive(&window_update(1, 100));
    assert_eq!(wire.sent(), [""; 0]);
}

#[test]
fn a_reset_while_the_body_waits_means_not_processed() {
    let mut wire = with_window(2);
    wire.start(1, b"abcdef");
    wire.sent();
    wire.receive(&reset(1, ErrorCode::INTERNAL_ERROR));
    assert_eq!(wire.told(), ["1 not processed: Reset(INTERNAL_ERROR)"]);
    wire.receive(&window_update(0, 100));
    assert_eq!(wire.sent(), [""; 0]);
}

#[test]
fn windows_may_not_overflow() {
    Wire::ready().breaks(&window_update(0, WINDOW_MAX as u32), ErrorCode::FLOW_CONTROL_ERROR);
    Wire::ready().breaks(&window_update(0, 0), ErrorCode::PROTOCOL_ERROR);
    let too_much = settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)]);
    Wire::ready().breaks(&too_much, ErrorCode::FLOW_CONTROL_ERROR);

    let mut wire = with_window(0);
    wire.start(1, b"abc");
    wire.receive(&window_update(1, 5));
    let all = settings(&[(setting::INITIAL_WINDOW_SIZE, WINDOW_MAX as u32)]);
    let error = wire.try_receive(&all).unwrap_err();
    assert!(matches!(error, ConnectionError::Protocol { code: ErrorCode::FLOW_CONTROL_ERROR, .. }));
}

#[test]
fn a_streams_faulty_window_update_resets_it_alone() {
    for increment in [0, WINDOW_MAX as u32] {
        let mut wire = with_window(1);
        wire.start(1, b"abc");
        wire.start(2, b"a");
        wire.sent();
        wire.receive(&window_update(1, 1));
        wire.receive(&window_update(1, increment));
        assert_eq!(wire.told(), ["1 not processed: Malformed"]);
        assert_eq!(wire.connection.open(), 1);
    }
}

#[test]
fn a_faulty_window_update_for_a_request_that_still_leaves_makes_it_unknown() {
    let mut wire = with_window(10);
    wire.start(1, b"abc");
    wire.receive(&window_update(1, 0));
    assert_eq!(wire.told(), ["1 unknown: Malformed"]);
    assert_eq!(wire.sent(), ["HEADERS 1", "DATA 1 \"abc\" end", "RST_STREAM 1 PROTOCOL_ERROR"]);
}

#[test]
fn a_streams_receive_window_is_given_back_while_its_body_goes_on() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    wire.receive(&[headers(1, &[0x88]), data(1, &[0; 5000]), data(1, b"")].concat());
    assert_eq!(wire.sent(), ["WINDOW_UPDATE 1 5000"]);
    wire.receive(&last_data(1, &[0; 100]));
    assert_eq!((wire.sent(), wire.told()), (vec![], vec!["1 answered 200".to_string()]));
}

#[test]
fn the_connections_receive_window_is_opened_wide_and_given_back_at_half() {
    let mut wire = Wire::silent(ConnectionConfig::default());
    let opened = WINDOW_MAX - WINDOW_DEFAULT;
    assert_eq!(wire.sent(), ["SETTINGS 24 bytes".to_string(), format!("WINDOW_UPDATE 0 {opened}")]);
    wire.receive(&settings(&[]));
    wire.start_and_send(1);
    wire.receive(&headers(1, &[0x88]));
    wire.connection.received_unreturned = WINDOW_MAX / 2 - 10;
    wire.receive(&data(1, &[0; 16]));
    wire.receive(&last_data(1, b""));
    let given = WINDOW_MAX / 2 + 6;
    assert_eq!(wire.sent(), [format!("WINDOW_UPDATE 0 {given}"), "WINDOW_UPDATE 1 16".to_string()]);
}
