//! Section 6.5: SETTINGS.

use burst_h2::{ConnectionConfig, ErrorCode};

use crate::transcript::Wire;
use crate::transcript::frames::*;

#[test]
fn s6_5_settings_on_a_stream_are_a_protocol_error() {
    for frame in [settings(&[]), settings_ack()] {
        Wire::with_requests(1).breaks(Frame { stream: 1, ..frame }, ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn s6_5_settings_of_a_wrong_size_are_refused() {
    for size in [1, 5, 7, 11] {
        Wire::ready().breaks(Frame::new(SETTINGS, 0, 0, &vec![0; size]), ErrorCode::FRAME_SIZE_ERROR);
    }
}

#[test]
fn s6_5_an_acknowledgement_with_a_payload_is_refused() {
    Wire::ready().breaks(Frame::new(SETTINGS, ACK, 0, &[0; 6]), ErrorCode::FRAME_SIZE_ERROR);
}

#[test]
fn s6_5_values_count_in_their_order() {
    let mut wire = Wire::ready_with(&[(MAX_CONCURRENT_STREAMS, 0), (MAX_CONCURRENT_STREAMS, 7)]);
    assert_eq!(wire.connection.stream_limit(), 7);
    wire.peer_sends(settings(&[(INITIAL_WINDOW_SIZE, 1000), (INITIAL_WINDOW_SIZE, 1)]));
    wire.client_starts(1, "body");
    wire.client_writes(["SETTINGS ack", "HEADERS 1", "DATA 1 \"b\""]);
}

#[test]
fn s6_5_what_a_frame_does_not_name_stays() {
    let mut wire = Wire::ready_with(&[(MAX_CONCURRENT_STREAMS, 7)]);
    wire.peer_sends(settings(&[]));
    assert_eq!(wire.connection.stream_limit(), 7);
}

#[test]
fn s6_5_2_header_table_size_takes_any_value() {
    for value in [0, 1, 4096, u32::MAX] {
        let mut wire = Wire::ready_with(&[(HEADER_TABLE_SIZE, value)]);
        wire.still_works();
    }
}

#[test]
fn s6_5_2_enable_push_may_be_0_only() {
    Wire::ready().peer_sends(settings(&[(ENABLE_PUSH, 0)]));
    for value in [1, 2, u32::MAX] {
        Wire::ready().breaks(settings(&[(ENABLE_PUSH, value)]), ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn s6_5_2_max_concurrent_streams_takes_any_value() {
    for (value, limit) in [(0, 0), (1, 1), (999, 999), (u32::MAX, 1000)] {
        assert_eq!(Wire::ready_with(&[(MAX_CONCURRENT_STREAMS, value)]).connection.stream_limit(), limit);
    }
}

#[test]
fn s6_5_2_initial_window_size_has_31_bits() {
    Wire::ready().peer_sends(settings(&[(INITIAL_WINDOW_SIZE, 0x7fff_ffff)]));
    for value in [0x8000_0000, u32::MAX] {
        Wire::ready().breaks(settings(&[(INITIAL_WINDOW_SIZE, value)]), ErrorCode::FLOW_CONTROL_ERROR);
    }
}

#[test]
fn s6_5_2_max_frame_size_has_its_bounds() {
    for value in [16_384, 16_385, (1 << 24) - 1] {
        Wire::ready().peer_sends(settings(&[(MAX_FRAME_SIZE, value)]));
    }
    for value in [0, 16_383, 1 << 24, u32::MAX] {
        Wire::ready().breaks(settings(&[(MAX_FRAME_SIZE, value)]), ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn s6_5_2_max_header_list_size_is_advice() {
    let mut wire = Wire::ready_with(&[(MAX_HEADER_LIST_SIZE, 0)]);
    wire.client_starts(1, "");
    wire.client_writes(["HEADERS 1 end"]);
}

#[test]
fn s6_5_2_unknown_settings_are_ignored() {
    let mut wire = Wire::ready();
    wire.peer_sends(settings(&[(0, 1), (7, 1), (8, 1), (9, 1), (0x4d44, u32::MAX)]));
    wire.tells([]);
    wire.client_writes(["SETTINGS ack"]);
    wire.still_works();
}

#[test]
fn s6_5_3_each_frame_is_acknowledged_at_once_and_in_order() {
    let mut wire = Wire::ready();
    wire.peer_sends(settings(&[]));
    wire.peer_sends(ping(b"12345678"));
    wire.peer_sends(settings(&[(MAX_CONCURRENT_STREAMS, 1)]));
    wire.client_writes(["SETTINGS ack", "PING ack \"12345678\"", "SETTINGS ack"]);
}

#[test]
fn s6_5_3_what_follows_the_acknowledgement_keeps_to_the_new_values() {
    let mut wire = Wire::ready();
    wire.peer_sends(settings(&[(INITIAL_WINDOW_SIZE, 2), (HEADER_TABLE_SIZE, 0)]));
    wire.client_starts(1, "body");
    let output = wire.output();
    assert_eq!(words(&output), ["SETTINGS ack", "HEADERS 1", "DATA 1 \"bo\""]);
    assert_eq!(parse(&output)[1].payload[0], 0x20, "the block begins with the new size of the table");
}

#[test]
fn s6_5_3_ours_count_as_unacknowledged_until_the_peer_says_so() {
    let mut wire = Wire::silent(ConnectionConfig::default());
    wire.peer_sends(settings(&[]));
    assert_eq!(wire.connection.settings_unacknowledged(), Some(0), "the driver closes it when this lasts");
    wire.peer_sends(settings_ack());
    assert_eq!(wire.connection.settings_unacknowledged(), None);
    wire.peer_sends(settings_ack());
    wire.still_works();
}
