//! The fault decorator: each fault does what it says, and the seed decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backend::fault::{Fault, Faults, Operation, Shares, wrap};
use backend::store::{Transacted, Written};
use backend::{Backend, ErrorKind, Expect, Key, Outgoing, Queue, Result, Write};
use backend_embedded::{Place, open};
use model::runtime::ManualClock;

use crate::support::runtime;

fn faulty(seed: u64) -> (Backend, Faults, Arc<ManualClock>) {
    let (runtime, clock) = runtime();
    let embedded = open(&Place::Memory, &runtime).unwrap();
    let (backend, faults) = wrap(embedded.backend, runtime.clock, seed);
    (backend, faults, clock)
}

fn put(sort: &str) -> Write {
    Write::put(Key::new("p", sort), Expect::Absent, b"x".to_vec())
}

async fn exists(backend: &Backend, sort: &str) -> bool {
    backend.store.get(&[Key::new("p", sort)]).await.unwrap()[0].is_some()
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind
}

#[tokio::test]
async fn a_call_that_is_not_made_has_no_effect() {
    let (backend, faults, _) = faulty(1);
    for (fault, expected) in [
        (Fault::Transient, ErrorKind::Transient),
        (Fault::Broken, ErrorKind::Storage),
        (Fault::RequestLost, ErrorKind::AnswerLost),
    ] {
        faults.next(Operation::Transact, Some(fault));
        let error = backend.store.transact(vec![put("a")]).await.unwrap_err();
        assert_eq!((error.kind, error.operation), (expected, "store.transact"));
        assert!(!exists(&backend, "a").await);
        assert_eq!(faults.made()[&(Operation::Transact, fault)], 1);
    }
    assert_eq!(backend.store.transact(vec![put("a")]).await.unwrap(), Transacted::Done);
}

