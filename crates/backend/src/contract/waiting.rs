//! Long polls: a receive that waits ends when there is something for it.

use std::time::Duration;

use super::queues::{SHARDS, now, one, send};
use super::{Call, Harness};
use crate::queues::{Delivery, Fifo, Outgoing, Queue};

/// Longer than any visibility, shorter than SQS's limit of 20 s.
const LONG: Duration = Duration::from_secs(19);

/// A receive that waits.
fn receive(harness: &Harness, queue: Queue, wait: Duration) -> Call<Vec<Delivery>> {
    let queues = harness.backend.queues.clone();
    Box::pin(async move { queues.receive(queue, 1, wait).await.unwrap() })
}

pub(super) async fn an_empty_queue_gives_nothing_after_the_wait(harness: &Harness) {
    let receive = receive(harness, SHARDS, Duration::from_secs(1));
    assert_eq!(harness.pass_until(receive).await, []);
}

/// With a manual clock that stands still, only the message itself can end the wait.
pub(super) async fn waiting_ends_when_a_message_is_sent(harness: &Harness) {
    for queue in Queue::ALL {
        let mut receive = receive(harness, queue, LONG);
        harness.settle(&mut receive).await;
        send(&*harness.backend.queues, queue, &["m"]).await;
        assert_eq!(harness.soon(receive).await[0].body, "m");
    }
}

pub(super) async fn waiting_ends_when_a_delay_is_over(harness: &Harness) {
    let late = Outgoing { delay: Duration::from_secs(2), ..Outgoing::now("m".into()) };
    let mut receive = receive(harness, SHARDS, LONG);
    harness.settle(&mut receive).await;
    harness.backend.queues.send(SHARDS, vec![late]).await.unwrap();
    assert_eq!(harness.pass_until(receive).await[0].body, "m");
}

pub(super) async fn waiting_ends_when_a_visibility_ends(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, SHARDS, &["m"]).await;
    let delivery = one(queues, SHARDS).await;
    queues.extend(SHARDS, vec![delivery.receipt], Duration::from_secs(3)).await.unwrap();
    let mut receive = receive(harness, SHARDS, LONG);
    harness.settle(&mut receive).await;
    assert_eq!(harness.pass_until(receive).await[0].receives, 2);
}

pub(super) async fn waiting_ends_when_a_message_is_given_back(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, SHARDS, &["m"]).await;
    let delivery = one(queues, SHARDS).await;
    let mut receive = receive(harness, SHARDS, LONG);
    harness.settle(&mut receive).await;
    queues.give_back(SHARDS, vec![delivery.receipt], Duration::ZERO).await.unwrap();
    assert_eq!(harness.soon(receive).await[0].body, "m");
}

pub(super) async fn waiting_ends_when_a_group_is_free(harness: &Harness) {
    let queues = &*harness.backend.queues;
    let message = |body: &str| {
        let fifo = Some(Fifo { group: "g".into(), deduplication: body.into() });
        Outgoing { fifo, ..Outgoing::now(body.into()) }
    };
    queues.send(Queue::Triggers, vec![message("a"), message("b")]).await.unwrap();
    let mut received = queues.receive(Queue::Triggers, 1, Duration::ZERO).await.unwrap();
    let mut receive = receive(harness, Queue::Triggers, LONG);
    harness.settle(&mut receive).await;
    queues.delete(Queue::Triggers, vec![received.remove(0).receipt]).await.unwrap();
    assert_eq!(harness.soon(receive).await[0].body, "b");
}

pub(super) async fn waiting_ends_for_as_many_as_there_are_messages_for(harness: &Harness) {
    let mut receives: Vec<_> = (0..5).map(|_| receive(harness, SHARDS, LONG)).collect();
    for receive in &mut receives {
        harness.settle(receive).await;
    }
    send(&*harness.backend.queues, SHARDS, &["a", "b", "c", "d", "e"]).await;
    let all = Box::pin(futures::future::join_all(receives));
    let received = harness.soon(all).await;
    let mut bodies: Vec<String> = received.into_iter().flatten().map(|one| one.body).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["a", "b", "c", "d", "e"]);
    assert_eq!(now(&*harness.backend.queues, SHARDS).await, []);
}
