//! Rows: versions, conditions, races.

use super::{Harness, assert_invalid, race};
use crate::store::{BODY_BYTES_MAX, Expect, Key, Row, Store, Write, Written};

pub(super) fn key(sort: &str) -> Key {
    Key::new("p", sort)
}

/// Puts one row under `expect`.
pub(super) async fn put(store: &dyn Store, key: &Key, expect: Expect, body: &[u8]) -> Written {
    let writes = vec![Write::put(key.clone(), expect, body.to_vec())];
    store.write(writes).await.unwrap().remove(0)
}

pub(super) async fn get(store: &dyn Store, key: &Key) -> Option<Row> {
    store.get(std::slice::from_ref(key)).await.unwrap().remove(0)
}

fn row(key: &Key, version: u64, body: &[u8]) -> Row {
    Row { key: key.clone(), version, body: body.to_vec() }
}

pub(super) async fn a_new_row_reads_back_with_version_one(harness: &Harness) {
    let store = &*harness.backend.store;
    assert_eq!(get(store, &key("a")).await, None);
    for (sort, expect) in [("a", Expect::Absent), ("b", Expect::Anything)] {
        assert_eq!(put(store, &key(sort), expect, b"one").await, Written::Done(1));
        assert_eq!(get(store, &key(sort)).await, Some(row(&key(sort), 1, b"one")));
    }
}

pub(super) async fn each_put_raises_the_version_by_one(harness: &Harness) {
    let store = &*harness.backend.store;
    let key = key("a");
    put(store, &key, Expect::Absent, b"1").await;
    assert_eq!(put(store, &key, Expect::Anything, b"2").await, Written::Done(2));
    assert_eq!(put(store, &key, Expect::Version(2), b"3").await, Written::Done(3));
    // The same body again is a put like any other.
    assert_eq!(put(store, &key, Expect::Version(3), b"3").await, Written::Done(4));
    store.transact(vec![Write::put(key.clone(), Expect::Version(4), b"5".to_vec())]).await.unwrap();
    assert_eq!(get(store, &key).await, Some(row(&key, 5, b"5")));
}

pub(super) async fn a_row_deleted_and_made_again_starts_anew(harness: &Harness) {
    let store = &*harness.backend.store;
    let key = key("a");
    put(store, &key, Expect::Absent, b"1").await;
    put(store, &key, Expect::Anything, b"2").await;
    let deleted = store.write(vec![Write::delete(key.clone(), Expect::Version(2))]).await.unwrap();
    assert_eq!(deleted, [Written::Done(0)]);
    assert_eq!(get(store, &key).await, None);
    assert_eq!(put(store, &key, Expect::Absent, b"3").await, Written::Done(1));
}

pub(super) async fn get_answers_in_the_order_of_the_keys(harness: &Harness) {
    let store = &*harness.backend.store;
    put(store, &key("a"), Expect::Absent, b"a").await;
    put(store, &Key::new("other", "b"), Expect::Absent, b"b").await;
    let keys = [Key::new("other", "b"), key("b"), key("a"), Key::new("other", "a"), key("a")];
    let rows = store.get(&keys).await.unwrap();
    let a = Some(row(&key("a"), 1, b"a"));
    assert_eq!(rows, [Some(row(&keys[0], 1, b"b")), None, a.clone(), None, a]);
    assert_eq!(store.get(&[]).await.unwrap(), []);
}

pub(super) async fn get_takes_a_hundred_keys_and_no_more(harness: &Harness) {
    let store = &*harness.backend.store;
    let keys: Vec<Key> = (0..101).map(|number| key(&format!("{number:03}"))).collect();
    let puts = keys.iter().map(|key| Write::put(key.clone(), Expect::Absent, vec![7; 2_000])).collect();
    store.write(puts).await.unwrap();
    let rows = store.get(&keys[..100]).await.unwrap();
    assert!(rows.iter().zip(&keys).all(|(row, key)| row.as_ref().is_some_and(|row| row.key == *key)));
    assert_invalid(store.get(&keys).await);
}

