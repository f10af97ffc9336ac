//! Sections 5.2 and 6.9: flow control and WINDOW_UPDATE.

use burst_h2::{Cause, ConnectionConfig, ErrorCode, Full};

use crate::transcript::frames::*;
use crate::transcript::{MILLI, Wire};

const WINDOW_MAX: u32 = 0x7fff_ffff;

/// With one body of eight bytes, of which the stream's window let this many out.
fn held(window: u32) -> Wire {
    let mut wire = Wire::ready_with(&[(INITIAL_WINDOW_SIZE, window)]);
    wire.client_starts(1, "12345678");
    wire.output();
    wire
}

#[test]
fn s5_2_1_both_windows_begin_at_65535() {
    let mut wire = Wire::ready();
    wire.client_starts(1, &"x".repeat(65_536));
    wire.client_writes([
        "HEADERS 1",
        "DATA 1 16384 bytes",
        "DATA 1 16384 bytes",
        "DATA 1 16384 bytes",
        "DATA 1 16383 bytes",
    ]);
    wire.peer_sends(window_update(1, 1));
    wire.client_writes([]);
    wire.peer_sends(window_update(0, 1));
    wire.client_writes(["DATA 1 \"x\" end"]);
}

#[test]
fn s5_2_2_the_connections_receive_window_is_opened_wide_and_the_streams_given_back() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(headers(1, OK));
    wire.peer_sends(data(1, "12345"));
    wire.client_writes(["WINDOW_UPDATE 1 5"]);
    wire.peer_sends(data(1, "12345").end());
    wire.client_writes([]);
}

#[test]
fn s6_9_data_of_streams_that_are_over_counts_for_the_connection() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(reset(1, ErrorCode::CANCEL));
    let frame = data(1, &"x".repeat(16_384));
    let mut written = Vec::new();
    // Half of the widest window is given back at once. Some of our own answers keep the frames from being a flood.
    for _ in 0..65_537 {
        wire.now += MILLI;
        wire.peer_sends(frame.clone());
        written.extend(wire.written());
    }
    assert_eq!(written, ["WINDOW_UPDATE 0 1073741824"]);
}

#[test]
fn s6_9_an_initial_window_smaller_than_a_body_holds_the_rest_back() {
    let mut wire = Wire::ready_with(&[(INITIAL_WINDOW_SIZE, 3)]);
    wire.client_starts(1, "12345678");
    wire.client_writes(["HEADERS 1", "DATA 1 \"123\""]);
    wire.peer_sends(window_update(1, 4));
    wire.client_writes(["DATA 1 \"4567\""]);
    wire.peer_sends(window_update(1, 100));
    wire.client_writes(["DATA 1 \"8\" end"]);
    wire.peer_sends(answer(1, OK));
    wire.tells(["1 answered 200"]);
}

#[test]
fn s6_9_only_data_is_flow_controlled() {
    let mut wire = Wire::ready_with(&[(INITIAL_WINDOW_SIZE, 0)]);
    wire.client_starts(1, "body");
    wire.client_starts(2, "");
    wire.peer_sends(ping(b"12345678"));
    wire.client_writes(["HEADERS 1", "HEADERS 3 end", "PING ack \"12345678\""]);
}

#[test]
fn s6_9_an_increment_of_0_resets_the_stream_or_breaks_the_connection() {
    let end = "1 unknown: Malformed";
    Wire::with_requests(1).resets(window_update(1, 0), 1, ErrorCode::PROTOCOL_ERROR, end);
    Wire::with_requests(1).breaks(window_update(0, 0), ErrorCode::PROTOCOL_ERROR);
    held(1).resets(window_update(1, 0), 1, ErrorCode::PROTOCOL_ERROR, "1 not processed: Malformed");
}

#[test]
fn s6_9_a_window_update_of_a_wrong_size_is_refused() {
    for (stream, size) in [(0, 0), (0, 3), (1, 5), (1, 8)] {
        let frame = Frame::new(WINDOW_UPDATE, 0, stream, &vec![1; size]);
        Wire::with_requests(1).breaks(frame, ErrorCode::FRAME_SIZE_ERROR);
    }
}

#[test]
fn s6_9_the_reserved_bit_of_an_increment_is_ignored() {
    let mut wire = held(1);
    wire.peer_sends(window_update(1, 0x8000_0001));
    wire.client_writes(["DATA 1 \"2\""]);
}

#[test]
fn s6_9_a_window_update_on_a_stream_that_is_over_is_ignored() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(answer(1, OK));
    wire.peer_sends(window_update(1, WINDOW_MAX));
    wire.peer_sends(window_update(1, 0));
    wire.client_writes([]);
}

