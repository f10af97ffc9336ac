//! Section 8: messages: their framing, what makes them malformed, push, and what may be sent again.

use burst_h2::{Cause, ConnectionConfig, ErrorCode};

use crate::transcript::frames::*;
use crate::transcript::{MILLI, Wire};

const P: ErrorCode = ErrorCode::PROTOCOL_ERROR;
const MALFORMED: &str = "1 unknown: Malformed";

fn interim(status: &str) -> Vec<u8> {
    fields(&[(":status", status), ("link", "</style.css>")])
}

#[test]
fn s8_1_a_request_is_headers_and_data() {
    let mut wire = Wire::ready();
    wire.client_starts(1, "body");
    wire.client_starts(2, "");
    wire.client_writes(["HEADERS 1", "DATA 1 \"body\" end", "HEADERS 3 end"]);
}

#[test]
fn s8_1_an_answer_is_headers_and_data_and_may_end_with_either() {
    let mut wire = Wire::with_requests(3);
    wire.peer_sends(answer(5, OK));
    wire.peer_sends(headers(1, &fields(&[(":status", "503"), ("retry-after", "9")])));
    wire.peer_sends(headers(3, OK));
    wire.peer_sends(data(1, "later"));
    wire.peer_sends(data(3, "").end());
    wire.peer_sends(data(1, "").end());
    wire.tells(["3 answered 200", "2 answered 200", "1 answered 503 retry-after=9 \"later\""]);
}

#[test]
fn s8_1_interim_answers_are_passed_over() {
    let mut wire = Wire::with_requests(1);
    for status in ["100", "102", "103", "103", "199"] {
        wire.peer_sends(headers(1, &interim(status)));
    }
    wire.peer_sends(headers(1, &interim("103")).open());
    wire.peer_sends(continuation(1, b""));
    wire.tells([]);
    wire.peer_sends(answer(1, &fields(&[(":status", "400"), ("a", "b")])));
    wire.tells(["1 answered 400 a=b"]);
}

#[test]
fn s8_1_an_interim_answer_must_not_end_the_stream() {
    Wire::with_requests(1).resets(answer(1, &interim("100")), 1, P, MALFORMED);
}

#[test]
fn s8_1_an_interim_answer_must_not_follow_the_final_one() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(headers(1, OK));
    wire.resets(headers(1, &interim("100")), 1, P, "1 answered 200");
}

#[test]
fn s8_1_trailers_end_an_answer() {
    let mut wire = Wire::with_requests(2);
    wire.peer_sends(headers(1, &fields(&[(":status", "500"), ("a", "b")])));
    wire.peer_sends(data(1, "oh"));
    wire.peer_sends(answer(1, &fields(&[("grpc-status", "13")])));
    wire.peer_sends(headers(3, OK));
    wire.peer_sends(answer(3, b"").open());
    wire.peer_sends(continuation(3, &fields(&[("x", "y")])));
    wire.tells(["1 answered 500 a=b \"oh\"", "2 answered 200"]);
    wire.client_writes(["WINDOW_UPDATE 1 2"]);
}

#[test]
fn s8_1_trailers_must_end_the_stream_and_have_no_pseudo_headers() {
    for trailers in [headers(1, &fields(&[("x", "y")])), answer(1, &fields(&[(":status", "200")]))] {
        let mut wire = Wire::with_requests(1);
        wire.peer_sends(headers(1, OK));
        wire.resets(trailers, 1, P, "1 answered 200");
    }
}

#[test]
fn s8_1_data_before_headers_is_malformed() {
    Wire::with_requests(1).resets(data(1, "x"), 1, P, MALFORMED);
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(headers(1, &interim("100")));
    wire.resets(data(1, "x").end(), 1, P, MALFORMED);
}

#[test]
fn s8_1_an_early_answer_while_our_data_is_blocked_is_an_answer_and_stops_the_body() {
    let mut wire = Wire::ready_with(&[(INITIAL_WINDOW_SIZE, 2)]);
    wire.client_starts(1, "12345678");
    wire.output();
    wire.peer_sends(headers(1, &fields(&[(":status", "413")])));
    wire.peer_sends(data(1, "too long").end());
    wire.peer_sends(reset(1, ErrorCode::NO_ERROR));
    wire.peer_sends(window_update(1, 1000));
    wire.tells(["1 answered 413 \"too long\""]);
    wire.client_writes(["RST_STREAM 1 CANCEL"]);
    assert!(!wire.connection.holds_bodies());
}

#[test]
fn s8_1_an_early_answer_that_has_not_ended_lets_the_body_go_on() {
    let mut wire = Wire::ready_with(&[(INITIAL_WINDOW_SIZE, 2)]);
    wire.client_starts(1, "12345678");
    wire.peer_sends(headers(1, OK));
    wire.peer_sends(window_update(1, 1000));
    wire.client_writes(["HEADERS 1", "DATA 1 \"12\"", "DATA 1 \"345678\" end"]);
    wire.peer_sends(data(1, "").end());
    wire.tells(["1 answered 200"]);
    wire.client_writes([]);
}