pub(super) async fn a_put_that_expects_absence_conflicts_with_the_row_there(harness: &Harness) {
    let store = &*harness.backend.store;
    let key = key("a");
    put(store, &key, Expect::Absent, b"first").await;
    let second = put(store, &key, Expect::Absent, b"second").await;
    assert_eq!(second, Written::Conflict(Some(row(&key, 1, b"first"))));
    assert_eq!(get(store, &key).await, Some(row(&key, 1, b"first")));
}

pub(super) async fn a_put_that_expects_a_version_conflicts_with_any_other(harness: &Harness) {
    let store = &*harness.backend.store;
    let key = key("a");
    assert_eq!(put(store, &key, Expect::Version(1), b"x").await, Written::Conflict(None));
    put(store, &key, Expect::Absent, b"1").await;
    put(store, &key, Expect::Version(1), b"2").await;
    let now = Some(row(&key, 2, b"2"));
    for version in [0, 1, 3, u64::from(u32::MAX)] {
        assert_eq!(put(store, &key, Expect::Version(version), b"x").await, Written::Conflict(now.clone()));
    }
    assert_eq!(get(store, &key).await, now);
}

pub(super) async fn a_delete_removes_only_what_it_expects(harness: &Harness) {
    let store = &*harness.backend.store;
    let key = key("a");
    let delete = |expect| vec![Write::delete(key.clone(), expect)];
    assert_eq!(store.write(delete(Expect::Anything)).await.unwrap(), [Written::Done(0)]);
    assert_eq!(store.write(delete(Expect::Absent)).await.unwrap(), [Written::Done(0)]);
    assert_eq!(store.write(delete(Expect::Version(1))).await.unwrap(), [Written::Conflict(None)]);
    put(store, &key, Expect::Absent, b"1").await;
    let there = || Written::Conflict(Some(row(&key, 1, b"1")));
    assert_eq!(store.write(delete(Expect::Absent)).await.unwrap(), [there()]);
    assert_eq!(store.write(delete(Expect::Version(2))).await.unwrap(), [there()]);
    assert_eq!(store.write(delete(Expect::Anything)).await.unwrap(), [Written::Done(0)]);
    assert_eq!(get(store, &key).await, None);
}

pub(super) async fn a_check_changes_nothing(harness: &Harness) {
    let store = &*harness.backend.store;
    let key = key("a");
    let check = |expect| vec![Write::check(key.clone(), expect)];
    assert_eq!(store.write(check(Expect::Absent)).await.unwrap(), [Written::Done(0)]);
    assert_eq!(get(store, &key).await, None);
    put(store, &key, Expect::Absent, b"1").await;
    assert_eq!(store.write(check(Expect::Version(1))).await.unwrap(), [Written::Done(0)]);
    assert_eq!(store.write(check(Expect::Anything)).await.unwrap(), [Written::Done(0)]);
    let conflict = store.write(check(Expect::Version(2))).await.unwrap();
    assert_eq!(conflict, [Written::Conflict(Some(row(&key, 1, b"1")))]);
    assert_eq!(get(store, &key).await, Some(row(&key, 1, b"1")));
}

pub(super) async fn writes_of_one_call_stand_each_by_itself(harness: &Harness) {
    let store = &*harness.backend.store;
    put(store, &key("b"), Expect::Absent, b"old").await;
    let writes = vec![
        Write::put(key("a"), Expect::Absent, b"a".to_vec()),
        Write::put(key("b"), Expect::Absent, b"b".to_vec()),
        Write::put(key("c"), Expect::Version(4), b"c".to_vec()),
        Write::put(key("d"), Expect::Anything, b"d".to_vec()),
    ];
    let conflict = Written::Conflict(Some(row(&key("b"), 1, b"old")));
    let expected = [Written::Done(1), conflict, Written::Conflict(None), Written::Done(1)];
    assert_eq!(store.write(writes).await.unwrap(), expected);
    assert!(get(store, &key("a")).await.is_some() && get(store, &key("d")).await.is_some());
    assert_eq!(store.write(Vec::new()).await.unwrap(), []);
}

