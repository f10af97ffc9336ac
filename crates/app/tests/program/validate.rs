//! `fanfare audience validate`: what the service would say of a list, and by which exit code.

use std::path::{Path, PathBuf};

use crate::support::run;

fn file(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path: PathBuf = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_good_list_ends_with_0_and_says_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let users = file(folder.path(), "fans.csv", "user\nann\nbob\n");
    let ran = run(&["audience", "validate", &users]).must_end_with(0);
    assert!(ran.out.starts_with("the list would be taken"), "{}", ran.out);
    let json = run(&["audience", "validate", &users, "--rows", "users", "--json"]).must_end_with(0).json();
    assert_eq!((&json["kind"], &json["rows"], &json["refused"]), (&"users".into(), &2.into(), &().into()));
    let tokens = file(folder.path(), "tokens.txt", "00aa\n00bb\n");
    let defaults = ["--platform", "apns", "--apns-app", "a.b", "--locale", "en", "--market", "us", "--json"];
    let json = run(&[&["audience", "validate", &tokens], &defaults[..]].concat()).must_end_with(0).json();
    assert_eq!(json["by_platform"]["apns"], 2);
}

#[test]
fn a_bad_list_ends_with_1_and_every_bad_row_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..50).map(|number| format!("u{number},\n")).collect();
    let bad = file(folder.path(), "bad.csv", format!("user\nann\n{rows}"));
    let list = folder.path().join("list.ndjson");
    let ran = run(&["audience", "validate", &bad, "--list", list.to_str().unwrap()]).must_end_with(1);
    for part in ["50 of 51 rows are bad; the first: line 3", "bad, field_count", "and 30 more"] {
        assert!(ran.out.contains(part), "{part} not in\n{}", ran.out);
    }
    let list = std::fs::read_to_string(list).unwrap();
    assert_eq!(list.lines().count(), 50);
    assert!(list.starts_with("{\"line\":3,\"byte\":9,\"reason\":\"field_count\","), "{list}");
    let accepting = ["--bad-rows", "accept_valid", "--bad-share-max", "0.99"];
    run(&[&["audience", "validate", &bad], &accepting[..]].concat()).must_end_with(0);
    let json = run(&["audience", "validate", &bad, "--rows", "devices", "--json"]).must_end_with(1).json();
    assert_eq!(json["refused"], "the rows are users, announced were devices");
}

#[test]
fn what_cannot_be_asked_ends_with_2_and_what_cannot_be_read_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let users = file(folder.path(), "fans", "user\nann\n");
    let ran = run(&["audience", "validate", &users]).must_end_with(2);
    assert!(ran.err.contains("say --format"), "{}", ran.err);
    run(&["audience", "validate", &users, "--format", "csv", "--bad-share-max", "0.5"]).must_end_with(2);
    run(&["audience", "validate", &users, "--format", "csv", "--market", ""]).must_end_with(2);
    let ran = run(&["audience", "validate", "/nowhere/fans.csv"]).must_end_with(3);
    assert!(ran.err.contains("/nowhere/fans.csv"), "{}", ran.err);
}

#[test]
fn ceilings_are_configuration_keys() {
    let folder = tempfile::tempdir().unwrap();
    let users = file(folder.path(), "fans.csv", "user\nann\nbob\n");
    let config = crate::support::config(folder.path(), "[uploads]\nrows_max = 1\n");
    let ran = run(&["audience", "validate", &users, "--config", &config]).must_end_with(1);
    assert!(ran.out.contains("more than 1 rows (uploads.rows_max)"), "{}", ran.out);
}
