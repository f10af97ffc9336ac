//! Standard queues: visibility, counts, dead letters, delay. Nothing here assumes an order, nor that a message comes once
//! only unless it is deleted.

use std::collections::BTreeSet;
use std::time::Duration;

use model::Platform;

use super::{Harness, assert_invalid, race};
use crate::queues::{
    CALL_MESSAGES_MAX, DELAY_MAX, DeadOf, Delivery, Fifo, LEASE, MESSAGE_BYTES_MAX, Outgoing, Queue, Queues,
    RECEIVES_MAX,
};

pub(super) const SHARDS: Queue = Queue::Shards(Platform::Apns);

pub(super) async fn send(queues: &dyn Queues, queue: Queue, bodies: &[&str]) {
    let messages = bodies.iter().map(|&body| outgoing(queue, body)).collect();
    queues.send(queue, messages).await.unwrap();
}

/// On a FIFO queue every body has a group of its own.
fn outgoing(queue: Queue, body: &str) -> Outgoing {
    let fifo = queue.is_fifo().then(|| Fifo { group: body.to_owned(), deduplication: body.to_owned() });
    Outgoing { fifo, ..Outgoing::now(body.to_owned()) }
}

/// What can be received at once.
pub(super) async fn now(queues: &dyn Queues, queue: Queue) -> Vec<Delivery> {
    queues.receive(queue, CALL_MESSAGES_MAX, Duration::ZERO).await.unwrap()
}

/// The one message that can be received at once.
pub(super) async fn one(queues: &dyn Queues, queue: Queue) -> Delivery {
    let mut deliveries = now(queues, queue).await;
    assert_eq!(deliveries.len(), 1, "{deliveries:?}");
    deliveries.remove(0)
}

pub(super) async fn a_message_in_flight_is_hidden(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, SHARDS, &["m"]).await;
    let delivery = one(queues, SHARDS).await;
    assert_eq!((delivery.body.as_str(), delivery.receives), ("m", 1));
    assert_eq!(now(queues, SHARDS).await, []);
    if harness.pass(LEASE / 2).await {
        assert_eq!(now(queues, SHARDS).await, []);
    }
}

pub(super) async fn a_deleted_message_never_comes_again(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, SHARDS, &["m"]).await;
    let delivery = one(queues, SHARDS).await;
    queues.delete(SHARDS, vec![delivery.receipt.clone()]).await.unwrap();
    // Twice is as good as once.
    queues.delete(SHARDS, vec![delivery.receipt]).await.unwrap();
    assert_eq!(queues.depth(SHARDS).await.unwrap(), 0);
    if harness.pass(LEASE * 2).await {
        assert_eq!(now(queues, SHARDS).await, []);
    }
}

pub(super) async fn a_message_comes_again_when_its_visibility_ends(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, SHARDS, &["m"]).await;
    let first = one(queues, SHARDS).await;
    if !harness.pass(SHARDS.visibility()).await {
        return;
    }
    let second = one(queues, SHARDS).await;
    assert_eq!((second.body.as_str(), second.receives), ("m", 2));
    assert_ne!(first.receipt, second.receipt);
}

pub(super) async fn extending_hides_a_message_from_now(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, SHARDS, &["m"]).await;
    let delivery = one(queues, SHARDS).await;
    for _ in 0..3 {
        if !harness.pass(LEASE * 2 / 3).await {
            return;
        }
        queues.extend(SHARDS, vec![delivery.receipt.clone()], LEASE).await.unwrap();
    }
    harness.pass(LEASE / 2).await;
    assert_eq!(now(queues, SHARDS).await, []);
    harness.pass(LEASE / 2).await;
    assert_eq!(one(queues, SHARDS).await.receives, 2);
}

pub(super) async fn extending_by_nothing_shows_it_at_once(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, SHARDS, &["m"]).await;
    let delivery = one(queues, SHARDS).await;
    queues.extend(SHARDS, vec![delivery.receipt], Duration::ZERO).await.unwrap();
    assert_eq!(one(queues, SHARDS).await.receives, 2);
}

