//! Our records against rustls as the server, and what a peer may and may not say behind the handshake.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::crypto::aws_lc_rs;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite};
use rustls_pki_types::{PrivateKeyDer, ServerName};

use super::*;

/// Both ends of a session behind its handshake. The server makes its records by the same means, so that tests can have
/// it say anything; that they agree with other people's is shown by the tests over sockets.
struct Pair {
    client: Records,
    server: Half,
    server_opens: Half,
    server_keys: rustls::kernel::KernelConnection<rustls::server::ServerConnectionData>,
    /// What the server said at the end of the handshake: tickets.
    first: Vec<u8>,
    config: Arc<ClientConfig>,
    server_config: Arc<ServerConfig>,
}

fn configs(suite: SupportedCipherSuite) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(key.cert.der().clone()).unwrap();
    let provider =
        rustls::crypto::CryptoProvider { cipher_suites: vec![suite], ..aws_lc_rs::default_provider() };
    let provider = Arc::new(provider);
    let secret = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], secret)
        .unwrap();
    server.enable_secret_extraction = true;
    server.send_tls13_tickets = 2;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    (Arc::new(client), Arc::new(server))
}

/// Goes on with a handshake: what it says is appended to `out`. Whether traffic may be written.
fn step<D>(status: UnbufferedStatus<'_, '_, D>, out: &mut Vec<u8>, used: &mut usize) -> Option<bool> {
    *used = status.discard;
    match status.state.unwrap() {
        ConnectionState::EncodeTlsData(mut data) => {
            let start = out.len();
            out.resize(start + 8_192, 0);
            let length = data.encode(&mut out[start..]).unwrap();
            out.truncate(start + length);
            None
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            None
        }
        ConnectionState::WriteTraffic(_) => Some(true),
        _ => Some(false),
    }
}

impl Pair {
    /// With the tickets received.
    fn new(suite: SupportedCipherSuite) -> Pair {
        let mut pair = Pair::before_tickets(suite);
        let tickets = std::mem::take(&mut pair.first);
        pair.receive(&tickets).2.unwrap();
        pair
    }

    fn before_tickets(suite: SupportedCipherSuite) -> Pair {
        let (config, server_config) = configs(suite);
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = UnbufferedClientConnection::new(config.clone(), name).unwrap();
        let mut server = UnbufferedServerConnection::new(server_config.clone()).unwrap();
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        let (mut is_client_through, mut is_server_through) = (false, false);
        while !is_client_through || !is_server_through {
            let mut used = 0;
            while !is_client_through {
                let through = step(client.process_tls_records(&mut to_client), &mut to_server, &mut used);
                to_client.drain(..used);
                is_client_through = through == Some(true);
                if through.is_some() {
                    break;
                }
            }
            while !is_server_through {
                let through = step(server.process_tls_records(&mut to_server), &mut to_client, &mut used);
                to_server.drain(..used);
                is_server_through = through == Some(true);
                if through.is_some() {
                    break;
                }
            }
        }
        assert!(suits(&client));
        let (ExtractedSecrets { tx, rx }, server_keys) = server.dangerous_into_kernel_connection().unwrap();
        Pair {
            client: Records::take_over(client).unwrap(),
            server: Half::new(tx).unwrap(),
            server_opens: Half::new(rx).unwrap(),
            server_keys,
            first: to_client,
            config,
            server_config,
        }
    }

    /// A record of the server's.
    fn says(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        self.server.seal(kind, content, &mut record);
        assert_eq!(record.len(), content.len() + OVERHEAD_BYTES);
        record
    }

    /// What the client sends for a content, in the order of sending.
    fn sends(&mut self, content: &[u8]) -> Vec<u8> {
        const ROOM: u8 = 0xa5;
        let mut room = [content, &[ROOM]].concat();
        let mut margins = b"of the write before".to_vec();
        let lead = self.client.seal(&mut room, &mut margins).unwrap();
        assert_eq!(room.pop(), Some(ROOM), "the byte of room is only lent");
        let (lead, margins) = margins.split_at(lead);
        let pairs = room.chunks(RECORD_BYTES).zip(margins.chunks(OVERHEAD_BYTES));
        pairs.fold(lead.to_vec(), |sent, (content, margin)| [&sent, content, margin].concat())
    }

    /// What the client makes of received bytes: data, answer, how it ended.
    fn receive(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<u8>, Result<Opened, ConnectionError>) {
        let (mut data, mut out) = (Vec::new(), Vec::new());
        let result = self.client.open(&mut bytes.to_vec(), &mut out, &mut |piece| {
            data.extend_from_slice(piece);
            Ok(())
        });
        (data, out, result)
    }

