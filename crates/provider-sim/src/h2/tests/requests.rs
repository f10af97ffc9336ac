//! What the two providers answer when nothing goes wrong, and to what nobody should send.

use model::Reason;

use super::wire::{Wire, block, bytes, post};
use crate::config::Config;
use crate::fingerprint::Fingerprint;
use crate::h2::frame::{self, FLAG_END_HEADERS, FLAG_END_STREAM};
use crate::ledger::bits;

const TOKEN: &str = "00ff00ff";

fn apns() -> Config {
    let mut config = Config::apns();
    config.limits.one_stream_until_valid = false;
    config
}

/// Fields, body, status and reason.
type Case<'a> = (Vec<(&'a str, &'a str)>, &'a [u8], &'a str, &'a str);

fn send(wire: &mut Wire, fields: &[(&str, &str)], body: &[u8]) -> super::wire::Answer {
    let stream = wire.next_stream();
    wire.send(&bytes(frame::HEADERS, FLAG_END_HEADERS, stream, &block(fields))).unwrap();
    wire.send(&bytes(frame::DATA, FLAG_END_STREAM, stream, body)).unwrap();
    wire.answers().pop().unwrap()
}

#[test]
fn apns_answers_with_the_id_it_was_given_or_one_of_its_own() {
    let mut wire = Wire::new(apns());
    let path = format!("/3/device/{TOKEN}");
    let id = "123e4567-e89b-12d3-a456-42665544000a";
    for _ in 0..3 {
        let answer = send(&mut wire, &[post(&path), vec![("apns-id", id)]].concat(), b"{}");
        assert_eq!((answer.status(), answer.header("apns-id")), ("200", Some(id)));
        assert_eq!((answer.headers.len(), answer.body.as_str()), (2, ""));
    }
    let own: std::collections::HashSet<_> =
        (0..50).map(|_| wire.ask(TOKEN).header("apns-id").unwrap().to_owned()).collect();
    assert_eq!(own.len(), 50);
    assert!(own.iter().all(|id| id.len() == 36));
}

#[test]
fn the_sandbox_adds_a_unique_id() {
    let mut config = apns();
    config.answers.sandbox = true;
    let mut wire = Wire::new(config);
    let ids: Vec<_> = (0..3).map(|_| wire.ask(TOKEN).header("apns-unique-id").unwrap().to_owned()).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0].len() == 36);
}

#[test]
fn apns_requests_that_are_wrong_are_answered_with_their_reason() {
    let mut wire = Wire::new(apns());
    let path = format!("/3/device/{TOKEN}");
    let long = "x".repeat(65);
    let cases: [Case<'_>; 9] = [
        (post("/3/device/"), b"{}", "400", "MissingDeviceToken"),
        (post("/3/device/xy"), b"{}", "400", "BadDeviceToken"),
        (post("/2/device/00"), b"{}", "404", "BadPath"),
        (post(&path), b"", "400", "PayloadEmpty"),
        (post(&path), &[b' '; 4_097], "413", "PayloadTooLarge"),
        (vec![(":method", "GET"), (":scheme", "https"), (":path", &path)], b"{}", "405", "MethodNotAllowed"),
        ([post(&path), vec![("apns-id", "5")]].concat(), b"{}", "400", "BadMessageId"),
        ([post(&path), vec![("apns-collapse-id", &long)]].concat(), b"{}", "400", "BadCollapseId"),
        ([post(&path), vec![("apns-expiration", "soon")]].concat(), b"{}", "400", "BadExpirationDate"),
    ];
    for (fields, body, status, reason) in &cases {
        let answer = send(&mut wire, fields, body);
        assert_eq!((answer.status(), answer.json()["reason"].as_str()), (*status, Some(*reason)));
        assert!(answer.header("apns-id").is_some());
    }
    assert_eq!(wire.desk.ledger.counts.unkeyed, cases.len() as u64);
    assert_eq!(wire.desk.ledger.len(), 0, "none of them is in the account");
}

#[test]
fn fcm_answers_with_a_name_and_the_headers_of_google() {
    let mut wire = Wire::new(Config::fcm());
    let answers: Vec<_> = (0..3).map(|number| wire.ask(&format!("key:{number}"))).collect();
    for answer in &answers {
        assert_eq!(answer.status(), "200");
        assert_eq!(answer.header("content-type"), Some("application/json; charset=UTF-8"));
        assert_eq!(answer.headers.iter().filter(|(name, _)| name == "vary").count(), 3);
        assert!(answer.json()["name"].as_str().unwrap().starts_with("projects/demo/messages/0:1770000000"));
    }
    assert_ne!(answers[0].json()["name"], answers[1].json()["name"]);
    let keys: Vec<_> = wire.desk.ledger.entries().map(Fingerprint::from_bits).collect();
    assert_eq!(keys, [0, 1, 2].map(|number| Fingerprint::of_bytes(format!("key:{number}").as_bytes())));
}

