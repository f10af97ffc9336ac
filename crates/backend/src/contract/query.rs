//! Reading partitions page by page.

use super::{Harness, assert_invalid};
use crate::store::{Expect, Key, Store, Write, query_all};

/// Sort keys in the order of their bytes.
const ODD: [&str; 16] =
    [" ", "!", "-1", "0", "00", "1", "10", "2", "A", "Z", "a", "a\0b", "a/b", "~", "\u{e9}", "\u{1f514}"];

async fn fill(store: &dyn Store, partition: &str, sorts: impl IntoIterator<Item = String>) {
    let put = |sort: String| Write::put(Key::new(partition, sort.clone()), Expect::Absent, sort.into_bytes());
    store.write(sorts.into_iter().map(put).collect()).await.unwrap();
}

async fn sorts(store: &dyn Store, after: &str, limit: u32, is_descending: bool) -> (Vec<String>, bool) {
    let page = store.query("p", after, limit, is_descending).await.unwrap();
    assert!(page.rows.iter().all(|row| row.key.partition == "p" && row.version == 1));
    assert!(page.rows.iter().all(|row| row.body == row.key.sort.as_bytes()));
    (page.rows.into_iter().map(|row| row.key.sort).collect(), page.has_more)
}

pub(super) async fn a_partition_is_read_in_the_byte_order_of_its_sort_keys(harness: &Harness) {
    let store = &*harness.backend.store;
    fill(store, "p", ODD.iter().rev().map(|&sort| sort.to_owned())).await;
    let (ascending, has_more) = sorts(store, "", 1_000, false).await;
    assert_eq!((ascending, has_more), (ODD.map(str::to_owned).to_vec(), false));
    let (mut descending, _) = sorts(store, "", 1_000, true).await;
    descending.reverse();
    assert_eq!(descending, ODD);
}

pub(super) async fn a_page_starts_behind_a_key_that_need_not_exist(harness: &Harness) {
    let store = &*harness.backend.store;
    fill(store, "p", ["a", "c", "e"].map(str::to_owned)).await;
    for (after, is_descending, expected) in [
        ("b", false, &["c", "e"][..]),
        ("c", false, &["e"]),
        ("e", false, &[]),
        ("b", true, &["a"]),
        ("c", true, &["a"]),
        ("a", true, &[]),
        ("z", true, &["e", "c", "a"]),
    ] {
        assert_eq!(sorts(store, after, 10, is_descending).await.0, expected, "after {after}");
    }
}

pub(super) async fn pages_cover_a_partition_once_in_both_directions(harness: &Harness) {
    let store = &*harness.backend.store;
    fill(store, "p", ODD.iter().map(|&sort| sort.to_owned())).await;
    for is_descending in [false, true] {
        let mut seen: Vec<String> = Vec::new();
        loop {
            let after = seen.last().cloned().unwrap_or_default();
            let (page, has_more) = sorts(store, &after, 3, is_descending).await;
            assert!(page.len() <= 3);
            seen.extend(page);
            if !has_more {
                break;
            }
        }
        if is_descending {
            seen.reverse();
        }
        assert_eq!(seen, ODD);
    }
}

pub(super) async fn has_more_is_exact(harness: &Harness) {
    let store = &*harness.backend.store;
    assert_eq!(sorts(store, "", 1, false).await, (vec![], false));
    fill(store, "p", (0..6).map(|number| number.to_string())).await;
    for is_descending in [false, true] {
        assert!(sorts(store, "", 5, is_descending).await.1);
        assert!(!sorts(store, "", 6, is_descending).await.1);
        assert!(!sorts(store, "", 7, is_descending).await.1);
    }
}

pub(super) async fn partitions_do_not_mix(harness: &Harness) {
    let store = &*harness.backend.store;
    for partition in ["p", "p/", "o", "pp", "P"] {
        fill(store, partition, [format!("of {partition}")]).await;
    }
    assert_eq!(sorts(store, "", 1_000, false).await, (vec!["of p".to_owned()], false));
    assert_eq!(sorts(store, "", 1_000, true).await, (vec!["of p".to_owned()], false));
    assert!(store.query("nothing", "", 10, false).await.unwrap().rows.is_empty());
}

pub(super) async fn query_all_reads_page_after_page(harness: &Harness) {
    let store = &*harness.backend.store;
    fill(store, "p", (0..2_500).map(|number| format!("{number:06}"))).await;
    let rows = query_all(store, "p").await.unwrap();
    assert!(rows.iter().map(|row| row.key.sort.clone()).eq((0..2_500).map(|number| format!("{number:06}"))));
}

pub(super) async fn a_page_has_1_to_1000_rows(harness: &Harness) {
    let store = &*harness.backend.store;
    assert_invalid(store.query("p", "", 0, false).await);
    assert_invalid(store.query("p", "", 1_001, false).await);
}
