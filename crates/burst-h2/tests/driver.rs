//! The driver over plain TCP against a peer that the test plays itself.
#![allow(clippy::unwrap_used, reason = "all of it is test code")]

mod harness;

use std::time::Duration;

use burst_h2::ConnectionError;
use burst_h2::driver::{Buffers, DriverConfig, Plain, Received, Transport};
use harness::peer::{DATA, GOAWAY, HEADERS, Listener, PING, RST_STREAM, SETTINGS};
use harness::{Client, Told};

const STREAMS: u16 = 3;
const WINDOW: u16 = 4;
const SECOND: u64 = 1_000_000_000;

fn client() -> Client<Plain> {
    Client::new(DriverConfig::default())
}

#[test]
fn requests_go_out_within_the_stream_limit_and_come_back() {
    let listener = Listener::new();
    let client = client();
    client.open(Plain::connect(listener.address()).unwrap());
    let mut peer = listener.accept(&[(STREAMS, 1)]);
    client.expect_event("ready 1");
    client.send(0..100, 10);
    for tag in 0..100 {
        let stream = peer.request();
        assert_eq!(stream, tag * 2 + 1);
        peer.answer(stream);
        client.expect_end(u64::from(tag), "200");
    }
    assert_eq!(client.stop(), [Told::event("closed: closed by us")]);
    assert_eq!(peer.await_frame(GOAWAY).payload, [0; 8]);
}

#[test]
fn a_raised_limit_is_used_without_being_asked() {
    let listener = Listener::new();
    let client = client();
    client.open(Plain::connect(listener.address()).unwrap());
    let mut peer = listener.accept(&[(STREAMS, 1)]);
    client.expect_event("ready 1");
    client.send(0..10, 0);
    peer.request();
    peer.send(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 10]);
    for _ in 1..10 {
        peer.request();
    }
    client.expect_event("limit 10");
}

#[test]
fn a_refused_connection_is_told_as_closed() {
    let address = Listener::new().address();
    let client = client();
    client.open(Plain::connect(address).unwrap());
    client.expect_event("closed: socket failed");
}

#[test]
fn a_peer_that_closes_leaves_sent_requests_unknown() {
    let listener = Listener::new();
    let client = client();
    client.open(Plain::connect(listener.address()).unwrap());
    let mut peer = listener.accept(&[]);
    client.expect_event("ready 1000");
    client.send(0..2, 5);
    let stream = peer.request();
    peer.request();
    peer.answer(stream);
    drop(peer);
    client.expect_end(0, "200");
    client.expect_end(1, "unknown: PeerClosed");
    client.expect_event("closed: peer closed the connection");
}

#[test]
fn goaway_gives_back_what_was_not_processed_and_closes_after_the_rest() {
    let listener = Listener::new();
    let client = client();
    client.open(Plain::connect(listener.address()).unwrap());
    let mut peer = listener.accept(&[]);
    client.expect_event("ready 1000");
    client.send(0..3, 5);
    for _ in 0..3 {
        peer.request();
    }
    peer.send(GOAWAY, 0, 0, b"\0\0\0\x03\0\0\0\0{\"reason\":\"Shutdown\"}");
    client.expect_event("draining {\"reason\":\"Shutdown\"}");
    client.expect_end(2, "not processed: GoAway");
    peer.answer(3);
    client.expect_end(1, "200");
    peer.answer(1);
    client.expect_end(0, "200");
    client.expect_event("closed: closed by us");
    assert_eq!(peer.await_frame(GOAWAY).payload.len(), 8);
    assert_eq!(peer.frame(), None);
}

