//! The resolver: takes messages one at a time, so that its memory is that of one snapshot. A message is deleted when its
//! work is done or refused; whatever ends otherwise comes again.

use std::error::Error as StdError;
use std::sync::Arc;

use backend::{Backend, Delivery, Queue};
use model::queued::ToResolver;
use model::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::desk::Desk;
use crate::error::{Error, Result};
use crate::outbox::Outbox;
use crate::presence::{self, Presence};
use crate::{erase, export, garbage, import, inquire, resolve, suppress};

/// Runs the role until `shutdown`. Work that is not finished by then is given back and begun anew by another.
pub async fn run(backend: Backend, runtime: Runtime, config: Config, shutdown: CancellationToken) {
    let desk = Arc::new(Desk { backend, runtime, config });
    futures::join!(
        Box::pin(take_all(&desk, &shutdown)),
        Box::pin(suppress::keep(&desk, &shutdown)),
        Box::pin(garbage::keep(&desk, &shutdown)),
        Box::pin(erase::keep(&desk, &shutdown))
    );
}

async fn take_all(desk: &Arc<Desk>, shutdown: &CancellationToken) {
    let mut presence = be_present(desk);
    sweep(desk).await;
    let (mut outbox, mut swept_at) = (Outbox::default(), desk.runtime.clock.monotonic());
    while !shutdown.is_cancelled() {
        let now = desk.runtime.clock.monotonic();
        if now.since(swept_at) >= desk.config.sweep_every {
            swept_at = now;
            sweep(desk).await;
            if let Err(error) = outbox.sweep(desk).await {
                tracing::warn!(error = &error as &dyn StdError, "resolver cannot look for forgotten work");
            }
        }
        let received = desk.backend.queues.receive(Queue::Resolve, 1, desk.config.receive_wait);
        let received = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            received = received => received,
        };
        match received {
            Ok(deliveries) => {
                for delivery in deliveries {
                    if let Some(presence) = &mut presence {
                        presence.is_at(Some(&delivery.receipt));
                    }
                    take(desk, &delivery, shutdown).await;
                    if let Some(presence) = &mut presence {
                        presence.is_at(None);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn StdError, "resolver cannot receive");
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = desk.runtime.clock.sleep(desk.config.retry_after) => {}
                }
            }
        }
    }
}

/// Says that this resolver is here. Without that it works all the same, and is missed later.
fn be_present(desk: &Desk) -> Option<Presence> {
    match Presence::new(desk) {
        Ok(presence) => Some(presence),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn StdError,
                "resolver cannot leave a note for the case of its end"
            );
            None
        }
    }
}

/// Takes up what killed resolvers on this machine had, and removes what they left.
async fn sweep(desk: &Desk) {
    match presence::relieve_dead(desk).await {
        Ok(0) => {}
        Ok(number) => tracing::warn!(number, "the work of killed resolvers is taken up"),
        Err(error) => {
            tracing::warn!(error = &error as &dyn StdError, "resolver cannot look for killed ones");
        }
    }
    desk.sweep();
}

/// Does the work of one message while keeping it hidden.
async fn take(desk: &Desk, delivery: &Delivery, shutdown: &CancellationToken) {
    let ended = tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        () = keep_hidden(desk, delivery) => None,
        ended = Box::pin(work(desk, delivery)) => Some(ended),
    };
    let (queues, receipts) = (&desk.backend.queues, vec![delivery.receipt.clone()]);
    let told = match ended {
        None => queues.give_back(Queue::Resolve, receipts, std::time::Duration::ZERO).await,
        Some(Ok(())) => queues.delete(Queue::Resolve, receipts).await,
        // Whoever has it finishes it; if not, this message is there for the next.
        Some(Err(Error::Overtaken)) => {
            queues.give_back(Queue::Resolve, receipts, desk.config.retry_after).await
        }
        Some(Err(error)) => {
            tracing::warn!(error = &error as &dyn StdError, receives = delivery.receives, "work stopped");
            queues.extend(Queue::Resolve, receipts, desk.config.retry_after).await
        }
    };
    if let Err(error) = told {
        // The message comes again by itself; work that is done is recognized by its row.
        tracing::warn!(error = &error as &dyn StdError, "resolver cannot settle a message");
    }
}

async fn work(desk: &Desk, delivery: &Delivery) -> Result<()> {
    let receives = delivery.receives;
    match serde_json::from_str(&delivery.body) {
        Ok(ToResolver::Resolve(asked)) => Box::pin(resolve::run(desk, asked.audience, receives)).await,
        Ok(ToResolver::TakeIn(asked)) => Box::pin(import::run(desk, asked.import, receives)).await,
        Ok(ToResolver::LookUp(asked)) => Box::pin(inquire::run(desk, asked.inquiry, receives)).await,
        Ok(ToResolver::WriteOut(asked)) => Box::pin(export::run(desk, asked.export, receives)).await,
        Err(error) => {
            tracing::error!(error = &error as &dyn StdError, "a message to the resolver cannot be read");
            Ok(())
        }
    }
}

/// Hides the message again and again; never returns.
async fn keep_hidden(desk: &Desk, delivery: &Delivery) {
    let visibility = Queue::Resolve.visibility();
    loop {
        desk.runtime.clock.sleep(visibility / 4).await;
        let receipts = vec![delivery.receipt.clone()];
        if let Err(error) = desk.backend.queues.extend(Queue::Resolve, receipts, visibility).await {
            tracing::warn!(error = &error as &dyn StdError, "a message could not be kept hidden");
        }
    }
}
