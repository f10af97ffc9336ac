//! Against the `h2` crate as the server: an independent reading of our frames and header blocks, and answers by another
//! hand than the test's.
#![allow(clippy::unwrap_used, reason = "all of it is test code")]

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};

use burst_h2::ConnectionConfig;
use burst_h2::driver::{DriverConfig, Plain};
use bytes::Bytes;
use h2::server::{self, SendResponse};
use harness::{Client, Told};
use http::{Request, Response};

/// What the server saw of a request.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    path: String,
    authorization: String,
    body_bytes: usize,
}

/// Serves any number of connections until the process ends; tells what it sees.
fn serve(builder: server::Builder, seen: Sender<Seen>) -> SocketAddr {
    let (tell, address) = channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, async move {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (builder, seen) = (builder.clone(), seen.clone());
                tokio::task::spawn_local(async move {
                    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::task::spawn_local(answer(request, respond, seen.clone()));
                    }
                });
            }
        });
    };
    std::thread::Builder::new().spawn(run).unwrap();
    address.recv().unwrap()
}

/// By the number in the path: refuses each tenth, answers each seventh with an error and a body, else with 200.
async fn answer(request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>, seen: Sender<Seen>) {
    let path = request.uri().path().to_owned();
    let authorization = request.headers()["authorization"].to_str().unwrap().to_owned();
    let mut body_bytes = 0;
    let mut body = request.into_body();
    while let Some(Ok(data)) = body.data().await {
        body_bytes += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    let number: u64 = path.rsplit('/').next().unwrap().parse().unwrap();
    let _ = seen.send(Seen { path, authorization, body_bytes });
    let response = Response::builder().header("apns-id", format!("id-{number}"));
    match number {
        n if n % 10 == 0 => respond.send_reset(h2::Reason::REFUSED_STREAM),
        n if n % 7 == 0 => {
            let response = response.status(410).body(()).unwrap();
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data(Bytes::from(format!("reason {n}")), true).unwrap();
        }
        _ => {
            respond.send_response(response.body(()).unwrap(), true).unwrap();
        }
    }
}

fn expected(tag: u64) -> String {
    match tag {
        n if n % 10 == 0 => "not processed: Refused".into(),
        n if n % 7 == 0 => format!("410 reason {n}"),
        _ => "200".into(),
    }
}

/// Sends requests over a few connections and compares both sides.
fn exchange(builder: server::Builder, config: ConnectionConfig, requests: u64, body_bytes: usize) {
    let (seen, was_seen) = channel();
    let address = serve(builder, seen);
    let client = Client::new(DriverConfig::default());
    for _ in 0..3 {
        client.open_with(Plain::connect(address).unwrap(), config.clone());
    }
    client.send(0..requests, body_bytes);
    let mut ends = BTreeMap::new();
    while (ends.len() as u64) < requests {
        if let Told::End(tag, result) = client.next() {
            assert_eq!(ends.insert(tag, result), None, "{tag} ended twice");
        }
    }
    for (tag, result) in &ends {
        assert_eq!(*result, expected(*tag), "{tag}");
    }
    let seen: BTreeSet<String> = was_seen
        .try_iter()
        .map(|seen| {
            assert_eq!((seen.authorization.as_str(), seen.body_bytes), ("bearer x", body_bytes), "{seen:?}");
            seen.path
        })
        .collect();
    assert_eq!(seen, (0..requests).map(|tag| format!("/3/device/{tag}")).collect());
    assert_eq!(client.stop().len(), 3, "each connection closes once");
}

#[test]
fn many_requests_are_read_and_answered_alike() {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(500);
    exchange(builder, ConnectionConfig::default(), 5000, 191);
}

#[test]
fn a_peer_with_small_windows_gets_bodies_in_pieces() {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(100).initial_window_size(50).initial_connection_window_size(65_535);
    exchange(builder, ConnectionConfig::default(), 500, 333);
}

#[test]
fn large_bodies_pass() {
    exchange(server::Builder::new(), ConnectionConfig::default(), 60, 50_000);
}

#[test]
fn answers_with_a_dynamic_table_are_read() {
    let config = ConnectionConfig { header_table_bytes: 4096, ..ConnectionConfig::default() };
    exchange(server::Builder::new(), config, 2000, 10);
}
