//! Requests without an answer: not processed or unknown, by what the kernel was given and what the peer said.

use super::*;

/// Takes the whole output but hands only the first bytes to the kernel.
fn hand_over(wire: &mut Wire, bytes: usize) {
    let before = wire.connection.out_before;
    let all = wire.connection.output().len();
    wire.connection.taken(all);
    wire.connection.written_through(before + bytes as u64);
}

#[test]
fn a_refused_stream_was_not_processed() {
    let mut wire = Wire::ready();
    wire.start_and_send(2);
    wire.receive(&reset(3, ErrorCode::REFUSED_STREAM));
    assert_eq!(wire.told(), ["2 not processed: Refused"]);
    assert_eq!(wire.connection.open(), 1);
}

#[test]
fn any_other_reset_leaves_it_unknown() {
    let mut wire = Wire::ready();
    wire.start_and_send(2);
    wire.receive(&[reset(1, ErrorCode::INTERNAL_ERROR), reset(3, ErrorCode::NO_ERROR)].concat());
    assert_eq!(wire.told(), ["1 unknown: Reset(INTERNAL_ERROR)", "2 unknown: Reset(NO_ERROR)"]);
}

#[test]
fn goaway_resends_only_unprocessed_streams() {
    let mut wire = Wire::ready();
    wire.start_and_send(3);
    wire.receive(&goaway(3, ErrorCode::NO_ERROR, b"{\"reason\":\"Shutdown\"}"));
    assert_eq!(
        wire.told(),
        [
            "draining: GoAway { code: NO_ERROR, last_stream: 3 } \"{\\\"reason\\\":\\\"Shutdown\\\"}\"",
            "3 not processed: GoAway",
        ]
    );
    assert_eq!(wire.connection.capacity(), 0);
    wire.receive(&answer(1, &[0x88]));
    assert!(!wire.connection.is_finished());
    wire.receive(&answer(3, &[0x88]));
    assert_eq!(wire.told(), ["1 answered 200", "2 answered 200"]);
    assert!(wire.connection.is_finished());
}

#[test]
fn the_last_stream_of_goaway_may_fall_but_not_rise() {
    let mut wire = Wire::ready();
    wire.start_and_send(3);
    wire.receive(&goaway(STREAM_ID_MAX, ErrorCode::NO_ERROR, b""));
    assert_eq!(wire.told(), ["draining: GoAway { code: NO_ERROR, last_stream: 2147483647 } \"\""]);
    wire.receive(&goaway(1, ErrorCode::ENHANCE_YOUR_CALM, b""));
    wire.receive(&goaway(5, ErrorCode::NO_ERROR, b""));
    assert_eq!(
        wire.told(),
        [
            "draining: GoAway { code: ENHANCE_YOUR_CALM, last_stream: 1 } \"\"",
            "2 not processed: GoAway",
            "3 not processed: GoAway",
            "draining: GoAway { code: NO_ERROR, last_stream: 1 } \"\"",
        ]
    );
}

#[test]
fn closing_tells_unsent_from_unknown_by_the_last_byte() {
    let mut wire = Wire::ready();
    for tag in 1..=3 {
        wire.start(tag, b"body");
    }
    let ends: Vec<u64> = wire.connection.slots.all().map(|(_, slot)| slot.end()).collect();
    let before = wire.connection.out_before;
    // The second request lacks its last byte.
    hand_over(&mut wire, (ends[1] - before) as usize - 1);
    wire.receive(&headers(1, &[0x8c]));
    assert_eq!(
        wire.close(Cause::PeerClosed),
        ["1 answered 400", "2 not processed: PeerClosed", "3 not processed: PeerClosed"]
    );
}

#[test]
fn closing_with_all_sent_leaves_them_unknown() {
    let mut wire = Wire::ready();
    wire.start_and_send(2);
    assert_eq!(wire.close(Cause::Transport), ["1 unknown: Transport", "2 unknown: Transport"]);
}

#[test]
fn the_offsets_hold_across_writes_and_exchanged_buffers() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    let mut buffer = Vec::with_capacity(1000);
    wire.start(2, b"body");
    wire.connection.taken(10);
    wire.connection.exchange_buffer(&mut buffer);
    wire.start(3, b"body");
    let through = wire.connection.produced() - 1;
    let all = wire.connection.output().len();
    wire.connection.taken(all);
    wire.connection.written_through(through);
    wire.connection.exchange_buffer(&mut buffer);
    assert_eq!(buffer.capacity(), 1000);
    assert_eq!(
        wire.close(Cause::Transport),
        ["1 unknown: Transport", "2 unknown: Transport", "3 not processed: Transport"]
    );
}

#[test]
fn a_deadline_resets_the_stream_and_ends_the_request_once() {
    let mut wire = Wire::ready();
    wire.start_with(1, b"", 10 * MILLI).unwrap();
    wire.start_with(2, b"", 20 * MILLI).unwrap();
    wire.sent();
    assert_eq!(wire.connection.next_deadline(), Some(10 * MILLI));
    wire.connection.expire(9 * MILLI, &mut wire.log).unwrap();
    assert_eq!(wire.told(), [""; 0]);
    wire.connection.expire(10 * MILLI, &mut wire.log).unwrap();
    assert_eq!(wire.told(), ["1 unknown: Timeout"]);
    assert_eq!(wire.sent(), ["RST_STREAM 1 CANCEL"]);
    // Its late answer is nobody's.
    wire.receive(&[headers(1, &[0x88]), last_data(1, b"late"), answer(3, &[0x88])].concat());
    assert_eq!(wire.told(), ["2 answered 200"]);
}

