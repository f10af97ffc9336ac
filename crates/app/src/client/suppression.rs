//! Commands about the late list: people who must not be sent to any more.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use model::audience::UploadFormat;
use reqwest::Method;
use serde_json::json;

use super::reading::RowsReading;
use super::{Client, Sending, Target, block_on, refused};
use crate::config::Config;

/// Put people on the late list.
#[derive(Args)]
pub(crate) struct Add {
    /// User ids, if they are few.
    #[arg(value_name = "USER", required_unless_present = "file", conflicts_with = "file")]
    users: Vec<String>,
    /// A file of user ids; `-` is standard input. In a text file (`.txt`) each line is an id.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Why.
    #[arg(long, value_enum, default_value = "opted_out")]
    cause: Cause,
    #[command(flatten)]
    rows: RowsReading,
    #[command(flatten)]
    sending: Sending,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Cause {
    /// They asked for it.
    OptedOut,
    /// Whoever runs the installation decided it.
    Blocked,
}

impl Cause {
    const fn name(self) -> &'static str {
        match self {
            Cause::OptedOut => "opted_out",
            Cause::Blocked => "blocked",
        }
    }
}

impl Add {
    /// True when everybody is on the list.
    pub(crate) fn run(self, config: &Config) -> Result<bool> {
        let Self { users, file, cause, rows, sending } = self;
        block_on(async move {
            rows.bad_rows()?;
            let client = Client::new(&sending, config)?;
            match file {
                Some(file) => {
                    let format = rows.format(&file, UploadFormat::Users)?;
                    let path = format!("/v1/suppression?cause={}&{}", cause.name(), rows.query(format));
                    client.take(file, Target { method: Method::POST, path, format }).await
                }
                None => client.add(&users, cause).await.map(|()| true).or_else(refused),
            }
        })
    }
}

impl Client<'_> {
    async fn add(&self, users: &[String], cause: Cause) -> Result<()> {
        let asked = json!({ "users": users, "cause": cause.name() });
        let changed = self.calls.make("/v1/suppression", &asked).await?;
        if self.sending.json {
            println!("{changed}");
        } else {
            let people = changed["people"].as_u64().context("an answer without a number of people")?;
            println!("{people} people came onto the late list, version {} now", changed["version"]);
        }
        Ok(())
    }
}