pub(super) async fn an_old_receipt_does_nothing(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, SHARDS, &["m"]).await;
    let old = one(queues, SHARDS).await.receipt;
    queues.extend(SHARDS, vec![old.clone()], Duration::ZERO).await.unwrap();
    let new = one(queues, SHARDS).await;
    queues.extend(SHARDS, vec![old.clone()], Duration::ZERO).await.unwrap();
    queues.give_back(SHARDS, vec![old.clone()], Duration::ZERO).await.unwrap();
    queues.delete(SHARDS, vec![old]).await.unwrap();
    assert_eq!(now(queues, SHARDS).await, []);
    queues.extend(SHARDS, vec![new.receipt], Duration::ZERO).await.unwrap();
    assert_eq!(one(queues, SHARDS).await.receives, 3);
}

pub(super) async fn a_given_back_message_comes_again_at_once(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, SHARDS, &["m", "n"]).await;
    let receipts: Vec<String> = now(queues, SHARDS).await.into_iter().map(|one| one.receipt).collect();
    queues.give_back(SHARDS, receipts.clone(), Duration::ZERO).await.unwrap();
    let again = now(queues, SHARDS).await;
    assert_eq!(again.len(), receipts.len());
    assert!(again.iter().all(|one| !receipts.contains(&one.receipt)));
}

pub(super) async fn a_message_given_back_with_delay_waits_for_it(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, SHARDS, &["m"]).await;
    let delivery = one(queues, SHARDS).await;
    queues.give_back(SHARDS, vec![delivery.receipt], Duration::from_secs(2)).await.unwrap();
    assert_eq!(now(queues, SHARDS).await, []);
    if harness.pass(Duration::from_secs(2)).await {
        assert_eq!(one(queues, SHARDS).await.body, "m");
    }
}

pub(super) async fn giving_back_is_no_receive(harness: &Harness) {
    let queues = &*harness.backend.queues;
    send(queues, SHARDS, &["m"]).await;
    for _ in 0..RECEIVES_MAX + 5 {
        let delivery = one(queues, SHARDS).await;
        assert_eq!(delivery.receives, 1);
        queues.give_back(SHARDS, vec![delivery.receipt], Duration::ZERO).await.unwrap();
    }
}

pub(super) async fn a_message_received_too_often_becomes_a_dead_letter(harness: &Harness) {
    let queues = &*harness.backend.queues;
    for queue in Queue::ALL {
        let Some(dead) = queue.dead() else { continue };
        send(queues, queue, &["m"]).await;
        for receives in 1..=RECEIVES_MAX {
            let delivery = one(queues, queue).await;
            assert_eq!(delivery.receives, receives);
            queues.extend(queue, vec![delivery.receipt], Duration::ZERO).await.unwrap();
        }
        assert_eq!(now(queues, queue).await, [], "{}", queue.name());
        let letter = one(queues, dead).await;
        assert_eq!(letter.body, "m");
        queues.delete(dead, vec![letter.receipt]).await.unwrap();
        assert_eq!(queues.depth(queue).await.unwrap() + queues.depth(dead).await.unwrap(), 0);
    }
}

pub(super) async fn dead_letters_stay_however_often_they_are_received(harness: &Harness) {
    let queues = &*harness.backend.queues;
    let dead = Queue::Dead(DeadOf::Resolve);
    send(queues, dead, &["m"]).await;
    for _ in 0..RECEIVES_MAX + 5 {
        let letter = one(queues, dead).await;
        queues.extend(dead, vec![letter.receipt], Duration::ZERO).await.unwrap();
    }
    assert_eq!(one(queues, dead).await.body, "m");
}

pub(super) async fn a_delayed_message_comes_when_its_time_has_come(harness: &Harness) {
    let queues = &*harness.backend.queues;
    let delay = Duration::from_secs(2);
    let late = Outgoing { delay, ..Outgoing::now("late".into()) };
    queues.send(SHARDS, vec![late, Outgoing::now("now".into())]).await.unwrap();
    assert_eq!(one(queues, SHARDS).await.body, "now");
    if harness.pass(delay / 2).await {
        assert_eq!(now(queues, SHARDS).await, []);
        harness.pass(delay / 2).await;
        assert_eq!(one(queues, SHARDS).await.body, "late");
    }
}

pub(super) async fn queues_are_apart(harness: &Harness) {
    let queues = &*harness.backend.queues;
    for queue in Queue::ALL {
        send(queues, queue, &[queue.name()]).await;
    }
    for queue in Queue::ALL {
        let delivery = one(queues, queue).await;
        assert_eq!(delivery.body, queue.name());
        queues.delete(queue, vec![delivery.receipt]).await.unwrap();
    }
}

