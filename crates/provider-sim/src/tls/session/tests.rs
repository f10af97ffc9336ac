//! Sessions against rustls' own client, without sockets.

use std::convert::Infallible;
use std::io::{Read, Write};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, version};

use super::*;
use crate::tls::Authority;

struct Pair {
    client: ClientConnection,
    session: Session,
    carry: Vec<u8>,
    received: Vec<u8>,
    heard: Vec<u8>,
    is_closed: bool,
}

impl Pair {
    fn new(protocol: &'static SupportedProtocolVersion) -> Self {
        let authority = Authority::new(&[], "test", crate::config::Certificate::Good).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.certificate_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_protocol_versions(&[protocol]).unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let client = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
        let session = Session::new(&authority.server).unwrap();
        let mut pair = Self {
            client,
            session,
            carry: Vec::new(),
            received: Vec::new(),
            heard: Vec::new(),
            is_closed: false,
        };
        while pair.client.is_handshaking() {
            pair.deliver(usize::MAX);
        }
        pair.deliver(usize::MAX);
        pair
    }

    /// Brings what the client has written to the session, `cut` bytes at a time, and the answers back.
    fn deliver(&mut self, cut: usize) {
        let mut wire = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut wire).unwrap();
        }
        let mut out = Vec::new();
        for piece in wire.chunks(cut.min(wire.len().max(1))) {
            self.carry.extend_from_slice(piece);
            let receive = |plaintext: &[u8]| {
                self.received.extend_from_slice(plaintext);
                Ok::<(), Infallible>(())
            };
            let opened = self.session.open(&mut self.carry, &mut out, receive).unwrap();
            self.carry.drain(..opened.used);
            self.is_closed |= opened.is_closed;
        }
        self.hand_back(&out);
    }

    fn hand_back(&mut self, mut wire: &[u8]) {
        while !wire.is_empty() {
            self.client.read_tls(&mut wire).unwrap();
            self.client.process_new_packets().unwrap();
            // The client has nothing to read as long as the handshake goes on.
            let _ = self.client.reader().read_to_end(&mut self.heard);
        }
    }

    fn say(&mut self, text: &[u8], cut: usize) {
        self.client.writer().write_all(text).unwrap();
        self.deliver(cut);
        assert_eq!(std::mem::take(&mut self.received), text);
    }

    fn hear(&mut self, text: &[u8]) {
        let mut out = Vec::new();
        assert!(self.session.seal(text, &mut out));
        self.hand_back(&out);
        assert_eq!(std::mem::take(&mut self.heard), text);
    }
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|number| number as u8).collect()
}

#[test]
fn both_versions_carry_long_and_short_texts_however_they_are_cut() {
    for protocol in [&version::TLS13, &version::TLS12] {
        let mut pair = Pair::new(protocol);
        for length in [1, 100, 16_384, 16_385, 50_000] {
            pair.say(&text(length), usize::MAX);
            pair.say(&text(length), 1_000);
            pair.hear(&text(length));
        }
        pair.say(b"byte by byte", 1);
        pair.client.send_close_notify();
        pair.deliver(usize::MAX);
        assert!(pair.is_closed);
    }
}

#[test]
fn tls_1_3_is_taken_over() {
    let pair = Pair::new(&version::TLS13);
    assert!(matches!(pair.session.state, State::Established(_)));
    assert!(matches!(Pair::new(&version::TLS12).session.state, State::Rustls(_)));
}

#[test]
fn keys_are_renewed_by_either_side() {
    let mut pair = Pair::new(&version::TLS13);
    pair.client.refresh_traffic_keys().unwrap();
    pair.say(b"with new keys", usize::MAX);
    pair.hear(b"with old ones");
    let State::Established(records) = &mut pair.session.state else { panic!("not established") };
    records.records_max = 3;
    for _ in 0..10 {
        pair.hear(b"always new ones");
    }
    pair.say(b"still the same", usize::MAX);
}

#[test]
fn a_forged_record_ends_the_session() {
    let mut pair = Pair::new(&version::TLS13);
    for mut forged in [vec![23, 3, 3, 0, 20, 0], vec![22, 3, 3, 0, 20], vec![23, 3, 3, 0xff, 0xff]] {
        forged.resize(25, 7);
        let receive = |_: &[u8]| Ok::<(), Infallible>(());
        assert!(matches!(pair.session.open(&mut forged, &mut Vec::new(), receive), Err(Failure::Tls)));
    }
}

#[test]
fn closing_is_heard_by_the_client() {
    let mut pair = Pair::new(&version::TLS13);
    let mut out = Vec::new();
    pair.session.close(&mut out);
    let mut wire = &out[..];
    pair.client.read_tls(&mut wire).unwrap();
    assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
}