#[test]
fn a_peer_that_breaks_the_protocol_is_told_and_dropped() {
    let listener = Listener::new();
    let client = client();
    client.open(Plain::connect(listener.address()).unwrap());
    let mut peer = listener.accept(&[]);
    client.expect_event("ready 1000");
    client.send(0..1, 5);
    peer.request();
    peer.send(DATA, 0, 0, b"");
    client.expect_end(0, "unknown: Protocol");
    let what = "frame on a stream that was never opened";
    client.expect_event(&format!("closed: peer broke the protocol (PROTOCOL_ERROR): {what}"));
    assert_eq!(peer.await_frame(GOAWAY).payload, [0, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn deadlines_of_requests_pass_by_the_clock_given() {
    let listener = Listener::new();
    let client = client();
    client.open(Plain::connect(listener.address()).unwrap());
    let mut peer = listener.accept(&[]);
    client.expect_event("ready 1000");
    client.send_until(0..1, 5, SECOND);
    client.send_until(1..2, 5, 3 * SECOND);
    peer.request();
    peer.request();
    client.set_clock(SECOND);
    client.expect_end(0, "unknown: Timeout");
    let reset = peer.await_frame(RST_STREAM);
    assert_eq!((reset.stream, &reset.payload[..]), (1, &[0, 0, 0, 8][..]));
    peer.answer(3);
    client.expect_end(1, "200");
}

#[test]
fn a_connection_must_be_ready_in_time() {
    let listener = Listener::new();
    let client: Client<Plain> =
        Client::new(DriverConfig { ready_within: Duration::from_secs(2), ..DriverConfig::default() });
    client.open(Plain::connect(listener.address()).unwrap());
    let _silent = listener.accept_tcp();
    client.settle();
    client.set_clock(2 * SECOND);
    client.expect_event("closed: connection with settings did not come in time");
}

#[test]
fn settings_must_be_acknowledged_and_pings_answered_in_time() {
    let listener = Listener::new();
    let client = client();
    client.open(Plain::connect(listener.address()).unwrap());
    let mut peer = listener.accept(&[]);
    client.expect_event("ready 1000");
    client.set_clock(SECOND);
    client.with_each(|control, id| control.ping(id));
    let ping = peer.await_frame(PING);
    client.set_clock(3 * SECOND);
    peer.send(PING, 1, 0, &ping.payload);
    client.expect_event(&format!("pong {}", 2 * SECOND));
    client.with_each(|control, id| control.ping(id));
    peer.await_frame(PING);
    client.set_clock(14 * SECOND);
    client.expect_event("closed: answer to a ping did not come in time");
}

#[test]
fn draining_finishes_what_is_open_and_closes() {
    let listener = Listener::new();
    let client = client();
    client.open(Plain::connect(listener.address()).unwrap());
    let mut peer = listener.accept(&[]);
    client.expect_event("ready 1000");
    client.send(0..1, 5);
    peer.request();
    client.with_each(|control, id| control.drain(id));
    client.expect_event("draining ");
    peer.answer(1);
    client.expect_end(0, "200");
    client.expect_event("closed: closed by us");
}

#[test]
fn without_permission_nothing_of_a_request_is_written() {
    let listener = Listener::new();
    let client = client();
    client.open(Plain::connect(listener.address()).unwrap());
    let mut peer = listener.accept(&[(WINDOW, 3)]);
    client.expect_event("ready 1000");
    client.send(0..1, 10);
    assert_eq!(peer.await_frame(HEADERS).stream, 1);
    assert_eq!(peer.await_frame(DATA).payload.len(), 3);
    client.permit(false);
    client.send(1..2, 0);
    client.settle();
    // The window opens, but neither the held body nor the new request may go; the PING is answered all the same.
    peer.send(8, 0, 1, &[0, 0, 0, 100]);
    peer.send(PING, 0, 0, b"12345678");
    let answer = loop {
        let frame = peer.frame().unwrap();
        assert!(frame.kind > HEADERS, "{frame:?}");
        if frame.kind == PING {
            break frame;
        }
    };
    assert_eq!(answer.payload, b"12345678");
    client.permit(true);
    assert_eq!(peer.request(), 1);
    assert_eq!(peer.request(), 3);
}

#[test]
fn revoking_gives_held_bodies_back_and_leaves_the_others() {
    let listener = Listener::new();
    let client = client();
    client.open(Plain::connect(listener.address()).unwrap());
    let mut peer = listener.accept(&[(WINDOW, 3)]);
    client.expect_event("ready 1000");
    client.send(0..1, 3);
    client.send(1..2, 10);
    assert_eq!(peer.request(), 1);
    peer.await_frame(DATA);
    client.with_control(|control| control.revoke(|_, _| true));
    client.expect_end(1, "not processed: Revoked");
    assert_eq!(peer.await_frame(RST_STREAM).stream, 3);
    peer.answer(1);
    client.expect_end(0, "200");
}

#[test]
fn what_a_full_socket_refused_never_goes_once_revoked() {
    let listener = Listener::new();
    let client = client();
    client.open(Plain::connect(listener.address()).unwrap());
    let mut peer = listener.accept(&[(STREAMS, 100_000), (WINDOW, 1 << 30)]);
    client.expect_event("ready 1000");
    // Far more than the buffers of both sockets hold.
    client.send(0..1000, 60_000);
    assert_eq!(peer.request(), 1);
    client.fill();
    client.permit(false);
    client.with_control(|control| control.revoke(|_, _| true));
    client.expect_event("draining ");
    let mut arrived = vec![1];
    peer.answer(1);
    // Reading makes room; still nothing more may come than the kernel has.
    while let Some(stream) = peer.try_request() {
        arrived.push(stream);
        peer.answer(stream);
    }
    let mut ended = Vec::new();
    loop {
        match client.next() {
            Told::End(tag, result) => ended.push((tag, result)),
            Told::Event(event) => {
                assert_eq!(event, "closed: closed by us");
                break;
            }
        }
    }
    let answered: Vec<u32> = ended.iter().filter(|e| e.1 == "200").map(|e| e.0 as u32 * 2 + 1).collect();
    assert_eq!(answered, arrived);
    assert!(ended.len() > answered.len(), "some were encrypted and refused");
    assert!(ended.iter().all(|(_, result)| result == "200" || result == "not processed: Revoked"));
}

#[test]
fn a_socket_that_stays_full_past_a_deadline_closes_and_nothing_that_was_given_back_arrives() {
    const DEADLINE: u64 = 5_000_000;
    let listener = Listener::new();
    let client = client();
    client.open(Plain::connect(listener.address()).unwrap());
    let mut peer = listener.accept(&[(STREAMS, 100_000), (WINDOW, 1 << 30)]);
    client.expect_event("ready 1000");
    client.send_until(0..1000, 60_000, DEADLINE);
    client.fill();
    client.set_clock(DEADLINE);
    let mut given_back = Vec::new();
    loop {
        match client.next() {
            Told::End(tag, result) if result == "not processed: Timeout" => {
                given_back.push(tag as u32 * 2 + 1)
            }
            Told::End(_, result) => assert_eq!(result, "unknown: Timeout"),
            Told::Event(event) if event.starts_with("closed") => break,
            Told::Event(_) => {}
        }
    }
    assert!(!given_back.is_empty());
    while let Some(stream) = peer.try_request() {
        assert!(!given_back.contains(&stream), "stream {stream} was given back and arrived");
    }
}

#[test]
fn stopping_ends_every_request() {
    let listener = Listener::new();
    let client = client();
    client.open(Plain::connect(listener.address()).unwrap());
    let mut peer = listener.accept(&[]);
    client.expect_event("ready 1000");
    client.send(0..50, 5);
    for _ in 0..50 {
        peer.request();
    }
    let told = client.stop();
    assert_eq!(told.len(), 51);
    assert!(told[..50].iter().enumerate().all(|(tag, t)| *t == Told::end(tag as u64, "unknown: Local")));
}

/// A transport that fails in the midst of a write, when this many bytes have gone.
struct Failing {
    inner: Plain,
    bytes_left: usize,
}

impl Transport for Failing {
    fn register(&mut self, registry: &mio::Registry, token: mio::Token) -> std::io::Result<()> {
        self.inner.register(registry, token)
    }

    fn is_open(&self) -> bool {
        self.inner.is_open()
    }

    fn read(
        &mut self,
        buffers: &mut Buffers,
        sink: impl FnMut(&[u8]) -> Result<(), ConnectionError>,
    ) -> Result<Received, ConnectionError> {
        self.inner.read(buffers, sink)
    }

    fn write(&mut self, plaintext: &mut [u8], buffers: &mut Buffers) -> Result<usize, ConnectionError> {
        let length = plaintext.len() - 1;
        let going = length.min(self.bytes_left);
        self.bytes_left -= going;
        assert_eq!(self.inner.write(&mut plaintext[..=going], buffers).unwrap(), going);
        if going < length {
            return Err(ConnectionError::Io(std::io::ErrorKind::BrokenPipe.into()));
        }
        Ok(going)
    }

    fn flush(&mut self) -> Result<(), ConnectionError> {
        self.inner.flush()
    }

    fn is_blocked(&self) -> bool {
        self.inner.is_blocked()
    }

    fn written_through(&self) -> u64 {
        self.inner.written_through()
    }

    fn shutdown(&mut self, buffers: &mut Buffers) {
        self.inner.shutdown(buffers);
    }
}

#[test]
fn what_went_before_a_failure_is_unknown_and_the_rest_not_processed() {
    let listener = Listener::new();
    let client: Client<Failing> = Client::new(DriverConfig::default());
    client.open(Failing { inner: Plain::connect(listener.address()).unwrap(), bytes_left: 5000 });
    let mut peer = listener.accept(&[]);
    client.expect_event("ready 1000");
    client.send(0..10, 1000);
    let mut arrived = Vec::new();
    while let Some(stream) = peer.try_request() {
        arrived.push(stream);
    }
    assert!(arrived.len() > 2 && arrived.len() < 6);
    for tag in 0..10 {
        let is_gone = arrived.contains(&(tag as u32 * 2 + 1));
        client.expect_end(tag, if is_gone { "unknown: Transport" } else { "not processed: Transport" });
    }
    client.expect_event("closed: socket failed");
}
