//! What a connection has to bear and what ends it; the faults that the fast mode has, too.

use std::time::Duration;

use model::{Platform, Reason};
use provider_sim::config::{
    Certificate, Checks, ConnectionFault, ListedFault, Manner, Mode, Storm, StreamChange,
};
use provider_sim::{Config, Error, Fingerprint, start};

use super::ask::{Ask, Key, kinds, now_s, validating};
use crate::harness::{Client, token};
use crate::raw::Raw;

fn apns() -> Config {
    validating(Config::apns())
}

/// A request's fields as Apple wants them, for a client that writes them itself.
fn fields<'a>(path: &'a str, authorization: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
        ("authorization", authorization),
        ("apns-topic", "org.example.app"),
        ("apns-push-type", "alert"),
    ]
}

const BODY: &[u8] = br#"{"aps":{"alert":"x"}}"#;

/// How many answers a connection gives before it says goodbye with this reason.
async fn answers_until_goodbye(config: Config, path: &str, priority: &str) -> (usize, String) {
    let simulator = start(config).unwrap();
    let authorization = format!("bearer {}", Key::new().token(now_s()));
    let mut client = Raw::connect(&simulator).await;
    let mut fields = fields(path, &authorization);
    fields.push(("apns-priority", priority));
    for number in 0..40 {
        client.ask(number * 2 + 1, &fields, BODY).await;
        let answer = client.until(|frame| matches!(frame.kind, 1 | 7)).await;
        if answer.kind == 7 {
            return (number as usize, String::from_utf8(answer.payload[8..].to_vec()).unwrap());
        }
    }
    (40, String::new())
}

