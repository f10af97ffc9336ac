//! Every knob of the configuration, as a client meets it.

use std::time::Duration;

use model::{Platform, Reason};

use super::wire::{Answer, Frame, Wire, bytes, goaway, post};
use crate::config::{Config, Distribution, ListedFault, Manner, OverLimit, Quota, Shares, StreamChange};
use crate::fingerprint::{Fingerprint, is_dead};
use crate::h2::Stop;
use crate::h2::frame::{self, ErrorCode, FLAG_ACK, FLAG_END_HEADERS, FLAG_END_STREAM};
use crate::judge::Rules;
use crate::ledger::bits;

fn apns() -> Config {
    let mut config = Config::apns();
    config.limits.one_stream_until_valid = false;
    config
}

fn key(number: u32) -> String {
    format!("{number:08x}")
}

fn print_of(config: &Config, key: &str) -> Fingerprint {
    Fingerprint::of_key(config.provider, key).unwrap()
}

fn listed(config: &mut Config, key: &str, manner: Manner, reason: Reason, times: Option<u32>) {
    let key = print_of(config, key);
    config.faults.listed.push(ListedFault { key, manner, reason, times });
}

fn ask_all(wire: &mut Wire, keys: std::ops::Range<u32>) -> Vec<Answer> {
    keys.map(|number| wire.ask(&key(number))).collect()
}

fn outcomes(wire: &Wire) -> Vec<u128> {
    wire.desk.ledger.entries().map(|entry| entry & bits::ALL).collect()
}

fn is_refused(frame: &Frame) -> bool {
    frame.kind == frame::RST_STREAM && frame.payload == 7u32.to_be_bytes()
}

fn limit_in(frames: &[Frame]) -> Option<u32> {
    let settings =
        frames.iter().rfind(|frame| frame.kind == frame::SETTINGS && frame.flags & FLAG_ACK == 0)?;
    let (pairs, _) = settings.payload.as_chunks::<6>();
    let limit =
        pairs.iter().find(|pair| pair[..2] == frame::SETTINGS_MAX_CONCURRENT_STREAMS.to_be_bytes())?;
    Some(u32::from_be_bytes(limit[2..].try_into().unwrap()))
}

#[test]
fn dead_keys_are_gone_for_ever_and_can_be_predicted() {
    for mut config in [apns(), Config::fcm()] {
        config.faults.dead = 0.3;
        config.faults.dead_seed = Some(5);
        let (mut wire, mut dead) = (Wire::new(config.clone()), 0);
        for number in (0..200).chain(0..200) {
            let answer = wire.ask(&key(number));
            let is_gone = is_dead(5, print_of(&config, &key(number)), 0.3);
            let gone = if config.provider == Platform::Apns { "410" } else { "404" };
            assert_eq!(answer.status(), if is_gone { gone } else { "200" });
            dead += u32::from(is_gone);
        }
        assert!((80..160).contains(&dead), "{dead}");
    }
}

#[test]
fn a_410_has_the_same_timestamp_whenever_it_is_given() {
    let mut config = apns();
    config.faults.dead = 1.0;
    config.faults.unregistered_within = Duration::from_secs(1_000);
    let mut wire = Wire::new(config);
    let stamps: Vec<_> =
        ask_all(&mut wire, 0..20).iter().map(|a| a.json()["timestamp"].as_u64().unwrap()).collect();
    let again: Vec<_> =
        ask_all(&mut wire, 0..20).iter().map(|a| a.json()["timestamp"].as_u64().unwrap()).collect();
    assert_eq!(stamps, again);
    assert!(stamps.iter().all(|ms| (1_769_999_000_000..=1_770_000_000_000).contains(ms)), "{stamps:?}");
    assert!(stamps[0] != stamps[1]);
}

