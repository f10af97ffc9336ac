//! Section 9: connections and TLS, over real sockets and rustls.

use std::io::Write as _;

use burst_h2::driver::{DriverConfig, Tls};
use burst_h2::{ConnectionConfig, ErrorCode};
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::ServerName;

use crate::harness::peer::{DATA, GOAWAY, HEADERS, Listener, Peer};
use crate::harness::tls::{Configs, configs, configs_with_alpn, serve};
use crate::harness::{Client, Told};
use crate::transcript::Wire;
use crate::transcript::frames::{OK, answer, goaway};

fn connect(listener: &Listener, configs: &Configs) -> Tls {
    let name = ServerName::try_from("localhost").unwrap();
    Tls::connect(listener.address(), name, configs.client.clone()).unwrap()
}

fn client() -> Client<Tls> {
    Client::new(DriverConfig::default())
}

#[test]
fn s9_1_a_connection_that_is_closed_in_order_says_goaway() {
    let listener = Listener::new();
    let configs = configs(&TLS13);
    let client = client();
    client.open(connect(&listener, &configs));
    let mut peer = Peer::begin(serve(listener.accept_tcp(), &configs.server), &[]);
    client.expect_event("ready 1000");
    client.with_each(|control, id| control.drain(id));
    client.expect_event("draining ");
    client.expect_event("closed: closed by us");
    assert_eq!(peer.await_frame(GOAWAY).payload, [0; 8]);
    // Then close_notify: a cut would be an error of the server's reader, not an end.
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut peer.stream, &mut rest).unwrap();
}

#[test]
fn s9_1_a_connection_that_takes_nothing_new_goes_on_until_all_is_answered() {
    let mut wire = Wire::with_requests(2);
    wire.drains();
    assert_eq!((wire.connection.capacity(), wire.connection.is_finished()), (0, false));
    wire.peer_sends(answer(1, OK));
    wire.peer_sends(goaway(3, ErrorCode::NO_ERROR, ""));
    assert!(!wire.connection.is_finished());
    wire.peer_sends(answer(3, OK));
    assert!(wire.connection.is_finished());
}

#[test]
fn s9_2_tls_1_2_and_1_3_both_serve() {
    for version in [&TLS12, &TLS13] {
        let listener = Listener::new();
        let configs = configs(version);
        let client = client();
        client.open(connect(&listener, &configs));
        let mut peer = Peer::begin(serve(listener.accept_tcp(), &configs.server), &[]);
        client.expect_event("ready 1000");
        client.send(0..3, 10);
        for tag in 0..3 {
            let stream = peer.request();
            peer.answer(stream);
            client.expect_end(tag, "200");
        }
    }
}

#[test]
fn s9_2_the_host_is_named_and_h2_offered_in_the_handshake() {
    let listener = Listener::new();
    let configs = configs(&TLS13);
    let client = client();
    client.open(connect(&listener, &configs));
    let peer = Peer::begin(serve(listener.accept_tcp(), &configs.server), &[]);
    client.expect_event("ready 1000");
    assert_eq!(peer.stream.conn.server_name(), Some("localhost"));
    assert_eq!(peer.stream.conn.alpn_protocol(), Some(&b"h2"[..]));
}

#[test]
fn s9_2_a_server_that_chooses_another_protocol_or_none_is_left_before_a_byte_of_http() {
    for alpn in [&b""[..], b"http/1.1"] {
        let listener = Listener::new();
        let configs = configs_with_alpn(&TLS13, alpn);
        let mut server = (*configs.server).clone();
        if alpn.is_empty() {
            server.alpn_protocols.clear();
        }
        let client = client();
        client.open(connect(&listener, &configs));
        let mut stream = serve(listener.accept_tcp(), &server.into());
        let mut heard = Vec::new();
        // With another protocol than any offered rustls' server breaks the handshake itself.
        let _ = std::io::Read::read_to_end(&mut stream, &mut heard);
        assert_eq!(heard, b"");
        let closed = client.next();
        let refused = ["closed: peer did not choose h2 by alpn", "closed: tls failed"].map(Told::event);
        assert!(refused.contains(&closed), "{closed:?}");
    }
}