    /// The server opens one record.
    fn opens(&mut self, record: &[u8]) -> (u8, Vec<u8>) {
        let (header, sealed) = record.split_first_chunk().unwrap();
        let mut sealed = sealed.to_vec();
        let (kind, content) = self.server_opens.open(*header, &mut sealed).unwrap();
        (kind, content.to_vec())
    }
}

fn aes_128() -> Pair {
    Pair::new(aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256)
}

fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&[kind], &length[1..], payload].concat()
}

#[test]
fn both_lengths_of_key_carry_data_both_ways() {
    use aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384};
    for suite in [TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384] {
        let mut pair = Pair::new(suite);
        for length in [1, 100, RECORD_BYTES] {
            let content = vec![7; length];
            let sent = pair.sends(&content);
            assert_eq!(pair.opens(&sent), (APPLICATION_DATA, content.clone()));
            let record = pair.says(APPLICATION_DATA, &content);
            let (data, _, opened) = pair.receive(&record);
            assert_eq!((data, opened.unwrap().used), (content, record.len()));
        }
    }
}

#[test]
fn a_long_write_is_cut_into_full_records() {
    let mut pair = aes_128();
    let content: Vec<u8> = (0..3 * RECORD_BYTES + 5).map(|at| (at % 251) as u8).collect();
    let sent = pair.sends(&content);
    assert_eq!(sent.len(), content.len() + 4 * OVERHEAD_BYTES);
    for (record, content) in sent.chunks(RECORD_BYTES + OVERHEAD_BYTES).zip(content.chunks(RECORD_BYTES)) {
        assert_eq!(pair.opens(record), (APPLICATION_DATA, content.to_vec()));
    }
}

#[test]
fn tickets_behind_the_handshake_are_kept_for_the_next_connection() {
    let mut pair = Pair::before_tickets(aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256);
    let first = std::mem::take(&mut pair.first);
    assert!(!first.is_empty(), "the server sends tickets");
    let (data, out, opened) = pair.receive(&first);
    assert_eq!((data.len(), out.len(), opened.unwrap().used), (0, 0, first.len()));
    let name = ServerName::try_from("localhost").unwrap();
    let mut next = UnbufferedClientConnection::new(pair.config.clone(), name).unwrap();
    let mut hello = Vec::new();
    step(next.process_tls_records(&mut []), &mut hello, &mut 0);
    let mut server = UnbufferedServerConnection::new(pair.server_config.clone()).unwrap();
    let mut answer = Vec::new();
    loop {
        let mut used = 0;
        let through = step(server.process_tls_records(&mut hello), &mut answer, &mut used);
        hello.drain(..used);
        if through.is_some() {
            break;
        }
    }
    assert!(answer.len() < 500, "a resumed handshake has no certificate: {} bytes", answer.len());
}

#[test]
fn a_handshake_message_in_pieces_is_put_together_and_nothing_may_come_between() {
    let mut pair = aes_128();
    let update = message(KEY_UPDATE, &[0]);
    let pieces = [pair.says(HANDSHAKE, &update[..2]), pair.says(HANDSHAKE, &update[2..])].concat();
    assert_eq!(pair.receive(&pieces).2.unwrap().used, pieces.len());
    let (sequence, secrets) = pair.server_keys.update_tx_secret().unwrap();
    pair.server = Half::new((sequence, secrets)).unwrap();
    let record = pair.says(APPLICATION_DATA, b"under new keys");
    assert_eq!(pair.receive(&record).0, b"under new keys");
    let broken = [pair.says(HANDSHAKE, &update[..2]), pair.says(APPLICATION_DATA, b"x")].concat();
    assert!(pair.receive(&broken).2.is_err());
}

#[test]
fn new_keys_that_are_asked_for_are_announced_under_the_old_ones() {
    let mut pair = aes_128();
    let record = pair.says(HANDSHAKE, &message(KEY_UPDATE, &[1]));
    let (_, out, opened) = pair.receive(&record);
    opened.unwrap();
    assert_eq!(pair.opens(&out), (HANDSHAKE, message(KEY_UPDATE, &[0])));
    pair.server_opens = Half::new(pair.server_keys.update_rx_secret().unwrap()).unwrap();
    let sent = pair.sends(b"under new keys");
    assert_eq!(pair.opens(&sent).1, b"under new keys");
}

#[test]
fn keys_are_renewed_before_they_have_sealed_too_much() {
    let mut pair = aes_128();
    pair.client.records_max = pair.client.send.sequence + 2;
    for _ in 0..2 {
        let sent = pair.sends(b"data");
        assert_eq!(pair.opens(&sent).1, b"data");
    }
    let sent = pair.sends(b"data");
    let (update, data) = sent.split_at(5 + OVERHEAD_BYTES);
    assert_eq!(pair.opens(update), (HANDSHAKE, message(KEY_UPDATE, &[0])));
    pair.server_opens = Half::new(pair.server_keys.update_rx_secret().unwrap()).unwrap();
    assert_eq!(pair.opens(data).1, b"data");
}