#[test]
fn lasting_reasons_stay_with_their_keys_and_rules_predict_them() {
    let mut config = apns();
    config.faults.shares = "BadDeviceToken=0.2,DeviceTokenNotForTopic=0.1,ExpiredToken=0.1".parse().unwrap();
    let rules = Rules::of(&config);
    let mut wire = Wire::new(config.clone());
    let first = ask_all(&mut wire, 0..300);
    for (number, answer) in first.iter().enumerate() {
        let expected = rules.lasting(print_of(&config, &key(number as u32)));
        let reason = if answer.body.is_empty() {
            "none".to_owned()
        } else {
            answer.json()["reason"].as_str().unwrap().to_owned()
        };
        assert_eq!(reason, expected.text());
    }
    let rejected = first.iter().filter(|answer| answer.status() != "200").count();
    assert!((90..150).contains(&rejected), "{rejected}");
    let again = ask_all(&mut wire, 0..300);
    assert!(first.iter().zip(&again).all(|(one, two)| one.status() == two.status()));
}

#[test]
fn passing_faults_pass_and_say_when_to_come_back() {
    let mut config = Config::fcm();
    config.faults.shares = "UNAVAILABLE=0.3,INTERNAL=0.1,QUOTA_EXCEEDED=0.1".parse().unwrap();
    config.faults.retry_after = Duration::from_secs(7);
    let mut wire = Wire::new(config);
    let mut waiting: Vec<u32> = (0..200).collect();
    let mut rounds = 0;
    while !waiting.is_empty() {
        rounds += 1;
        waiting.retain(|number| {
            let answer = wire.ask(&key(*number));
            let retry_after = match answer.status() {
                "503" | "429" => Some("7"),
                "200" | "500" => None,
                other => panic!("{other}"),
            };
            assert_eq!(answer.header("retry-after"), retry_after);
            answer.status() != "200"
        });
    }
    assert!((3..20).contains(&rounds), "{rounds}");
    let transient = outcomes(&wire).iter().filter(|bits| **bits == bits::RECEIVED | bits::ANSWERED).count();
    assert_eq!(transient, wire.desk.ledger.len() - 200, "a fault that passes is received and not processed");
}

#[test]
fn every_reason_of_a_provider_can_be_answered() {
    for mut config in [apns(), Config::fcm()] {
        let status = |reason| match config.provider {
            Platform::Apns => crate::apns::status(reason),
            Platform::Fcm => crate::fcm::status(reason),
        };
        for (reason, status) in Reason::ALL.iter().filter_map(|reason| Some((*reason, status(*reason)?))) {
            config.faults.shares = Shares([(reason, 1.0)].into());
            let answer = Wire::new(config.clone()).ask("aa");
            assert_eq!(answer.status(), status, "{reason}");
            assert!(answer.body.contains(reason.text()) || status == "401" || status == "403", "{reason}");
            let waits = [
                Reason::TooManyRequests,
                Reason::ServiceUnavailable,
                Reason::QuotaExceeded,
                Reason::Unavailable,
            ]
            .contains(&reason);
            assert_eq!(answer.header("retry-after"), waits.then_some("10"), "{reason}");
            let is_dated = answer.body.contains("\"timestamp\":");
            assert_eq!(is_dated, status == "410", "{reason}");
        }
    }
}

#[test]
fn a_refused_stream_is_not_received() {
    let mut config = apns();
    config.faults.refused = 1.0;
    let mut wire = Wire::new(config);
    wire.request("aa");
    assert!(is_refused(&wire.read()[0]));
    assert_eq!(outcomes(&wire), [0]);
    assert_eq!(wire.desk.ledger.counts.refused, 1);
}

#[test]
fn a_drop_before_processing_writes_nothing_and_processes_nothing() {
    let mut config = apns();
    config.faults.dropped_before = 1.0;
    let mut wire = Wire::new(config);
    let request = wire.request_bytes(1, "aa");
    assert_eq!(wire.send(&request), Err(Stop::Dropped));
    assert!(wire.frames().is_empty());
    assert_eq!(outcomes(&wire), [bits::RECEIVED]);
}

#[test]
fn a_drop_after_processing_loses_the_answer() {
    let mut config = apns();
    config.faults.dropped_after = 1.0;
    config.latency.base = Duration::from_millis(10);
    let mut wire = Wire::new(config);
    wire.request("aa");
    assert_eq!(wire.advance(5_000), Ok(()));
    assert_eq!(wire.advance(6_000), Err(Stop::Dropped));
    assert!(wire.frames().is_empty());
    assert_eq!(outcomes(&wire), [bits::RECEIVED | bits::PROCESSED | bits::ACCEPTED]);
}

