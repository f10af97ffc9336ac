//! Thousands of requests over TLS to servers that other people wrote: hyper, nginx, h2o, nghttpd and Node. Each must read
//! every body and answer every request. A server that is not there is a failure: `cargo xtask test` installs them.
#![allow(clippy::unwrap_used, reason = "all of it is test code")]

#[path = "../harness/mod.rs"]
mod harness;

mod certificate;
mod hyper;
mod processes;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use burst_h2::ConnectionConfig;
use burst_h2::driver::{DriverConfig, Tls};
use certificate::Certificate;
use harness::{Client, Told};
use rustls_pki_types::ServerName;

const REQUESTS: u64 = 3_000;
const BODY_BYTES: usize = 191;
/// More than a frame and more than the first window of a stream.
const LONG_BODY_BYTES: usize = 70_000;
const LONG_REQUESTS: u64 = 60;
const CONNECTIONS: usize = 3;

/// Sends requests of one size and waits for all their ends.
fn answers(
    address: SocketAddr,
    certificate: &Certificate,
    config: &ConnectionConfig,
    requests: u64,
    body_bytes: usize,
) -> BTreeMap<u64, String> {
    let client: Client<Tls> = Client::new(DriverConfig::default());
    for _ in 0..CONNECTIONS {
        let name = ServerName::try_from("localhost").unwrap();
        let transport = Tls::connect(address, name, certificate.client()).unwrap();
        client.open_with(transport, config.clone());
    }
    client.send(0..requests, body_bytes);
    let mut ends = BTreeMap::new();
    let mut closed = 0;
    while (ends.len() as u64) < requests {
        match client.next() {
            Told::End(tag, result) => assert_eq!(ends.insert(tag, result), None, "{tag} ended twice"),
            Told::Event(event) if event.starts_with("closed") => {
                closed += 1;
                assert!(closed < CONNECTIONS, "all connections are gone: {event}");
            }
            Told::Event(_) => {}
        }
    }
    client.stop();
    ends
}

/// The sizes of the table that we let a server use.
const TABLES: &[u32] = &[0, 4096];

/// Many small requests with each of these sizes of our table, and some long ones. `answer` makes the answer's body out of
/// a request's.
fn exchange(
    address: SocketAddr,
    certificate: &Certificate,
    tables: &[u32],
    answer: impl Fn(usize) -> String,
) {
    for &header_table_bytes in tables {
        let config = ConnectionConfig {
            header_table_bytes,
            keeps_success_bodies: true,
            ..ConnectionConfig::default()
        };
        let expected = format!("200 {}", answer(BODY_BYTES));
        for (tag, result) in answers(address, certificate, &config, REQUESTS, BODY_BYTES) {
            assert_eq!(result, expected.trim(), "request {tag}");
        }
    }
    // nginx answers before it has read the body, and each answer that comes before our last DATA costs a reset.
    let header_table_bytes = tables[0];
    let config = ConnectionConfig { header_table_bytes, resets_max: u32::MAX, ..ConnectionConfig::default() };
    for (tag, result) in answers(address, certificate, &config, LONG_REQUESTS, LONG_BODY_BYTES) {
        assert_eq!(result, "200", "long request {tag}");
    }
}

#[test]
fn hyper_answers_all() {
    let certificate = Certificate::new();
    exchange(hyper::serve(&certificate), &certificate, TABLES, |bytes| bytes.to_string());
}

#[test]
fn nginx_answers_all() {
    let certificate = Certificate::new();
    let server = processes::nginx(&certificate);
    exchange(server.address, &certificate, TABLES, |_| "ok".into());
}

#[test]
fn h2o_answers_all() {
    let certificate = Certificate::new();
    let server = processes::h2o(&certificate);
    // Seen in 2026: h2o 2.2 uses a table of 4096 bytes whatever SETTINGS_HEADER_TABLE_SIZE says (RFC 7541, section 4.2,
    // forbids it), so nothing else works with it.
    exchange(server.address, &certificate, &[4096], |bytes| bytes.to_string());
}

#[test]
fn nghttpd_answers_all() {
    let certificate = Certificate::new();
    let server = processes::nghttpd(&certificate);
    exchange(server.address, &certificate, TABLES, |bytes| "b".repeat(bytes));
}

#[test]
fn node_answers_all() {
    let certificate = Certificate::new();
    let server = processes::node(&certificate);
    exchange(server.address, &certificate, TABLES, |bytes| bytes.to_string());
}
