//! What only a folder can show: reopening, foreign files, permissions, other processes.

use std::sync::Arc;
use std::time::Duration;

use backend::{Expect, Key, Outgoing, Queue, Write};
use backend_embedded::{Place, open};
use model::Timestamp;
use model::runtime::{BoxFuture, ManualClock, Runtime, SeededRandomness, Spawner};

#[derive(Debug)]
struct NoTasks;

impl Spawner for NoTasks {
    fn spawn(&self, name: &'static str, _task: BoxFuture) {
        panic!("{name}: this backend starts no tasks");
    }
}

fn runtime() -> Runtime {
    Runtime {
        clock: Arc::new(ManualClock::new(Timestamp::from_secs(1_000))),
        randomness: Arc::new(SeededRandomness::new(1)),
        spawner: Arc::new(NoTasks),
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::of(folder.path());
    let embedded = open(&place, &runtime()).unwrap();
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
    let embedded = open(&place, &runtime()).unwrap();
    let rows = embedded.backend.store.get(&[key]).await.unwrap();
    assert_eq!(rows[0].as_ref().unwrap().body, b"y");
    let received = embedded.backend.queues.receive(Queue::Resolve, 10, Duration::ZERO).await.unwrap();
    assert_eq!(received[0].body, "m");
}
