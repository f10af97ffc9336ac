//! Roles as processes: what they say when they are ready, and how they stop.

use serde_json::Value;

use crate::support::{Running, call, command, config, run};

/// A running role.
fn start(role: &str, config: &str) -> Running {
    Running::start(command(&[role, "--config", config, "--exit-when-stdin-closes"]))
}

/// The status of the answer to a `GET`.
fn get(address: &str, path: &str) -> u16 {
    call(address, &format!("GET {path}"), &[], "").0
}

#[test]
fn an_api_says_where_it_listens_and_stops_with_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let mut api = start("api", &config(folder.path(), ""));
    let said: Value = serde_json::from_str(&api.line()).unwrap();
    let address = said["address"].as_str().unwrap().to_owned();
    assert_eq!(get(&address, "/healthz"), 200);
    assert_eq!(api.close_stdin(), Some(0));
}

#[test]
fn every_role_shares_the_folder_with_the_others_and_stops_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path(), "");
    let mut roles = ["api", "resolver", "dispatcher", "worker"].map(|role| start(role, &path));
    for role in &mut roles {
        assert!(role.line().starts_with('{'));
    }
    for role in &mut roles {
        assert_eq!(role.terminate(), Some(0));
    }
}

#[test]
fn what_an_installation_is_stays_as_it_was_at_its_first_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = start("dispatcher", &config(folder.path(), ""));
    first.line();
    assert_eq!(first.close_stdin(), Some(0));
    let simulated = config(folder.path(), "[installation]\nkind = \"simulated\"\n");
    let ran = run(&["dispatcher", "--config", &simulated]).must_end_with(3);
    assert!(ran.err.contains("was made real") && ran.err.contains("installation.kind"), "{}", ran.err);
}

#[test]
fn up_with_simulators_says_what_it_is_and_where_it_listens() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let arguments = ["up", "--sim", "--listen", "127.0.0.1:0", "--folder", data.to_str().unwrap()];
    let mut up = Running::start(command(&arguments));
    let first = up.line();
    assert!(first.contains("simulated installation: nothing reaches a phone"), "{first}");
    let address = up.address();
    assert_eq!(get(&address, "/v1/workers"), 200);
    assert_eq!(up.terminate(), Some(0));
}
