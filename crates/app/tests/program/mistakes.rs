//! What somebody reads who made a mistake: every mistake at once, its place, and what to do.

use std::net::TcpListener;
use std::process::Command;

use crate::support::{config, run};

#[test]
fn every_mistake_of_a_configuration_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(
        folder.path(),
        "port = 7\n[worker]\nthreads = 0\n[fcm]\nconnections = 0\n[wroker]\nthreads = 1\n",
    );
    for arguments in [&["config", "check", "--config", &path][..], &["worker", "--config", &path]] {
        let ran = run(arguments).must_end_with(2);
        for part in ["has 4 mistakes", "\"port\"", "worker.threads", "fcm.connections", "\"wroker\""] {
            assert!(ran.err.contains(part), "{part:?} not in\n{}", ran.err);
        }
    }
}

#[test]
fn a_default_configuration_prints_with_its_comments_and_is_good() {
    let printed = run(&["config", "print", "--default"]).must_end_with(0);
    assert!(printed.out.starts_with("# Fanfare's configuration"), "{}", printed.out);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("printed.toml");
    std::fs::write(&path, &printed.out).unwrap();
    run(&["config", "check", "--config", path.to_str().unwrap()]).must_end_with(0);
}

#[test]
fn a_missing_configuration_file_is_named() {
    let ran = run(&["config", "check", "--config", "/nowhere/fanfare.toml"]).must_end_with(2);
    assert!(ran.err.contains("/nowhere/fanfare.toml"), "{}", ran.err);
}

#[test]
fn a_port_in_use_names_the_address_and_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let arguments = ["up", "--listen", &address, "--folder", data.to_str().unwrap()];
    let ran = run(&arguments).must_end_with(3);
    for part in [&address, "api.listen", "in use"] {
        assert!(ran.err.contains(part), "{part:?} not in {}", ran.err);
    }
}

#[test]
fn a_file_in_the_place_of_the_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data"), "not a folder").unwrap();
    let path = config(folder.path(), "");
    let ran = run(&["dispatcher", "--config", &path]).must_end_with(3);
    assert!(ran.err.contains("backend.folder") && ran.err.contains("/data"), "{}", ran.err);
}

#[test]
fn a_foreign_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path(), "");
    let database = folder.path().join("data").join(DATABASE);
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let foreign = b"this is no database at all, and nobody should write to it".repeat(100);
    std::fs::write(&database, &foreign).unwrap();
    let ran = run(&["resolver", "--config", &path]).must_end_with(3);
    assert!(ran.err.contains(DATABASE), "{}", ran.err);
    assert_eq!(std::fs::read(&database).unwrap(), foreign);
}

/// The embedded backend's main database.
const DATABASE: &str = "fanfare.db";

#[test]
fn too_few_open_files_say_how_to_get_more() {
    let line = "ulimit -n 100 && exec \"$0\" bench push --provider apns --endpoint localhost:1 --ca none --connections 500";
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", line, env!("CARGO_BIN_EXE_fanfare")]).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(err.contains("ulimit -Hn") && err.contains("fewer connections"), "{err}");
}

#[test]
fn every_command_has_help_with_an_example() {
    let commands: [&[&str]; 12] = [
        &["demo"],
        &["up"],
        &["api"],
        &["resolver"],
        &["dispatcher"],
        &["worker"],
        &["sim"],
        &["devices", "import"],
        &["audience", "upload"],
        &["bench", "push"],
        &["bench", "snapshot"],
        &["config", "check"],
    ];
    for command in commands {
        let ran = run(&[command, &["--help"]].concat()).must_end_with(0);
        let has = |head: &str| ran.out.contains(&format!("{head}:\n  fanfare "));
        assert!(has("Example") || has("Examples"), "{command:?}:\n{}", ran.out);
    }
    assert!(run(&["--help"]).must_end_with(0).out.contains("Exit codes:"));
}

#[test]
fn a_flag_that_a_simulator_s_mode_does_not_have_is_refused_by_its_name() {
    for (flags, named) in [
        (&["sim", "apns", "--topics", "org.example"][..], "topics"),
        (&["sim", "apns", "--mode", "validating", "--answer-table-bytes", "0"], "answer-table-bytes"),
    ] {
        let ran = run(flags).must_end_with(2);
        assert!(ran.err.contains(named), "{}", ran.err);
    }
}