#[test]
fn a_deadline_behind_the_status_is_an_answer() {
    let mut wire = Wire::ready();
    wire.start_with(1, b"", 10 * MILLI).unwrap();
    wire.sent();
    wire.receive(&headers(1, &[0x8c]));
    wire.connection.expire(10 * MILLI, &mut wire.log).unwrap();
    assert_eq!(wire.told(), ["1 answered 400"]);
}

#[test]
fn a_held_request_past_its_deadline_was_not_processed_and_never_leaves() {
    let mut wire = Wire::ready();
    wire.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 2)]));
    wire.start_with(1, b"held", 10 * MILLI).unwrap();
    wire.sent();
    wire.connection.expire(10 * MILLI, &mut wire.log).unwrap();
    assert_eq!(wire.told().last().unwrap(), "1 not processed: Timeout");
    wire.receive(&window_update(1, 100));
    assert_eq!(wire.sent(), ["RST_STREAM 1 CANCEL"]);
}

#[test]
fn a_request_that_could_still_leave_past_its_deadline_ends_with_its_connection_only() {
    let mut wire = Wire::ready();
    wire.start_with(1, b"sent", 10 * MILLI).unwrap();
    wire.sent();
    wire.start_with(2, b"kept", 10 * MILLI).unwrap();
    hand_over(&mut wire, 3);
    let error = wire.connection.expire(10 * MILLI, &mut wire.log).unwrap_err();
    assert!(matches!(error, ConnectionError::Deadline(_)));
    assert_eq!(wire.told(), ["1 unknown: Timeout"], "the other's bytes may still go");
    assert_eq!(wire.close(error.cause()), ["2 not processed: Timeout"]);
}

#[test]
fn a_few_timeouts_drain_the_connection() {
    let mut wire = Wire::ready_with(ConnectionConfig { timeouts_max: 3, ..ConnectionConfig::default() });
    for tag in 1..=4 {
        wire.start_with(tag, b"", tag * MILLI).unwrap();
    }
    wire.sent();
    wire.connection.expire(2 * MILLI, &mut wire.log).unwrap();
    assert_eq!(wire.connection.draining(), None);
    wire.told();
    wire.connection.expire(3 * MILLI, &mut wire.log).unwrap();
    assert_eq!(wire.told(), ["draining: Timeouts \"\"", "3 unknown: Timeout"]);
    assert_eq!(wire.connection.capacity(), 0);
}

#[test]
fn draining_waits_for_answers_and_takes_nothing_new() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    wire.connection.drain(&mut wire.log);
    wire.connection.drain(&mut wire.log);
    assert_eq!(wire.told(), ["draining: Asked \"\""]);
    assert_eq!(wire.start_with(2, b"", 0), Err(crate::Full));
    wire.receive(&answer(1, &[0x88]));
    assert!(wire.connection.is_finished());
}

#[test]
fn used_up_stream_ids_drain_the_connection() {
    let mut wire = Wire::ready_with(ConnectionConfig { stream_id_max: 5, ..ConnectionConfig::default() });
    assert_eq!(wire.connection.capacity(), 3);
    wire.start_and_send(3);
    assert_eq!((wire.connection.capacity(), wire.start_with(4, b"", 0)), (0, Err(crate::Full)));
    wire.receive(&answer(1, &[0x88]));
    assert_eq!(wire.told(), ["draining: StreamIds \"\"", "1 answered 200"]);
    wire.receive(&[answer(3, &[0x88]), answer(5, &[0x88])].concat());
    assert!(wire.connection.is_finished());
}

#[test]
fn revoking_takes_back_held_bodies_only() {
    let mut wire = Wire::ready();
    wire.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 2)]));
    wire.start(1, b"ok");
    wire.start(2, b"held");
    wire.start(3, b"held");
    wire.sent();
    assert_eq!(wire.connection.revoke(|tag| tag != 3, &mut wire.log), 1);
    assert_eq!(wire.told(), ["2 not processed: Revoked"]);
    assert_eq!(wire.sent(), ["RST_STREAM 3 CANCEL"]);
    wire.receive(&[window_update(3, 100), window_update(5, 100)].concat());
    assert_eq!(wire.sent(), ["DATA 5 \"ld\" end"]);
}

#[test]
fn unwritten_requests_are_known_by_their_tags() {
    let mut wire = Wire::ready();
    wire.start_and_send(1);
    wire.start(2, b"body");
    hand_over(&mut wire, 3);
    assert!(wire.connection.has_unwritten(|tag| tag == 2));
    assert!(!wire.connection.has_unwritten(|tag| tag == 1));
    assert!(wire.connection.awaits_answers());
    wire.receive(&answer(1, &[0x88]));
    assert!(!wire.connection.awaits_answers());
}
