//! `fanfare audience validate`: reads a list as the service would and says what it would say, without a server.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use audience::{Asked, Verdict};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use model::Monotonic;
use model::audience::{Packing, UploadRows};
use model::runtime::Clock as _;

use crate::cli::Cli;
use crate::client::reading::Reading;
use crate::config::Config;
use crate::roles::settings;
use crate::runtime::SystemClock;

/// A list that is read quicker than this needs no progress bar.
const BAR_AFTER: Duration = Duration::from_secs(1);

/// Read a list as the service would, and say what it would say.
#[derive(Args)]
pub(crate) struct Validate {
    /// The list: plain, or packed by gzip or zstd.
    file: PathBuf,
    /// What its rows must be; read off the file when absent.
    #[arg(long, value_enum)]
    rows: Option<RowsKind>,
    #[command(flatten)]
    reading: Reading,
    /// Write every bad row's place and cause to this new file, a line of JSON each.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Print one object for machines.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum RowsKind {
    Users,
    Devices,
}

impl Validate {
    /// True when the list would be taken.
    pub(crate) fn run(self, config: &Config) -> Result<bool> {
        let asked = self.asked(config).unwrap_or_else(|mistake| {
            Cli::command().error(ErrorKind::ValueValidation, mistake).exit();
        });
        let verdict = self.read(&asked)?;
        if self.json {
            println!("{}", serde_json::to_string(&verdict)?);
        } else {
            print!("{}", text(&verdict));
        }
        Ok(verdict.refused.is_none())
    }

    fn read(&self, asked: &Asked) -> Result<Verdict> {
        let bytes = std::fs::metadata(&self.file).with_context(|| self.file.display().to_string())?.len();
        let mut progress = Progress::new(bytes);
        let verdict = audience::validate(&self.file, asked, self.list.as_deref(), |read| progress.tell(read));
        progress.end();
        verdict.with_context(|| self.file.display().to_string())
    }

    fn asked(&self, config: &Config) -> std::result::Result<Asked, String> {
        let text = |error: anyhow::Error| format!("{error:#}");
        let format = self.reading.format(&self.file).map_err(text)?;
        let bad_rows = self.reading.bad_rows().map_err(text)?;
        let defaults = self.reading.defaults().map_err(text)?;
        let rows = self.rows.map(|rows| match rows {
            RowsKind::Users => UploadRows::Users,
            RowsKind::Devices => UploadRows::Devices,
        });
        let (limits, uploaded_at) = (settings::limits(config), SystemClock.now());
        Ok(Asked { format, packing: Packing::None, rows, bad_rows, defaults, limits, uploaded_at })
    }
}

/// A bar on a terminal, once reading has taken a while.
struct Progress {
    bytes: u64,
    begun: Monotonic,
    bar: Option<ProgressBar>,
}

impl Progress {
    fn new(bytes: u64) -> Self {
        Self { bytes, begun: SystemClock.monotonic(), bar: None }
    }

    fn tell(&mut self, read: u64) {
        if self.bar.is_none() && SystemClock.monotonic().since(self.begun) >= BAR_AFTER {
            let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}");
            let bar = ProgressBar::new(self.bytes);
            self.bar = Some(bar.with_style(style.expect("the template is fixed")));
        }
        self.bar.iter().for_each(|bar| bar.set_position(read));
    }

    fn end(self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

/// The verdict for people.
fn text(verdict: &Verdict) -> String {
    let read = &verdict.read;
    let mut text = match &verdict.refused {
        None => "the list would be taken\n".to_owned(),
        Some(why) => format!("the list would be refused: {why}\n"),
    };
    let mut line = |name: &str, value: &dyn std::fmt::Display| text += &format!("  {name:<28}{value:>14}\n");
    line("rows", &read.rows);
    line("bytes, unpacked", &read.unpacked_bytes);
    verdict.by_platform.iter().for_each(|(platform, devices)| line(&format!("good, {platform}"), devices));
    read.left_out.iter().for_each(|(why, rows)| line(&format!("left out, {why}"), rows));
    line("bad", &read.bad_rows);
    read.bad_by_reason.iter().for_each(|(why, rows)| line(&format!("bad, {why}"), rows));
    for bad in &read.first_bad_rows {
        text += &format!("  line {}, byte {}: {}\n", bad.line, bad.byte, bad.cause);
    }
    let more = read.bad_rows.saturating_sub(read.first_bad_rows.len() as u64);
    if more > 0 {
        text += &format!("  and {more} more: --list writes them all\n");
    }
    text
}