#[test]
fn the_date_moves_on() {
    let mut wire = Wire::new(Config::fcm());
    let dates: Vec<_> = (0..3)
        .map(|_| {
            wire.advance(700_000).unwrap();
            wire.ask("k").header("date").unwrap().to_owned()
        })
        .collect();
    let expected = ["00", "01", "02"].map(|second| format!("Mon, 02 Feb 2026 02:40:{second} GMT"));
    assert_eq!(dates, expected);
}

#[test]
fn without_realism_fcm_answers_with_what_a_client_needs() {
    let mut config = Config::fcm();
    config.answers.realistic = false;
    let answer = Wire::new(config).ask("k");
    assert_eq!(answer.headers.len(), 2);
}

#[test]
fn fcm_probes_and_topics_are_answered_and_in_no_account() {
    let mut wire = Wire::new(Config::fcm());
    let fields = post("/v1/projects/demo/messages:send");
    let probe = send(&mut wire, &fields, br#"{"validate_only":true,"message":{"token":"k"}}"#);
    let topic = send(&mut wire, &fields, br#"{"message":{"topic":"news"}}"#);
    assert_eq!((probe.status(), topic.status()), ("200", "200"));
    assert_eq!((wire.desk.ledger.counts.probes, wire.desk.ledger.counts.unkeyed), (1, 1));
    assert_eq!(wire.desk.ledger.len(), 0);
    let wrong = send(&mut wire, &fields, b"{");
    assert_eq!((wrong.status(), wrong.json()["error"]["status"].as_str()), ("400", Some("INVALID_ARGUMENT")));
}

#[test]
fn every_arrival_is_recorded_with_its_outcome() {
    let mut config = apns();
    config.latency.base = std::time::Duration::from_millis(3);
    let mut wire = Wire::new(config);
    wire.request(TOKEN);
    wire.request("aa");
    let accepted = bits::RECEIVED | bits::PROCESSED | bits::ACCEPTED;
    assert!(wire.desk.ledger.entries().all(|entry| entry & bits::ALL == accepted));
    wire.advance(4_000).unwrap();
    assert!(wire.desk.ledger.entries().all(|entry| entry & bits::ALL == accepted | bits::ANSWERED));
    assert_eq!(wire.desk.ledger.extract().latency().min(), 4_000);
}

#[test]
fn repeated_header_blocks_mean_the_same_as_the_first() {
    let mut wire = Wire::new(apns());
    let mut encoder = httlib_hpack::Encoder::default();
    let flags = httlib_hpack::Encoder::WITH_INDEXING | httlib_hpack::Encoder::BEST_FORMAT;
    for number in 0..60u32 {
        let path = format!("/3/device/{number:08x}");
        let topic = if number < 30 { "one" } else { "two" };
        let mut block = Vec::new();
        let path_flags = if number % 7 == 0 { flags } else { 0 };
        for (name, value, flags) in [
            (":method", "POST", flags),
            (":scheme", "https", flags),
            (":path", path.as_str(), path_flags),
            ("apns-topic", topic, flags),
        ] {
            encoder.encode((name.as_bytes().to_vec(), value.as_bytes().to_vec(), flags), &mut block).unwrap();
        }
        let stream = wire.next_stream();
        wire.send(&bytes(frame::HEADERS, FLAG_END_HEADERS, stream, &block)).unwrap();
        wire.send(&bytes(frame::DATA, FLAG_END_STREAM, stream, b"{}")).unwrap();
        assert_eq!(wire.answers().pop().unwrap().status(), "200");
    }
    let keys: Vec<_> = wire.desk.ledger.entries().map(Fingerprint::from_bits).collect();
    let expected: Vec<_> = (0..60u32).map(|number| Fingerprint::of_bytes(&number.to_be_bytes())).collect();
    assert_eq!(keys, expected);
}

#[test]
fn a_body_in_pieces_is_a_body() {
    let mut wire = Wire::new(Config::fcm());
    let stream = wire.next_stream();
    wire.send(&bytes(
        frame::HEADERS,
        FLAG_END_HEADERS,
        stream,
        &block(&post("/v1/projects/p/messages:send")),
    ))
    .unwrap();
    for piece in [&br#"{"message":{"#[..], br#""token":"abc"#, br#"def"}"#] {
        wire.send(&bytes(frame::DATA, 0, stream, piece)).unwrap();
    }
    wire.send(&bytes(frame::DATA, FLAG_END_STREAM, stream, b"}")).unwrap();
    assert_eq!(wire.answers().pop().unwrap().status(), "200");
    assert_eq!(
        wire.desk.ledger.entries().next().map(Fingerprint::from_bits),
        Some(Fingerprint::of_bytes(b"abcdef"))
    );
    assert_eq!(wire.desk.ledger.counts.reasons.get(&Reason::InvalidArgument), None);
}
