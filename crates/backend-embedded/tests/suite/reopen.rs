//! Closing and opening again: what is kept, what is refused, who may read it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use backend::{ErrorKind, Expect, Key, Outgoing, Queue, Write};
use backend_embedded::{Error, Place, open};
use model::Timestamp;

use crate::support::runtime;

fn open_error(folder: &Path) -> Error {
    match open(&Place::of(folder), &runtime().0) {
        Ok(_) => panic!("{} was opened", folder.display()),
        Err(error) => error,
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::of(folder.path());
    let embedded = open(&place, &runtime().0).unwrap();
    let key = Key::new("p", "s");
    let put = |expect, body: &[u8]| vec![Write::put(key.clone(), expect, body.to_vec())];
    embedded.backend.store.write(put(Expect::Absent, b"x")).await.unwrap();
    embedded.backend.store.transact(put(Expect::Version(1), b"y")).await.unwrap();
    embedded.backend.queues.send(Queue::Resolve, vec![Outgoing::now("m".into())]).await.unwrap();
    embedded.close().await;
    let embedded = open(&place, &runtime().0).unwrap();
    let rows = embedded.backend.store.get(&[key]).await.unwrap();
    assert_eq!(rows[0].as_ref().unwrap().body, b"y");
    let received = embedded.backend.queues.receive(Queue::Resolve, 10, Duration::ZERO).await.unwrap();
    assert_eq!(received[0].body, "m");
}

#[tokio::test]
async fn a_closed_backend_refuses_calls_and_leaves_no_log_behind() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = open(&Place::of(folder.path()), &runtime().0).unwrap();
    let backend = embedded.backend.clone();
    backend.queues.send(Queue::Resolve, vec![Outgoing::now("m".into())]).await.unwrap();
    embedded.close().await;
    let error = backend.queues.send(Queue::Resolve, vec![Outgoing::now("m".into())]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient);
    assert!(error.message.contains("is closed"), "{error}");
    let error = backend.store.get(&[Key::new("p", "s")]).await.unwrap_err();
    assert!(error.message.contains("is closed"), "{error}");
    assert!(!folder.path().join("fanfare.db-wal").exists());
}

#[test]
fn foreign_files_are_refused_and_left_alone() {
    for file in ["fanfare.db", "directory.log"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        let content = "Dear diary, ".repeat(1_000);
        fs::write(&path, &content).unwrap();
        let error = open_error(folder.path());
        assert!(matches!(&error, Error::Foreign { path: found } if *found == path), "{error}");
        assert_eq!(
            error.to_string(),
            format!("{} is not a Fanfare database; it was left alone", path.display())
        );
        assert_eq!(fs::read_to_string(path).unwrap(), content);
    }
}

#[test]
fn the_database_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let other = rusqlite::Connection::open(folder.path().join("fanfare.db")).unwrap();
    other.execute_batch("CREATE TABLE diary (day TEXT)").unwrap();
    drop(other);
    assert!(matches!(open_error(folder.path()), Error::Foreign { .. }));
}

#[tokio::test]
async fn another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open(&Place::of(folder.path()), &runtime().0).unwrap().close().await;
    let database = rusqlite::Connection::open(folder.path().join("fanfare.db")).unwrap();
    database.pragma_update(None, "user_version", 9).unwrap();
    drop(database);
    let error = open_error(folder.path());
    assert!(matches!(error, Error::Version { found: 9, .. }), "{error}");
    assert!(error.to_string().contains("fanfare.db has schema version 9, this program uses 1"), "{error}");
    fs::remove_file(folder.path().join("fanfare.db")).unwrap();
    fs::write(folder.path().join("directory.log"), format!("{:<100}", "fanfare directory log 2\n")).unwrap();
    assert!(matches!(open_error(folder.path()), Error::Version { found: 2, .. }));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    // Even root makes no folder in these.
    for place in [file.join("folder"), "/proc/fanfare".into()] {
        let error = open_error(&place);
        assert!(matches!(error, Error::File { .. }), "{error}");
        assert!(error.to_string().contains(&place.display().to_string()), "{error}");
    }
}

#[test]
fn a_full_disk_at_the_start_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("directory.log")).unwrap();
    let error = open_error(folder.path());
    assert!(error.to_string().contains("directory.log: No space left on device"), "{error}");
}

#[tokio::test]
async fn only_the_owner_can_read_what_is_stored() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    let embedded = open(&Place::of(&folder), &runtime().0).unwrap();
    embedded.backend.blobs.put("blob", vec![1]).await.unwrap();
    let file = embedded.backend.blobs.staging().join("file");
    fs::write(&file, "x").unwrap();
    embedded.backend.blobs.put_file("other", &file).await.unwrap();
    embedded.backend.store.transact(vec![Write::check(Key::new("p", "s"), Expect::Absent)]).await.unwrap();
    let mut seen = 0;
    let mut folders = vec![parent.path().join("a")];
    while let Some(folder) = folders.pop() {
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", entry.path().display());
            seen += 1;
        }
    }
    assert!(seen >= 7, "{seen} files");
}

#[test]
fn what_killed_processes_left_in_staging_goes_after_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let staging = folder.path().join("staging");
    fs::create_dir(&staging).unwrap();
    for (name, age) in [("old", 25), ("new", 23)] {
        let at = Timestamp::from_secs(1_000_000 - age * 3_600).as_secs();
        let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        fs::File::create(staging.join(name)).unwrap().set_modified(time).unwrap();
    }
    drop(open(&Place::of(folder.path()), &runtime().0).unwrap());
    assert!(!staging.join("old").exists() && staging.join("new").exists());
}
