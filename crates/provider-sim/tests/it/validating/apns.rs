//! Each of Apple's rules, broken once.

use model::{Platform, Reason};
use provider_sim::config::{ListedFault, Manner, Quota};
use provider_sim::{Config, Fingerprint, Simulator, start};

use super::ask::{Ask, Key, kinds, now_s, reason, shows, validating};
use crate::harness::{Client, token};

fn apns() -> Config {
    validating(Config::apns())
}

/// Sends each on a connection of its own, after nothing: what it is answered and what was found in it.
async fn answers(simulator: &Simulator, asks: &[Ask]) -> Vec<(u16, String, Vec<String>)> {
    let mut answers = Vec::new();
    for ask in asks {
        let mut client = Client::connect(simulator).await;
        let (status, reason) = reason(&ask.send(&mut client).await.unwrap());
        answers.push((status, reason, kinds(simulator)));
        simulator.reset().unwrap();
    }
    answers
}

#[tokio::test]
async fn a_request_as_it_should_be_is_accepted_and_nothing_is_found() {
    let key = Key::new();
    let mut config = apns();
    config.checks.public_key = Some(key.public_pem());
    config.checks.topics = vec!["org.example.app".into()];
    let simulator = start(config).unwrap();
    let mut client = Client::connect(&simulator).await;
    let ask = Ask::apns(&key.token(now_s()));
    for ask in [
        ask.clone(),
        ask.clone().path("/3/device/00ff"),
        ask.clone()
            .set("apns-push-type", "background")
            .set("apns-priority", "5")
            .body(r#"{"aps":{"content-available":1}}"#),
        ask.clone().without("apns-id").without("apns-collapse-id").set("apns-expiration", "0"),
    ] {
        let answer = ask.send(&mut client).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]));
        let own = ask.headers.iter().find(|(name, _)| name == "apns-id");
        assert!(own.is_none_or(|(_, id)| answer.headers["apns-id"] == *id));
    }
    let report = simulator.report().unwrap();
    assert_eq!((report.accepted, report.faults_found.len()), (4, 0), "{:?}", report.faults_found);
}

