//! Objects that grow: appended to by one holder at a time, gone on with by the next, at last a blob or nothing.

use super::{Harness, assert_invalid, race};
use crate::blobs::{Growing, Stored};

async fn hold(harness: &Harness, name: &str) -> Box<dyn Growing> {
    harness.backend.blobs.grow(name).await.unwrap().expect("nobody holds it")
}

pub(super) async fn what_is_appended_reads_back(harness: &Harness) {
    let mut growing = hold(harness, "a/b").await;
    assert_eq!(growing.bytes(), 0);
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    for part in [b"one".to_vec(), vec![], large.clone()] {
        growing.append(part).await.unwrap();
    }
    growing.sync().await.unwrap();
    assert_eq!(growing.bytes(), 3_000_003);
    assert_eq!(harness.backend.blobs.grown("a/b").await.unwrap(), Some(3_000_003));
    let read = std::fs::read(growing.file().await.unwrap()).unwrap();
    assert!(read == [b"one", &large[..]].concat());
}

pub(super) async fn what_is_dropped_goes_on_where_it_stopped(harness: &Harness) {
    let mut growing = hold(harness, "name").await;
    growing.append(b"one ".to_vec()).await.unwrap();
    drop(growing);
    let mut growing = hold(harness, "name").await;
    assert_eq!(growing.bytes(), 4);
    growing.append(b"two".to_vec()).await.unwrap();
    assert_eq!(growing.keep("blob").await.unwrap(), Stored::New);
    assert_eq!(harness.backend.blobs.get("blob").await.unwrap().unwrap(), b"one two");
}

pub(super) async fn a_growing_object_has_one_holder(harness: &Harness) {
    let blobs = &*harness.backend.blobs;
    let growing = hold(harness, "name").await;
    assert!(blobs.grow("name").await.unwrap().is_none());
    let other = hold(harness, "name/2").await;
    drop((growing, other));
    drop(hold(harness, "name").await);
    hold(harness, "name").await.discard().await.unwrap();
    drop(hold(harness, "name").await);
}

pub(super) async fn one_of_many_racing_holders_wins(harness: &Harness) {
    let blobs = harness.backend.blobs.clone();
    let append = |number: usize| {
        let blobs = blobs.clone();
        async move {
            let mut growing = blobs.grow("name").await.unwrap()?;
            growing.append(vec![number as u8; 1_000]).await.unwrap();
            Some(growing)
        }
    };
    // Whoever got it holds it until all have tried.
    let held = race(20, append).await;
    let winners: Vec<usize> = (0..20).filter(|&one| held[one].is_some()).collect();
    assert_eq!(winners.len(), 1);
    let winner = held.into_iter().flatten().next().unwrap();
    winner.keep("blob").await.unwrap();
    assert_eq!(blobs.get("blob").await.unwrap().unwrap(), vec![winners[0] as u8; 1_000]);
}

pub(super) async fn a_growing_object_becomes_a_blob(harness: &Harness) {
    let blobs = &*harness.backend.blobs;
    let mut growing = hold(harness, "name").await;
    growing.append(b"content".to_vec()).await.unwrap();
    assert_eq!(growing.keep("uploads/x").await.unwrap(), Stored::New);
    assert_eq!(blobs.get("uploads/x").await.unwrap().unwrap(), b"content");
    assert_eq!(blobs.grown("name").await.unwrap(), None);
    assert_eq!(hold(harness, "name").await.bytes(), 0);
}

pub(super) async fn a_growing_object_does_not_replace_a_blob(harness: &Harness) {
    let blobs = &*harness.backend.blobs;
    blobs.put("blob", b"first".to_vec()).await.unwrap();
    let mut growing = hold(harness, "name").await;
    growing.append(b"second".to_vec()).await.unwrap();
    assert_eq!(growing.keep("blob").await.unwrap(), Stored::AlreadyThere);
    assert_eq!(blobs.get("blob").await.unwrap().unwrap(), b"first");
    assert_eq!(blobs.grown("name").await.unwrap(), None);
}

pub(super) async fn what_is_cut_is_gone(harness: &Harness) {
    let mut growing = hold(harness, "name").await;
    growing.append(b"one two".to_vec()).await.unwrap();
    growing.cut(4).await.unwrap();
    assert_eq!(growing.bytes(), 4);
    growing.append(b"three".to_vec()).await.unwrap();
    growing.keep("blob").await.unwrap();
    assert_eq!(harness.backend.blobs.get("blob").await.unwrap().unwrap(), b"one three");
}

pub(super) async fn what_is_discarded_is_gone(harness: &Harness) {
    let blobs = &*harness.backend.blobs;
    let mut growing = hold(harness, "name").await;
    growing.append(b"content".to_vec()).await.unwrap();
    growing.discard().await.unwrap();
    assert_eq!(blobs.grown("name").await.unwrap(), None);
    assert!(blobs.growing().await.unwrap().is_empty());
}

pub(super) async fn growing_objects_are_no_blobs(harness: &Harness) {
    let blobs = &*harness.backend.blobs;
    for name in ["b", "a/1"] {
        hold(harness, name).await.append(vec![1]).await.unwrap();
    }
    blobs.put("a/1", b"blob".to_vec()).await.unwrap();
    assert_eq!(blobs.growing().await.unwrap(), ["a/1", "b"]);
    assert_eq!(blobs.list("").await.unwrap(), ["a/1"]);
    assert_eq!(blobs.get("a/1").await.unwrap().unwrap(), b"blob");
}

pub(super) async fn growing_objects_have_names_like_blobs(harness: &Harness) {
    let blobs = &*harness.backend.blobs;
    for bad in ["", "/a", "..", "a b"] {
        assert_invalid(blobs.grow(bad).await.map(|growing| growing.is_some()));
        assert_invalid(blobs.grown(bad).await);
        assert_invalid(hold(harness, "good").await.keep(bad).await);
    }
}
