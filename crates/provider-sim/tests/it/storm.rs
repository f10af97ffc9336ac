//! Storms as clients see them on their sockets.

use std::io::ErrorKind;
use std::time::Duration;

use provider_sim::config::{Certificate, ConnectionFault, Storm};
use provider_sim::{Config, Simulator, start};
use rustls::version;
use tokio::net::TcpStream;

use crate::harness::{Client, tls, token};
use crate::raw::Raw;

/// Frames of the simulator's own that are cut: nine bytes of the head and five of a hundred.
const HALF_A_FRAME: usize = 9 + 5;

fn in_storm(storm: Storm) -> Simulator {
    let mut config = Config::apns();
    config.limits.one_stream_until_valid = false;
    config.faults.storm = storm;
    start(config).unwrap()
}

/// A client whose first request has brought the storm over its connection.
async fn hit(fault: ConnectionFault) -> (Simulator, Raw) {
    let simulator = in_storm(Storm { connection: Some(fault), ..Storm::default() });
    let mut client = Raw::connect(&simulator).await;
    ask(&mut client, 1).await;
    (simulator, client)
}

async fn ask(client: &mut Raw, stream: u32) {
    let path = format!("/3/device/{}", token(stream));
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", &path),
        ("authorization", "bearer t"),
        ("apns-topic", "org.example"),
    ];
    client.ask(stream, &fields, b"{}").await;
}

/// Returns once the simulator has seen so many requests.
async fn requests(simulator: &Simulator, count: u64) {
    while simulator.stats().unwrap().requests < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn connections_are_refused_during_the_storm_and_those_from_before_stay() {
    let simulator = in_storm(Storm { from_request: 1, refuses: true, ..Storm::default() });
    let mut before = Client::connect(&simulator).await;
    assert_eq!(before.apns(&token(1)).await.unwrap().status, 200);
    for _ in 0..3 {
        let error = TcpStream::connect(simulator.address()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    assert_eq!(before.apns(&token(2)).await.unwrap().status, 200, "who was connected stays so");
}

#[tokio::test]
async fn nobody_else_is_given_the_port_while_connections_are_refused() {
    // Without any connection, which would take the port, too.
    let simulator = in_storm(Storm { refuses: true, ..Storm::default() });
    while TcpStream::connect(simulator.address()).await.is_ok() {}
    let stranger = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let error = stranger.bind(&simulator.address().into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[tokio::test]
async fn connections_are_accepted_after_the_storm() {
    let storm =
        Storm { from_request: 1, lasts: Some(Duration::from_millis(50)), refuses: true, ..Storm::default() };
    let simulator = in_storm(storm);
    let mut before = Client::connect(&simulator).await;
    assert_eq!(before.apns(&token(1)).await.unwrap().status, 200);
    while let Err(error) = TcpStream::connect(simulator.address()).await {
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        tokio::task::yield_now().await;
    }
    let mut after = Client::connect(&simulator).await;
    assert_eq!(after.apns(&token(2)).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_alert_is_fatal() {
    let (_simulator, mut client) = hit(ConnectionFault::TlsAlert).await;
    let (_, end) = client.rest().await;
    let error = end.unwrap_err();
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    assert_eq!(
        cause,
        Some(&rustls::Error::AlertReceived(rustls::AlertDescription::InternalError)),
        "{error}"
    );
}

#[tokio::test]
async fn after_half_a_close_requests_are_still_processed_and_not_answered() {
    let (simulator, mut client) = hit(ConnectionFault::HalfClose).await;
    let (_, end) = client.rest().await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::UnexpectedEof, "the end of TLS was not announced");
    ask(&mut client, 3).await;
    requests(&simulator, 2).await;
    assert_eq!(simulator.report().unwrap().accepted_unanswered, 2);
}

#[tokio::test]
async fn close_notify_is_an_end_in_order_after_which_requests_are_still_processed() {
    let (simulator, mut client) = hit(ConnectionFault::CloseNotify).await;
    let (_, end) = client.rest().await;
    end.unwrap();
    ask(&mut client, 3).await;
    requests(&simulator, 2).await;
    assert_eq!(simulator.report().unwrap().accepted_unanswered, 2);
}

#[tokio::test]
async fn a_reset_cuts_a_frame() {
    let (_simulator, mut client) = hit(ConnectionFault::Reset).await;
    let (rest, end) = client.rest().await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    // What has arrived before a reset may be thrown away by the kernel.
    assert!(rest.is_empty() || rest.ends_with(&[0x88; 5]), "{rest:?}");
}

#[tokio::test]
async fn a_stall_cuts_a_frame_and_nothing_is_read_until_the_client_hangs_up() {
    let (simulator, mut client) = hit(ConnectionFault::Stall).await;
    // What the simulator says of itself ends with the acknowledgement of the client's settings.
    client.until(|frame| (frame.kind, frame.flags) == (4, 1)).await;
    let half = client.bytes(HALF_A_FRAME).await;
    assert_eq!(half[..9], [0, 0, 100, 1, 4, 0, 0, 0, 1]);
    ask(&mut client, 3).await;
    let stats = simulator.stats().unwrap();
    assert_eq!((stats.requests, stats.connections.open), (1, 1));
    drop(client);
    while simulator.stats().unwrap().connections.open > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(simulator.stats().unwrap().requests, 1);
}

#[tokio::test]
async fn a_client_sees_what_is_wrong_with_the_certificate_and_only_in_the_storm() {
    for (certificate, complaint) in
        [(Certificate::Expired, "certificate expired"), (Certificate::OtherName, "not valid for name")]
    {
        let simulator = in_storm(Storm { from_request: 1, certificate, ..Storm::default() });
        let mut before = Client::connect(&simulator).await;
        assert_eq!(before.apns(&token(1)).await.unwrap().status, 200);
        let trust = tls(simulator.ca_pem(), &[&version::TLS13]);
        let error = Client::connect_with(&simulator, trust).await.err().unwrap().to_string();
        assert!(error.contains(complaint), "{error}");
        assert_eq!(before.apns(&token(2)).await.unwrap().status, 200);
    }
}