pub(super) async fn one_call_writes_thousands_of_rows(harness: &Harness) {
    let store = &*harness.backend.store;
    let put = |number: u32| Write::put(key(&format!("{number:05}")), Expect::Absent, vec![number as u8; 50]);
    let written = store.write((0..3_000).map(put).collect()).await.unwrap();
    assert_eq!(written, vec![Written::Done(1); 3_000]);
    let again = store.write((2_990..3_010).map(put).collect()).await.unwrap();
    let conflicts = again.iter().filter(|one| matches!(one, Written::Conflict(Some(_)))).count();
    assert_eq!(conflicts, 10);
}

pub(super) async fn one_of_many_racing_makers_wins(harness: &Harness) {
    let store = harness.backend.store.clone();
    for round in 0..5 {
        let key = key(&format!("{round}"));
        let make = |number: usize| {
            let (store, key) = (store.clone(), key.clone());
            async move { put(&*store, &key, Expect::Absent, number.to_string().as_bytes()).await }
        };
        let results = race(40, make).await;
        let winners: Vec<usize> = (0..40).filter(|&one| results[one] == Written::Done(1)).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        let there = Some(row(&key, 1, winners[0].to_string().as_bytes()));
        assert_eq!(get(&*store, &key).await, there);
        let losers = results.iter().filter(|one| **one == Written::Conflict(there.clone())).count();
        assert_eq!(losers, 39);
    }
}

pub(super) async fn racing_increments_lose_nothing(harness: &Harness) {
    let store = harness.backend.store.clone();
    let increment = |_| {
        let store = store.clone();
        async move {
            for _ in 0..10 {
                let mut expect = Expect::Absent;
                let mut count = 0_u32;
                while let Written::Conflict(row) =
                    put(&*store, &key("count"), expect, (count + 1).to_string().as_bytes()).await
                {
                    let row = row.expect("the row is never deleted");
                    count = std::str::from_utf8(&row.body).unwrap().parse().unwrap();
                    expect = Expect::Version(row.version);
                }
            }
        }
    };
    race(10, increment).await;
    assert_eq!(get(&*store, &key("count")).await, Some(row(&key("count"), 100, b"100")));
}

pub(super) async fn a_read_sees_every_acknowledged_write(harness: &Harness) {
    let store = harness.backend.store.clone();
    let check = |number: usize| {
        let store = store.clone();
        async move {
            for version in 1..=30 {
                let key = key(&number.to_string());
                assert_eq!(put(&*store, &key, Expect::Anything, b"x").await, Written::Done(version));
                assert_eq!(get(&*store, &key).await.map(|row| row.version), Some(version));
                let page = store.query("p", "", 1_000, false).await.unwrap();
                let seen = page.rows.iter().find(|row| row.key == key);
                assert_eq!(seen.map(|row| row.version), Some(version));
            }
        }
    };
    race(8, check).await;
}

pub(super) async fn bodies_are_any_bytes_up_to_the_limit(harness: &Harness) {
    let store = &*harness.backend.store;
    let every_byte: Vec<u8> = (0..=255).collect();
    for (sort, body) in [("empty", vec![]), ("bytes", every_byte), ("large", vec![0xff; BODY_BYTES_MAX])] {
        put(store, &key(sort), Expect::Absent, &body).await;
        assert_eq!(get(store, &key(sort)).await, Some(row(&key(sort), 1, &body)));
    }
    let too_large = Write::put(key("too large"), Expect::Absent, vec![0; BODY_BYTES_MAX + 1]);
    assert_invalid(store.write(vec![too_large.clone()]).await);
    assert_invalid(store.transact(vec![too_large]).await);
}

pub(super) async fn keys_have_1_to_512_bytes(harness: &Harness) {
    let store = &*harness.backend.store;
    let longest = "ü".repeat(256);
    let fits = Key::new(longest.clone(), longest.clone());
    put(store, &fits, Expect::Absent, b"x").await;
    assert_eq!(get(store, &fits).await, Some(row(&fits, 1, b"x")));
    let too_long = format!("{longest}x");
    for bad in [key(""), Key::new("", "s"), key(&too_long), Key::new(too_long.clone(), "s")] {
        assert_invalid(store.get(std::slice::from_ref(&bad)).await);
        assert_invalid(store.write(vec![Write::put(bad.clone(), Expect::Anything, vec![])]).await);
        assert_invalid(store.transact(vec![Write::check(bad, Expect::Anything)]).await);
    }
}