#[test]
fn a_silent_request_is_processed_and_keeps_its_stream() {
    let mut config = apns();
    config.faults.silent = 1.0;
    config.limits.streams = 1;
    let mut wire = Wire::new(config);
    wire.request("aa");
    wire.advance(3_600_000_000).unwrap();
    assert!(wire.answers().is_empty());
    wire.request("bb");
    assert!(is_refused(&wire.read()[0]), "the only stream is taken");
    assert_eq!(outcomes(&wire), [bits::RECEIVED | bits::PROCESSED | bits::ACCEPTED, 0]);
}

#[test]
fn every_nth_request_loses_its_connection() {
    let mut config = apns();
    config.faults.drop_before_every = Some(3);
    config.faults.drop_after_every = Some(4);
    let mut wire = Wire::new(config);
    let mut ends = Vec::new();
    for number in 0..12 {
        let stream = wire.next_stream();
        let request = wire.request_bytes(stream, &key(number));
        if wire.send(&request).is_err() {
            ends.push(number + 1);
            wire = wire.reconnect();
        }
    }
    assert_eq!(ends, [3, 4, 6, 8, 9, 12]);
    let before = [2, 5, 8, 11].map(|place| outcomes(&wire)[place]);
    assert_eq!(before, [bits::RECEIVED; 4]);
}

#[test]
fn listed_keys_have_their_fault_as_often_as_said() {
    let mut config = apns();
    config.faults.dead = 1.0;
    listed(&mut config, "aa", Manner::Answered, Reason::ServiceUnavailable, Some(2));
    listed(&mut config, "bb", Manner::Answered, Reason::None, None);
    listed(&mut config, "cc", Manner::Refused, Reason::None, Some(1));
    let mut wire = Wire::new(config);
    let statuses: Vec<_> = (0..3).map(|_| wire.ask("aa").status().to_owned()).collect();
    assert_eq!(statuses, ["503", "503", "410"]);
    assert_eq!((wire.ask("bb").status(), wire.ask("bb").status()), ("200", "200"));
    wire.request("cc");
    assert!(is_refused(&wire.read()[0]));
    assert_eq!(wire.ask("cc").status(), "410");
}

#[test]
fn the_quota_counts_everything_and_is_refilled_whole() {
    let mut config = Config::fcm();
    config.faults.quota = Some(Quota::per_minute(3));
    config.faults.dead = 1.0;
    let mut wire = Wire::new(config);
    wire.advance(5_000_000).unwrap();
    let at = |wire: &mut Wire, seconds: u64| {
        wire.advance(seconds * 1_000_000).unwrap();
        let answer = wire.ask("k");
        (answer.status().to_owned(), answer.header("retry-after").map(str::to_owned), answer.json())
    };
    let statuses: Vec<_> = (0..3).map(|_| at(&mut wire, 1).0).collect();
    assert_eq!(statuses, ["404", "404", "404"]);
    let (status, retry_after, body) = at(&mut wire, 1);
    assert_eq!((status.as_str(), retry_after.as_deref()), ("429", Some("57")));
    assert_eq!(body["error"]["details"][0]["errorCode"], "QUOTA_EXCEEDED");
    assert_eq!(body["error"]["details"][1]["violations"][0]["subject"], "project");
    assert_eq!(at(&mut wire, 56).0, "429", "a minute after the first request, not on the clock's minute");
    assert_eq!(at(&mut wire, 1).0, "404");
}

