//! TLS: the handshake's conditions, and that the count of written requests is exact to the record.
#![allow(clippy::unwrap_used, reason = "all of it is test code")]

mod harness;

use burst_h2::driver::{DriverConfig, Tls};
use harness::peer::{Listener, Peer};
use harness::tls::{Configs, configs, configs_with_alpn, serve, without_extraction};
use harness::{Client, Told};
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::ServerName;

const STREAMS: u16 = 3;
const WINDOW: u16 = 4;

fn connect(listener: &Listener, configs: &Configs) -> Tls {
    let name = ServerName::try_from("localhost").unwrap();
    Tls::connect(listener.address(), name, configs.client.clone()).unwrap()
}

fn client() -> Client<Tls> {
    Client::new(DriverConfig::default())
}

fn answers_come_back(configs: &Configs) {
    let listener = Listener::new();
    let client = client();
    client.open(connect(&listener, configs));
    let mut peer = Peer::begin(serve(listener.accept_tcp(), &configs.server), &[]);
    client.expect_event("ready 1000");
    client.send(0..500, 200);
    for tag in 0..500 {
        let stream = peer.request();
        peer.answer(stream);
        client.expect_end(tag, "200");
    }
    assert_eq!(client.stop(), [Told::event("closed: closed by us")]);
    // Ended in order: the frames, then close_notify.
    while peer.frame().is_some() {}
}

#[test]
fn requests_are_answered_over_tls_1_3_by_records_of_our_own() {
    answers_come_back(&configs(&TLS13));
}

#[test]
fn requests_are_answered_over_tls_1_3_by_records_of_rustls() {
    answers_come_back(&without_extraction(configs(&TLS13)));
}

#[test]
fn requests_are_answered_over_tls_1_2() {
    answers_come_back(&configs(&TLS12));
}

#[test]
fn a_server_that_does_not_choose_h2_is_refused() {
    let listener = Listener::new();
    let configs = configs_with_alpn(&TLS13, b"");
    let mut server = (*configs.server).clone();
    server.alpn_protocols.clear();
    let client = client();
    client.open(connect(&listener, &configs));
    let mut stream = serve(listener.accept_tcp(), &std::sync::Arc::new(server));
    let _ = std::io::Read::read(&mut stream, &mut [0; 100]);
    client.expect_event("closed: peer did not choose h2 by alpn");
}

#[test]
fn a_server_that_nobody_vouches_for_is_refused() {
    let listener = Listener::new();
    let (ours, theirs) = (configs(&TLS13), configs(&TLS13));
    let client = client();
    client.open(connect(&listener, &ours));
    let mut stream = serve(listener.accept_tcp(), &theirs.server);
    let _ = std::io::Read::read(&mut stream, &mut [0; 100]);
    client.expect_event("closed: tls failed");
}

#[test]
fn configurations_that_do_not_suit_are_refused_before_connecting() {
    let listener = Listener::new();
    let name = ServerName::try_from("localhost").unwrap();
    let mut config = (*configs(&TLS13).client).clone();
    config.max_fragment_size = Some(1000);
    assert!(Tls::connect(listener.address(), name.clone(), config.clone().into()).is_err());
    config.max_fragment_size = None;
    config.alpn_protocols.clear();
    assert!(Tls::connect(listener.address(), name, config.into()).is_err());
}

/// The client fills the sockets and closes; the server then reads all that the kernel was given. What it could decrypt
/// to the last byte must be exactly what the client calls unknown, all else not processed.
#[test]
fn unknown_is_exactly_what_the_kernel_was_given_in_whole_records() {
    let sessions = [
        (configs(&TLS13), 4000),
        (configs(&TLS13), 60_000),
        (without_extraction(configs(&TLS13)), 4000),
        (configs(&TLS12), 4000),
        (configs(&TLS12), 30),
    ];
    for (configs, body_bytes) in sessions {
        let listener = Listener::new();
        let client = client();
        let unlimited = burst_h2::ConnectionConfig { streams_max: 1_000_000, ..Default::default() };
        client.open_with(connect(&listener, &configs), unlimited);
        let settings = [(STREAMS, 1_000_000), (WINDOW, 1 << 30)];
        let mut peer = Peer::begin(serve(listener.accept_tcp(), &configs.server), &settings);
        client.expect_event("ready 1000000");
        client.send(0..60_000_000 / body_bytes, body_bytes as usize);
        assert_eq!(peer.request(), 1);
        client.fill();
        client.with_each(|control, id| control.close(id));
        let mut unknown = Vec::new();
        let mut not_processed = 0;
        loop {
            match client.next() {
                Told::End(tag, result) if result == "unknown: Local" => unknown.push(tag as u32 * 2 + 1),
                Told::End(_, result) => {
                    assert_eq!(result, "not processed: Local");
                    not_processed += 1;
                }
                Told::Event(_) => break,
            }
        }
        let mut arrived = vec![1];
        arrived.extend(std::iter::from_fn(|| peer.try_request()));
        assert_eq!(arrived, unknown);
        assert!(not_processed > 0, "the sockets were full");
    }
}
