//! Sections 6.1 to 6.4, 6.6 and 6.10: DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION.

use burst_h2::ErrorCode;

use crate::transcript::Wire;
use crate::transcript::frames::*;

const GONE: &[(&str, &str)] = &[(":status", "410")];

#[test]
fn s6_1_data_is_the_body_of_an_answer() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(headers(1, &fields(GONE)));
    wire.peer_sends(data(1, "{\"reason\":"));
    wire.peer_sends(data(1, ""));
    wire.peer_sends(data(1, "\"Unregistered\"}").end());
    wire.tells([r#"1 answered 410 "{\"reason\":\"Unregistered\"}""#]);
}

#[test]
fn s6_1_data_on_stream_0_is_a_protocol_error() {
    Wire::with_requests(1).breaks(data(0, "x"), ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn s6_1_padding_is_left_out() {
    let mut wire = Wire::with_requests(2);
    wire.peer_sends(headers(1, &fields(GONE)));
    wire.peer_sends(data(1, "gone").padded(255, 255));
    wire.peer_sends(data(1, "").padded(3, 3).end());
    wire.tells(["1 answered 410 \"gone\""]);
}

#[test]
fn s6_1_padding_as_long_as_its_frame_is_a_protocol_error() {
    for frame in [data(1, "").padded(1, 0), data(1, "body").padded(5, 0), data(1, "").padded(255, 254)] {
        let mut wire = Wire::with_requests(1);
        wire.peer_sends(headers(1, OK));
        wire.breaks(frame, ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn s6_1_a_padded_frame_without_the_length_of_its_padding_is_refused() {
    let frame = Frame::new(DATA, PADDED, 1, b"");
    Wire::with_requests(1).breaks(frame, ErrorCode::FRAME_SIZE_ERROR);
    let frame = Frame::new(HEADERS, END_HEADERS | PADDED, 1, b"");
    Wire::with_requests(1).breaks(frame, ErrorCode::FRAME_SIZE_ERROR);
}

#[test]
fn s6_1_padding_counts_for_flow_control() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(headers(1, OK));
    wire.peer_sends(data(1, "four").padded(10, 10));
    wire.client_writes(["WINDOW_UPDATE 1 15"]);
}

#[test]
fn s6_2_headers_on_stream_0_are_a_protocol_error() {
    Wire::with_requests(1).breaks(answer(0, OK), ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn s6_2_padding_and_priority_of_headers_are_left_out() {
    let mut wire = Wire::with_requests(1);
    let block = [&[0, 0, 0, 0, 9][..], &fields(&[(":status", "400"), ("a", "b")])].concat();
    let mut frame = answer(1, &block);
    frame.flags |= WITH_PRIORITY;
    wire.peer_sends(frame.padded(7, 7));
    wire.tells(["1 answered 400 a=b"]);
}

#[test]
fn s6_2_headers_cut_within_padding_or_priority_are_refused() {
    Wire::with_requests(1).breaks(answer(1, OK).padded(2, 0), ErrorCode::PROTOCOL_ERROR);
    let mut cut = answer(1, &[0, 0, 0, 1]);
    cut.flags |= WITH_PRIORITY;
    Wire::with_requests(1).breaks(cut, ErrorCode::FRAME_SIZE_ERROR);
}

#[test]
fn s6_2_an_empty_block_is_no_answer() {
    let end = "1 unknown: Malformed";
    Wire::with_requests(1).resets(answer(1, b""), 1, ErrorCode::PROTOCOL_ERROR, end);
}

#[test]
fn s6_3_priority_on_stream_0_or_of_a_wrong_size_is_refused() {
    Wire::with_requests(1).breaks(priority(0), ErrorCode::PROTOCOL_ERROR);
    for size in [0, 4, 6] {
        let frame = Frame::new(PRIORITY, 0, 1, &vec![0; size]);
        Wire::with_requests(1).breaks(frame, ErrorCode::FRAME_SIZE_ERROR);
    }
}

#[test]
fn s6_3_priority_on_an_idle_stream_opens_nothing() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(priority(3));
    wire.client_starts(2, "");
    wire.client_writes(["HEADERS 3 end"]);
}

#[test]
fn s6_4_rst_stream_ends_the_request_with_its_code() {
    let mut wire = Wire::with_requests(2);
    wire.peer_sends(reset(3, ErrorCode::INTERNAL_ERROR));
    wire.peer_sends(reset(1, ErrorCode::REFUSED_STREAM));
    wire.tells(["2 unknown: Reset(INTERNAL_ERROR)", "1 not processed: Refused"]);
}

#[test]
fn s6_4_rst_stream_of_a_wrong_size_or_on_stream_0_is_refused() {
    for size in [0, 3, 5] {
        let frame = Frame::new(RST_STREAM, 0, 1, &vec![0; size]);
        Wire::with_requests(1).breaks(frame, ErrorCode::FRAME_SIZE_ERROR);
    }
    Wire::with_requests(1).breaks(reset(0, ErrorCode::CANCEL), ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn s6_4_rst_stream_on_an_idle_stream_is_a_protocol_error() {
    Wire::with_requests(1).breaks(reset(3, ErrorCode::CANCEL), ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn s6_6_push_promise_is_a_protocol_error_since_push_is_off() {
    for stream in [0, 1, 3] {
        let promise = Frame::new(PUSH_PROMISE, END_HEADERS, stream, &[0, 0, 0, 2, 0x82]);
        Wire::with_requests(1).breaks(promise, ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn s6_10_continuation_without_headers_is_a_protocol_error() {
    Wire::with_requests(1).breaks(continuation(1, OK), ErrorCode::PROTOCOL_ERROR);
    Wire::with_requests(1).breaks(continuation(0, OK), ErrorCode::PROTOCOL_ERROR);
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(headers(1, OK));
    wire.breaks(continuation(1, b""), ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn s6_10_nothing_else_may_stand_within_a_header_block() {
    for inside in [
        continuation(3, b""),
        answer(1, b""),
        answer(3, OK),
        data(1, ""),
        priority(1),
        reset(1, ErrorCode::CANCEL),
        settings(&[]),
        ping(b"12345678"),
        goaway(0, ErrorCode::NO_ERROR, ""),
        window_update(0, 1),
        Frame::new(0xfe, 0, 1, b""),
    ] {
        let mut wire = Wire::with_requests(2);
        wire.peer_sends(answer(1, OK).open());
        wire.breaks(inside, ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn s6_10_the_end_of_the_stream_stands_in_headers() {
    let mut wire = Wire::with_requests(1);
    let mut last = continuation(1, b"");
    last.flags |= END_STREAM;
    wire.peer_sends(headers(1, OK).open());
    wire.peer_sends(last);
    wire.tells([]);
    wire.peer_sends(data(1, "").end());
    wire.tells(["1 answered 200"]);
}
