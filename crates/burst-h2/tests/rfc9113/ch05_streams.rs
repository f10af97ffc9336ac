//! Section 5: identifiers, concurrency, priorities, errors and extensions of streams.

use burst_h2::{Cause, ConnectionConfig, DrainReason, ErrorCode, Full};

use crate::transcript::frames::*;
use crate::transcript::{MILLI, Wire};

#[test]
fn s5_1_1_our_streams_are_odd_and_rise_by_two() {
    let mut wire = Wire::ready();
    for tag in 1..=3 {
        wire.client_starts(tag, "");
    }
    wire.client_writes(["HEADERS 1 end", "HEADERS 3 end", "HEADERS 5 end"]);
}

#[test]
fn s5_1_1_exhausted_stream_ids_drain_the_connection() {
    let config = ConnectionConfig { stream_id_max: 5, ..ConnectionConfig::default() };
    let mut wire = Wire::configured(config, &[]);
    assert_eq!(wire.connection.capacity(), 3);
    wire.client_starts_many(3);
    assert_eq!((wire.connection.capacity(), wire.try_start(4, "", u64::MAX)), (0, Err(Full)));
    wire.peer_sends(answer(5, OK));
    wire.tells(["draining: StreamIds", "3 answered 200"]);
    wire.peer_sends(answer(1, OK));
    assert!(!wire.connection.is_finished());
    wire.peer_sends(answer(3, OK));
    assert!(wire.connection.is_finished(), "nothing is left: it can be replaced");
    assert_eq!(wire.try_start(5, "", u64::MAX), Err(Full), "an id is never used twice");
}

#[test]
fn s5_1_1_the_last_id_is_the_largest_of_31_bits() {
    assert_eq!(ConnectionConfig::default().stream_id_max, 0x7fff_ffff);
}

#[test]
fn s5_1_1_streams_that_nobody_opened_break_the_connection() {
    for stream in [2, 3, 4, 0x7fff_ffff] {
        for frame in
            [answer(stream, OK), data(stream, ""), reset(stream, ErrorCode::CANCEL), window_update(stream, 1)]
        {
            Wire::with_requests(1).breaks(frame, ErrorCode::PROTOCOL_ERROR);
        }
    }
}

#[test]
fn s5_1_2_the_peers_limit_of_streams_is_kept() {
    let mut wire = Wire::ready_with(&[(MAX_CONCURRENT_STREAMS, 2)]);
    wire.client_starts_many(2);
    assert_eq!((wire.connection.capacity(), wire.try_start(3, "", u64::MAX)), (0, Err(Full)));
    wire.peer_sends(headers(1, OK));
    assert_eq!(wire.connection.capacity(), 0, "half closed still counts");
    wire.peer_sends(data(1, "").end());
    assert_eq!(wire.connection.capacity(), 1);
}

#[test]
fn s5_1_2_a_limit_below_what_is_open_lets_that_go_on() {
    let mut wire = Wire::with_requests(4);
    wire.peer_sends(settings(&[(MAX_CONCURRENT_STREAMS, 2)]));
    wire.tells(["limit 2"]);
    for (stream, tag) in [(1, 1), (3, 2)] {
        assert_eq!(wire.connection.capacity(), 0);
        wire.peer_sends(answer(stream, OK));
        wire.tells([&*format!("{tag} answered 200")]);
    }
    assert_eq!(wire.connection.capacity(), 0);
    wire.peer_sends(answer(5, OK));
    assert_eq!(wire.connection.capacity(), 1);
}

#[test]
fn s5_1_2_a_limit_of_0_holds_everything_until_it_rises() {
    let mut wire = Wire::ready_with(&[(MAX_CONCURRENT_STREAMS, 0)]);
    assert_eq!((wire.connection.capacity(), wire.try_start(1, "", u64::MAX)), (0, Err(Full)));
    wire.peer_sends(settings(&[(MAX_CONCURRENT_STREAMS, 1)]));
    wire.tells(["limit 1"]);
    wire.client_starts(1, "");
}

#[test]
fn s5_1_2_streams_that_we_reset_no_longer_count() {
    let mut wire = Wire::ready_with(&[(MAX_CONCURRENT_STREAMS, 1)]);
    wire.client_starts_until(1, "", MILLI);
    wire.output();
    wire.passes(MILLI);
    assert_eq!(wire.connection.capacity(), 1);
}

#[test]
fn s5_1_2_a_refused_stream_may_go_out_again() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(reset(1, ErrorCode::REFUSED_STREAM));
    wire.tells(["1 not processed: Refused"]);
    wire.client_starts(1, "body");
    wire.client_writes(["HEADERS 3", "DATA 3 \"body\" end"]);
}

#[test]
fn s5_3_priority_signals_change_nothing() {
    let mut wire = Wire::with_requests(2);
    wire.peer_sends(priority(1));
    wire.peer_sends(priority(77));
    wire.peer_sends(Frame::new(PRIORITY, 0, 3, &[0, 0, 0, 3, 255]));
    let with_priority = [&[0x80, 0, 0, 1, 200][..], OK].concat();
    wire.peer_sends(Frame::new(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, &with_priority));
    wire.peer_sends(answer(3, OK));
    wire.tells(["1 answered 200", "2 answered 200"]);
    wire.client_writes([]);
}