#[test]
fn s9_2_keys_may_be_updated_at_any_time() {
    let listener = Listener::new();
    let configs = configs(&TLS13);
    let client = client();
    client.open(connect(&listener, &configs));
    let mut peer = Peer::begin(serve(listener.accept_tcp(), &configs.server), &[]);
    client.expect_event("ready 1000");
    for tag in 0..50 {
        client.send(tag..tag + 1, 20_000);
        // Asks the client for an update of its own, which goes out before its next record.
        peer.stream.conn.refresh_traffic_keys().unwrap();
        let stream = peer.request();
        peer.answer(stream);
        client.expect_end(tag, "200");
    }
}

#[test]
fn s9_2_what_came_before_close_notify_counts_and_the_rest_is_unknown() {
    let listener = Listener::new();
    let configs = configs(&TLS13);
    let client = client();
    client.open(connect(&listener, &configs));
    let mut peer = Peer::begin(serve(listener.accept_tcp(), &configs.server), &[]);
    client.expect_event("ready 1000");
    client.send(0..2, 5);
    let stream = peer.request();
    peer.request();
    // An answer, half a frame and the farewell leave together.
    peer.stream.conn.writer().write_all(&answer(stream, OK).bytes()).unwrap();
    peer.stream.conn.writer().write_all(&answer(3, OK).bytes()[..7]).unwrap();
    peer.stream.conn.send_close_notify();
    while peer.stream.conn.wants_write() {
        peer.stream.conn.write_tls(&mut peer.stream.sock).unwrap();
    }
    client.expect_end(0, "200");
    client.expect_end(1, "unknown: PeerClosed");
    client.expect_event("closed: peer closed the connection");
}

#[test]
fn s9_2_a_socket_that_ends_without_close_notify_is_an_end_too() {
    let listener = Listener::new();
    let configs = configs(&TLS13);
    let client = client();
    client.open(connect(&listener, &configs));
    let mut peer = Peer::begin(serve(listener.accept_tcp(), &configs.server), &[]);
    client.expect_event("ready 1000");
    client.send(0..1, 5);
    peer.request();
    drop(peer);
    client.expect_end(0, "unknown: PeerClosed");
    client.expect_event("closed: peer closed the connection");
}

#[test]
fn s9_2_frames_may_be_cut_across_records() {
    let listener = Listener::new();
    let configs = configs(&TLS13);
    let client = client();
    client.open(connect(&listener, &configs));
    let mut peer = Peer::begin(serve(listener.accept_tcp(), &configs.server), &[]);
    client.expect_event("ready 1000");
    client.send(0..1, 5);
    let stream = peer.request();
    for byte in answer(stream, OK).bytes() {
        peer.stream.write_all(&[byte]).unwrap();
        peer.stream.flush().unwrap();
    }
    client.expect_end(0, "200");
}

#[test]
fn s9_1_a_wave_of_timeouts_over_a_socket_makes_few_resets_and_closes() {
    const MILLI: u64 = 1_000_000;
    let listener = Listener::new();
    let configs = configs(&TLS13);
    let client = client();
    let config = ConnectionConfig { timeouts_max: 1000, ..ConnectionConfig::default() };
    let resets_max = config.resets_max as usize;
    client.open_with(connect(&listener, &configs), config);
    let mut peer = Peer::begin(serve(listener.accept_tcp(), &configs.server), &[]);
    client.expect_event("ready 1000");
    client.send_until(0..100, 5, MILLI);
    for _ in 0..100 {
        peer.request();
    }
    client.set_clock(MILLI);
    let told: Vec<Told> = (0..102).map(|_| client.next()).collect();
    let timeouts = (0..100).filter(|tag| told.contains(&Told::end(*tag, "unknown: Timeout"))).count();
    assert_eq!(timeouts, 100);
    assert_eq!(told.last(), Some(&Told::event("closed: closed by us")));
    let frames: Vec<u8> = std::iter::from_fn(|| peer.frame()).map(|frame| frame.kind).collect();
    assert!(!frames.contains(&DATA) && !frames.contains(&HEADERS));
    assert_eq!(frames.iter().filter(|kind| **kind == 3).count(), resets_max);
    assert_eq!(frames.last(), Some(&GOAWAY));
}
