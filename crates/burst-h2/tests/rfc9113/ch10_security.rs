//! Section 10.5: what a peer may cost us.

use burst_h2::{ConnectionConfig, ErrorCode};

use crate::transcript::frames::*;
use crate::transcript::{MILLI, Wire};

const CALM: ErrorCode = ErrorCode::ENHANCE_YOUR_CALM;

#[test]
fn s10_5_floods_of_frames_without_use_end_the_connection() {
    let config = ConnectionConfig { noise_max: 50, ..ConnectionConfig::default() };
    for useless in [
        settings(&[]),
        settings_ack(),
        ping(b"12345678"),
        priority(1),
        window_update(0, 1),
        window_update(1, 1),
        Frame::new(0xfe, 0, 0, b""),
        headers(1, &fields(&[(":status", "100")])),
        goaway(0x7fff_ffff, ErrorCode::NO_ERROR, ""),
    ] {
        let mut wire = Wire::configured(config.clone(), &[]);
        wire.client_starts_many(1);
        for _ in 0..48 {
            wire.peer_sends(useless.clone());
            wire.output();
        }
        let flood: Vec<u8> = useless.bytes().repeat(5);
        assert!(wire.try_send(&flood).is_err(), "{useless:?}");
        assert_eq!(wire.written().last().map(String::as_str), Some("GOAWAY 0 ENHANCE_YOUR_CALM"));
    }
}

#[test]
fn s10_5_empty_data_without_end_is_useless_too() {
    let config = ConnectionConfig { noise_max: 50, ..ConnectionConfig::default() };
    let mut wire = Wire::configured(config, &[]);
    wire.client_starts_many(1);
    wire.peer_sends(headers(1, OK));
    for _ in 0..49 {
        wire.peer_sends(data(1, ""));
    }
    assert!(wire.try_send(&data(1, "").bytes().repeat(2)).is_err());
}

#[test]
fn s10_5_a_peer_that_asks_and_never_reads_does_not_fill_our_memory() {
    let mut wire = Wire::ready();
    let mut taken = 0;
    for second in 0..1_000 {
        wire.now = second * 1001 * MILLI;
        if wire.try_send(&ping(b"12345678").bytes().repeat(1_000)).is_err() {
            break;
        }
        taken += 1_000;
    }
    assert!(taken < 5_000 && wire.connection.output().len() < 100_000, "{taken} pings");
}

#[test]
fn s10_5_1_header_blocks_are_limited() {
    let long = |bytes: usize| answer(1, &vec![0x88; bytes]).open();
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(long(16_384));
    wire.breaks(continuation(1, &[0x88]), CALM);
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(long(0));
    for _ in 0..8 {
        wire.peer_sends(continuation(1, b"").open());
    }
    wire.breaks(continuation(1, OK), CALM);
}

#[test]
fn s10_5_1_a_short_block_that_stands_for_a_long_list_is_limited() {
    let config = ConnectionConfig { header_table_bytes: 4096, ..ConnectionConfig::default() };
    let mut wire = Wire::configured(config, &[]);
    wire.client_starts_many(3);
    let long = [&b"\x88\x40\x01a\x7f\xa1\x1e"[..], &[b'v'; 4000]].concat();
    wire.peer_sends(answer(1, &long));
    wire.peer_sends(answer(3, b"\x8d\xbe\xbe\xbe\xbe"));
    wire.breaks(answer(5, b"\x8d\xbe\xbe\xbe\xbe\xbe"), ErrorCode::COMPRESSION_ERROR);
}

#[test]
fn s10_5_answers_are_kept_within_limits() {
    let config =
        ConnectionConfig { answer_body_bytes_max: 4, answer_fields_bytes_max: 3, ..Default::default() };
    let mut wire = Wire::configured(config, &[]);
    wire.client_starts_many(1);
    wire.peer_sends(headers(1, &fields(&[(":status", "400"), ("a", "b"), ("long", "field")])));
    wire.peer_sends(data(1, "longer than four").end());
    wire.tells(["1 answered 400 a=b \"long\""]);
}
