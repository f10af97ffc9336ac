//! The whole flow: people, simulators as processes, HTTP, two presses, records against what arrived.

use std::io::{BufRead as _, BufReader};

use crate::support::{Running, command, run};

/// The six classes.
const CLASSES: [&str; 6] = ["accepted", "rejected", "expired", "suppressed", "not_sent", "unknown"];

/// What must hold of every run that ends well.
fn check(summary: &serde_json::Value, devices: u64) {
    let number = |field: &str| summary[field].as_u64().unwrap_or_else(|| panic!("{field} of {summary}"));
    assert_eq!(number("devices"), devices);
    assert_eq!(CLASSES.iter().map(|class| number(class)).sum::<u64>(), devices, "{summary}");
    assert_eq!((number("presses"), number("launches")), (4, 1));
    assert!(number("received_twice") <= number("resent"), "{summary}");
    assert!(number("map_resident_bytes") > 0 && number("process_resident_bytes") > 0, "{summary}");
    assert_eq!(summary["broken_invariants"], serde_json::json!([]));
    let times = ["launch_ack_ms", "first_request_ms", "p50_ms", "p95_ms", "p99_ms", "last_ms"];
    assert!(times.iter().all(|time| summary[time].as_f64().is_some_and(|ms| ms > 0.0)), "{summary}");
}

#[test]
fn a_thousand_devices_pass_every_stage_and_two_accounts_agree() {
    let ran = run(&["demo", "--devices", "1000", "--json", "--trace-stages"]).must_end_with(0);
    let summary = ran.json();
    check(&summary, 1_000);
    assert_eq!(summary["received"], 1_000);
    assert!(summary["rejected"].as_u64() > Some(0), "some devices are dead: {summary}");
    assert_eq!(ran.out.lines().count(), 1, "everything but the JSON goes to standard error");
    for part in ["ann and bob press Go", "this press launched it", "Where the time went", "last answer"] {
        assert!(ran.err.contains(part), "{part:?} not in\n{}", ran.err);
    }
}

#[test]
fn simulators_that_check_every_request_find_nothing() {
    let ran = run(&["demo", "--devices", "4000", "--json", "--sim-mode", "validating"]).must_end_with(0);
    let summary = ran.json();
    check(&summary, 4_000);
    assert_eq!((&summary["received"], &summary["faults_found"]), (&4_000.into(), &0.into()));
    assert!(ran.err.contains("checked every request: 0 faults found"), "{}", ran.err);
}

#[test]
fn an_account_with_a_hidden_arrival_breaks_conservation() {
    let ran = run(&["demo", "--devices", "1000", "--json", "--sim-miscount", "1"]).must_end_with(1);
    let broken = ran.json()["broken_invariants"].to_string();
    assert!(broken.contains("I2 ("), "{broken}");
}

#[test]
fn an_account_with_an_arrival_counted_twice_breaks_nobody_twice() {
    let ran = run(&["demo", "--devices", "1000", "--json", "--sim-miscount", "-1"]).must_end_with(1);
    let broken = ran.json()["broken_invariants"].to_string();
    assert!(broken.contains("I3 ("), "{broken}");
}

#[test]
fn a_launch_outlives_the_worker_and_the_dispatcher_that_began_it() {
    let kills = ["--kill", "worker@0.2s", "--kill", "dispatcher@0.1s"];
    let ran = run(&[&["demo", "--devices", "20000", "--json"], kills.as_slice()].concat()).must_end_with(0);
    let summary = ran.json();
    check(&summary, 20_000);
    assert_eq!(summary["kills"], 2);
}

#[test]
fn a_press_whose_api_dies_is_no_second_launch() {
    let ran = run(&["demo", "--devices", "2000", "--json", "--kill", "api@0s", "--kill", "api@50ms"])
        .must_end_with(0);
    check(&ran.json(), 2_000);
}

#[test]
fn a_kill_that_would_come_too_late_keeps_nobody_waiting() {
    let ran = run(&["demo", "--devices", "500", "--json", "--kill", "worker@1h"]).must_end_with(0);
    assert!(ran.err.contains("over before 1 of the kills"), "{}", ran.err);
    assert!(ran.err.contains("100.0 %"), "the last line comes from the records: {}", ran.err);
}

#[test]
fn a_folder_with_something_in_it_is_no_place_for_a_demo() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--devices", "10", "--folder", folder.path().to_str().unwrap()];
    std::fs::write(folder.path().join("mine.txt"), "mine").unwrap();
    let ran = run(&arguments).must_end_with(3);
    assert!(ran.err.contains("is not empty"), "{}", ran.err);
}

#[test]
fn a_demo_that_is_stopped_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = command(&["demo", "--devices", "5000000"]);
    command.env("TMPDIR", temporary.path()).stderr(std::process::Stdio::piped());
    let mut demo = Running::start(command);
    let mut said = BufReader::new(demo.child.stderr.take().unwrap());
    let mut line = String::new();
    // Once it imports, its folder is there.
    while std::fs::read_dir(temporary.path()).unwrap().next().is_none() {
        line.clear();
        said.read_line(&mut line).unwrap();
    }
    assert_eq!(demo.terminate(), Some(3));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn a_device_alone_is_an_audience_too() {
    let ran = run(&["demo", "--", "--devices", "1", "--json"]).must_end_with(0);
    let summary = ran.json();
    assert_eq!((&summary["devices"], &summary["launches"]), (&1.into(), &1.into()));
}

#[test]
fn a_share_that_is_none_is_refused_with_its_flag() {
    let ran = run(&["demo", "--dead", "1.5"]).must_end_with(2);
    assert!(ran.err.contains("--dead") && ran.err.contains("from 0 to 1"), "{}", ran.err);
    let ran = run(&["demo", "--kill", "queen@1s"]).must_end_with(2);
    assert!(ran.err.contains("dispatcher, worker"), "{}", ran.err);
}
