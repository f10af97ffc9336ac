//! FIFO queues: deduplication, order and locks of groups.

use std::time::Duration;

use super::queues::{now, one};
use super::{Harness, race};
use crate::queues::{DEDUPLICATION, Fifo, Outgoing, Queue, Queues, RECEIVES_MAX};

const FIFO: Queue = Queue::Triggers;

/// Sends messages of `group`; each is its own deduplication id.
async fn send(queues: &dyn Queues, group: &str, bodies: &[&str]) {
    let message = |&body: &&str| message(group, body, body);
    queues.send(FIFO, bodies.iter().map(message).collect()).await.unwrap();
}

fn message(group: &str, deduplication: &str, body: &str) -> Outgoing {
    let fifo = Some(Fifo { group: group.into(), deduplication: deduplication.into() });
    Outgoing { fifo, ..Outgoing::now(body.into()) }
}

/// The first message that can be received now.
async fn first(queues: &dyn Queues) -> Option<(String, String)> {
    let received = queues.receive(FIFO, 1, Duration::ZERO).await.unwrap();
    received.into_iter().next().map(|one| (one.body, one.receipt))
}

pub(super) async fn a_duplicate_is_taken_and_dropped(harness: &Harness) {
    let queues = &*harness.backend.queues;
    let sent = vec![message("g", "d", "first"), message("g", "d", "second"), message("h", "e", "third")];
    queues.send(FIFO, sent).await.unwrap();
    queues.send(FIFO, vec![message("g", "d", "fourth")]).await.unwrap();
    assert_eq!(queues.depth(FIFO).await.unwrap(), 2);
    let mut bodies: Vec<String> = now(queues, FIFO).await.into_iter().map(|one| one.body).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["first", "third"]);
}

pub(super) async fn deduplication_outlives_deletion(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, "g", &["m"]).await;
    let (_, receipt) = first(queues).await.unwrap();
    queues.delete(FIFO, vec![receipt]).await.unwrap();
    send(queues, "g", &["m"]).await;
    assert_eq!(first(queues).await, None);
    if harness.pass(DEDUPLICATION - Duration::from_secs(1)).await {
        send(queues, "g", &["m"]).await;
        assert_eq!(first(queues).await, None);
    }
}

pub(super) async fn deduplication_ends_after_its_time(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, "g", &["m"]).await;
    if !harness.pass(DEDUPLICATION).await {
        return;
    }
    send(queues, "g", &["m"]).await;
    for _ in 0..2 {
        let (body, receipt) = first(queues).await.unwrap();
        assert_eq!(body, "m");
        queues.delete(FIFO, vec![receipt]).await.unwrap();
    }
    assert_eq!(first(queues).await, None);
}

pub(super) async fn racing_duplicates_leave_one(harness: &Harness) {
    let queues = harness.backend.queues.clone();
    let press = |number: usize| {
        let queues = queues.clone();
        async move { queues.send(FIFO, vec![message("g", "d", &number.to_string())]).await.unwrap() }
    };
    race(30, press).await;
    let (_, receipt) = first(&*queues).await.unwrap();
    queues.delete(FIFO, vec![receipt]).await.unwrap();
    assert_eq!(first(&*queues).await, None);
}

pub(super) async fn a_group_keeps_its_order(harness: &Harness) {
    let queues = &*harness.backend.queues;
    let bodies: Vec<String> = (0..15).map(|number| format!("m{number}")).collect();
    for chunk in bodies.chunks(4) {
        send(queues, "g", &chunk.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    let mut received = Vec::new();
    while let Some((body, receipt)) = first(queues).await {
        received.push(body);
        queues.delete(FIFO, vec![receipt]).await.unwrap();
    }
    assert_eq!(received, bodies);
}

pub(super) async fn a_group_is_locked_while_one_of_it_is_in_flight(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, "g", &["a", "b"]).await;
    let (body, receipt) = first(queues).await.unwrap();
    assert_eq!(body, "a");
    assert_eq!(first(queues).await, None);
    queues.extend(FIFO, vec![receipt.clone()], Duration::from_secs(30)).await.unwrap();
    if harness.pass(FIFO.visibility()).await {
        assert_eq!(first(queues).await, None);
    }
    queues.delete(FIFO, vec![receipt]).await.unwrap();
    assert_eq!(first(queues).await.map(|(body, _)| body).as_deref(), Some("b"));
}

pub(super) async fn groups_do_not_wait_for_each_other(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, "g", &["g1", "g2"]).await;
    send(queues, "h", &["h1", "h2"]).await;
    let (one, _) = first(queues).await.unwrap();
    let (two, receipt) = first(queues).await.unwrap();
    let mut bodies = [one, two.clone()];
    bodies.sort_unstable();
    assert_eq!(bodies, ["g1", "h1"]);
    assert_eq!(first(queues).await, None);
    queues.delete(FIFO, vec![receipt]).await.unwrap();
    assert_eq!(first(queues).await.map(|(body, _)| body), Some(two.replace('1', "2")));
}

pub(super) async fn a_group_goes_on_after_its_first_died(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, "g", &["bad", "good"]).await;
    for _ in 0..RECEIVES_MAX {
        let (body, receipt) = first(queues).await.unwrap();
        assert_eq!(body, "bad");
        queues.extend(FIFO, vec![receipt], Duration::ZERO).await.unwrap();
    }
    // SQS may take one look to bury the one and another to find the other.
    let mut next = first(queues).await;
    if next.is_none() {
        next = first(queues).await;
    }
    assert_eq!(next.map(|(body, _)| body).as_deref(), Some("good"));
    assert_eq!(one(queues, FIFO.dead().expect("triggers have dead letters")).await.body, "bad");
}

pub(super) async fn a_redelivered_message_still_comes_first(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, "g", &["a", "b"]).await;
    let (_, receipt) = first(queues).await.unwrap();
    queues.give_back(FIFO, vec![receipt], Duration::ZERO).await.unwrap();
    assert_eq!(first(queues).await.map(|(body, _)| body).as_deref(), Some("a"));
    if harness.pass(FIFO.visibility()).await {
        assert_eq!(first(queues).await.map(|(body, _)| body).as_deref(), Some("a"));
    }
}

pub(super) async fn an_expired_receipt_deletes_nothing_of_a_fifo_queue(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, "g", &["m"]).await;
    let (_, receipt) = first(queues).await.unwrap();
    if !harness.pass(FIFO.visibility()).await {
        return;
    }
    queues.delete(FIFO, vec![receipt.clone()]).await.unwrap();
    queues.extend(FIFO, vec![receipt.clone()], Duration::from_secs(60)).await.unwrap();
    queues.give_back(FIFO, vec![receipt], Duration::from_secs(60)).await.unwrap();
    assert_eq!(one(queues, FIFO).await.receives, 2);
}
