//! What a storm does to a connection, as a client meets it.

use std::time::Duration;

use model::Reason;

use super::wire::{Frame, Wire, bytes, goaway};
use crate::config::{Config, ConnectionFault, Hits, Storm};
use crate::h2::Farewell;
use crate::h2::frame::{self, FLAG_END_HEADERS};

fn wire(storm: Storm) -> Wire {
    let mut config = Config::apns();
    config.limits.one_stream_until_valid = false;
    config.faults.storm = storm;
    Wire::new(config)
}

/// The second request of a connection brings its turn.
fn hit(fault: ConnectionFault) -> Storm {
    Storm { connection: Some(fault), at_request: 2, ..Storm::default() }
}

fn key(number: u32) -> String {
    format!("{number:08x}")
}

fn of_kind(frames: &[Frame], kind: u8) -> Vec<&Frame> {
    frames.iter().filter(|frame| frame.kind == kind).collect()
}

#[test]
fn the_request_that_brings_a_connection_s_turn_is_received_and_never_answered() {
    let farewells = [
        (ConnectionFault::TlsAlert, Farewell::Alert),
        (ConnectionFault::HalfClose, Farewell::Fin),
        (ConnectionFault::CloseNotify, Farewell::CloseNotify),
        (ConnectionFault::Silence, Farewell::Silence),
        (ConnectionFault::Reset, Farewell::Reset),
        (ConnectionFault::Stall, Farewell::Stall),
    ];
    for (fault, farewell) in farewells {
        let mut wire = wire(hit(fault));
        assert_eq!(wire.ask(&key(1)).status(), "200");
        let stream = wire.next_stream();
        let request = wire.request_bytes(stream, &key(2));
        wire.send(&request).unwrap();
        let behind = wire.next_stream();
        let behind = wire.request_bytes(behind, &key(3));
        wire.send(&behind).unwrap();
        assert_eq!(wire.desk.ledger.entries().count(), 3, "all were received, one behind the hit too");
        let is_cut = matches!(farewell, Farewell::Reset | Farewell::Stall);
        let said = if is_cut { frame::HEADER_BYTES + 5 } else { 0 };
        assert_eq!(wire.connection.farewell, Some((farewell, said)), "{fault:?}: half a frame or nothing");
        assert_eq!(wire.connection.out.len(), said, "{fault:?}: no answer");
        assert_eq!(wire.desk.ledger.counts.connections_hit, 1);
    }
}

#[test]
fn a_flood_goes_on_as_long_as_it_is_read_and_no_longer() {
    for (fault, kind) in [
        (ConnectionFault::SettingsFlood, frame::SETTINGS),
        (ConnectionFault::PingFlood, frame::PING),
        (ConnectionFault::ResetFlood, frame::RST_STREAM),
    ] {
        let mut wire = wire(hit(fault));
        wire.ask(&key(1));
        wire.request(&key(2));
        for _ in 0..20 {
            wire.advance(5_000).unwrap();
        }
        let unread = wire.connection.out.len();
        assert!(unread < 1 << 20, "{fault:?}: {unread} bytes that nobody reads");
        assert!(of_kind(&wire.frames(), kind).len() > 4_000);
        wire.advance(5_000).unwrap();
        assert!(of_kind(&wire.frames(), kind).len() > 4_000, "{fault:?} goes on");
    }
}

#[test]
fn a_flood_of_resets_resets_what_is_open_and_answers_it_no_more() {
    let mut config = Config::apns();
    config.limits.one_stream_until_valid = false;
    config.latency.base = Duration::from_millis(10);
    config.faults.storm = Storm { at_request: 3, ..hit(ConnectionFault::ResetFlood) };
    let mut wire = Wire::new(config);
    let open: Vec<u32> = (1..=3).map(|number| wire.request(&key(number))).collect();
    let frames = wire.frames();
    for stream in open {
        assert!(frames.iter().any(|frame| (frame.kind, frame.stream) == (frame::RST_STREAM, stream)));
    }
    wire.advance(20_000).unwrap();
    assert!(of_kind(&wire.frames(), frame::HEADERS).is_empty());
}

