//! Waiting for what another process sends, here another backend on the same folder.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use backend::{Backend, Delivery, Expect, Key, Outgoing, Queue, Write};
use backend_embedded::{Place, open};
use model::Platform;

use crate::support::runtime;

const QUEUE: Queue = Queue::Shards(Platform::Apns);
const OTHER: Queue = Queue::Shards(Platform::Fcm);

/// A receive that ends only when it is woken: the clock stands still.
fn receive(backend: &Backend, queue: Queue) -> Pin<Box<dyn Future<Output = Vec<Delivery>> + Send>> {
    let queues = backend.queues.clone();
    Box::pin(async move { queues.receive(queue, 1, Duration::from_secs(20)).await.unwrap() })
}

async fn poll(call: &mut Pin<Box<dyn Future<Output = Vec<Delivery>> + Send>>) -> Option<Vec<Delivery>> {
    std::future::poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Everything asked of `backend` before is done afterwards.
async fn round_trip(backend: &Backend) {
    let nothing = Write::check(Key::new("nothing", "nothing"), Expect::Anything);
    backend.store.write(vec![nothing]).await.unwrap();
}

#[tokio::test]
async fn a_message_between_the_look_at_an_empty_queue_and_the_wait_is_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let (runtime, _clock) = runtime();
    let [here, there] = [0, 1].map(|_| open(&Place::of(folder.path()), &runtime).unwrap());
    let (here, there) = (&here.backend, &there.backend);
    let mut other = receive(here, OTHER);
    for _ in 0..20 {
        assert!(poll(&mut other).await.is_none());
        round_trip(here).await;
    }
    // This one has looked, and does not know yet that there was nothing.
    let mut receive = receive(here, QUEUE);
    assert!(poll(&mut receive).await.is_none());
    round_trip(here).await;
    there.queues.send(QUEUE, vec![Outgoing::now("m".into())]).await.unwrap();
    there.queues.send(OTHER, vec![Outgoing::now("n".into())]).await.unwrap();
    // Whoever is woken by the second message was told of the first too.
    assert_eq!(other.await[0].body, "n");
    for _ in 0..1_000 {
        if let Some(received) = poll(&mut receive).await {
            assert_eq!(received[0].body, "m");
            return;
        }
        round_trip(here).await;
    }
    panic!("it still waits");
}
