//! No log names anybody, however much is logged: people and devices come, are sent to, asked about and forgotten, rightly and
//! wrongly, and everything that the program and its children logged meanwhile is searched.

use std::fs::File;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Running, call, call_json, command, run};

const ANN: &str = "ann-who-wants-to-be-forgotten";
const APNS_KEY: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
const FCM_KEY: &str = "cForgetMe:APA91b_this-is-the-key-of-somebody-who-wants-to-be-forgotten";

/// An installation with simulators that logs all it can into a file, and where it listens.
fn up(data: &Path, log: &Path) -> (Running, String) {
    let mut command =
        command(&["up", "--sim", "--listen", "127.0.0.1:0", "--folder", data.to_str().unwrap()]);
    command.env("FANFARE_LOG__FILTER", "trace").stderr(File::create(log).unwrap());
    let mut up = Running::start(command);
    let address = up.address();
    (up, address)
}

/// Looks again and again until it is so.
fn until(address: &str, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    loop {
        let (status, found) = call(address, &format!("GET {path}"), &[], "");
        assert_eq!(status, 200, "{path}: {found}");
        if is_so(&found) {
            return found;
        }
        std::thread::yield_now();
    }
}

fn id(made: &(u16, Value)) -> &str {
    assert!(made.0 < 300, "{made:?}");
    made.1["id"].as_str().unwrap()
}

/// Launches to an audience, waits for the end, has everything exported.
fn launch(address: &str, audience: &str) {
    let content = json!({ "variants": { "en": { "title": "t", "body": "b" } }, "fallback": "en" });
    let campaign =
        json!({ "name": "c", "content": content, "audience": audience, "waves": [{ "name": "all" }] });
    let campaign = call_json(address, "POST /v1/campaigns", &campaign);
    let campaign = format!("/v1/campaigns/{}", id(&campaign));
    assert!(call_json(address, &format!("PUT {campaign}/prepare"), &Value::Null).0 < 300);
    let is_ready = |readiness: &Value| {
        readiness["interlocks"].as_array().unwrap().iter().all(|interlock| interlock["holds"] == true)
    };
    until(address, &format!("{campaign}/waves/all/readiness"), is_ready);
    let press = format!("POST {campaign}/waves/all/launch");
    let (status, pressed) = call(address, &press, &[("if-match", "\"1\"")], "");
    assert!(status < 300, "{pressed}");
    let launch = format!("/v1/launches/{}", pressed["launch"].as_str().unwrap());
    // Its events end with it.
    assert_eq!(call(address, &format!("GET {launch}/events"), &[], "").0, 200);
    for what in ["outcomes", "dead_devices"] {
        let asked = json!({ "format": "csv", "what": what });
        let export = call_json(address, &format!("POST {launch}/exports"), &asked);
        let path = format!("/v1/exports/{}", id(&export));
        let export = until(address, &path, |export| export["state"] == "done" || export["state"] == "failed");
        assert_eq!(export["state"], "done", "{export}");
        assert_eq!(call(address, &format!("GET {path}/file"), &[], "").0, 200);
    }
}