#[test]
fn a_giant_header_list_comes_in_whole_frames_and_would_decode() {
    let mut wire = wire(hit(ConnectionFault::GiantHeaders));
    wire.ask(&key(1));
    let stream = wire.request(&key(2));
    let frames = wire.frames();
    let (last, others) = frames.split_last().unwrap();
    assert!(others.len() > 60 && others.iter().all(|frame| frame.flags & FLAG_END_HEADERS == 0));
    assert!(last.flags & FLAG_END_HEADERS != 0 && frames.iter().all(|frame| frame.stream == stream));
    let mut block: Vec<u8> = frames.into_iter().flat_map(|frame| frame.payload).collect();
    let mut fields = Vec::new();
    httlib_hpack::Decoder::default().decode(&mut block, &mut fields).unwrap();
    assert_eq!((fields.len(), fields[1].1.len()), (2, 1 << 20));
}

#[test]
fn the_second_goaway_falls_to_what_has_arrived_or_rises_against_the_rules() {
    let mut falling = wire(hit(ConnectionFault::GoawayTwice));
    falling.ask(&key(1));
    let stream = falling.request(&key(2));
    let first = goaway(of_kind(&falling.frames(), frame::GOAWAY)[0]);
    falling.advance(5_000).unwrap();
    let second = goaway(of_kind(&falling.frames(), frame::GOAWAY)[0]);
    assert_eq!((first.0, second.0), (0x7fff_ffff, stream));

    let mut rising = wire(hit(ConnectionFault::GoawayRising));
    rising.ask(&key(1));
    let stream = rising.request(&key(2));
    let frames = rising.frames();
    let ids: Vec<u32> = of_kind(&frames, frame::GOAWAY).into_iter().map(|frame| goaway(frame).0).collect();
    assert!(ids.len() == 2 && ids[0] == stream && ids[1] > stream, "{ids:?}");
}

#[test]
fn no_stream_is_allowed_for_a_while_and_then_as_many_as_before() {
    let limit = |frames: &[Frame]| {
        let settings = of_kind(frames, frame::SETTINGS).into_iter().find(|frame| frame.flags == 0)?;
        Some(u32::from_be_bytes(settings.payload[2..6].try_into().unwrap()))
    };
    let mut wire = wire(Storm { pause: Duration::from_millis(50), ..hit(ConnectionFault::NoStreams) });
    wire.ask(&key(1));
    wire.request(&key(2));
    assert_eq!(limit(&wire.frames()), Some(0));
    wire.send(&bytes(frame::SETTINGS, frame::FLAG_ACK, 0, &[])).unwrap();
    wire.advance(40_000).unwrap();
    assert_eq!(limit(&wire.frames()), None);
    wire.advance(20_000).unwrap();
    assert_eq!(limit(&wire.frames()), Some(1_000));
}

#[test]
fn one_connection_is_hit_and_the_next_is_not() {
    let storm = Storm { hits: Hits::One, ..hit(ConnectionFault::TlsAlert) };
    let mut first = wire(storm);
    first.ask(&key(1));
    first.request(&key(2));
    assert!(first.connection.farewell.is_some());
    let mut second = first.reconnect();
    for number in 3..10 {
        assert_eq!(second.ask(&key(number)).status(), "200");
    }
}

#[test]
fn a_storm_of_answers_passes_and_credentials_seen_before_it_stay_expired() {
    let mut wire = wire(Storm {
        from_request: 2,
        lasts: Some(Duration::from_millis(1)),
        answers: Some(Reason::InvalidProviderToken),
        ..Storm::default()
    });
    assert_eq!(wire.ask(&key(1)).status(), "200");
    assert_eq!(wire.ask(&key(2)).json()["reason"], "InvalidProviderToken");
    wire.advance(2_000).unwrap();
    assert_eq!(wire.ask(&key(3)).status(), "200");

    let mut wire = self::wire(Storm { from_request: 2, expires_credentials: true, ..Storm::default() });
    assert_eq!(wire.ask(&key(1)).status(), "200");
    assert_eq!(wire.ask(&key(2)).json()["reason"], "ExpiredProviderToken");
}