pub(super) async fn a_call_receives_at_most_what_it_asks_for(harness: &Harness) {
    let queues = &*harness.backend.queues;
    let bodies: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    send(queues, SHARDS, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for max in [1, 3, CALL_MESSAGES_MAX] {
        let deliveries = queues.receive(SHARDS, max, Duration::ZERO).await.unwrap();
        assert!((1..=max).contains(&deliveries.len()));
    }
    assert_invalid(queues.receive(SHARDS, 0, Duration::ZERO).await);
    assert_invalid(queues.receive(SHARDS, CALL_MESSAGES_MAX + 1, Duration::ZERO).await);
}

pub(super) async fn many_messages_all_arrive_with_many_receivers(harness: &Harness) {
    let queues = harness.backend.queues.clone();
    let all: BTreeSet<String> = (0..1_000).map(|number| format!("m{number}")).collect();
    queues.send(SHARDS, all.iter().cloned().map(Outgoing::now).collect()).await.unwrap();
    let receive = |_| {
        let queues = queues.clone();
        async move {
            let mut seen = BTreeSet::new();
            loop {
                let deliveries = now(&*queues, SHARDS).await;
                if deliveries.is_empty() {
                    return seen;
                }
                let (bodies, receipts): (Vec<_>, Vec<_>) =
                    deliveries.into_iter().map(|one| (one.body, one.receipt)).unzip();
                queues.delete(SHARDS, receipts).await.unwrap();
                seen.extend(bodies);
            }
        }
    };
    let mut seen = BTreeSet::new();
    // A receive of SQS may come back empty although messages are there.
    while queues.depth(SHARDS).await.unwrap() > 0 {
        seen.extend(race(6, receive).await.into_iter().flatten());
    }
    assert_eq!(seen, all);
}

pub(super) async fn depth_counts_what_waits_and_what_is_in_flight(harness: &Harness) {
    let queues = &*harness.backend.queues;
    assert_eq!(queues.depth(SHARDS).await.unwrap(), 0);
    send(queues, SHARDS, &["a", "b", "c"]).await;
    let received = queues.receive(SHARDS, 1, Duration::ZERO).await.unwrap();
    assert_eq!(queues.depth(SHARDS).await.unwrap(), 3);
    queues.delete(SHARDS, vec![received[0].receipt.clone()]).await.unwrap();
    assert_eq!(queues.depth(SHARDS).await.unwrap(), 2);
}

pub(super) async fn bodies_are_any_text_up_to_the_limit(harness: &Harness) {
    let queues = &*harness.backend.queues;
    let long = "ü".repeat(MESSAGE_BYTES_MAX / 2);
    for body in ["{\"a\":\"\u{1f514}\\u0000\"}", "line\nline\ttab", &long] {
        send(queues, SHARDS, &[body]).await;
        let delivery = one(queues, SHARDS).await;
        assert_eq!(delivery.body, body);
        queues.delete(SHARDS, vec![delivery.receipt]).await.unwrap();
    }
    for body in ["", &format!("{long}x")] {
        assert_invalid(queues.send(SHARDS, vec![Outgoing::now(body.into())]).await);
    }
}

pub(super) async fn wrong_calls_are_refused(harness: &Harness) {
    let queues = &*harness.backend.queues;
    let fifo = || Some(Fifo { group: "g".into(), deduplication: "d".into() });
    let message = || Outgoing::now("m".into());
    let too_late = Outgoing { delay: DELAY_MAX + Duration::from_secs(1), ..message() };
    assert_invalid(queues.send(SHARDS, vec![message(), too_late]).await);
    assert_invalid(queues.send(SHARDS, vec![Outgoing { fifo: fifo(), ..message() }]).await);
    assert_invalid(queues.send(Queue::Triggers, vec![message()]).await);
    let delayed = Outgoing { fifo: fifo(), delay: Duration::from_secs(1), ..message() };
    assert_invalid(queues.send(Queue::Triggers, vec![delayed]).await);
    assert_eq!(now(queues, SHARDS).await, []);
    assert_eq!(now(queues, Queue::Triggers).await, []);
    for nothing in [queues.delete(SHARDS, vec![]).await, queues.send(SHARDS, vec![]).await] {
        nothing.unwrap();
    }
}
