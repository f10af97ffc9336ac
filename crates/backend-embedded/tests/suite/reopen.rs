//! Closing and opening again: what is kept, what is refused.

use std::time::Duration;

use backend::{Expect, Key, Outgoing, Queue, Write};
use backend_embedded::{Place, open};

use crate::support::runtime;

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::of(folder.path());
    let embedded = open(&place, &runtime().0).unwrap();
    let key = Key::new("p", "s");
    embedded.backend.store.write(vec![Write::put(key.clone(), Expect::Absent, b"x".to_vec())]).await.unwrap();
    embedded
        .backend
        .store
        .transact(vec![Write::put(key.clone(), Expect::Version(1), b"y".to_vec())])
        .await
        .unwrap();
    embedded.backend.queues.send(Queue::Resolve, vec![Outgoing::now("m".into())]).await.unwrap();
    embedded.close().await;
    let embedded = open(&place, &runtime().0).unwrap();
    let rows = embedded.backend.store.get(&[key]).await.unwrap();
    assert_eq!(rows[0].as_ref().unwrap().body, b"y");
    let received = embedded.backend.queues.receive(Queue::Resolve, 10, Duration::ZERO).await.unwrap();
    assert_eq!(received[0].body, "m");
}
