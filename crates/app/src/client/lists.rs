//! Commands that fetch: whom an audience's snapshot does not have, and what changed between two.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use futures::StreamExt as _;
use model::AudienceId;
use reqwest::Method;
use serde_json::{Value, json};

use super::calls::{Answer, Calls, Refused, is_over};
use super::{Service, block_on, refused};
use crate::config::Config;

/// Whom to ask.
#[derive(Args)]
pub(crate) struct Asking {
    #[command(flatten)]
    service: Service,
    /// Give up when nothing gets through for this long.
    #[arg(long, default_value = "300s", value_parser = crate::sim::duration, value_name = "TIME")]
    give_up_after: Duration,
    /// How the file is written.
    #[arg(long, value_enum, default_value = "ndjson")]
    format: Format,
    /// Write the file here instead of to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Ndjson,
    Csv,
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Format::Ndjson => "ndjson",
            Format::Csv => "csv",
        }
    }
}

/// Fetch the list of those whom an audience's snapshot does not have, each with the reason.
#[derive(Args)]
pub(crate) struct LeftOut {
    /// The audience.
    audience: AudienceId,
    #[command(flatten)]
    asking: Asking,
}

/// Say what changed from one frozen audience to another.
#[derive(Args)]
pub(crate) struct Diff {
    /// The audience.
    audience: AudienceId,
    /// The one that it is compared with, usually an earlier one.
    against: AudienceId,
    #[command(flatten)]
    asking: Asking,
    /// Print the numbers as a JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

impl Asking {
    fn calls(&self, config: &Config) -> Result<Calls> {
        self.service.calls(config, self.give_up_after)
    }
}

impl LeftOut {
    /// True when the list was fetched.
    pub(crate) fn run(self, config: &Config) -> Result<bool> {
        block_on(async {
            let calls = self.asking.calls(config)?;
            let path =
                format!("/v1/audiences/{}/left-out?format={}", self.audience, self.asking.format.name());
            fetch(&calls, &path, self.asking.out.as_deref()).await.map(|()| true).or_else(refused)
        })
    }
}

impl Diff {
    /// True when the difference was told.
    pub(crate) fn run(self, config: &Config) -> Result<bool> {
        block_on(async { self.tell(config).await.map(|()| true).or_else(refused) })
    }

    async fn tell(&self, config: &Config) -> Result<()> {
        let calls = self.asking.calls(config)?;
        let asked = json!({
            "what": "difference",
            "audience": self.audience,
            "against": self.against,
            "format": self.asking.format.name(),
        });
        let export = calls.make("/v1/exports", &asked).await?;
        let path = format!("/v1/exports/{}", export["id"].as_str().context("an export without id")?);
        let export = calls.until(&path, export, is_over, |_| {}).await?;
        if export["state"] == "failed" {
            let why = export["why"].as_str().unwrap_or("it says not why");
            return Err(Refused(why.to_owned()).into());
        }
        if let Some(out) = &self.asking.out {
            fetch(&calls, &format!("{path}/file"), Some(out)).await?;
        }
        if self.json {
            println!("{}", json!({ "export": export["id"], "difference": export["difference"] }));
        } else {
            print!("{}", table(&export["difference"]));
            if self.asking.out.is_none() {
                println!("each device that came or went: {}{path}/file", calls.base());
            }
        }
        Ok(())
    }
}

/// Fetches a file, to `out` or to standard output. It has its name once it is whole.
async fn fetch(calls: &Calls, path: &str, out: Option<&Path>) -> Result<()> {
    let answer = calls.request(Method::GET, path).send().await?;
    if !answer.status().is_success() {
        return Err(Refused(Answer::of(answer).await?.problem()).into());
    }
    let mut bytes = answer.bytes_stream();
    let Some(out) = out else {
        let mut stdout = std::io::stdout().lock();
        while let Some(part) = bytes.next().await {
            stdout.write_all(&part?).context("standard output")?;
        }
        return stdout.flush().context("standard output");
    };
    let named = || out.display().to_string();
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if out.is_dir() {
        bail!("{} is a folder", named());
    }
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(named)?;
    while let Some(part) = bytes.next().await {
        file.write_all(&part.with_context(named)?).with_context(named)?;
    }
    file.persist(out).with_context(named)?;
    Ok(())
}

/// The numbers of a difference, for reading.
fn table(difference: &Value) -> String {
    let mut text = format!(
        "{:<20} {:>11} {:>11} {:>11}   {:>11} {:>11} {:>11}\n",
        "", "users came", "went", "stayed", "devices came", "went", "stayed"
    );
    let mut line = |name: &str, change: &Value| {
        let number = |what: &str, move_: &str| change[what][move_].as_u64().unwrap_or(0);
        let numbers =
            ["users", "devices"].map(|what| ["came", "went", "stayed"].map(|move_| number(what, move_)));
        let [users, devices] =
            numbers.map(|[came, went, stayed]| format!("{came:>11} {went:>11} {stayed:>11}"));
        text += &format!("{name:<20} {users}   {devices:>36}\n");
    };
    line("all", &difference["all"]);
    for by in ["by_platform", "by_market"] {
        for (name, change) in difference[by].as_object().into_iter().flatten() {
            line(name, change);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_all_each_platform_and_each_market() {
        let change = json!({ "users": { "came": 1, "went": 22, "stayed": 333 },
            "devices": { "came": 4, "went": 55, "stayed": 666 } });
        let difference =
            json!({ "all": change, "by_platform": { "apns": change }, "by_market": { "us": change } });
        let table = table(&difference);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines.len(), 4);
        for (line, name) in lines[1..].iter().zip(["all", "apns", "us"]) {
            assert_eq!(line[..], [name, "1", "22", "333", "4", "55", "666"]);
        }
    }
}
