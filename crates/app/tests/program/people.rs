//! One person from the command line: looked up, handed out, forgotten; and no log names anybody on the way.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::support::{Running, command, config, run};

const ANN: &str = "ann-who-wants-to-be-forgotten";
const APNS_KEY: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
const FCM_KEY: &str = "cForgetMe:APA91b_this-is-the-key-of-somebody-who-wants-to-be-forgotten";

/// A role that logs all it can into a file; the role, and the first line that it says.
fn start(role: &str, config: &str, log: &Path) -> (Running, Value) {
    let mut command = command(&[role, "--config", config, "--exit-when-stdin-closes"]);
    command.env("FANFARE_LOG__FILTER", "trace").stderr(File::create(log).unwrap());
    let mut running = Running::start(command);
    let said = serde_json::from_str(&running.line()).unwrap();
    (running, said)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn somebody_is_looked_up_handed_out_and_forgotten_and_no_log_names_anybody() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let logs = ["api.log", "resolver.log"].map(|name| folder.path().join(name));
    let (mut api, said) = start("api", &config, &logs[0]);
    let (mut resolver, _) = start("resolver", &config, &logs[1]);
    let url = format!("http://{}", said["address"].as_str().unwrap());
    let at = |arguments: &[&str]| run(&[arguments, &["--server", &url]].concat());

    let devices = folder.path().join("devices.csv");
    let rows = format!(
        "user,platform,key,app,locale,market\n{ANN},apns,{APNS_KEY},org.example,en-US,us\n\
         {ANN},fcm,{FCM_KEY},example,en-US,us\nbob,apns,00ff00ff,org.example,en-US,us\n"
    );
    std::fs::write(&devices, &rows).unwrap();
    at(&["devices", "import", text(&devices)]).must_end_with(0);
    let users = folder.path().join("users.csv");
    std::fs::write(&users, format!("user\n{ANN}\nbob\n")).unwrap();
    at(&["audience", "upload", text(&users), "--name", "fans"]).must_end_with(0);
    // Refused, with what stood in it.
    std::fs::write(&devices, rows.replace(APNS_KEY, &format!("{APNS_KEY}-and-more"))).unwrap();
    at(&["devices", "import", text(&devices)]).must_end_with(1);

    let shown = at(&["users", "show", ANN]).must_end_with(0).out;
    for part in
        ["known to the directory", "not on the late list", "devices: 2", "in it: 2 devices", "launches: 0"]
    {
        assert!(shown.contains(part), "{part:?} not in {shown}");
    }
    assert!(!shown.contains(APNS_KEY) && !shown.contains(FCM_KEY));
    let stranger = at(&["users", "show", "nobody", "--json"]).must_end_with(0).json();
    assert_eq!((&stranger["is_known"], &stranger["audiences"][0]["why"]), (&false.into(), &"unknown".into()));

    let out = folder.path().join("ann.json");
    at(&["users", "export", ANN, "--out", text(&out)]).must_end_with(0);
    let held: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let mut keys: Vec<&str> =
        held["devices"].as_array().unwrap().iter().map(|device| device["key"].as_str().unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(keys, [APNS_KEY, FCM_KEY]);
    assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    at(&["users", "export", ANN, "--out", text(&out)]).must_end_with(3);

    // A list of those left out names whom nobody knows; so does what is asked about that person.
    std::fs::write(&users, "user\nsomebody-else\nbob\n").unwrap();
    at(&["audience", "upload", text(&users), "--name", "others"]).must_end_with(0);
    let left_out = at(&["users", "show", "somebody-else", "--json"]).must_end_with(0).json();
    assert_eq!(
        (&left_out["files"][0]["what"], &left_out["unreadable"]),
        (&"left_out".into(), &serde_json::json!([]))
    );

    let unasked = at(&["users", "erase", ANN]).must_end_with(2);
    assert!(unasked.err.contains("--yes"), "{}", unasked.err);
    let receipt = at(&["users", "erase", ANN, "--yes", "--json"]).must_end_with(0).json();
    assert_eq!(receipt["state"], "suppressed");
    assert_eq!(receipt["snapshots"].as_array().unwrap().len(), 1);
    assert!(!receipt.to_string().contains(ANN));
    let gone = at(&["users", "show", ANN]).must_end_with(0).out;
    for part in ["not known to the directory", "on the late list: erased since", "and gets nothing: erased"] {
        assert!(gone.contains(part), "{part:?} not in {gone}");
    }
    let erased = at(&["users", "erase", "somebody-else", "--yes"]).must_end_with(0).out;
    assert!(erased.contains(": erased\n"), "nothing named that person: {erased}");
    // An upstream list that still has the person brings nothing back.
    std::fs::write(&devices, &rows).unwrap();
    let again = at(&["devices", "import", text(&devices)]).must_end_with(0).out;
    assert!(again.contains("left out: 2 erased"), "{again}");

    assert_eq!((api.close_stdin(), resolver.close_stdin()), (Some(0), Some(0)));
    for log in &logs {
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.contains(" TRACE ") && log.contains("stopping"), "everything is logged: {log}");
        for name in [ANN, APNS_KEY, FCM_KEY, "somebody-else"] {
            assert!(!log.contains(name), "{name}: {:?}", log.lines().find(|line| line.contains(name)));
        }
    }
}
