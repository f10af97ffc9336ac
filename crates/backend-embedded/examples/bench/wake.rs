//! How long after a press another process has the message: two backends on one folder, which share nothing else.

use std::time::{Duration, Instant};

use backend::{Backend, Expect, Fifo, Key, Outgoing, Queue, Write};
use model::Platform;

use crate::launch::print;

const SHARDS: Queue = Queue::Shards(Platform::Apns);

/// A press in `api`, its trigger received in `dispatcher`, a shard sent there and received in `worker`.
pub(crate) async fn run(api: &Backend, others: &Backend) {
    let mut times = Vec::new();
    for number in 0..200 {
        let worker = others.queues.receive(SHARDS, 1, Duration::from_secs(20));
        let dispatcher = async {
            let trigger = others.queues.receive(Queue::Triggers, 1, Duration::from_secs(20)).await.unwrap();
            api.queues.send(SHARDS, vec![Outgoing::now("shard".into())]).await.unwrap();
            others.queues.delete(Queue::Triggers, vec![trigger[0].receipt.clone()]).await.unwrap();
        };
        let press = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let start = Instant::now();
            let row = Write::put(Key::new("wake", format!("{number}")), Expect::Absent, vec![7; 200]);
            api.store.transact(vec![row]).await.unwrap();
            let fifo = Some(Fifo { group: "g".into(), deduplication: number.to_string() });
            let trigger = Outgoing { fifo, ..Outgoing::now("trigger".into()) };
            api.queues.send(Queue::Triggers, vec![trigger]).await.unwrap();
            start
        };
        let worker = async { (worker.await.unwrap(), Instant::now()) };
        let ((shards, received), (), start) = futures::join!(worker, dispatcher, press);
        times.push(received - start);
        others.queues.delete(SHARDS, vec![shards[0].receipt.clone()]).await.unwrap();
    }
    print("press to shard received, through two other processes", times);
}