#[test]
fn s8_1_a_reset_without_error_behind_an_early_answer_keeps_the_answer() {
    let mut wire = Wire::ready_with(&[(INITIAL_WINDOW_SIZE, 2)]);
    wire.client_starts(1, "12345678");
    wire.output();
    wire.peer_sends(headers(1, &fields(&[(":status", "400")])));
    wire.peer_sends(reset(1, ErrorCode::NO_ERROR));
    wire.tells(["1 answered 400"]);
    wire.client_writes([]);
}

#[test]
fn s8_1_1_malformed_answers_are_errors_of_their_stream() {
    for block in [
        fields(&[]),
        fields(&[("date", "today")]),
        fields(&[(":status", "200"), ("Date", "today")]),
        fields(&[("date", "today"), (":status", "200")]),
    ] {
        Wire::with_requests(1).resets(answer(1, &block), 1, P, MALFORMED);
        Wire::with_requests(1).resets(headers(1, &block), 1, P, MALFORMED);
    }
}

/// Where we differ on purpose: what breaks behind a sound final status does not take the answer back.
#[test]
fn s8_1_1_a_final_status_stands_whatever_breaks_behind_it() {
    for broken in [headers(1, OK), headers(1, &fields(&[("A", "b")])), answer(1, &fields(&[(":path", "/")]))]
    {
        let mut wire = Wire::with_requests(1);
        wire.peer_sends(headers(1, &fields(&[(":status", "410")])));
        wire.resets(broken, 1, P, "1 answered 410");
    }
    // So does a body that is not as long as its content-length said.
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(headers(1, &fields(&[(":status", "410"), ("content-length", "9")])));
    wire.peer_sends(data(1, "gone").end());
    wire.tells(["1 answered 410 content-length=9 \"gone\""]);
}

#[test]
fn s8_4_push_is_switched_off_and_refused() {
    let mut wire = Wire::silent(ConnectionConfig::default());
    assert!(wire.written()[0].contains(" 2=0 "), "SETTINGS_ENABLE_PUSH is 0");
    let promise = Frame::new(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]);
    Wire::with_requests(1).breaks(promise, P);
}

#[test]
fn s8_4_nothing_comes_on_streams_of_the_server() {
    for frame in [answer(2, OK), data(2, ""), reset(2, ErrorCode::CANCEL), window_update(2, 1)] {
        Wire::with_requests(1).breaks(frame, P);
    }
}

#[test]
fn s8_7_what_was_certainly_not_processed_is_told_from_what_is_unknown() {
    let mut wire = Wire::with_requests(4);
    wire.peer_sends(reset(1, ErrorCode::REFUSED_STREAM));
    wire.peer_sends(reset(3, ErrorCode::CANCEL));
    wire.peer_sends(goaway(5, ErrorCode::NO_ERROR, ""));
    wire.client_writes([]);
    wire.tells([
        "1 not processed: Refused",
        "2 unknown: Reset(CANCEL)",
        "draining: GoAway { code: NO_ERROR, last_stream: 5 }",
        "4 not processed: GoAway",
    ]);
    assert_eq!(wire.close(Cause::PeerClosed), ["3 unknown: PeerClosed"]);
}

#[test]
fn s8_7_refused_behind_an_interim_answer_is_not_processed_and_behind_a_final_one_answered() {
    let mut wire = Wire::with_requests(2);
    wire.peer_sends(headers(1, &interim("103")));
    wire.peer_sends(reset(1, ErrorCode::REFUSED_STREAM));
    wire.peer_sends(headers(3, OK));
    wire.peer_sends(reset(3, ErrorCode::REFUSED_STREAM));
    wire.tells(["1 not processed: Refused", "2 answered 200"]);
}

#[test]
fn s8_7_a_request_whose_last_byte_never_left_was_not_processed() {
    let mut wire = Wire::ready();
    wire.client_starts(1, "gone");
    wire.output();
    wire.client_starts(2, "still here");
    assert_eq!(wire.close(Cause::Transport), ["1 unknown: Transport", "2 not processed: Transport"]);
}

#[test]
fn s8_7_a_request_without_answer_ends_at_its_deadline_and_only_once() {
    let mut wire = Wire::ready();
    wire.client_starts_until(1, "body", 5 * MILLI);
    wire.output();
    wire.passes(4 * MILLI);
    wire.tells([]);
    wire.passes(MILLI);
    wire.tells(["1 unknown: Timeout"]);
    wire.peer_sends(answer(1, OK));
    wire.tells([]);
    wire.client_writes(["RST_STREAM 1 CANCEL"]);
}
