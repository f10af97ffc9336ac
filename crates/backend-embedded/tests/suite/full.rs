//! A disk that is full: calls fail and say so, and what was acknowledged before is there. This test starts itself again as a
//! process whose files may not grow.

use std::collections::BTreeSet;
use std::process::Command;

use backend::{Backend, ErrorKind};
use backend_embedded::{Place, open};

use crate::crash::{act, check};
use crate::support::runtime;

const FOLDER: &str = "FANFARE_FULL_FOLDER";
/// The most that a file may have, in blocks of 512 bytes.
const BLOCKS_MAX: &str = "512";
const KINDS: [&str; 7] = ["write", "transact", "send", "delete", "device", "blob", "grow"];

#[tokio::test]
async fn what_was_acknowledged_before_the_disk_was_full_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    // A file that may not grow is an error then, not the end.
    shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {BLOCKS_MAX}; exec \"$0\" \"$@\"")]);
    shell.arg(std::env::current_exe().unwrap());
    shell.args(["--exact", "full::writes_until_the_disk_is_full", "--nocapture"]);
    let output = shell.env(FOLDER, folder.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let words = |start| text.lines().filter_map(move |line| line.strip_prefix(start)?.strip_suffix('.'));
    let acknowledged: BTreeSet<String> = words("done ").map(str::to_owned).collect();
    let failed: BTreeSet<&str> = words("failed ").collect();
    assert_eq!(failed, BTreeSet::from(KINDS));
    assert!(acknowledged.len() > 1_000, "{}", acknowledged.len());
    check(folder.path(), &acknowledged, 1).await;
}

/// The child. Passes at once when it runs as a test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_until_the_disk_is_full() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let embedded = open(&Place::of(folder), &runtime().0).unwrap();
    grow_until_it_is_full(&embedded.backend).await;
    for what in KINDS.into_iter().rev() {
        let mut failures = 0;
        for number in 0_u64.. {
            let mut word = format!("{what}-{number}");
            if what == "blob" && number > 10 {
                let Err(error) = embedded.backend.blobs.put(&word, vec![7; 300_000]).await else { continue };
                assert_eq!(error.kind, ErrorKind::Storage);
                assert_eq!(embedded.backend.blobs.get(&word).await.unwrap(), None);
                failures = 5;
            } else if let Err(error) = act(&embedded.backend, what, &word).await {
                assert!(matches!(error.kind, ErrorKind::Storage | ErrorKind::AnswerLost), "{error}");
                failures += 1;
            } else {
                word.push('.');
                println!("done {word}");
            }
            // After an error the next call is as good as any other.
            if failures == 5 {
                break;
            }
        }
        println!("failed {what}.");
    }
}

/// What does not fit is no part of a growing object, and whatever fits still is taken.
async fn grow_until_it_is_full(backend: &Backend) {
    let mut growing = backend.blobs.grow("large").await.unwrap().unwrap();
    let mut bytes = 0;
    let error = loop {
        match growing.append(vec![7; 50_000]).await {
            Ok(()) => bytes += 50_000,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, ErrorKind::Storage);
    assert_eq!((growing.bytes(), backend.blobs.grown("large").await.unwrap()), (bytes, Some(bytes)));
    growing.append(vec![7; 1_000]).await.unwrap();
    drop(growing);
    let growing = backend.blobs.grow("large").await.unwrap().unwrap();
    assert_eq!(growing.bytes(), bytes + 1_000);
    growing.discard().await.unwrap();
}
