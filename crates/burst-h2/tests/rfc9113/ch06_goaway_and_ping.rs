//! Sections 6.7 and 6.8: PING and GOAWAY.

use burst_h2::{Cause, DrainReason, ErrorCode, Full};

use crate::transcript::Wire;
use crate::transcript::frames::*;

#[test]
fn s6_7_a_ping_is_answered_with_its_payload() {
    let mut wire = Wire::ready();
    wire.peer_sends(ping(b"\0\xff234567"));
    let output = wire.output();
    assert_eq!(parse(&output), [Frame::new(PING, ACK, 0, b"\0\xff234567")]);
}

#[test]
fn s6_7_an_acknowledgement_is_not_answered_whether_asked_for_or_not() {
    let mut wire = Wire::ready();
    wire.peer_sends(Frame::new(PING, ACK, 0, b"12345678"));
    wire.client_writes([]);
    wire.tells([]);
}

#[test]
fn s6_7_a_ping_of_ours_is_timed_by_its_own_acknowledgement_only() {
    let mut wire = Wire::ready();
    wire.connection.ping(0);
    let output = wire.output();
    let ours = parse(&output).remove(0);
    assert_eq!((ours.kind, ours.flags, ours.payload.len()), (PING, 0, 8));
    wire.now = 250;
    wire.peer_sends(Frame::new(PING, ACK, 0, b"another!"));
    wire.peer_sends(Frame { flags: ACK, ..ours });
    wire.tells(["pong after 250"]);
    assert_eq!(wire.connection.ping_unanswered(), None);
}

#[test]
fn s6_7_a_ping_on_a_stream_or_of_a_wrong_size_is_refused() {
    for flags in [0, ACK] {
        Wire::with_requests(1).breaks(Frame::new(PING, flags, 1, &[0; 8]), ErrorCode::PROTOCOL_ERROR);
        for size in [0, 7, 9] {
            Wire::ready().breaks(Frame::new(PING, flags, 0, &vec![0; size]), ErrorCode::FRAME_SIZE_ERROR);
        }
    }
}

#[test]
fn s6_8_goaway_resends_only_unprocessed_streams() {
    let mut wire = Wire::with_requests(3);
    wire.peer_sends(goaway(3, ErrorCode::NO_ERROR, "{\"reason\":\"Shutdown\"}"));
    wire.tells([
        r#"draining: GoAway { code: NO_ERROR, last_stream: 3 } "{\"reason\":\"Shutdown\"}""#,
        "3 not processed: GoAway",
    ]);
    wire.peer_sends(answer(3, OK));
    wire.peer_sends(answer(1, OK));
    wire.tells(["2 answered 200", "1 answered 200"]);
    assert!(wire.connection.is_finished());
}

#[test]
fn s6_8_no_stream_is_opened_after_goaway() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(goaway(0x7fff_ffff, ErrorCode::NO_ERROR, ""));
    assert_eq!((wire.connection.capacity(), wire.try_start(2, "", u64::MAX)), (0, Err(Full)));
    wire.client_writes([]);
}

#[test]
fn s6_8_a_graceful_goaway_announces_and_a_second_one_names_the_last_stream() {
    let mut wire = Wire::with_requests(3);
    wire.peer_sends(goaway(0x7fff_ffff, ErrorCode::NO_ERROR, ""));
    wire.tells(["draining: GoAway { code: NO_ERROR, last_stream: 2147483647 }"]);
    wire.peer_sends(goaway(1, ErrorCode::NO_ERROR, ""));
    wire.tells([
        "draining: GoAway { code: NO_ERROR, last_stream: 1 }",
        "2 not processed: GoAway",
        "3 not processed: GoAway",
    ]);
    wire.peer_sends(answer(1, OK));
    wire.tells(["1 answered 200"]);
}

#[test]
fn s6_8_the_last_stream_of_a_second_goaway_must_not_rise_and_brings_nobody_back() {
    let mut wire = Wire::with_requests(3);
    wire.peer_sends(goaway(1, ErrorCode::NO_ERROR, ""));
    wire.told();
    wire.peer_sends(goaway(5, ErrorCode::ENHANCE_YOUR_CALM, ""));
    wire.tells(["draining: GoAway { code: ENHANCE_YOUR_CALM, last_stream: 1 }"]);
    wire.peer_sends(answer(5, OK));
    wire.tells([]);
    let reason = DrainReason::GoAway { code: ErrorCode::ENHANCE_YOUR_CALM, last_stream: 1 };
    assert_eq!(wire.connection.draining(), Some(reason));
    assert_eq!(wire.close(Cause::PeerClosed), ["1 unknown: PeerClosed"]);
}

#[test]
fn s6_8_a_last_stream_of_0_gives_everything_back() {
    let mut wire = Wire::with_requests(2);
    wire.peer_sends(goaway(0, ErrorCode(0xbad), ""));
    wire.tells([
        "draining: GoAway { code: code 0xbad, last_stream: 0 }",
        "1 not processed: GoAway",
        "2 not processed: GoAway",
    ]);
    assert!(wire.connection.is_finished());
}

#[test]
fn s6_8_an_answer_that_has_begun_above_the_last_stream_is_an_answer() {
    let mut wire = Wire::with_requests(2);
    wire.peer_sends(headers(3, OK));
    wire.peer_sends(goaway(1, ErrorCode::NO_ERROR, ""));
    wire.tells(["draining: GoAway { code: NO_ERROR, last_stream: 1 }", "2 answered 200"]);
}

#[test]
fn s6_8_a_body_that_is_held_back_goes_on_below_the_last_stream_and_stops_above_it() {
    let mut wire = Wire::ready_with(&[(INITIAL_WINDOW_SIZE, 1)]);
    wire.client_starts(1, "body");
    wire.client_starts(2, "body");
    wire.output();
    wire.peer_sends(goaway(1, ErrorCode::NO_ERROR, ""));
    wire.peer_sends(window_update(1, 100));
    wire.peer_sends(window_update(3, 100));
    wire.client_writes(["DATA 1 \"ody\" end"]);
}

#[test]
fn s6_8_goaway_on_a_stream_or_of_a_wrong_size_is_refused() {
    let on_stream = Frame { stream: 1, ..goaway(0, ErrorCode::NO_ERROR, "") };
    Wire::with_requests(1).breaks(on_stream, ErrorCode::PROTOCOL_ERROR);
    for size in [0, 7] {
        Wire::ready().breaks(Frame::new(GOAWAY, 0, 0, &vec![0; size]), ErrorCode::FRAME_SIZE_ERROR);
    }
}

#[test]
fn s6_8_ours_names_no_stream_of_the_peers() {
    let mut wire = Wire::with_requests(1);
    wire.connection.say_goodbye();
    wire.client_writes(["GOAWAY 0 NO_ERROR"]);
}
