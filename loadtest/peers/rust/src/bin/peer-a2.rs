//! `a2`, the APNs client of the Rust world, through its public interface: a client, and so a connection, for each of the
//! wanted connections, and as many tasks on it as there may be requests at once.
//!
//! It knows Apple's hosts and the web's authorities only; the copy that this is built with takes both from the
//! environment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use a2::{
    Client, ClientConfig, CollapseId, DefaultNotificationBuilder, NotificationBuilder, NotificationOptions,
    Priority, PushType,
};
use anyhow::{Result, anyhow, bail};
use futures::future::try_join_all;
use peers::{Job, Watch, apns_id};
use serde::Deserialize;

/// What the job's body says.
#[derive(Deserialize)]
struct Body {
    aps: Aps,
}

#[derive(Deserialize)]
struct Aps {
    alert: Alert,
}

#[derive(Deserialize)]
struct Alert {
    title: String,
    body: String,
}

/// What every notification has in common.
struct Message {
    alert: Alert,
    topic: String,
    collapse_id: String,
    expiration: u64,
    tokens: Vec<String>,
}

impl Message {
    fn of(job: &Job) -> Result<Self> {
        let (push_type, priority) = (job.header("apns-push-type")?, job.header("apns-priority")?);
        if (push_type, priority) != ("alert", "10") {
            bail!("an alert with priority 10 is what is compared, not {push_type} with {priority}");
        }
        Ok(Self {
            alert: serde_json::from_str::<Body>(&job.body)?.aps.alert,
            topic: job.header("apns-topic")?.to_owned(),
            collapse_id: job.header("apns-collapse-id")?.to_owned(),
            expiration: job.header("apns-expiration")?.parse()?,
            tokens: job.tokens()?,
        })
    }

    /// Sends it to device `number`; whether APNs accepted.
    async fn send(&self, client: &Client, number: u64) -> Result<bool> {
        let id = apns_id(number);
        let options = NotificationOptions {
            apns_id: Some(&id),
            apns_push_type: Some(PushType::Alert),
            apns_expiration: Some(self.expiration),
            apns_priority: Some(Priority::High),
            apns_topic: Some(&self.topic),
            apns_collapse_id: Some(CollapseId::new(&self.collapse_id)?),
        };
        let token = &self.tokens[number as usize % self.tokens.len()];
        let builder =
            DefaultNotificationBuilder::new().set_title(&self.alert.title).set_body(&self.alert.body);
        match client.send(builder.build(token, options)).await {
            Ok(_) => Ok(true),
            Err(a2::Error::ResponseError(_)) => Ok(false),
            Err(error) => Err(anyhow!("{error}")),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let job = Job::read()?;
    let message = Arc::new(Message::of(&job)?);
    let key = std::fs::read(&job.key)?;
    let mut clients = Vec::new();
    for _ in 0..job.connections {
        let client = Client::token(&key[..], "PEERPEER00", "COMPARISON", ClientConfig::default())?;
        // Opens the connection.
        if !message.send(&client, job.requests).await? {
            bail!("the first request was refused");
        }
        clients.push(client);
    }
    let answered = Arc::new(AtomicU64::new(0));
    let watch = Watch::start();
    let mut tasks = Vec::new();
    let mut first = 0;
    for (number, client) in (0..).zip(&clients) {
        let (next, end) = (Arc::new(AtomicU64::new(first)), first + job.share(number));
        first = end;
        for _ in 0..job.streams {
            let (client, message) = (client.clone(), Arc::clone(&message));
            let (next, answered) = (Arc::clone(&next), Arc::clone(&answered));
            tasks.push(tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return anyhow::Ok(());
                    }
                    let is_good = message.send(&client, number).await?;
                    answered.fetch_add(u64::from(is_good), Ordering::Relaxed);
                }
            }));
        }
    }
    for result in try_join_all(tasks).await? {
        result?;
    }
    watch.stop(&job, answered.load(Ordering::Relaxed))
}
