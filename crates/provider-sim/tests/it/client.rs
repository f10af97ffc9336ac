//! The simulators as an independent HTTP/2 client meets them, over TLS and TCP.

use std::time::Duration;

use crate::harness::{Client, finish, tls, token};
use model::{Platform, Reason};
use provider_sim::{Config, Fingerprint, start};
use rustls::version;

fn apns() -> Config {
    let mut config = Config::apns();
    config.latency.base = Duration::from_millis(5);
    config
}

#[tokio::test]
async fn apns_answers_thousands_on_a_few_connections() {
    let mut config = apns();
    config.threads = 2;
    let simulator = start(config).unwrap();
    let mut clients = Vec::new();
    for connection in 0..4u32 {
        let mut client = Client::connect(&simulator).await;
        clients.push(tokio::spawn(async move {
            assert_eq!(client.apns(&token(connection * 1_000)).await.unwrap().status, 200);
            let mut answers = Vec::new();
            for number in 1..1_000 {
                let uri = format!("https://localhost/3/device/{}", token(connection * 1_000 + number));
                answers.push(
                    client
                        .start(&uri, &[("apns-id", "123e4567-e89b-12d3-a456-426655440000")], "{}")
                        .await
                        .unwrap(),
                );
            }
            for answer in answers {
                let answer = finish(answer).await.unwrap();
                assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]));
                assert_eq!(answer.headers["apns-id"], "123e4567-e89b-12d3-a456-426655440000");
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    let report = simulator.report().unwrap();
    assert_eq!(
        (report.received, report.distinct, report.accepted, report.answered),
        (4_000, 4_000, 4_000, 4_000)
    );
    assert_eq!((report.received_twice, report.latency.count), (0, 4_000));
    assert!(report.latency.p50_us >= 5_000);
    assert_eq!(report.arrivals_per_100ms.iter().sum::<u64>(), 4_000);
    assert_eq!(report.stats.connections.opened, 4);
    let keys = simulator.keys().unwrap();
    assert!(keys.is_sorted_by_key(|count| count.key));
    let expected = Fingerprint::of_key(Platform::Apns, &token(77)).unwrap();
    assert!(keys.iter().any(|count| count.key == expected && count.received == 1));
    simulator.shutdown().unwrap();
}

#[tokio::test]
async fn fcm_answers_with_bodies_and_counts_who_came_twice() {
    let simulator = start(Config::fcm()).unwrap();
    let mut client = Client::connect(&simulator).await;
    for number in 0..300 {
        let answer = client.fcm(&format!("cXyz:APA91b{}", number % 250)).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-type"], "application/json; charset=UTF-8");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(body["name"].as_str().unwrap().starts_with("projects/demo/messages/0:"));
    }
    let report = simulator.report().unwrap();
    assert_eq!(
        (report.received, report.distinct, report.received_twice, report.accepted_twice),
        (300, 250, 50, 50)
    );
}

#[tokio::test]
async fn a_client_without_a_header_table_is_answered_in_literals() {
    let simulator = start(Config::fcm()).unwrap();
    let socket = tokio::net::TcpStream::connect(simulator.address()).await.unwrap();
    let connector =
        tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls(simulator.ca_pem(), &[&version::TLS13])));
    let stream = connector.connect("127.0.0.1".try_into().unwrap(), socket).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.header_table_size(0).initial_window_size(20).max_concurrent_streams(10);
    let (send, connection) = builder.handshake::<_, bytes::Bytes>(stream).await.unwrap();
    let mut client = Client { send, connection: tokio::spawn(connection) };
    for _ in 0..5 {
        assert_eq!(client.fcm("k").await.unwrap().headers["server"], "scaffolding on HTTPServer2");
    }
}

#[tokio::test]
async fn tls_1_2_is_spoken_too_and_strangers_are_not_trusted() {
    let simulator = start(apns()).unwrap();
    let mut old =
        Client::connect_with(&simulator, tls(simulator.ca_pem(), &[&version::TLS12])).await.unwrap();
    assert_eq!(old.apns("aa").await.unwrap().status, 200);
    let stranger = start(apns()).unwrap();
    assert!(Client::connect_with(&simulator, tls(stranger.ca_pem(), &[&version::TLS13])).await.is_err());
    assert_eq!(old.apns("bb").await.unwrap().status, 200);
}

#[tokio::test]
async fn goaway_lets_the_rest_be_sent_elsewhere() {
    let mut config = apns();
    config.limits.one_stream_until_valid = false;
    config.faults.goaway.every = Some(10);
    config.faults.goaway.reason = "Shutdown".into();
    let simulator = start(config).unwrap();
    let mut client = Client::connect(&simulator).await;
    let mut answers = Vec::new();
    for number in 0..10 {
        let uri = format!("https://localhost/3/device/{}", token(number));
        answers.push(client.start(&uri, &[], "{}").await.unwrap());
    }
    for answer in answers {
        assert_eq!(finish(answer).await.unwrap().status, 200);
    }
    client.connection.await.unwrap().unwrap();
    assert_eq!(simulator.stats().unwrap().connections.goaways, 1);
}

#[tokio::test]
async fn refused_dropped_and_silent_requests_look_as_they_should() {
    let mut config = apns();
    config.limits.one_stream_until_valid = false;
    let fault = |key: &str, manner| provider_sim::config::ListedFault {
        key: Fingerprint::of_key(Platform::Apns, key).unwrap(),
        manner,
        reason: Reason::None,
        times: Some(1),
    };
    use provider_sim::config::Manner;
    config.faults.listed = vec![
        fault("aa", Manner::Refused),
        fault("bb", Manner::DroppedBefore),
        fault("cc", Manner::DroppedAfter),
        fault("dd", Manner::Silent),
    ];
    let simulator = start(config).unwrap();
    let mut client = Client::connect(&simulator).await;
    let error = client.apns("aa").await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
    assert_eq!(client.apns("aa").await.unwrap().status, 200);
    assert!(client.apns("bb").await.is_err());
    let mut client = Client::connect(&simulator).await;
    assert!(client.apns("cc").await.is_err());
    let mut client = Client::connect(&simulator).await;
    let silent = client.start("https://localhost/3/device/dd", &[], "{}").await.unwrap();
    assert_eq!(client.apns("ee").await.unwrap().status, 200);
    drop(silent);
    let report = simulator.report().unwrap();
    assert_eq!((report.arrived, report.refused, report.received), (6, 1, 5));
    assert_eq!((report.processed, report.accepted, report.accepted_unanswered), (4, 4, 2));
    assert_eq!((report.stats.dropped_before, report.stats.dropped_after, report.stats.silent), (1, 1, 1));
}

#[tokio::test]
async fn connections_above_the_limit_are_closed() {
    let mut config = apns();
    config.limits.connections = Some(1);
    config.limits.accept_delay = Duration::from_millis(2);
    let simulator = start(config).unwrap();
    let mut first = Client::connect(&simulator).await;
    let trust = || tls(simulator.ca_pem(), &[&version::TLS13]);
    assert!(Client::connect_with(&simulator, trust()).await.is_err());
    assert_eq!(first.apns("aa").await.unwrap().status, 200);
    assert_eq!(simulator.stats().unwrap().connections.refused, 1);
}