#[test]
fn s5_4_1_an_error_of_the_connection_is_told_once_and_ends_everything() {
    let mut wire = Wire::with_requests(2);
    assert!(wire.try_send(&data(0, "").bytes()).is_err());
    assert!(wire.try_send(&answer(1, OK).bytes()).is_err());
    wire.client_writes(["GOAWAY 0 PROTOCOL_ERROR"]);
    wire.tells([]);
    assert_eq!(wire.close(Cause::Protocol), ["1 unknown: Protocol", "2 unknown: Protocol"]);
}

#[test]
fn s5_4_1_nothing_stands_behind_the_goaway_of_an_error() {
    let mut wire = Wire::ready_with(&[(INITIAL_WINDOW_SIZE, 1)]);
    wire.client_starts(1, "body");
    wire.output();
    wire.peer_sends(window_update(1, 1000));
    assert!(wire.try_send(&data(0, "").bytes()).is_err());
    wire.client_writes(["GOAWAY 0 PROTOCOL_ERROR"]);
}

#[test]
fn s5_4_2_an_error_of_a_stream_resets_it_alone() {
    let malformed = answer(1, &fields(&[("date", "today")]));
    Wire::with_requests(1).resets(malformed, 1, ErrorCode::PROTOCOL_ERROR, "1 unknown: Malformed");
}

#[test]
fn s5_4_2_a_reset_is_not_answered_by_a_reset() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(reset(1, ErrorCode::PROTOCOL_ERROR));
    wire.peer_sends(reset(1, ErrorCode::PROTOCOL_ERROR));
    wire.client_writes([]);
    wire.tells(["1 unknown: Reset(PROTOCOL_ERROR)"]);
}

#[test]
fn s5_4_2_a_stream_is_reset_once_however_much_comes_late() {
    let mut wire = Wire::with_requests(1);
    for _ in 0..20 {
        wire.peer_sends(data(1, "x"));
    }
    wire.client_writes(["RST_STREAM 1 PROTOCOL_ERROR"]);
}

#[test]
fn s5_4_2_a_wave_of_timeouts_makes_few_resets_and_replaces_the_connection() {
    let config = ConnectionConfig { timeouts_max: 500, ..ConnectionConfig::default() };
    let most = config.resets_max as usize;
    assert!(most <= 16, "hyper and h2 close a connection at 20");
    let mut wire = Wire::configured(config, &[]);
    for tag in 0..1000 {
        wire.client_starts_until(tag, "body", MILLI);
    }
    wire.output();
    wire.passes(MILLI);
    let told = wire.told();
    assert_eq!(told.iter().filter(|line| line.ends_with("unknown: Timeout")).count(), 1000);
    assert_eq!(told.iter().filter(|line| *line == "draining: Resets").count(), 1);
    let written = wire.written();
    assert_eq!(written.len(), most);
    assert!(written.iter().all(|word| word.starts_with("RST_STREAM") && word.ends_with("CANCEL")));
    assert_eq!(wire.connection.draining(), Some(DrainReason::Resets));
    assert!(wire.connection.is_finished(), "it can be closed at once");
}

#[test]
fn s5_4_2_resets_of_a_long_life_add_up_and_what_is_open_is_waited_for() {
    let config = ConnectionConfig { resets_max: 3, ..ConnectionConfig::default() };
    let mut wire = Wire::configured(config, &[(INITIAL_WINDOW_SIZE, 4)]);
    wire.client_starts(1, "body");
    // A malformed answer, an early one, a body taken back: each a reset, whatever the reason.
    wire.client_starts(2, "");
    wire.client_starts(3, "long body");
    wire.client_starts(4, "long body");
    wire.client_starts(5, "long body");
    wire.output();
    wire.peer_sends(answer(3, &fields(&[])));
    wire.peer_sends(answer(5, OK));
    wire.tells(["2 unknown: Malformed", "3 answered 200"]);
    assert_eq!(wire.revokes(4), 1);
    wire.tells(["draining: Resets", "4 not processed: Revoked"]);
    // The fourth is left alone: nothing more of it goes out, and its late frames are dropped.
    assert_eq!(wire.revokes(5), 1);
    wire.client_writes(["RST_STREAM 3 PROTOCOL_ERROR", "RST_STREAM 5 CANCEL", "RST_STREAM 7 CANCEL"]);
    wire.peer_sends(window_update(9, 1000));
    wire.peer_sends(headers(9, OK));
    wire.peer_sends(data(9, "x"));
    wire.client_writes([]);
    wire.peer_sends(answer(1, OK));
    wire.tells(["5 not processed: Revoked", "1 answered 200"]);
    assert!(wire.connection.is_finished());
}

#[test]
fn s5_5_unknown_frames_and_settings_are_ignored_but_not_within_a_header_block() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(Frame::new(0x0a, 0, 1, b"altsvc"));
    wire.peer_sends(settings(&[(0x99, 7), (0xffff, u32::MAX)]));
    wire.peer_sends(answer(1, b"").open());
    wire.breaks(Frame::new(0x0a, 0, 1, b""), ErrorCode::PROTOCOL_ERROR);
}