#[tokio::test]
async fn each_broken_rule_is_answered_with_apple_s_reason() {
    let key = Key::new();
    let mut config = apns();
    config.checks.topics = vec!["org.example.app".into(), "org.example.app.voip".into()];
    let simulator = start(config).unwrap();
    let ask = Ask::apns(&key.token(now_s()));
    let device = |token: &str| ask.clone().path(&format!("/3/device/{token}"));
    let cases = [
        (Ask { method: "GET", ..ask.clone() }, 405, "MethodNotAllowed"),
        (ask.clone().path("/4/device/00"), 404, "BadPath"),
        (device("00?x=1"), 404, "BadPath"),
        (device(""), 400, "MissingDeviceToken"),
        (device("0"), 400, "BadDeviceToken"),
        (device("zz"), 400, "BadDeviceToken"),
        (device("00FF"), 400, "BadDeviceToken"),
        (ask.clone().add("apns-id", "123e4567-e89b-12d3-a456-426655440000"), 400, "DuplicateHeaders"),
        (ask.clone().set("apns-id", "123E4567-e89b-12d3-a456-426655440000"), 400, "BadMessageId"),
        (ask.clone().set("apns-id", "123e4567e89b12d3a456426655440000"), 400, "BadMessageId"),
        (ask.clone().without("authorization"), 403, "MissingProviderToken"),
        (ask.clone().set("authorization", "basic x"), 403, "InvalidProviderToken"),
        (ask.clone().set("authorization", "bearer x"), 403, "InvalidProviderToken"),
        (ask.clone().without("apns-topic"), 400, "MissingTopic"),
        (ask.clone().set("apns-topic", "org example"), 400, "BadTopic"),
        (ask.clone().set("apns-topic", "org.example.other"), 400, "TopicDisallowed"),
        (ask.clone().set("apns-push-type", "voip"), 400, "BadTopic"),
        (ask.clone().set("apns-push-type", "Alert"), 400, "InvalidPushType"),
        (ask.clone().set("apns-priority", "7"), 400, "BadPriority"),
        (ask.clone().set("apns-push-type", "background"), 400, "BadPriority"),
        (ask.clone().set("apns-push-type", "background").without("apns-priority"), 400, "BadPriority"),
        (ask.clone().set("apns-expiration", "soon"), 400, "BadExpirationDate"),
        (ask.clone().set("apns-expiration", "-1"), 400, "BadExpirationDate"),
        (ask.clone().set("apns-collapse-id", &"c".repeat(65)), 400, "BadCollapseId"),
        (ask.clone().set("apns-collapse-id", ""), 400, "BadCollapseId"),
        (ask.clone().body(""), 400, "PayloadEmpty"),
        (ask.clone().body("{\"aps\":"), 400, "PayloadEmpty"),
        (ask.clone().body("[]"), 400, "PayloadEmpty"),
        (ask.clone().body("{}"), 400, "PayloadEmpty"),
        (ask.clone().body(r#"{"aps":"x"}"#), 400, "PayloadEmpty"),
        (ask.clone().body(format!(r#"{{"aps":{{}},"x":"{}"}}"#, "x".repeat(4_080))), 413, "PayloadTooLarge"),
    ];
    let (asks, expected): (Vec<_>, Vec<_>) =
        cases.into_iter().map(|(ask, status, reason)| (ask, (status, reason))).unzip();
    for (answer, (status, reason)) in answers(&simulator, &asks).await.into_iter().zip(expected) {
        assert_eq!((answer.0, &*answer.1), (status, reason));
        assert!(answer.2[0].starts_with(&format!("{reason}: ")), "{answer:?}");
    }
}

#[tokio::test]
async fn what_apple_lets_pass_is_found_all_the_same() {
    let key = Key::new();
    let simulator = start(apns()).unwrap();
    let ask = Ask::apns(&key.token(now_s()));
    let background = ask.clone().set("apns-push-type", "background").set("apns-priority", "5");
    let cases = [
        (ask.clone().set("apns-colour", "red"), "an apns- header field that APNs does not know"),
        (ask.clone().without("apns-push-type"), "no apns-push-type"),
        (ask.clone().set("apns-expiration", "3600"), "an apns-expiration that is a duration, not a time"),
        (ask.clone().set("apns-expiration", "1600000000"), "an apns-expiration in the past"),
        (ask.clone().set("host", "elsewhere"), "host differs from :authority"),
        (ask.clone().body(r#"{"aps":{"badge":-1}}"#), "a value of the wrong type"),
        (ask.clone().body(r#"{"aps":{"alert":{"loc-args":[1]}}}"#), "a value of the wrong type"),
        (ask.clone().body(r#"{"aps":{"sound":{"volume":2}}}"#), "a value of the wrong type"),
        (ask.clone().body(r#"{"aps":{"Alert":"x"}}"#), "a key that Apple does not know"),
        (ask.clone().body(r#"{"aps":{},"aps":{"alert":"x"}}"#), "a key stands twice in the payload"),
        (background.clone().body(r#"{"aps":{}}"#), "a background push without content-available"),
        (
            background.body(r#"{"aps":{"content-available":1,"sound":"x"}}"#),
            "a background push that shows something",
        ),
    ];
    let (asks, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    for ((status, _, found), kind) in answers(&simulator, &asks).await.into_iter().zip(expected) {
        assert_eq!((status, found), (200, vec![kind.to_owned()]));
    }
}

#[tokio::test]
async fn a_voip_payload_may_be_larger() {
    let key = Key::new();
    let simulator = start(apns()).unwrap();
    let voip = Ask::apns(&key.token(now_s()))
        .set("apns-push-type", "voip")
        .set("apns-topic", "org.example.app.voip");
    let sized =
        |bytes: usize| voip.clone().body(format!(r#"{{"aps":{{}},"x":"{}"}}"#, "x".repeat(bytes - 17)));
    let answers = answers(&simulator, &[sized(5_120), sized(5_121)]).await;
    assert_eq!((answers[0].0, answers[1].0), (200, 413));
}

#[tokio::test]
async fn a_provider_token_is_looked_at_in_every_part() {
    let (key, other) = (Key::new(), Key::new());
    let mut config = apns();
    config.checks.public_key = Some(key.public_pem());
    let simulator = start(config).unwrap();
    let now = now_s();
    let (good, claims) =
        (r#"{"alg":"ES256","kid":"KEY0000001"}"#, format!(r#"{{"iss":"TEAM000001","iat":{now}}}"#));
    let cut = key.token(now);
    let cases = [
        (other.token(now), "InvalidProviderToken"),
        (key.sign(r#"{"alg":"ES384","kid":"KEY0000001"}"#, &claims), "InvalidProviderToken"),
        (key.sign(r#"{"alg":"ES256"}"#, &claims), "InvalidProviderToken"),
        (key.sign(good, &format!(r#"{{"iat":{now}}}"#)), "InvalidProviderToken"),
        (key.sign(good, r#"{"iss":"TEAM000001"}"#), "InvalidProviderToken"),
        (key.sign(good, &format!(r#"{{"iss":"TEAM000001","iat":"{now}"}}"#)), "InvalidProviderToken"),
        (key.token(now + 600), "InvalidProviderToken"),
        (cut[..cut.len() - 4].to_owned(), "InvalidProviderToken"),
        (format!("{cut}=="), "InvalidProviderToken"),
        (key.token(now - 3_700), "ExpiredProviderToken"),
    ];
    for (jwt, expected) in cases {
        let mut client = Client::connect(&simulator).await;
        let answer = Ask::apns(&jwt).send(&mut client).await.unwrap();
        assert_eq!(reason(&answer), (403, expected.to_owned()), "{jwt}");
    }
    let mut client = Client::connect(&simulator).await;
    assert_eq!(Ask::apns(&cut).send(&mut client).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_key_of_the_first_token_is_learned_and_no_other_signs_for_its_id() {
    let (key, other) = (Key::new(), Key::new());
    let mut config = apns();
    config.checks.token_updates_every = std::time::Duration::ZERO;
    let simulator = start(config).unwrap();
    let now = now_s();
    for (jwt, status) in [
        (key.token(now), 200),
        (key.token(now - 1), 200),
        (key.token(now - 2), 200),
        (other.token(now), 403),
        (key.token(now - 3), 200),
    ] {
        let mut client = Client::connect(&simulator).await;
        assert_eq!(Ask::apns(&jwt).send(&mut client).await.unwrap().status, status);
    }
    let found = simulator.report().unwrap().faults_found;
    assert_eq!(found["InvalidProviderToken: the provider token's signature is wrong"].count, 1);
}

#[tokio::test]
async fn an_expired_token_wedges_its_connection_and_a_token_renewed_too_soon_is_not_taken() {
    let key = Key::new();
    let simulator = start(apns()).unwrap();
    let (now, mut client) = (now_s(), Client::connect(&simulator).await);
    let good = Ask::apns(&key.token(now));
    assert_eq!(good.send(&mut client).await.unwrap().status, 200);
    let expired = Ask::apns(&key.token(now - 3_700)).send(&mut client).await.unwrap();
    assert_eq!(reason(&expired), (403, "ExpiredProviderToken".to_owned()));
    assert_eq!(reason(&good.send(&mut client).await.unwrap()), (403, "ExpiredProviderToken".to_owned()));
    let mut client = Client::connect(&simulator).await;
    let early = Ask::apns(&key.token(now - 1)).send(&mut client).await.unwrap();
    assert_eq!(reason(&early), (429, "TooManyProviderTokenUpdates".to_owned()));
    assert_eq!(good.send(&mut client).await.unwrap().status, 200, "the older one still serves");
}

#[tokio::test]
async fn a_connection_is_for_one_team_key_and_topic() {
    let (key, other) = (Key::new(), Key::new());
    let simulator = start(apns()).unwrap();
    let (now, mut client) = (now_s(), Client::connect(&simulator).await);
    let ask = Ask::apns(&key.token(now));
    assert_eq!(ask.send(&mut client).await.unwrap().status, 200);
    let topic = ask.clone().set("apns-topic", "org.example.other").send(&mut client).await.unwrap();
    assert_eq!(reason(&topic), (400, "TopicDisallowed".to_owned()));
    let jwt = other
        .sign(r#"{"alg":"ES256","kid":"KEY0000002"}"#, &format!(r#"{{"iss":"TEAM000002","iat":{now}}}"#));
    let team = Ask::apns(&jwt).send(&mut client).await.unwrap();
    assert_eq!(reason(&team), (403, "InvalidProviderToken".to_owned()));
    let mut client = Client::connect(&simulator).await;
    assert_eq!(Ask::apns(&jwt).send(&mut client).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_request_that_is_refused_for_its_credentials_binds_nothing() {
    let (key, other) = (Key::new(), Key::new());
    let mut config = apns();
    config.checks.public_key = Some(key.public_pem());
    let simulator = start(config).unwrap();
    let (now, mut client) = (now_s(), Client::connect(&simulator).await);
    let bad = Ask::apns(&other.token(now)).set("apns-topic", "org.example.other");
    let refused = reason(&bad.send(&mut client).await.unwrap());
    assert_eq!(refused, (403, "InvalidProviderToken".to_owned()));
    let good = Ask::apns(&key.token(now));
    assert_eq!(good.send(&mut client).await.unwrap().status, 200);
    let topic = good.set("apns-topic", "org.example.other").send(&mut client).await.unwrap();
    assert_eq!(reason(&topic), (400, "TopicDisallowed".to_owned()), "an accepted one does");
}

#[tokio::test]
async fn a_request_that_the_protocol_refuses_teaches_nothing() {
    let (key, other) = (Key::new(), Key::new());
    let mut config = apns();
    config.limits.one_stream_until_valid = false;
    config.faults.listed = vec![ListedFault {
        key: Fingerprint::of_key(Platform::Apns, "aa").unwrap(),
        manner: Manner::Refused,
        reason: Reason::None,
        times: Some(1),
    }];
    let simulator = start(config).unwrap();
    let (now, mut client) = (now_s(), Client::connect(&simulator).await);
    // Both tokens are of one key id: whose comes first is the one that is learned.
    let refused = Ask::apns(&other.token(now)).path("/3/device/aa").set("apns-topic", "org.example.other");
    let error = refused.send(&mut client).await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
    let good = Ask::apns(&key.token(now));
    assert_eq!(good.send(&mut client).await.unwrap().status, 200);
    let late = refused.send(&mut Client::connect(&simulator).await).await.unwrap();
    assert_eq!(reason(&late), (403, "InvalidProviderToken".to_owned()));
}

#[tokio::test]
async fn ids_that_are_not_as_long_as_apple_s_are_found_and_pass() {
    let key = Key::new();
    let simulator = start(apns()).unwrap();
    let now = now_s();
    let sign = |kid: &str, iss: &str| {
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
        Ask::apns(&key.sign(&header, &format!(r#"{{"iss":"{iss}","iat":{now}}}"#)))
    };
    let asks =
        [sign("KEY1", "TEAM000001"), sign("KEY0000002", "TEAM0000012"), sign("KEY0000003", "TEAM000001")];
    let found = answers(&simulator, &asks).await;
    let kinds: Vec<_> = found.iter().map(|(status, _, kinds)| (*status, kinds.concat())).collect();
    assert_eq!(
        kinds,
        [
            (200, "a provider token whose kid is not 10 characters".to_owned()),
            (200, "a provider token whose iss is not 10 characters".to_owned()),
            (200, String::new()),
        ]
    );
}

#[tokio::test]
async fn a_device_takes_only_so_many_and_others_as_before() {
    let key = Key::new();
    let mut config = apns();
    config.checks.device_rate = Some(Quota::per_minute(2));
    let simulator = start(config).unwrap();
    let mut client = Client::connect(&simulator).await;
    let ask = Ask::apns(&key.token(now_s()));
    for status in [200, 200, 429] {
        assert_eq!(ask.send(&mut client).await.unwrap().status, status);
    }
    assert_eq!(ask.path(&format!("/3/device/{}", token(2))).send(&mut client).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_example_shows_neither_a_device_nor_a_token() {
    let key = Key::new();
    let simulator = start(apns()).unwrap();
    let jwt = key.token(now_s());
    let ask = Ask::apns(&jwt).set("apns-priority", "3");
    let odd = format!("{}F", token(9));
    for ask in [ask.clone(), ask.path(&format!("/3/device/{odd}"))] {
        let mut client = Client::connect(&simulator).await;
        ask.send(&mut client).await.unwrap();
    }
    let report = simulator.report().unwrap();
    let found = &report.faults_found["BadPriority: an apns-priority other than 10, 5 and 1"];
    assert_eq!((found.count, found.examples.len()), (2, 2));
    assert!(found.examples[0].starts_with("device "), "{found:?}");
    assert!(!shows(&report, &token(1)) && !shows(&report, &odd) && !shows(&report, &jwt));
}
