//! Section 5.1: every frame in every state of a stream.

use burst_h2::{ConnectionError, ErrorCode};

use crate::transcript::frames::*;
use crate::transcript::{MILLI, Wire};

/// A connection whose stream 1 is in the state.
type State = (&'static str, fn() -> Wire);

fn idle() -> Wire {
    Wire::ready()
}

fn open() -> Wire {
    let mut wire = Wire::ready_with(&[(INITIAL_WINDOW_SIZE, 1)]);
    wire.client_starts(1, "body");
    wire.client_writes(["HEADERS 1", "DATA 1 \"b\""]);
    wire
}

fn half_closed_local() -> Wire {
    Wire::with_requests(1)
}

fn half_closed_local_and_answering() -> Wire {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(headers(1, &fields(&[(":status", "400")])));
    wire
}

fn closed() -> Wire {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(answer(1, OK));
    wire
}

fn reset_by_us() -> Wire {
    let mut wire = Wire::ready();
    wire.client_starts_until(1, "body", MILLI);
    wire.output();
    wire.passes(MILLI);
    wire.client_writes(["RST_STREAM 1 CANCEL"]);
    wire
}

fn reset_by_the_peer() -> Wire {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(reset(1, ErrorCode::INTERNAL_ERROR));
    wire
}

const STATES: [State; 7] = [
    ("idle", idle),
    ("open", open),
    ("half-closed (local)", half_closed_local),
    ("half-closed (local), answering", half_closed_local_and_answering),
    ("closed", closed),
    ("reset by us", reset_by_us),
    ("reset by the peer", reset_by_the_peer),
];

/// What comes of it: `P` breaks the connection with PROTOCOL_ERROR, `A` the request is answered, `U` it ends otherwise,
/// `.` nothing is told. Behind it an `r` when we reset the stream.
#[track_caller]
fn in_each_state(frame: Frame, expected: [&str; 7]) {
    for ((name, state), expected) in STATES.iter().zip(expected) {
        let mut wire = state();
        wire.output();
        wire.told();
        let result = wire.try_send(&frame.bytes());
        let mut actual = match (&result, &wire.told()[..]) {
            (Err(ConnectionError::Protocol { code: ErrorCode::PROTOCOL_ERROR, .. }), []) => "P",
            (Ok(()), []) => ".",
            (Ok(()), [end]) if end.contains("answered") => "A",
            (Ok(()), [_]) => "U",
            other => panic!("{frame:?} in state {name}: {other:?}"),
        }
        .to_owned();
        if wire.written().iter().any(|word| word.starts_with("RST_STREAM 1")) {
            actual.push('r');
        }
        assert_eq!(actual, expected, "{frame:?} in state {name}");
        if result.is_ok() {
            wire.still_works();
        }
    }
}

#[test]
fn s5_1_data_in_each_state() {
    in_each_state(data(1, "x"), ["P", "Ur", "Ur", ".", ".", ".", "."]);
    in_each_state(data(1, "x").end(), ["P", "Ur", "Ur", "A", ".", ".", "."]);
}

#[test]
fn s5_1_headers_in_each_state() {
    in_each_state(answer(1, OK), ["P", "Ar", "A", "Ar", ".", ".", "."]);
    in_each_state(headers(1, OK), ["P", ".", ".", "Ar", ".", ".", "."]);
    let trailers = answer(1, &fields(&[("grpc-status", "0")]));
    in_each_state(trailers, ["P", "Ur", "Ur", "A", ".", ".", "."]);
}

#[test]
fn s5_1_priority_in_each_state() {
    in_each_state(priority(1), [".", ".", ".", ".", ".", ".", "."]);
}

#[test]
fn s5_1_rst_stream_in_each_state() {
    in_each_state(reset(1, ErrorCode::CANCEL), ["P", "U", "U", "A", ".", ".", "."]);
}

#[test]
fn s5_1_push_promise_in_each_state() {
    let promise = Frame::new(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]);
    in_each_state(promise, ["P"; 7]);
}

#[test]
fn s5_1_window_update_in_each_state() {
    in_each_state(window_update(1, 1), ["P", ".", ".", ".", ".", ".", "."]);
}

#[test]
fn s5_1_continuation_of_nothing_in_each_state() {
    in_each_state(continuation(1, b""), ["P"; 7]);
}

#[test]
fn s5_1_unknown_frames_in_each_state() {
    in_each_state(Frame::new(0xfe, 0xff, 1, b"x"), ["."; 7]);
}

#[test]
fn s5_1_frames_of_the_connection_on_a_stream_in_each_state() {
    for frame in [settings(&[]), settings_ack(), ping(b"12345678"), goaway(0, ErrorCode::NO_ERROR, "")] {
        in_each_state(Frame { stream: 1, ..frame }, ["P"; 7]);
    }
}

#[test]
fn s5_1_frames_of_a_stream_on_the_connection_in_each_state() {
    for frame in [data(0, ""), answer(0, OK), priority(0), reset(0, ErrorCode::CANCEL)] {
        in_each_state(frame, ["P"; 7]);
    }
}

#[test]
fn s5_1_nothing_is_sent_on_a_closed_stream() {
    for state in [closed, reset_by_us, reset_by_the_peer] {
        let mut wire = state();
        wire.output();
        for frame in [window_update(1, 1000), data(1, "x"), answer(1, OK), reset(1, ErrorCode::CANCEL)] {
            wire.peer_sends(frame);
        }
        wire.client_writes([]);
    }
}
