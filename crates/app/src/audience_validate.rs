//! `fanfare audience validate`: reads a list as the service would and says what it would say, without a server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use audience::{Asked, Verdict};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use model::audience::{BadRows, Defaults, Packing, UploadFormat, UploadRows};
use model::runtime::Clock as _;
use model::{Monotonic, Platform};

use crate::cli::Cli;
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
    /// How it is written; told by the file's name when absent.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What its rows must be; read off the file when absent.
    #[arg(long, value_enum)]
    rows: Option<RowsKind>,
    /// What becomes of rows that cannot be read.
    #[arg(long, value_enum, default_value = "reject_all")]
    bad_rows: BadRowsChoice,
    /// With `--bad-rows accept_valid`: the share of bad rows beyond which the whole list is refused.
    #[arg(long, value_name = "SHARE")]
    bad_share_max: Option<f64>,
    /// `apns` or `fcm`, for rows that do not say it.
    #[arg(long)]
    platform: Option<Platform>,
    /// App (topic) of APNs devices whose rows do not say it.
    #[arg(long, value_name = "APP")]
    apns_app: Option<String>,
    /// App (project) of FCM devices whose rows do not say it.
    #[arg(long, value_name = "APP")]
    fcm_app: Option<String>,
    /// Locale of devices whose rows do not say it.
    #[arg(long)]
    locale: Option<String>,
    /// Market of devices whose rows do not say it.
    #[arg(long)]
    market: Option<String>,
    /// Write every bad row's place and cause to this new file, a line of JSON each.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Print one object for machines.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    Csv,
    Ndjson,
    Pinpoint,
    Tokens,
    Parquet,
}

#[derive(Clone, Copy, ValueEnum)]
enum RowsKind {
    Users,
    Devices,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum BadRowsChoice {
    RejectAll,
    AcceptValid,
}

impl BadRowsChoice {
    /// As queries write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            BadRowsChoice::RejectAll => "reject_all",
            BadRowsChoice::AcceptValid => "accept_valid",
        }
    }
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
        let format = match self.format {
            Some(format) => format.into(),
            None => format_of(&self.file)
                .ok_or("the file's name does not tell how it is written: say --format")?,
        };
        let bad_rows =
            BadRows::named(self.bad_rows.name(), self.bad_share_max).map_err(|error| error.to_string())?;
        let defaults = Defaults {
            platform: self.platform,
            apns_app: self.apns_app.clone(),
            fcm_app: self.fcm_app.clone(),
            locale: self.locale.clone(),
            market: self.market.clone(),
        };
        defaults.check().map_err(|error| error.to_string())?;
        let rows = self.rows.map(|rows| match rows {
            RowsKind::Users => UploadRows::Users,
            RowsKind::Devices => UploadRows::Devices,
        });
        let (limits, uploaded_at) = (settings::limits(config), SystemClock.now());
        Ok(Asked { format, packing: Packing::None, rows, bad_rows, defaults, limits, uploaded_at })
    }
}

impl From<Format> for UploadFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Csv => UploadFormat::Csv,
            Format::Ndjson => UploadFormat::Ndjson,
            Format::Pinpoint => UploadFormat::Pinpoint,
            Format::Tokens => UploadFormat::Tokens,
            Format::Parquet => UploadFormat::Parquet,
        }
    }
}

/// The format that a file's name tells, whatever packed it.
pub(crate) fn format_of(file: &Path) -> Option<UploadFormat> {
    let name = file.file_name()?.to_str()?.to_ascii_lowercase();
    let name = [".gz", ".zst"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
    match name.rsplit_once('.')?.1 {
        "csv" => Some(UploadFormat::Csv),
        "ndjson" | "jsonl" => Some(UploadFormat::Ndjson),
        "txt" => Some(UploadFormat::Tokens),
        "parquet" => Some(UploadFormat::Parquet),
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_s_name_tells_how_it_is_written() {
        let of = |name: &str| format_of(Path::new(name));
        assert_eq!(of("/a/Fans.CSV.gz"), Some(UploadFormat::Csv));
        assert_eq!(of("fans.jsonl.zst"), Some(UploadFormat::Ndjson));
        assert_eq!(of("tokens.txt"), Some(UploadFormat::Tokens));
        assert_eq!(of("fans.gz"), None);
        assert_eq!(of("fans"), None);
    }
}
