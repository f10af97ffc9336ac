//! The sending path against other servers: a simulator in this process, and nginx.

use std::path::{Path, PathBuf};

use provider_sim::Config;
use provider_sim::config::Mode;

use crate::nginx::Nginx;
use crate::support::run;

/// Every field of the JSON.
const FIELDS: [&str; 14] = [
    "accepted",
    "rejected",
    "unknown",
    "not_sent",
    "elapsed_s",
    "per_second",
    "cpu_us_per_device",
    "setup_cpu_s",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "p999_ms",
    "max_ms",
    "rss_bytes",
];

/// Sends `devices` messages over three connections and expects them all to be accepted.
fn push(provider: &str, endpoint: &str, ca: &Path, devices: u64) {
    let (ca, devices_text) = (ca.to_str().unwrap(), devices.to_string());
    let sizes = ["--devices", &devices_text, "--connections", "3", "--threads", "2", "--json"];
    let target = ["bench", "push", "--provider", provider, "--endpoint", endpoint, "--ca", ca];
    let ran = run(&[target.as_slice(), sizes.as_slice()].concat()).must_end_with(0);
    let figures = ran.json();
    let object = figures.as_object().unwrap();
    assert_eq!(object.len(), FIELDS.len(), "{figures}");
    assert!(FIELDS.iter().all(|field| object[*field].is_number()), "{figures}");
    assert_eq!(figures["accepted"], devices, "{figures}");
    for none in ["rejected", "unknown", "not_sent"] {
        assert_eq!(figures[none], 0, "{figures}");
    }
    for some in ["elapsed_s", "per_second", "p50_ms", "max_ms", "rss_bytes"] {
        assert!(figures[some].as_f64() > Some(0.0), "{some}: {figures}");
    }
}

fn write_ca(folder: &Path, pem: &str) -> PathBuf {
    let path = folder.join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    path
}

#[test]
fn simulators_receive_every_device_once() {
    for (provider, config) in [("apns", Config::apns()), ("fcm", Config::fcm())] {
        let simulator = provider_sim::start(config).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca = write_ca(folder.path(), simulator.ca_pem());
        push(provider, &simulator.address().to_string(), &ca, 5_000);
        let report = simulator.report().unwrap();
        assert_eq!((report.distinct, report.received_twice), (5_000, 0), "{provider}");
    }
}

#[test]
fn simulators_that_validate_find_nothing() {
    for (provider, mut config) in [("apns", Config::apns()), ("fcm", Config::fcm())] {
        config.mode = Mode::Validating;
        let simulator = provider_sim::start(config).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca = write_ca(folder.path(), simulator.ca_pem());
        push(provider, &simulator.address().to_string(), &ca, 3_000);
        let report = simulator.report().unwrap();
        assert_eq!((report.distinct, report.received_twice), (3_000, 0), "{provider}");
        assert!(report.faults_found.is_empty(), "{:?}", report.faults_found);
    }
}

#[test]
fn nginx_answers_every_request_whatever_its_certificate_and_however_often_it_closes() {
    let nginx = Nginx::start();
    for provider in ["apns", "fcm"] {
        push(provider, &nginx.signed.address, &nginx.authority, 5_000);
        push(provider, &nginx.self_signed.address, &nginx.self_signed.certificate, 5_000);
    }
}

#[test]
fn a_server_that_breaks_off_is_no_success() {
    let mut config = Config::apns();
    config.faults.dropped_after = 0.01;
    let simulator = provider_sim::start(config).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = write_ca(folder.path(), simulator.ca_pem());
    let (endpoint, ca) = (simulator.address().to_string(), ca.to_str().unwrap());
    let arguments =
        ["bench", "push", "--provider", "apns", "--endpoint", &endpoint, "--ca", ca, "--devices", "2000"];
    let ran = run(&[arguments.as_slice(), &["--json"]].concat()).must_end_with(1);
    assert!(ran.json()["unknown"].as_u64() > Some(0), "{}", ran.out);
}

#[test]
fn a_snapshot_s_map_is_measured_apart_from_the_process() {
    let ran = run(&["bench", "snapshot", "--devices", "20000", "--json"]).must_end_with(0);
    let figures = ran.json();
    assert_eq!(figures["map_resident_bytes"], figures["file_bytes"], "{figures}");
    assert!(figures["process_resident_bytes"].as_u64() > figures["map_resident_bytes"].as_u64(), "{figures}");
    assert!(figures["bytes_per_apns_device"].as_f64() <= Some(40.0), "{figures}");
    assert!(figures["bytes_per_fcm_device"].as_f64() <= Some(130.0), "{figures}");
}