#[test]
fn a_peer_that_does_nothing_but_renew_keys_is_left() {
    let mut pair = aes_128();
    let mut renewals = 0;
    let result = loop {
        let record = pair.says(HANDSHAKE, &message(KEY_UPDATE, &[1]));
        let result = pair.receive(&record).2;
        if result.is_err() {
            break result;
        }
        renewals += 1;
        pair.server = Half::new(pair.server_keys.update_tx_secret().unwrap()).unwrap();
    };
    assert_eq!(renewals, RENEWALS_MAX);
    let expected = PeerMisbehaved::TooManyKeyUpdateRequests;
    assert!(matches!(result, Err(ConnectionError::Tls(Error::PeerMisbehaved(what))) if what == expected));
}

#[test]
fn a_farewell_ends_the_session_and_what_follows_it_is_not_read() {
    let mut pair = aes_128();
    let bytes = [
        pair.says(APPLICATION_DATA, b"last"),
        pair.says(ALERT, &[1, 0]),
        pair.says(APPLICATION_DATA, b"late"),
    ];
    let (data, _, opened) = pair.receive(&bytes.concat());
    assert_eq!((data, opened.unwrap().is_closed), (b"last".to_vec(), true));
    let mut farewell = Vec::new();
    pair.client.close(&mut farewell);
    assert_eq!(pair.opens(&farewell), (ALERT, vec![1, 0]));
}

#[test]
fn other_alerts_are_errors_that_name_them() {
    let mut pair = aes_128();
    let record = pair.says(ALERT, &[2, 80]);
    let error = pair.receive(&record).2.unwrap_err();
    let ConnectionError::Tls(error) = error else { panic!("{error}") };
    assert_eq!(error, Error::AlertReceived(AlertDescription::InternalError));
}

#[test]
fn what_may_not_stand_behind_a_handshake_is_refused() {
    let with_more = [message(KEY_UPDATE, &[0]), message(KEY_UPDATE, &[0])].concat();
    let contents: [(u8, &[u8]); 7] = [
        (HANDSHAKE, &[]),
        (HANDSHAKE, &message(KEY_UPDATE, &[2])),
        (HANDSHAKE, &with_more),
        (HANDSHAKE, &message(13, &[0; 10])),
        (HANDSHAKE, &[NEW_SESSION_TICKET, 0xff, 0, 0]),
        (ALERT, &[1]),
        (20, &[1]),
    ];
    for (kind, content) in contents {
        let mut pair = aes_128();
        let record = pair.says(kind, content);
        assert!(pair.receive(&record).2.is_err(), "{kind} {content:?}");
    }
}

#[test]
fn records_that_are_damaged_too_long_or_in_the_clear_are_refused() {
    let mut pair = aes_128();
    let mut record = pair.says(APPLICATION_DATA, b"data");
    let last = record.len() - 1;
    record[last] ^= 1;
    assert!(pair.receive(&record).2.is_err(), "damaged");
    let mut pair = aes_128();
    let too_long = (RECORD_BYTES + EXPANSION_BYTES_MAX + 1) as u16;
    let header = [&[APPLICATION_DATA, 3, 3], &too_long.to_be_bytes()[..]].concat();
    assert!(pair.receive(&header).2.is_err(), "too long");
    let mut pair = aes_128();
    let record = pair.says(APPLICATION_DATA, &vec![1; RECORD_BYTES + 1]);
    assert!(pair.receive(&record).2.is_err(), "more content than a record may have");
    let mut pair = aes_128();
    assert!(pair.receive(&[ALERT, 3, 3, 0, 2, 1, 0]).2.is_err(), "in the clear");
    let mut pair = aes_128();
    let record = pair.says(0, &[0; 20]);
    assert!(pair.receive(&record).2.is_err(), "nothing but padding");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn records_cut_anywhere_give_the_same_data(lengths in prop::collection::vec(0..500usize, 1..12), cut in 1..40usize) {
        let mut pair = aes_128();
        let mut bytes = Vec::new();
        for (number, length) in lengths.iter().enumerate() {
            bytes.extend(pair.says(APPLICATION_DATA, &vec![number as u8 + 1; *length]));
        }
        let (mut waiting, mut data) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(cut) {
            waiting.extend_from_slice(piece);
            let (more, _, opened) = pair.receive(&waiting);
            data.extend(more);
            waiting.drain(..opened.unwrap().used);
        }
        let expected: Vec<u8> =
            lengths.iter().enumerate().flat_map(|(number, length)| vec![number as u8 + 1; *length]).collect();
        prop_assert_eq!(data, expected);
        prop_assert!(waiting.is_empty());
    }
}
