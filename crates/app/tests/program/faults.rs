//! A provider that goes wrong, against the whole program: the launch ends, nothing is lost in the books, and the report or
//! the readiness says why. `cargo xtask faults` tries every fault at full size.

use serde_json::Value;

use crate::support::{Ran, run};

const DEVICES: &str = "3000";

fn demo(more: &[&str]) -> Ran {
    let connections = ["--apns-connections", "4", "--fcm-connections", "1"];
    let usual =
        ["demo", "--json", "--devices", DEVICES, "--platform", "apns", "--dead", "0", "--errors", "0"];
    run(&[&usual[..], &connections, more].concat())
}

fn reasons(summary: &Value) -> String {
    summary["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason.as_str().unwrap())
        .collect::<Vec<_>>()
        .join("; ")
}

#[test]
fn one_bad_connection_harms_nobody_else_and_stands_in_the_report() {
    let flags = "--connection-fault reset --hits one --hit-at 100";
    let ran = demo(&["--sim-apns", flags]).must_end_with(0);
    let summary = ran.json();
    assert_eq!((&summary["accepted"], &summary["unknown"]), (&3_000.into(), &0.into()), "{summary}");
    assert_eq!(summary["sim_connections"][0]["hit"], 1);
    assert!(reasons(&summary).contains("server reset the connection"), "{summary}");
    assert!(ran.err.contains("What went wrong on the way"), "{}", ran.err);
}

#[test]
fn credentials_refused_in_the_middle_stop_the_launch_and_the_report_says_so() {
    let ran =
        demo(&["--sim-apns", "--storm-from 1500 --storm-answers InvalidProviderToken"]).must_end_with(0);
    let summary = ran.json();
    let number = |field: &str| summary[field].as_u64().unwrap();
    assert!(number("rejected") > 0, "{summary}");
    assert_eq!(number("accepted") + number("rejected") + number("not_sent"), 3_000, "{summary}");
    let stopped = "the provider refuses the credentials: InvalidProviderToken";
    assert!(reasons(&summary).contains(stopped), "{summary}");
    assert!(ran.err.contains(stopped), "the report for people too: {}", ran.err);
}

#[test]
fn a_certificate_for_another_name_keeps_go_shut_and_readiness_says_why() {
    let ran = demo(&["--patience", "3s", "--sim-apns", "--certificate other-name"]).must_end_with(3);
    assert!(ran.err.contains("server's certificate is for another name"), "{}", ran.err);
}

#[test]
fn a_name_that_does_not_resolve_keeps_go_shut_and_readiness_says_why() {
    let ran = demo(&["--patience", "8s", "--sim-host", "nowhere.invalid"]).must_end_with(3);
    assert!(ran.err.contains("name of the endpoint did not resolve"), "{}", ran.err);
}
