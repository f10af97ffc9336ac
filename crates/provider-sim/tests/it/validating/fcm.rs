//! Each of Google's rules, broken once.

use provider_sim::config::Quota;
use provider_sim::{Config, start};
use serde_json::{Value, json};

use super::ask::{Ask, kinds, validating};
use crate::harness::{Answer, Client};
use crate::raw::Raw;

fn fcm() -> Config {
    validating(Config::fcm())
}

fn error(answer: &Answer) -> Value {
    serde_json::from_slice::<Value>(&answer.body).unwrap()["error"].clone()
}

fn with(message: Value) -> Ask {
    Ask::fcm().body(json!({ "message": message }).to_string())
}

const FID: &str = "cdefghijklmnopqrstuvwx";

#[tokio::test]
async fn requests_as_they_should_be_are_accepted_and_nothing_is_found() {
    let mut config = fcm();
    config.checks.projects = vec!["demo".into()];
    config.checks.access_tokens = vec!["ya29.token".into()];
    let simulator = start(config).unwrap();
    let mut client = Client::connect(&simulator).await;
    let asks = [
        Ask::fcm(),
        Ask::fcm().set("content-type", "application/json; charset=UTF-8"),
        with(json!({"fid": FID, "notification": {"title": "t", "body": "b"}})),
        with(json!({"fid": FID, "token": null, "topic": null})),
        Ask::fcm().body(r#"{"validate_only":true,"message":{"topic":"news"}}"#),
    ];
    for ask in &asks {
        let answer = ask.send(&mut client).await.unwrap();
        assert_eq!(answer.status, 200, "{}", ask.body);
        assert_eq!(answer.headers["server"], "scaffolding on HTTPServer2");
        let name = serde_json::from_slice::<Value>(&answer.body).unwrap()["name"].clone();
        assert!(name.as_str().unwrap().starts_with("projects/demo/messages/0:"));
    }
    let report = simulator.report().unwrap();
    assert_eq!((report.accepted, report.stats.probes), (4, 1), "a probe is delivered to nobody");
    assert!(report.faults_found.is_empty(), "{:?}", report.faults_found);
}

#[tokio::test]
async fn a_field_that_is_wrong_is_named_in_the_details() {
    let simulator = start(fcm()).unwrap();
    let mut client = Client::connect(&simulator).await;
    let long = "x".repeat(4_100);
    let cases = [
        (json!({"fid": FID, "to": "x"}), "message.to"),
        (json!({"fid": FID, "notification": {"title": 1}}), "message.notification.title"),
        (json!({"fid": FID, "data": {"n": 1}}), "message.data.n"),
        (json!({"fid": FID, "data": {"from": "x"}}), "message.data.from"),
        (json!({"fid": FID, "data": {"google.x": "x"}}), "message.data.google.x"),
        (json!({"fid": FID, "android": {"ttl": 3600}}), "message.android.ttl"),
        (json!({"fid": FID, "android": {"ttl": "2419201s"}}), "message.android.ttl"),
        (json!({"fid": FID, "android": {"priority": "urgent"}}), "message.android.priority"),
        (
            json!({"fid": FID, "android": {"notification": {"badge": 1}}}),
            "message.android.notification.badge",
        ),
        (json!({"fid": FID, "topic": "t"}), "message"),
        (json!({"fid": null}), "message"),
        (
            json!({"fid": FID, "android": {"notification": {"event_time": "T+"}}}),
            "message.android.notification.event_time",
        ),
        (
            json!({"fid": FID, "android": {"notification": {"notification_count": 2_147_483_648_u32}}}),
            "message.android.notification.notification_count",
        ),
        (json!({"data": {}}), "message"),
        (json!({"fid": "short"}), "message.fid"),
        (json!({"token": "short"}), "message.token"),
        (json!({"token": "é".repeat(100)}), "message.token"),
        (json!({"fid": FID, "data": {"x": long}}), "message: 4101 bytes of 4096"),
    ];
    for (message, field) in cases {
        let answer = with(message).send(&mut client).await.unwrap();
        let error = error(&answer);
        assert_eq!(
            (answer.status, &error["status"], &error["code"]),
            (400, &json!("INVALID_ARGUMENT"), &json!(400))
        );
        let [ours, request] = [&error["details"][0], &error["details"][1]];
        assert_eq!(ours["@type"], "type.googleapis.com/google.firebase.fcm.v1.FcmError");
        assert_eq!(ours["errorCode"], "INVALID_ARGUMENT");
        assert_eq!(request["@type"], "type.googleapis.com/google.rpc.BadRequest");
        assert_eq!(request["fieldViolations"][0]["field"], field, "{error}");
    }
}

#[tokio::test]
async fn what_is_wrong_around_the_message_has_its_own_answer() {
    let mut config = fcm();
    config.checks.projects = vec!["demo".into()];
    config.checks.access_tokens = vec!["ya29.token".into()];
    let simulator = start(config).unwrap();
    let mut client = Client::connect(&simulator).await;
    let ask = Ask::fcm;
    let twice = format!(r#"{{"message":{{"fid":"{FID}","data":{{}},"data":{{}}}}}}"#);
    for (ask, status, grpc, kind) in [
        (Ask { method: "PUT", ..ask() }, 400, "INVALID_ARGUMENT", "the method is not POST"),
        (
            ask().path("/fcm/send"),
            400,
            "INVALID_ARGUMENT",
            "the path is not /v1/projects/{project}/messages:send",
        ),
        (
            ask().path("/v1/projects/other/messages:send"),
            403,
            "PERMISSION_DENIED",
            "a project that is not the service account's",
        ),
        (ask().without("authorization"), 401, "UNAUTHENTICATED", "no authorization"),
        (
            ask().set("authorization", "key=x"),
            401,
            "UNAUTHENTICATED",
            "the authorization is not Bearer and a token",
        ),
        (
            ask().set("authorization", "Bearer other"),
            401,
            "UNAUTHENTICATED",
            "an access token that was never given out",
        ),
        (ask().without("content-type"), 400, "INVALID_ARGUMENT", "the content-type is not application/json"),
        (ask().body("{"), 400, "INVALID_ARGUMENT", "the body is no JSON"),
        (ask().body("{}"), 400, "INVALID_ARGUMENT", "the body has no message"),
        (ask().body(twice), 400, "INVALID_ARGUMENT", "a key stands twice in the body"),
    ] {
        let answer = ask.send(&mut client).await.unwrap();
        assert_eq!((answer.status, error(&answer)["status"].as_str()), (status, Some(grpc)), "{kind}");
        assert!(
            kinds(&simulator).iter().any(|found| found.ends_with(kind)),
            "{kind}: {:?}",
            kinds(&simulator)
        );
        simulator.reset().unwrap();
    }
}

#[tokio::test]
async fn quotas_of_project_and_device_are_told_apart() {
    let mut config = fcm();
    config.checks.device_rate = Some(Quota::per_minute(1));
    config.faults.quota = Some(Quota::per_minute(3));
    let simulator = start(config).unwrap();
    let mut client = Client::connect(&simulator).await;
    let probe = Ask::fcm().body(r#"{"validate_only":true,"message":{"topic":"news"}}"#);
    assert_eq!(Ask::fcm().send(&mut client).await.unwrap().status, 200);
    let device = Ask::fcm().send(&mut client).await.unwrap();
    assert_eq!(probe.send(&mut client).await.unwrap().status, 200, "a probe counts, too");
    let project = probe.send(&mut client).await.unwrap();
    for (answer, subject) in [(&device, "device"), (&project, "project")] {
        let error = error(answer);
        assert_eq!((answer.status, &error["status"]), (429, &json!("RESOURCE_EXHAUSTED")));
        assert_eq!(error["details"][0]["errorCode"], "QUOTA_EXCEEDED");
        assert_eq!(error["details"][1]["violations"][0]["subject"], subject);
    }
    assert!(project.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() <= 60);
}

#[tokio::test]
async fn a_stream_above_the_limit_ends_the_connection_as_google_does() {
    let mut config = fcm();
    config.limits.streams = 2;
    config.latency.base = std::time::Duration::from_millis(50);
    let simulator = start(config).unwrap();
    let mut client = Raw::connect(&simulator).await;
    let body = format!(r#"{{"message":{{"fid":"{FID}"}}}}"#);
    for stream in [1, 3, 5] {
        client.ask(stream, &FIELDS, body.as_bytes()).await;
    }
    let (last, code, debug) = client.goaway().await;
    assert_eq!((last, code, &*debug), (3, 11, "exceeded_max_concurrent_streams"));
    assert_eq!(kinds(&simulator), ["a stream above the limit"]);
}

/// As Google wants them.
const FIELDS: [(&str, &str); 6] = [
    (":method", "POST"),
    (":scheme", "https"),
    (":authority", "localhost"),
    (":path", "/v1/projects/demo/messages:send"),
    ("authorization", "Bearer ya29.token"),
    ("content-type", "application/json"),
];
