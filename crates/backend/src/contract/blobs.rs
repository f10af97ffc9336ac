//! Blobs: names, conditional puts, files.

use std::path::PathBuf;

use super::{Harness, assert_invalid, race};
use crate::blobs::{NAME_BYTES_MAX, NAME_PARTS_MAX, Stored};

fn staged(harness: &Harness, name: &str, bytes: &[u8]) -> PathBuf {
    let path = harness.backend.blobs.staging().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

pub(super) async fn a_blob_reads_back(harness: &Harness) {
    let blobs = &*harness.backend.blobs;
    let large: Vec<u8> = (0..6_000_000_u32).map(|number| (number % 251) as u8).collect();
    for (name, bytes) in [("empty", vec![]), ("a/b-c/d_e.f", b"bytes \0\xff".to_vec()), ("large", large)] {
        assert_eq!(blobs.get(name).await.unwrap(), None);
        assert_eq!(blobs.file(name).await.unwrap(), None);
        assert_eq!(blobs.put(name, bytes.clone()).await.unwrap(), Stored::New);
        assert!(blobs.get(name).await.unwrap().as_ref() == Some(&bytes), "{name}");
        let file = blobs.file(name).await.unwrap().expect("it is there");
        assert!(std::fs::read(file).unwrap() == bytes, "{name}");
    }
}

pub(super) async fn a_taken_name_is_left_alone(harness: &Harness) {
    let blobs = &*harness.backend.blobs;
    assert_eq!(blobs.put("name", b"first".to_vec()).await.unwrap(), Stored::New);
    assert_eq!(blobs.put("name", b"second".to_vec()).await.unwrap(), Stored::AlreadyThere);
    assert_eq!(blobs.put("name", b"first".to_vec()).await.unwrap(), Stored::AlreadyThere);
    assert_eq!(blobs.get("name").await.unwrap().unwrap(), b"first");
}

pub(super) async fn one_of_many_racing_puts_is_new(harness: &Harness) {
    let blobs = harness.backend.blobs.clone();
    let put = |number: usize| {
        let blobs = blobs.clone();
        async move { blobs.put("name", vec![number as u8; 10_000]).await.unwrap() }
    };
    let stored = race(20, put).await;
    let winners: Vec<usize> = (0..20).filter(|&one| stored[one] == Stored::New).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(blobs.get("name").await.unwrap().unwrap(), vec![winners[0] as u8; 10_000]);
}

pub(super) async fn a_file_becomes_a_blob(harness: &Harness) {
    let blobs = &*harness.backend.blobs;
    let file = staged(harness, "file", b"content");
    assert_eq!(blobs.put_file("snapshots/x", &file).await.unwrap(), Stored::New);
    assert_eq!(blobs.get("snapshots/x").await.unwrap().unwrap(), b"content");
}

pub(super) async fn a_file_does_not_replace_a_blob(harness: &Harness) {
    let blobs = &*harness.backend.blobs;
    blobs.put("name", b"first".to_vec()).await.unwrap();
    let file = staged(harness, "file", b"second");
    assert_eq!(blobs.put_file("name", &file).await.unwrap(), Stored::AlreadyThere);
    assert_eq!(blobs.get("name").await.unwrap().unwrap(), b"first");
}

pub(super) async fn a_name_may_be_the_beginning_of_another(harness: &Harness) {
    let blobs = &*harness.backend.blobs;
    for name in ["a", "a/b", "a/b/c", "a.b", "a-b"] {
        assert_eq!(blobs.put(name, name.into()).await.unwrap(), Stored::New);
    }
    for name in ["a", "a/b", "a/b/c", "a.b", "a-b"] {
        assert_eq!(blobs.get(name).await.unwrap().unwrap(), name.as_bytes());
    }
}

pub(super) async fn names_are_listed_by_prefix_in_order(harness: &Harness) {
    let blobs = &*harness.backend.blobs;
    for name in ["b/2", "b/10", "b-1", "B", "b/1/x", "c", "b"] {
        blobs.put(name, vec![]).await.unwrap();
    }
    assert_eq!(blobs.list("").await.unwrap(), ["B", "b", "b-1", "b/1/x", "b/10", "b/2", "c"]);
    assert_eq!(blobs.list("b/").await.unwrap(), ["b/1/x", "b/10", "b/2"]);
    assert_eq!(blobs.list("b/1").await.unwrap(), ["b/1/x", "b/10"]);
    assert!(blobs.list("d").await.unwrap().is_empty());
}

pub(super) async fn a_deleted_blob_is_gone_and_its_name_free(harness: &Harness) {
    let blobs = &*harness.backend.blobs;
    blobs.delete("name").await.unwrap();
    blobs.put("name", b"first".to_vec()).await.unwrap();
    blobs.delete("name").await.unwrap();
    assert_eq!(blobs.get("name").await.unwrap(), None);
    assert!(blobs.list("").await.unwrap().is_empty());
    assert_eq!(blobs.put("name", b"second".to_vec()).await.unwrap(), Stored::New);
    assert_eq!(blobs.get("name").await.unwrap().unwrap(), b"second");
}

pub(super) async fn bad_names_are_refused(harness: &Harness) {
    let blobs = &*harness.backend.blobs;
    let parts = |count| vec!["x"; count].join("/");
    let fits = ["...".to_owned(), parts(NAME_PARTS_MAX), "x".repeat(NAME_BYTES_MAX)];
    for name in fits {
        assert_eq!(blobs.put(&name, vec![]).await.unwrap(), Stored::New);
    }
    let too_long = "x".repeat(NAME_BYTES_MAX + 1);
    let too_many = parts(NAME_PARTS_MAX + 1);
    for bad in
        ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a b", "a+b", "ü", "a\0", &too_long, &too_many]
    {
        let file = staged(harness, "file", b"");
        assert_invalid(blobs.put(bad, vec![]).await);
        assert_invalid(blobs.put_file(bad, &file).await);
        assert_invalid(blobs.get(bad).await);
        assert_invalid(blobs.file(bad).await);
        assert_invalid(blobs.delete(bad).await);
    }
}