#[test]
fn whatever_happens_to_somebody_no_log_says_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let (mut running, address) = up(&data, &log);
    let devices = format!("/v1/users/{ANN}/devices");
    let put = |body: Value| call_json(&address, &format!("PUT {devices}"), &body).0;
    let device = |platform: &str, key: &str, app: &str| json!({ "platform": platform, "key": key, "app": app, "locale": "en-US", "market": "us" });
    let (apns, fcm) =
        (device("apns", APNS_KEY, "org.example.fanfare"), device("fcm", FCM_KEY, "fanfare-demo"));
    assert_eq!((put(apns.clone()), put(fcm)), (200, 200));
    // Refused, with the key where it does not belong.
    assert_eq!(put(device("fcm", &format!("{FCM_KEY} and more"), "fanfare-demo")), 422);
    assert_eq!(put(json!({ "platform": APNS_KEY, "key": 7 })), 400);
    let at = |arguments: &[&str]| run(&[arguments, &["--server", &format!("http://{address}")]].concat());
    // One user more than anybody may have devices, by a file that takes the id for the same everywhere.
    let many: String = (0..10_001).map(|number| format!("{ANN}-too,{number:08x}\n")).collect();
    let file = folder.path().join("many.csv");
    std::fs::write(&file, format!("user,key\n{many}")).unwrap();
    let file = file.to_str().unwrap();
    let defaults =
        ["--platform", "apns", "--apns-app", "org.example.fanfare", "--locale", "en", "--market", "us"];
    let refused = at(&[&["devices", "import", file][..], &defaults].concat()).must_end_with(1).out;
    assert!(refused.contains("more than 10000 devices") && !refused.contains(ANN), "{refused}");

    let list = folder.path().join("list.csv");
    std::fs::write(&list, format!("user\n{ANN}\nnobody-whom-we-know\n")).unwrap();
    let list = list.to_str().unwrap();
    let uploaded = at(&["audience", "upload", list, "--name", "fans", "--json"]).must_end_with(0).json();
    launch(&address, uploaded["result"]["id"].as_str().unwrap());

    let suppression = format!("/v1/suppression/{ANN}");
    let status = |request: String| call(&address, &request, &[], "").0;
    assert_eq!(status(format!("GET {suppression}")), 404);
    let opted_out = json!({ "users": [ANN], "cause": "opted_out" });
    assert_eq!(call_json(&address, "POST /v1/suppression", &opted_out).0, 200);
    assert_eq!((status(format!("GET {suppression}")), status(format!("DELETE {suppression}"))), (200, 200));
    assert_eq!(call_json(&address, "POST /v1/inquiries", &json!({ "user": 7, "name": ANN })).0, 400);
    let shown = at(&["users", "show", ANN]).must_end_with(0).out;
    assert!(shown.contains("accepted") && shown.contains("files that name the person:\n  exp_"), "{shown}");
    let named = json!({ "platform": "apns", "key": APNS_KEY, "app": "org.example.fanfare" });
    assert_eq!(call_json(&address, &format!("DELETE {devices}"), &named).0, 204);
    assert_eq!(put(apns.clone()), 200);
    assert_eq!(status(format!("DELETE /v1/users/{ANN}")), 200);
    assert_eq!(put(apns.clone()), 200);
    at(&["users", "erase", ANN, "--yes"]).must_end_with(0);
    assert_eq!(put(apns), 409);

    assert_eq!(running.terminate(), Some(0));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains(" TRACE ") && log.contains("stopping"), "everything is logged: {log}");
    for name in [ANN, APNS_KEY, FCM_KEY, "nobody-whom-we-know"] {
        assert!(!log.contains(name), "{name}: {:?}", log.lines().find(|line| line.contains(name)));
    }
}

#[test]
fn a_launch_to_thousands_of_whom_some_are_dead_logs_nobody() {
    let arguments = ["demo", "--json", "--devices", "3000", "--dead", "0.1", "--errors", "0.01"];
    let connections = ["--apns-connections", "4", "--fcm-connections", "4"];
    let mut command = command(&[&arguments[..], &connections].concat());
    command.env("FANFARE_LOG__FILTER", "trace");
    let ran = crate::support::Ran::from(command.output().unwrap()).must_end_with(0);
    assert!(ran.json()["rejected"].as_u64().unwrap() > 100);
    assert!(ran.err.contains(" TRACE ") || ran.err.contains(" DEBUG "), "much is logged: {}", ran.err);
    // As the demo names people, and how keys of FCM go on.
    for name in ["user-0000", "nobody-", ":APA91b"] {
        assert!(!ran.err.contains(name), "{name}: {:?}", ran.err.lines().find(|line| line.contains(name)));
    }
}
