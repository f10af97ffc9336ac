//! Commands that are clients of the HTTP API: they upload a file, however often the connection breaks, and say what became of
//! it; or fetch one.

mod calls;
mod follow;
pub(crate) mod lists;
pub(crate) mod reading;
mod source;
pub(crate) mod suppression;
mod transfer;
pub(crate) mod users;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use model::audience::UploadFormat;
use model::{AudienceId, UploadId};
use reqwest::Method;
use serde_json::{Value, json};

use crate::config::Config;
use crate::runtime;
use calls::{Calls, Refused};
use reading::Reading;
use source::Source;
use transfer::{Done, Transfer};

/// Whom to ask, and as whom.
#[derive(Args)]
pub(crate) struct Service {
    /// The service; without it the address that the configuration has it listen on.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Who acts, as the audit will say.
    #[arg(long, env = "USER", default_value = "fanfare", value_name = "NAME")]
    actor: String,
}

impl Service {
    /// Somebody who calls it, and gives up when nothing gets through for so long.
    fn calls(&self, config: &Config, give_up_after: Duration) -> Result<Calls> {
        Calls::new(base(self.server.as_deref(), config)?, &self.actor, runtime::real().clock, give_up_after)
    }
}

/// What every upload takes.
#[derive(Args)]
pub(crate) struct Sending {
    #[command(flatten)]
    service: Service,
    /// Give up when nothing gets through for this long.
    #[arg(long, default_value = "300s", value_parser = crate::sim::duration, value_name = "TIME")]
    give_up_after: Duration,
    /// Go on with an upload that was begun before, of the same file.
    #[arg(long, value_name = "UPLOAD")]
    resume: Option<UploadId>,
    /// Do not wait for what becomes of the rows.
    #[arg(long)]
    no_wait: bool,
    /// Print one JSON object per file on standard output.
    #[arg(long)]
    json: bool,
}

/// Import files of devices into the directory.
#[derive(Args)]
pub(crate) struct Import {
    /// Files, one after another; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    sending: Sending,
}

/// Upload the list of an audience.
#[derive(Args)]
pub(crate) struct Upload {
    /// The list: user ids, or devices outright; `-` is standard input.
    file: PathBuf,
    /// Make an audience of this name.
    #[arg(long, required_unless_present_any = ["audience", "resume"], conflicts_with_all = ["audience", "resume"])]
    name: Option<String>,
    /// Let devices of APNs' sandbox into the audience that is made, which are left out otherwise.
    #[arg(long, requires = "name")]
    sandbox: bool,
    /// Upload to an audience that is there.
    #[arg(long, value_name = "ID")]
    audience: Option<AudienceId>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    sending: Sending,
}

impl Import {
    /// True when every file was taken.
    pub(crate) fn run(self, config: &Config) -> Result<bool> {
        if self.sending.resume.is_some() && self.files.len() > 1 {
            bail!("--resume goes on with one file");
        }
        let Self { files, reading, sending } = self;
        block_on(async move {
            reading.check()?;
            let client = Client::new(&sending, config)?;
            for file in files {
                let format = reading.format(&file)?;
                let path = format!("/v1/imports?{}", reading.query(format));
                if !client.take(file, Target { method: Method::POST, path, format }).await? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }
}

impl Upload {
    /// True when the list was taken.
    pub(crate) fn run(self, config: &Config) -> Result<bool> {
        let Self { file, name, audience, sandbox, reading, sending } = self;
        block_on(async move {
            reading.check()?;
            let client = Client::new(&sending, config)?;
            // A file that cannot be read makes no audience.
            Source::check(&file)?;
            let format = reading.format(&file)?;
            let path = match (audience, name) {
                (Some(id), _) => format!("/v1/audiences/{id}"),
                (None, Some(name)) => match client.make(&name, sandbox).await {
                    Err(error) => return refused(error),
                    Ok(path) => path,
                },
                // It is known to the upload that is gone on with.
                (None, None) => String::new(),
            };
            let path = format!("{path}/upload?{}", reading.query(format));
            client.take(file, Target { method: Method::PUT, path, format }).await
        })
    }
}

fn block_on(work: impl Future<Output = Result<bool>>) -> Result<bool> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
}

/// The service's address: as it is said, or as the configuration has it.
fn base(server: Option<&str>, config: &Config) -> Result<String> {
    let listen = config.api.listen;
    match server {
        Some(url) => Ok(url.trim_end_matches('/').to_owned()),
        None if listen.port() == 0 => {
            bail!("api.listen names no port: say --server http://127.0.0.1:PORT")
        }
        None => Ok(format!("http://{listen}")),
    }
}

/// Says that the service refused, which is no failure of this program.
fn refused(error: anyhow::Error) -> Result<bool> {
    match error.downcast_ref::<Refused>() {
        Some(refused) => {
            eprintln!("refused: {refused}");
            Ok(false)
        }
        None => Err(error),
    }
}

/// Where a file goes, and how it is written.
struct Target {
    method: Method,
    /// With its query.
    path: String,
    format: UploadFormat,
}

/// Somebody who uploads.
struct Client<'a> {
    calls: Calls,
    sending: &'a Sending,
}

impl<'a> Client<'a> {
    fn new(sending: &'a Sending, config: &Config) -> Result<Self> {
        Ok(Self { calls: sending.service.calls(config, sending.give_up_after)?, sending })
    }

    /// Makes an audience; its path. However often it is asked for, it is made once.
    async fn make(&self, name: &str, sandbox: bool) -> Result<String> {
        let made = self.calls.make("/v1/audiences", &json!({ "name": name, "sandbox": sandbox })).await?;
        let id = made["id"].as_str().context("an audience without id")?;
        Ok(format!("/v1/audiences/{id}"))
    }

    /// Uploads a file and says what became of it; true when it was taken.
    async fn take(&self, file: PathBuf, target: Target) -> Result<bool> {
        match self.uploaded(file, target).await {
            Ok(is_good) => Ok(is_good),
            Err(error) => refused(error),
        }
    }

    async fn uploaded(&self, file: PathBuf, target: Target) -> Result<bool> {
        let named = file.display().to_string();
        let source = Source::open(&file).await.with_context(|| named.clone())?;
        let clock = self.calls.clock();
        let began = clock.monotonic();
        let transfer = Transfer {
            calls: &self.calls,
            clock,
            path: target.path,
            method: target.method,
            media_type: reading::media_type(target.format),
            give_up_after: self.sending.give_up_after,
            resume: self.sending.resume,
            named: &named,
        };
        let Done { answer, bytes, broken } = transfer.run(source).await.with_context(|| named.clone())?;
        let seconds = clock.monotonic().since(began).as_secs_f64();
        let shown = follow::Shown { calls: &self.calls, named: &named };
        let over = if self.sending.no_wait { answer } else { shown.until_over(answer).await? };
        if self.sending.json {
            let upload = json!({ "bytes": bytes, "seconds": seconds, "broken": broken });
            println!("{}", json!({ "file": named, "upload": upload, "result": over }));
        } else {
            print!("{}", follow::text(&named, &over, self.calls.base()));
        }
        Ok(!is_failed(&over))
    }
}

fn is_failed(over: &Value) -> bool {
    over["state"] == "failed"
}