#[tokio::test]
async fn wrong_requests_end_a_connection_and_bad_device_tokens_soonest() {
    let mut config = apns();
    config.checks.penalties_max = 12;
    let good = format!("/3/device/{}", token(1));
    let bad = answers_until_goodbye(config.clone(), "/3/device/zz", "10").await;
    assert_eq!(bad, (3, r#"{"reason":"BadDeviceToken"}"#.to_owned()));
    let wrong = answers_until_goodbye(config.clone(), &good, "7").await;
    assert_eq!(wrong, (12, r#"{"reason":"BadPriority"}"#.to_owned()));
    config.faults.dead = 1.0;
    assert_eq!(answers_until_goodbye(config, &good, "10").await.0, 40, "410 is not counted");
}

#[tokio::test]
async fn penalties_slow_a_connection_down() {
    let mut config = apns();
    config.checks.penalty_delay = Duration::from_millis(30);
    let simulator = start(config).unwrap();
    let mut client = Client::connect(&simulator).await;
    let ask = Ask::apns(&Key::new().token(now_s()));
    ask.clone().path("/3/device/zz").send(&mut client).await.unwrap();
    simulator.reset().unwrap();
    ask.send(&mut client).await.unwrap();
    let latency = simulator.report().unwrap().latency;
    assert!(latency.count == 1 && latency.max_us >= 120_000, "{latency:?}");
}

#[tokio::test]
async fn requests_that_the_library_refuses_are_found_as_well() {
    let simulator = start(apns()).unwrap();
    let (path, authorization) =
        (format!("/3/device/{}", token(1)), format!("bearer {}", Key::new().token(now_s())));
    let good = fields(&path, &authorization);
    let without = |name: &str| -> Vec<_> { good.iter().copied().filter(|field| field.0 != name).collect() };
    let with = |field| [good.clone(), vec![field]].concat();
    let late = [good[1..].to_vec(), vec![good[0]]].concat();
    for fields in [
        without(":method"),
        without(":scheme"),
        without(":path"),
        with(("connection", "close")),
        with(("transfer-encoding", "chunked")),
        with(("te", "gzip")),
        with(("content-length", "5")),
        with(("Apns-Id", "x")),
        late,
    ] {
        let mut client = Raw::connect(&simulator).await;
        client.ask(1, &fields, BODY).await;
        let code = client.refusal().await;
        assert!(matches!(code, 1 | 9), "{code} for {:?}", fields.last());
        // Asking over another connection lets the first one's task note what it saw.
        let mut client = Raw::connect(&simulator).await;
        client.ask(1, &good, BODY).await;
        client.until(|frame| frame.kind == 1).await;
        assert_eq!(kinds(&simulator), ["the client broke HTTP/2"], "{:?}", fields.last());
        simulator.reset().unwrap();
    }
}

#[tokio::test]
async fn one_stream_until_a_request_was_valid_and_whatever_the_plan_says_then() {
    // However long a connection takes: the plan's change is not due in a test's life, or soon, before or after the first
    // valid request.
    let (planned, usual) = (vec![0, 3, 0, 0, 0, 7], vec![0, 3, 0, 0, 3, 232]);
    for (after, expected) in [(Duration::from_secs(3_600), &usual), (Duration::from_millis(1), &planned)] {
        let mut config = apns();
        config.limits.stream_changes = vec![StreamChange { after, streams: 7 }];
        let simulator = start(config).unwrap();
        let authorization = format!("bearer {}", Key::new().token(now_s()));
        let mut client = Raw::connect(&simulator).await;
        let path = format!("/3/device/{}", token(1));
        let good = fields(&path, &authorization);
        let is_limit = |frame: &crate::raw::Frame| frame.kind == 4 && frame.flags == 0;
        client.ask(1, &[&good[..], &[("apns-priority", "7")]].concat(), BODY).await;
        let first = client.until(|frame| is_limit(frame) || frame.kind == 1).await;
        assert_eq!(first.kind, 1, "a limit before a valid request");
        client.ask(3, &good, BODY).await;
        loop {
            let limit = client.until(is_limit).await.payload;
            client.write(4, 1, 0, &[]).await;
            if limit == *expected {
                break;
            }
            assert_eq!(limit, usual, "before the plan's change it is the usual one");
        }
        client.ask(5, &good, BODY).await;
        client.until(|frame| frame.kind == 1 && frame.stream == 5).await;
        assert_eq!(simulator.stats().unwrap().connections.violations, 0);
    }
}

#[tokio::test]
async fn refused_dropped_and_silent_requests_look_as_in_the_fast_mode() {
    let mut config = apns();
    config.limits.one_stream_until_valid = false;
    let fault = |key: &str, manner| ListedFault {
        key: Fingerprint::of_key(Platform::Apns, key).unwrap(),
        manner,
        reason: Reason::None,
        times: Some(1),
    };
    config.faults.listed = vec![
        fault("aa", Manner::Refused),
        fault("bb", Manner::DroppedBefore),
        fault("cc", Manner::DroppedAfter),
        fault("dd", Manner::Silent),
    ];
    let simulator = start(config).unwrap();
    let jwt = Key::new().token(now_s());
    let ask = |key: &str| Ask::apns(&jwt).path(&format!("/3/device/{key}"));
    let mut client = Client::connect(&simulator).await;
    let error = ask("aa").send(&mut client).await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
    assert_eq!(ask("aa").send(&mut client).await.unwrap().status, 200);
    assert!(ask("bb").send(&mut client).await.is_err());
    let mut client = Client::connect(&simulator).await;
    assert!(ask("cc").send(&mut client).await.is_err());
    let mut client = Client::connect(&simulator).await;
    let silent = ask("dd").start(&mut client).await.unwrap();
    assert_eq!(ask("ee").send(&mut client).await.unwrap().status, 200);
    drop(silent);
    let report = simulator.report().unwrap();
    assert_eq!((report.arrived, report.refused, report.received), (6, 1, 5));
    assert_eq!((report.processed, report.accepted, report.accepted_unanswered), (4, 4, 2));
    assert_eq!((report.stats.dropped_before, report.stats.dropped_after, report.stats.silent), (1, 1, 1));
    assert!(report.faults_found.is_empty());
}

#[tokio::test]
async fn a_refused_request_is_none_of_those_after_which_a_connection_ends() {
    let mut config = apns();
    config.limits.one_stream_until_valid = false;
    config.limits.streams = 1;
    config.latency.base = Duration::from_millis(100);
    config.faults.goaway.every = Some(2);
    let simulator = start(config).unwrap();
    let authorization = format!("bearer {}", Key::new().token(now_s()));
    let mut client = Raw::connect(&simulator).await;
    let path = format!("/3/device/{}", token(1));
    client.ask(1, &fields(&path, &authorization), BODY).await;
    client.ask(3, &fields(&path, &authorization), BODY).await;
    assert_eq!(client.refusal().await, 7);
    client.until(|frame| frame.kind == 1 && frame.stream == 1).await;
    client.ask(5, &fields(&path, &authorization), BODY).await;
    client.until(|frame| frame.kind == 1 && frame.stream == 5).await;
    assert_eq!(client.goaway().await.0, 5);
    assert!(client.read().await.is_none(), "a client that stays is sent away");
    let stats = simulator.stats().unwrap();
    assert_eq!((stats.refused, stats.accepted), (1, 2));
    assert_eq!(kinds(&simulator), ["a stream above the limit"]);
}

#[tokio::test]
async fn goaway_lets_the_rest_be_answered() {
    let mut config = apns();
    config.limits.one_stream_until_valid = false;
    config.threads = 2;
    config.latency.base = Duration::from_millis(20);
    config.faults.goaway.every = Some(10);
    config.faults.goaway.reason = "Shutdown".into();
    let simulator = start(config).unwrap();
    let mut client = Client::connect(&simulator).await;
    let ask = Ask::apns(&Key::new().token(now_s()));
    let mut answers = Vec::new();
    for number in 0..10 {
        answers.push(
            ask.clone().path(&format!("/3/device/{}", token(number))).start(&mut client).await.unwrap(),
        );
    }
    for answer in answers {
        assert_eq!(crate::harness::finish(answer).await.unwrap().status, 200);
    }
    client.connection.await.unwrap().unwrap();
    assert_eq!(simulator.stats().unwrap().connections.goaways, 1);
    simulator.shutdown().unwrap();
}

#[test]
fn a_flag_that_the_mode_does_not_have_is_refused_by_its_name() {
    let mut config = apns();
    config.answers.header_table_bytes = 0;
    let error = config.check().unwrap_err();
    assert!(matches!(error, Error::Invalid { what: "answer-table-bytes", .. }), "{error}");
    let checks = Checks { topics: vec!["org.example".into()], ..Checks::default() };
    let error = Config { mode: Mode::Fast, checks, ..Config::apns() }.check().unwrap_err();
    assert!(matches!(error, Error::Invalid { what: "topics", .. }), "{error}");
    let usual = Storm::default;
    let connection = Some(ConnectionFault::Reset);
    for (storm, flag) in [
        (Storm { connection, ..usual() }, "connection-fault"),
        (Storm { lasts: Some(Duration::from_secs(1)), ..usual() }, "storm-lasts"),
        (Storm { at_request: 7, ..usual() }, "hit-at"),
        (Storm { refuses: true, ..usual() }, "refuse-connections"),
        (Storm { certificate: Certificate::Expired, ..usual() }, "certificate"),
    ] {
        let mut config = apns();
        config.faults.storm = storm;
        let error = config.check().unwrap_err();
        assert!(matches!(error, Error::Invalid { what, .. } if what == flag), "{error}");
    }
}