#[tokio::test]
async fn a_lost_answer_leaves_its_effect() {
    let (backend, faults, _) = faulty(1);
    faults.next(Operation::Transact, Some(Fault::AnswerLost));
    assert_eq!(kind(backend.store.transact(vec![put("a")]).await), ErrorKind::AnswerLost);
    assert_eq!(backend.store.transact(vec![put("a")]).await.unwrap(), Transacted::Conflict(vec![0]));
    faults.next(Operation::PutBlob, Some(Fault::AnswerLost));
    assert_eq!(kind(backend.blobs.put("b", vec![1]).await), ErrorKind::AnswerLost);
    assert_eq!(backend.blobs.get("b").await.unwrap(), Some(vec![1]));
    faults.next(Operation::Receive, Some(Fault::AnswerLost));
    backend.queues.send(Queue::Resolve, vec![Outgoing::now("m".into())]).await.unwrap();
    assert_eq!(kind(backend.queues.receive(Queue::Resolve, 1, Duration::ZERO).await), ErrorKind::AnswerLost);
    assert!(backend.queues.receive(Queue::Resolve, 1, Duration::ZERO).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_partial_write_or_send_does_a_part_from_the_front() {
    let (backend, faults, _) = faulty(3);
    let mut seen = BTreeMap::new();
    for round in 0..20 {
        faults.next(Operation::Write, Some(Fault::Partial));
        let writes = (0..5).map(|number| put(&format!("{round}-{number}"))).collect();
        assert_eq!(kind(backend.store.write(writes).await), ErrorKind::AnswerLost);
        let mut done = Vec::new();
        for number in 0..5 {
            done.push(exists(&backend, &format!("{round}-{number}")).await);
        }
        assert!(done.is_sorted_by(|before, after| before >= after) && !done[4], "{done:?}");
        *seen.entry(done.iter().filter(|done| **done).count()).or_insert(0) += 1;
        faults.next(Operation::Send, Some(Fault::Partial));
        let messages = (0..5).map(|number| Outgoing::now(number.to_string())).collect();
        assert_eq!(kind(backend.queues.send(Queue::Resolve, messages).await), ErrorKind::AnswerLost);
    }
    assert!(seen.len() > 2, "{seen:?}");
    assert!((1..100).contains(&backend.queues.depth(Queue::Resolve).await.unwrap()));
}

#[tokio::test]
async fn a_delay_holds_the_call_until_its_time_has_passed() {
    let (backend, faults, clock) = faulty(1);
    faults.set(
        Operation::Count,
        Shares { delay: 1.0, delay_max: Duration::from_secs(60), ..Shares::default() },
    );
    let mut call = std::pin::pin!(backend.directory.count());
    assert!(is_pending(call.as_mut()).await);
    clock.advance(Duration::from_secs(60));
    assert_eq!(call.await.unwrap(), (0, 0));
}

/// Polls once.
async fn is_pending<T>(mut future: std::pin::Pin<&mut (dyn Future<Output = T> + Send)>) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn a_duplicate_comes_again_although_it_was_deleted() {
    let (backend, faults, _) = faulty(1);
    let queues = &backend.queues;
    queues.send(Queue::Resolve, vec![Outgoing::now("m".into())]).await.unwrap();
    faults.next(Operation::Receive, Some(Fault::Duplicate));
    let first = queues.receive(Queue::Resolve, 10, Duration::ZERO).await.unwrap();
    queues.delete(Queue::Resolve, vec![first[0].receipt.clone()]).await.unwrap();
    let second = queues.receive(Queue::Resolve, 10, Duration::from_secs(20)).await.unwrap();
    assert_eq!(first, second);
    assert!(queues.receive(Queue::Resolve, 10, Duration::ZERO).await.unwrap().is_empty());
}

#[tokio::test]
async fn reordered_messages_all_come_in_another_order() {
    let (backend, faults, _) = faulty(2);
    let queues = &backend.queues;
    let bodies: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
    queues.send(Queue::Resolve, bodies.iter().cloned().map(Outgoing::now).collect()).await.unwrap();
    faults.set(Operation::Receive, Shares { reorder: 1.0, ..Shares::default() });
    let mut received = Vec::new();
    for _ in 0..60 {
        let deliveries = queues.receive(Queue::Resolve, 10, Duration::ZERO).await.unwrap();
        received.extend(deliveries.into_iter().map(|one| one.body));
    }
    assert_ne!(received, bodies);
    received.sort_unstable();
    assert_eq!(received, bodies);
}

#[tokio::test]
async fn a_fifo_queue_is_neither_reordered_nor_duplicated() {
    let (backend, faults, _) = faulty(2);
    faults.set_all(Shares { reorder: 1.0, duplicate: 1.0, ..Shares::default() });
    let message = |body: String| {
        let fifo = Some(backend::Fifo { group: "g".into(), deduplication: body.clone() });
        Outgoing { fifo, ..Outgoing::now(body) }
    };
    let bodies: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    backend.queues.send(Queue::Triggers, bodies.iter().cloned().map(message).collect()).await.unwrap();
    let mut received = Vec::new();
    loop {
        let deliveries = backend.queues.receive(Queue::Triggers, 10, Duration::ZERO).await.unwrap();
        let Some(delivery) = deliveries.into_iter().next() else { break };
        backend.queues.delete(Queue::Triggers, vec![delivery.receipt]).await.unwrap();
        received.push(delivery.body);
    }
    assert_eq!(received, bodies);
}

/// What 300 writes became under a seed.
async fn story(seed: u64) -> Vec<Option<ErrorKind>> {
    let (backend, faults, _) = faulty(seed);
    let shares =
        Shares { transient: 0.1, broken: 0.1, request_lost: 0.1, answer_lost: 0.1, ..Shares::default() };
    faults.set(Operation::Write, shares);
    let mut story = Vec::new();
    for number in 0..300 {
        let result = backend.store.write(vec![put(&number.to_string())]).await;
        story.push(result.as_ref().err().map(|error| error.kind));
        if let Ok(written) = result {
            assert_eq!(written, [Written::Done(1)]);
        }
    }
    let made: u64 = faults.made().values().sum();
    assert_eq!(made, story.iter().flatten().count() as u64);
    assert!((80..160).contains(&made), "{made} of 300 at four tenths");
    faults.off();
    backend.store.write(vec![put("x")]).await.unwrap();
    story
}

#[tokio::test]
async fn the_seed_decides() {
    assert_eq!(story(5).await, story(5).await);
    assert_ne!(story(5).await, story(6).await);
}
