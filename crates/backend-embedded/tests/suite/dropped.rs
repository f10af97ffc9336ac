//! Calls whose caller went away: nothing is lost, nothing stays hidden.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use backend::{Outgoing, Queue};

use crate::support::{folder, memory};

const QUEUE: Queue = Queue::Resolve;

/// Polls a receive that many times and drops it, then receives what is there.
async fn receive_after_dropping(harness: backend::contract::Harness, polls: usize) {
    let queues = &harness.backend.queues;
    queues.send(QUEUE, vec![Outgoing::now("m".into())]).await.unwrap();
    for _ in 0..30 {
        {
            let mut receive = pin!(queues.receive(QUEUE, 10, Duration::ZERO));
            for _ in 0..polls {
                let polled =
                    std::future::poll_fn(|context| Poll::Ready(receive.as_mut().poll(context))).await;
                if let Poll::Ready(received) = polled {
                    let receipts = received.unwrap().into_iter().map(|one| one.receipt).collect();
                    queues.give_back(QUEUE, receipts, Duration::ZERO).await.unwrap();
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // The clock stands still: only giving it back makes it come again.
        let received = queues.receive(QUEUE, 10, Duration::from_secs(5)).await.unwrap();
        assert_eq!((received.len(), received[0].receives), (1, 1));
        queues.give_back(QUEUE, vec![received[0].receipt.clone()], Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn a_dropped_receive_gives_its_messages_back() {
    for polls in [1, 2, 5, 50] {
        receive_after_dropping(folder().await, polls).await;
        receive_after_dropping(memory().await, polls).await;
    }
}

#[tokio::test]
async fn a_dropped_wait_takes_no_message_with_it() {
    for harness in [folder().await, memory().await] {
        let queues = &harness.backend.queues;
        {
            let mut waits = pin!(queues.receive(QUEUE, 1, Duration::from_secs(10)));
            for _ in 0..100 {
                let polled = std::future::poll_fn(|context| Poll::Ready(waits.as_mut().poll(context))).await;
                assert!(polled.is_pending());
                tokio::task::yield_now().await;
            }
        }
        queues.send(QUEUE, vec![Outgoing::now("m".into())]).await.unwrap();
        assert_eq!(queues.receive(QUEUE, 1, Duration::ZERO).await.unwrap().len(), 1);
    }
}