#[test]
fn s6_9_1_a_streams_window_must_not_overflow() {
    // The first fills the window to the brim.
    let mut wire = held(1);
    wire.peer_sends(window_update(1, WINDOW_MAX));
    wire.client_writes(["DATA 1 \"2345678\" end"]);
    let mut wire = held(1);
    wire.peer_sends(window_update(1, WINDOW_MAX));
    wire.peer_sends(window_update(1, 1));
    wire.client_writes(["RST_STREAM 1 FLOW_CONTROL_ERROR"]);
    wire.tells(["1 not processed: Malformed"]);
    wire.still_works();
}

#[test]
fn s6_9_1_the_connections_window_must_not_overflow() {
    let mut wire = Wire::ready();
    wire.peer_sends(window_update(0, WINDOW_MAX - 65_535));
    wire.breaks(window_update(0, 1), ErrorCode::FLOW_CONTROL_ERROR);
}

#[test]
fn s6_9_1_both_windows_hold_data_back() {
    let mut wire = Wire::ready_with(&[(INITIAL_WINDOW_SIZE, 1_000_000)]);
    wire.client_starts(1, &"x".repeat(65_530));
    wire.output();
    wire.client_starts(2, "12345678");
    wire.client_writes(["HEADERS 3", "DATA 3 \"12345\""]);
    assert_eq!(wire.try_start(3, "1", u64::MAX), Err(Full), "nothing is started behind it");
    wire.peer_sends(window_update(0, 2));
    wire.client_writes(["DATA 3 \"67\""]);
    wire.peer_sends(window_update(0, 1000));
    wire.client_writes(["DATA 3 \"8\" end"]);
}

#[test]
fn s6_9_2_a_larger_initial_window_lets_held_bodies_out() {
    let mut wire = held(2);
    wire.peer_sends(settings(&[(INITIAL_WINDOW_SIZE, 5)]));
    wire.client_writes(["SETTINGS ack", "DATA 1 \"345\""]);
}

#[test]
fn s6_9_2_a_smaller_one_makes_windows_negative_until_they_have_grown_again() {
    let mut wire = held(5);
    wire.peer_sends(settings(&[(INITIAL_WINDOW_SIZE, 1)]));
    // The window is 1 - 5 = -4.
    wire.client_writes(["SETTINGS ack"]);
    wire.peer_sends(window_update(1, 4));
    wire.client_writes([]);
    wire.peer_sends(window_update(1, 1));
    wire.client_writes(["DATA 1 \"6\""]);
    wire.peer_sends(settings(&[(INITIAL_WINDOW_SIZE, 0)]));
    wire.peer_sends(settings(&[(INITIAL_WINDOW_SIZE, 100)]));
    wire.client_writes(["SETTINGS ack", "SETTINGS ack", "DATA 1 \"78\" end"]);
}

#[test]
fn s6_9_2_settings_leave_the_connections_window_alone() {
    let mut wire = Wire::ready();
    wire.client_starts(1, &"x".repeat(65_535));
    wire.output();
    wire.peer_sends(settings(&[(INITIAL_WINDOW_SIZE, 1_000_000)]));
    assert_eq!((wire.connection.capacity(), wire.try_start(2, "1", u64::MAX)), (0, Err(Full)));
}

#[test]
fn s6_9_2_settings_that_overflow_a_window_break_the_connection() {
    let mut wire = held(0);
    wire.peer_sends(settings(&[(INITIAL_WINDOW_SIZE, WINDOW_MAX)]));
    let mut wire = held(0);
    wire.try_send(&window_update(1, 2).bytes()).unwrap();
    assert!(wire.try_send(&settings(&[(INITIAL_WINDOW_SIZE, WINDOW_MAX)]).bytes()).is_err());
    wire.client_writes(["GOAWAY 0 FLOW_CONTROL_ERROR"]);
}

#[test]
fn s6_9_3_bodies_held_back_are_limited_and_then_nothing_is_started() {
    let config = ConnectionConfig { held_bytes_max: 10, ..ConnectionConfig::default() };
    let mut wire = Wire::configured(config, &[(INITIAL_WINDOW_SIZE, 0)]);
    wire.client_starts(1, "12345678");
    assert_eq!(wire.try_start(2, "123", u64::MAX), Err(Full));
    wire.client_starts(2, "12");
    assert_eq!(wire.connection.capacity(), 0);
    assert_eq!(wire.close(Cause::Local), ["1 not processed: Local", "2 not processed: Local"]);
}
