//! The late list from the command line: a few people, and files of them; and no log names anybody on the way.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Ran, Running, command, config, run};

const ANN: &str = "ann-who-opted-out";

/// A role that logs all it can into a file; the role, and the first line that it says.
fn start(role: &str, config: &str, log: &Path) -> (Running, Value) {
    let mut command = command(&[role, "--config", config, "--exit-when-stdin-closes"]);
    command.env("FANFARE_LOG__FILTER", "trace").stderr(File::create(log).unwrap());
    let mut running = Running::start(command);
    let said = serde_json::from_str(&running.line()).unwrap();
    (running, said)
}

#[test]
fn people_come_onto_the_late_list_by_name_or_by_file_and_no_log_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let logs = ["api.log", "resolver.log"].map(|name| folder.path().join(name));
    let (mut api, said) = start("api", &config, &logs[0]);
    let (mut resolver, _) = start("resolver", &config, &logs[1]);
    let url = format!("http://{}", said["address"].as_str().unwrap());
    let at = |arguments: &[&str]| run(&[arguments, &["--server", &url]].concat());
    let add = |arguments: &[&str]| at(&[&["suppression", "add"], arguments].concat());
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };

    let few = add(&[ANN, "bob", "--json"]).must_end_with(0).json();
    assert_eq!((&few["people"], &few["version"]), (&2.into(), &1.into()));
    // A line an id, whatever stands in it.
    let gone = file("gone.txt", &format!("{ANN}\n{ANN}-too\n\"quoted\"\n"));
    let added = add(&["--file", &gone, "--cause", "blocked"]).must_end_with(0).out;
    for part in ["done", "3 rows, 0 bad", "2 added", "1 changed", "version 2 of the late list"] {
        assert!(added.contains(part), "{part:?} not in {added}");
    }
    for (user, standing) in
        [(ANN, "blocked since"), ("\"quoted\"", "blocked since"), ("bob", "opted_out since")]
    {
        let shown = at(&["users", "show", user]).must_end_with(0).out;
        assert!(shown.contains(&format!("on the late list: {standing}")), "{shown}");
    }
    let bad = file("bad.csv", &format!("user\n{ANN}-not-yet\n{ANN},\n"));
    let refused = add(&["--file", &bad]).must_end_with(1).out;
    for part in ["failed", "1 of 2 rows are bad; the first: line 3", "bad: 1 field_count", "/bad-rows"] {
        assert!(refused.contains(part), "{part:?} not in {refused}");
    }
    let shown = at(&["users", "show", &format!("{ANN}-not-yet")]).must_end_with(0).out;
    assert!(shown.contains("not on the late list"), "{shown}");
    let arguments = ["suppression", "add", "--file", "-", "--format", "users", "--server", &url];
    let mut piped = command(&arguments);
    piped.stdin(Stdio::from(File::open(&gone).unwrap()));
    let piped = Ran::from(piped.output().unwrap()).must_end_with(0).out;
    assert!(piped.contains("3 unchanged") && piped.contains("version 2 of"), "{piped}");

    add(&[]).must_end_with(2);
    add(&[ANN, "--file", &gone]).must_end_with(2);
    add(&["--file", &gone, "--bad-share-max", "0.5"]).must_end_with(3);
    assert!(add(&["a\u{1}b"]).must_end_with(1).err.contains("refused"));

    assert_eq!((api.close_stdin(), resolver.close_stdin()), (Some(0), Some(0)));
    for log in &logs {
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.contains(" TRACE ") && log.contains("stopping"), "everything is logged: {log}");
        assert!(!log.contains(ANN), "{:?}", log.lines().find(|line| line.contains(ANN)));
    }
}
