//! Transactions: all writes or none.

use super::rows::{get, key, put};
use super::{Harness, assert_invalid, race};
use crate::store::{Expect, Key, Store, TRANSACTION_WRITES_MAX, Transacted, Write};

fn puts(count: usize, expect: Expect) -> Vec<Write> {
    (0..count).map(|number| Write::put(key(&format!("{number:03}")), expect, b"x".to_vec())).collect()
}

pub(super) async fn a_transaction_does_all_its_writes(harness: &Harness) {
    let store = &*harness.backend.store;
    put(store, &key("changed"), Expect::Absent, b"old").await;
    put(store, &key("deleted"), Expect::Absent, b"old").await;
    let writes = vec![
        Write::put(key("made"), Expect::Absent, b"new".to_vec()),
        Write::put(key("changed"), Expect::Version(1), b"new".to_vec()),
        Write::delete(key("deleted"), Expect::Version(1)),
        Write::check(key("absent"), Expect::Absent),
    ];
    assert_eq!(store.transact(writes).await.unwrap(), Transacted::Done);
    assert_eq!(get(store, &key("made")).await.map(|row| (row.version, row.body)), Some((1, b"new".to_vec())));
    assert_eq!(
        get(store, &key("changed")).await.map(|row| (row.version, row.body)),
        Some((2, b"new".to_vec()))
    );
    assert_eq!(get(store, &key("deleted")).await, None);
    assert_eq!(get(store, &key("absent")).await, None);
}

pub(super) async fn a_transaction_with_a_conflict_does_nothing_and_names_each(harness: &Harness) {
    let store = &*harness.backend.store;
    put(store, &key("there"), Expect::Absent, b"old").await;
    let writes = vec![
        Write::put(key("made"), Expect::Absent, b"new".to_vec()),
        Write::put(key("there"), Expect::Absent, b"new".to_vec()),
        Write::delete(key("there too"), Expect::Version(3)),
        Write::put(key("anything"), Expect::Anything, b"new".to_vec()),
    ];
    assert_eq!(store.transact(writes).await.unwrap(), Transacted::Conflict(vec![1, 2]));
    for absent in ["made", "there too", "anything"] {
        assert_eq!(get(store, &key(absent)).await, None, "{absent}");
    }
    assert_eq!(
        get(store, &key("there")).await.map(|row| (row.version, row.body)),
        Some((1, b"old".to_vec()))
    );
}

pub(super) async fn a_transaction_checks_rows_that_it_does_not_write(harness: &Harness) {
    let store = &*harness.backend.store;
    put(store, &key("guard"), Expect::Absent, b"guard").await;
    let guarded = |expect, sort: &str| {
        vec![Write::check(key("guard"), expect), Write::put(key(sort), Expect::Absent, b"x".to_vec())]
    };
    assert_eq!(store.transact(guarded(Expect::Version(1), "a")).await.unwrap(), Transacted::Done);
    assert_eq!(
        store.transact(guarded(Expect::Version(2), "b")).await.unwrap(),
        Transacted::Conflict(vec![0])
    );
    assert_eq!(store.transact(guarded(Expect::Absent, "c")).await.unwrap(), Transacted::Conflict(vec![0]));
    assert_eq!(get(store, &key("guard")).await.map(|row| row.version), Some(1));
    assert!(get(store, &key("a")).await.is_some());
    assert!(get(store, &key("b")).await.is_none() && get(store, &key("c")).await.is_none());
}

pub(super) async fn a_transaction_takes_a_hundred_writes_and_no_more(harness: &Harness) {
    let store = &*harness.backend.store;
    assert_invalid(store.transact(puts(TRANSACTION_WRITES_MAX + 1, Expect::Absent)).await);
    let done = store.transact(puts(TRANSACTION_WRITES_MAX, Expect::Absent)).await.unwrap();
    assert_eq!(done, Transacted::Done);
    let page = store.query("p", "", 1_000, false).await.unwrap();
    assert_eq!(page.rows.len(), TRANSACTION_WRITES_MAX);
}

pub(super) async fn a_transaction_writes_a_row_once(harness: &Harness) {
    let store = &*harness.backend.store;
    let twice = vec![
        Write::check(key("a"), Expect::Absent),
        Write::put(Key::new("p", "a"), Expect::Absent, b"x".to_vec()),
    ];
    assert_invalid(store.transact(twice).await);
}

pub(super) async fn one_of_many_racing_transactions_wins(harness: &Harness) {
    let store = harness.backend.store.clone();
    let launch = |number: usize| {
        let store = store.clone();
        async move {
            let mut writes = puts(20, Expect::Absent);
            writes.push(Write::put(key("wave"), Expect::Absent, number.to_string().into_bytes()));
            // No two in the same order, so that locks taken one by one would meet.
            writes.rotate_left(number % 20);
            store.transact(writes).await.unwrap()
        }
    };
    let results = race(30, launch).await;
    assert_eq!(results.iter().filter(|result| **result == Transacted::Done).count(), 1);
    for result in results {
        assert!(matches!(result, Transacted::Done) || result == Transacted::Conflict((0..21).collect()));
    }
}

pub(super) async fn racing_transfers_keep_the_total(harness: &Harness) {
    let store = harness.backend.store.clone();
    for number in 0..4 {
        put(&*store, &key(&number.to_string()), Expect::Absent, b"100").await;
    }
    let transfer = |number: usize| {
        let store = store.clone();
        async move {
            let (from, to) =
                (key(&(number % 4).to_string()), key(&((number + 1 + number / 4) % 4).to_string()));
            for _ in 0..5 {
                while move_one(&*store, &from, &to).await != Transacted::Done {}
            }
        }
    };
    race(12, transfer).await;
    let page = store.query("p", "", 10, false).await.unwrap();
    let total: i64 = page.rows.iter().map(|row| amount(&row.body)).sum();
    assert_eq!(total, 400);
    // Twelve tasks, five transfers each, two puts a transfer, on four rows that began with version 1.
    assert_eq!(page.rows.iter().map(|row| row.version).sum::<u64>(), 4 + 12 * 5 * 2);
}

async fn move_one(store: &dyn Store, from: &Key, to: &Key) -> Transacted {
    let rows = store.get(&[from.clone(), to.clone()]).await.unwrap();
    let change = |row: &Option<crate::Row>, by: i64| {
        let row = row.as_ref().expect("nobody deletes it");
        let body = (amount(&row.body) + by).to_string().into_bytes();
        Write::put(row.key.clone(), Expect::Version(row.version), body)
    };
    store.transact(vec![change(&rows[0], -1), change(&rows[1], 1)]).await.unwrap()
}

fn amount(body: &[u8]) -> i64 {
    std::str::from_utf8(body).unwrap().parse().unwrap()
}