#[test]
fn requests_that_are_wrong_count_against_the_quota_too() {
    let mut config = Config::fcm();
    config.faults.quota = Some(Quota::per_minute(2));
    config.faults.credentials_expire_after = Some(Duration::from_secs(10));
    let mut wire = Wire::new(config);
    let ask = |wire: &mut Wire, body: &[u8]| {
        let stream = wire.next_stream();
        let fields = [post("/v1/projects/demo/messages:send"), vec![("authorization", "Bearer t")]].concat();
        wire.send(&bytes(frame::HEADERS, FLAG_END_HEADERS, stream, &super::wire::block(&fields))).unwrap();
        wire.send(&bytes(frame::DATA, FLAG_END_STREAM, stream, body)).unwrap();
        wire.answers().pop().unwrap().status().to_owned()
    };
    let good = br#"{"message":{"token":"a"}}"#;
    let statuses = [&b"{"[..], good, good].map(|body| ask(&mut wire, body));
    assert_eq!(statuses, ["400", "200", "429"]);
    wire.advance(61_000_000).unwrap();
    let statuses = [good, good, good].map(|body| ask(&mut wire, body));
    assert_eq!(statuses, ["401", "401", "429"], "expired credentials take from it as well");
}

#[test]
fn goaway_comes_after_so_many_requests_and_names_the_last() {
    let mut config = apns();
    config.latency.base = Duration::from_millis(10);
    config.faults.goaway.every = Some(3);
    config.faults.goaway.reason = "Shutdown".into();
    let mut wire = Wire::new(config);
    let streams: Vec<_> = (0..5).map(|number| wire.request(&key(number))).collect();
    let frames = wire.read();
    assert_eq!(goaway(&frames[0]), (streams[2], 0, r#"{"reason":"Shutdown"}"#.to_owned()));
    assert_eq!(frames.len(), 1, "what is above the last id is not even refused");
    assert!(!wire.connection.is_done());
    wire.advance(11_000).unwrap();
    let answered: Vec<_> = wire.answers().iter().map(|answer| answer.stream).collect();
    assert_eq!(answered, streams[..3]);
    assert!(wire.connection.is_done());
    assert_eq!(outcomes(&wire)[3..], [0, 0]);
}

#[test]
fn goaway_comes_at_an_age() {
    let mut config = Config::fcm();
    config.faults.goaway.after = Some(Duration::from_secs(2));
    config.faults.goaway.reason = "session_timed_out".into();
    let mut wire = Wire::new(config);
    wire.advance(1_999_999).unwrap();
    assert!(wire.read().is_empty());
    wire.advance(1).unwrap();
    wire.advance(1).unwrap();
    let frames = wire.read();
    assert_eq!((goaway(&frames[0]).2.as_str(), frames.len()), ("session_timed_out", 1));
    assert!(wire.connection.is_done());
}

#[test]
fn a_connection_with_too_many_bad_tokens_ends_and_dead_ones_do_not_count() {
    let mut config = apns();
    config.faults.goaway.after_rejections = Some(2);
    listed(&mut config, "dd", Manner::Answered, Reason::Unregistered, None);
    listed(&mut config, "bb", Manner::Answered, Reason::BadDeviceToken, None);
    let mut wire = Wire::new(config);
    for key in ["dd", "dd", "bb", "dd"] {
        wire.ask(key);
    }
    assert!(!wire.connection.is_done());
    wire.ask("bb");
    assert!(wire.connection.is_done());
    assert_eq!(wire.desk.ledger.counts.goaways, 1);
}

#[test]
fn expired_credentials_wedge_an_apns_connection_and_new_ones_work_elsewhere() {
    let mut config = apns();
    config.faults.credentials_expire_after = Some(Duration::from_secs(10));
    let mut wire = Wire::new(config);
    let ask = |wire: &mut Wire, jwt: &str| {
        let stream = wire.next_stream();
        let fields = [post("/3/device/aa"), vec![("authorization", jwt)]].concat();
        wire.send(&bytes(frame::HEADERS, FLAG_END_HEADERS, stream, &super::wire::block(&fields))).unwrap();
        wire.send(&bytes(frame::DATA, FLAG_END_STREAM, stream, b"{}")).unwrap();
        wire.answers().pop().unwrap()
    };
    assert_eq!(ask(&mut wire, "bearer old").status(), "200");
    wire.advance(10_000_000).unwrap();
    let expired = ask(&mut wire, "bearer old");
    assert_eq!((expired.status(), expired.json()["reason"].as_str()), ("403", Some("ExpiredProviderToken")));
    assert_eq!(ask(&mut wire, "bearer new").status(), "403", "the connection stays wedged");
    let mut wire = wire.reconnect();
    assert_eq!(ask(&mut wire, "bearer new").status(), "200");
    assert_eq!(ask(&mut wire, "bearer old").status(), "403");
}

#[test]
fn one_stream_is_open_until_the_first_valid_request_was_answered() {
    let mut config = Config::apns();
    config.latency.base = Duration::from_millis(10);
    listed(&mut config, "dd", Manner::Answered, Reason::Unregistered, None);
    let mut silent = Wire::silent(config.clone());
    assert_eq!(limit_in(&silent.frames()), Some(1));
    let mut wire = Wire::new(config);
    wire.request("dd");
    wire.request("aa");
    assert!(is_refused(&wire.read()[0]));
    wire.advance(11_000).unwrap();
    assert_eq!(limit_in(&wire.read()), None, "a 410 proves nothing");
    wire.request("aa");
    wire.advance(11_000).unwrap();
    assert_eq!(limit_in(&wire.read()), Some(1_000));
    let streams: Vec<_> = (0..900).map(|number| wire.request(&key(number))).collect();
    assert!(wire.read().is_empty());
    wire.answers();
    wire.advance(11_000).unwrap();
    assert_eq!(wire.answers().len(), streams.len());
}

#[test]
fn the_stream_limit_changes_with_age_and_binds_once_acknowledged() {
    let mut config = Config::fcm();
    config.latency.base = Duration::from_secs(1);
    config.limits.stream_changes = vec![
        StreamChange { after: Duration::from_millis(20), streams: 500 },
        StreamChange { after: Duration::from_millis(10), streams: 1 },
    ];
    let mut wire = Wire::new(config);
    wire.advance(10_000).unwrap();
    assert_eq!(limit_in(&wire.read()), Some(1));
    for number in 0..100 {
        wire.request(&key(number));
    }
    assert!(wire.read().is_empty(), "a lower limit binds when it was acknowledged");
    wire.advance(10_000).unwrap();
    assert_eq!(limit_in(&wire.read()), Some(500));
    wire.send(&bytes(frame::SETTINGS, FLAG_ACK, 0, &[])).unwrap();
    for number in 0..400 {
        wire.request(&key(number));
    }
    assert!(wire.read().is_empty(), "a higher one at once");
}

#[test]
fn google_ends_the_connection_of_who_takes_too_many_streams() {
    let mut config = Config::fcm();
    config.latency.base = Duration::from_secs(1);
    config.limits.streams = 2;
    let mut wire = Wire::new(config.clone());
    wire.request("a");
    wire.request("b");
    let request = wire.request_bytes(5, "c");
    assert_eq!(wire.send(&request), Err(Stop::Violation(ErrorCode::EnhanceYourCalm)));
    assert_eq!(goaway(&wire.frames().pop().unwrap()).2, "exceeded_max_concurrent_streams");
    config.limits.over_limit = OverLimit::Refuse;
    let mut wire = Wire::new(config);
    for key in ["a", "b", "c"] {
        wire.request(key);
    }
    let frames = wire.read();
    assert!(frames.len() == 1 && is_refused(&frames[0]));
}

#[test]
fn answers_come_when_they_are_due_and_spread_out() {
    let mut config = apns();
    config.latency.base = Duration::from_millis(60);
    config.latency.spread = Duration::from_millis(20);
    config.latency.distribution = Distribution::Uniform;
    let mut wire = Wire::new(config);
    for number in 0..200 {
        wire.request(&key(number));
    }
    wire.advance(39_999).unwrap();
    assert!(wire.answers().is_empty());
    wire.advance(20_001).unwrap();
    let early = wire.answers().len();
    assert!((60..140).contains(&early), "{early}");
    wire.advance(21_000).unwrap();
    assert_eq!(early + wire.answers().len(), 200);
}

#[test]
fn another_seed_is_another_world() {
    let statuses = |seed| {
        let mut config = apns();
        config.seed = seed;
        config.faults.shares = "BadDeviceToken=0.5".parse().unwrap();
        let answers = ask_all(&mut Wire::new(config), 0..40);
        answers.iter().map(|answer| answer.status().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(statuses(1), statuses(1));
    assert_ne!(statuses(1), statuses(2));
}
