//! What a launch does: shard messages, claims, records, presses.

use std::time::{Duration, Instant};

use backend::store::Written;
use backend::{Backend, Expect, Key, Outgoing, Queue, Write};
use futures::future::join_all;
use model::Platform;

use crate::meter::Meter;

const SHARDS: Queue = Queue::Shards(Platform::Apns);

fn message(shard: u64) -> Outgoing {
    let pad = "x".repeat(180);
    Outgoing::now(format!("{{\"shard\":{shard},\"pad\":\"{pad}\"}}"))
}

fn key(launch: &str, shard: u64) -> Key {
    Key::new(format!("shards/lnc_{launch:0>32}/{:05}", shard % 50), format!("{shard:08}"))
}

/// 50 slices send at once, in calls of 90 messages; receivers take and delete tens.
pub(crate) async fn queue(backend: &Backend) {
    const MESSAGES: u64 = 45_000;
    let meter = Meter::start();
    send(backend, MESSAGES).await;
    meter.stop("messages sent, 90 a call", MESSAGES);
    let meter = Meter::start();
    let receive = || async {
        loop {
            let deliveries = backend.queues.receive(SHARDS, 10, Duration::ZERO).await.unwrap();
            if deliveries.is_empty() {
                return;
            }
            let receipts = deliveries.into_iter().map(|one| one.receipt).collect();
            backend.queues.delete(SHARDS, receipts).await.unwrap();
        }
    };
    join_all((0..8).map(|_| receive())).await;
    meter.stop("messages received and deleted, 10 a call", MESSAGES);
}

async fn send(backend: &Backend, messages: u64) {
    let slice = |slice: u64| async move {
        let shards: Vec<u64> = (0..messages).filter(|shard| shard % 50 == slice).collect();
        for chunk in shards.chunks(90) {
            let messages = chunk.iter().map(|&shard| message(shard)).collect();
            backend.queues.send(SHARDS, messages).await.unwrap();
        }
    };
    join_all((0..50).map(slice)).await;
}

async fn claim_and_record(backend: &Backend, launch: &str, shard: u64) {
    let write = |expect, bytes| vec![Write::put(key(launch, shard), expect, vec![7; bytes])];
    let claimed = backend.store.write(write(Expect::Absent, 34)).await.unwrap();
    assert_eq!(claimed, [Written::Done(1)]);
    let recorded = backend.store.write(write(Expect::Version(1), 300)).await.unwrap();
    assert_eq!(recorded, [Written::Done(2)]);
}

/// 100 shards in flight, each claimed and recorded by calls of its own.
pub(crate) async fn claims(backend: &Backend) {
    const SHARDS: u64 = 20_000;
    let meter = Meter::start();
    let lane = |lane: u64| async move {
        for shard in (0..SHARDS).filter(|shard| shard % 100 == lane) {
            claim_and_record(backend, "c", shard).await;
        }
    };
    join_all((0..100).map(lane)).await;
    meter.stop("claims and records, 100 in flight", SHARDS);
}

/// A launch of 4,500 shards in all its writes, as fast as it goes and at its own pace.
pub(crate) async fn shards(backend: &Backend) {
    const COUNT: u64 = 4_500;
    for (name, sending) in [("a", Duration::ZERO), ("b", Duration::from_millis(60))] {
        let meter = Meter::start();
        send(backend, COUNT).await;
        let receive = || async {
            loop {
                let deliveries = backend.queues.receive(SHARDS, 10, Duration::ZERO).await.unwrap();
                if deliveries.is_empty() {
                    return;
                }
                for delivery in deliveries {
                    let shard = delivery.body[9..].split(',').next().unwrap().parse().unwrap();
                    claim_and_record(backend, name, shard).await;
                    tokio::time::sleep(sending).await;
                    backend.queues.delete(SHARDS, vec![delivery.receipt]).await.unwrap();
                }
            }
        };
        join_all((0..64).map(|_| receive())).await;
        let what = if sending.is_zero() { "as fast as it goes" } else { "over five seconds" };
        meter.stop(&format!("shards sent to deleted, {what}"), COUNT);
    }
}

/// Presses of 53 rows each, in quiet and while shards are written.
pub(crate) async fn presses(backend: &Backend) {
    let press = |number: u64| async move {
        let start = Instant::now();
        let partition = format!("press/{number}");
        let row = |row: u64| Write::put(Key::new(&partition, row.to_string()), Expect::Absent, vec![7; 200]);
        backend.store.transact((0..53).map(row).collect()).await.unwrap();
        start.elapsed()
    };
    let mut quiet = Vec::new();
    for number in 0..200 {
        quiet.push(press(number).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    print("press, quiet", quiet);
    let mut busy = Vec::new();
    let load = async {
        let lane = |lane: u64| async move {
            for shard in (0..8_000).filter(|shard| shard % 100 == lane) {
                claim_and_record(backend, "p", shard).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        join_all((0..100).map(lane)).await;
    };
    let presses = async {
        for number in 1_000..1_200 {
            busy.push(press(number).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    futures::join!(load, presses);
    print("press, while 4,000 shards a second are written", busy);
}

/// Prints percentiles of times.
pub(crate) fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    println!("{what:<48} p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(0.5), at(0.99), at(1.0));
}
