//! Section 3: starting HTTP/2.

use burst_h2::{ConnectionConfig, ErrorCode};

use crate::transcript::frames::*;
use crate::transcript::{PREFACE, Wire};

#[test]
fn s3_4_the_preface_and_settings_go_first() {
    let mut wire = Wire::silent(ConnectionConfig::default());
    assert!(wire.connection.output().starts_with(PREFACE));
    wire.client_writes(["SETTINGS 1=0 2=0 4=65535 6=16384", "WINDOW_UPDATE 0 2147418112"]);
}

#[test]
fn s3_4_requests_wait_for_the_servers_settings() {
    let mut wire = Wire::silent(ConnectionConfig::default());
    assert_eq!(wire.connection.capacity(), 0);
    assert!(wire.try_start(1, "", u64::MAX).is_err());
    wire.peer_sends(settings(&[]));
    wire.tells(["ready, limit 1000"]);
    wire.client_starts(1, "");
}

#[test]
fn s3_4_the_servers_first_frame_must_be_settings() {
    for first in [
        settings_ack(),
        ping(b"12345678"),
        goaway(0, ErrorCode::NO_ERROR, ""),
        window_update(0, 1),
        answer(1, OK),
        data(1, ""),
        Frame::new(0xfe, 0, 0, b"unknown"),
    ] {
        Wire::silent(ConnectionConfig::default()).breaks(first, ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn s3_4_a_server_that_speaks_http_1_is_told_and_left() {
    let mut wire = Wire::silent(ConnectionConfig::default());
    wire.output();
    assert!(wire.try_send(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_err());
    wire.client_writes(["GOAWAY 0 FRAME_SIZE_ERROR"]);
}

#[test]
fn s3_4_the_servers_settings_are_acknowledged() {
    let mut wire = Wire::silent(ConnectionConfig::default());
    wire.output();
    wire.peer_sends(settings(&[(MAX_CONCURRENT_STREAMS, 100)]));
    wire.client_writes(["SETTINGS ack"]);
}
