//! How a file is to be read, as flags say it and the query of an upload repeats it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use model::Platform;
use model::audience::{BadRows, Defaults, UploadFormat};

/// How a file of people or devices is to be read.
#[derive(Args)]
pub(crate) struct Reading {
    #[command(flatten)]
    pub(super) rows: RowsReading,
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
}

/// How the rows of any file are to be read.
#[derive(Args)]
pub(crate) struct RowsReading {
    /// How it is written; told by the file's name when absent.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What becomes of rows that cannot be read.
    #[arg(long, value_enum, default_value = "reject_all")]
    bad_rows: BadRowsChoice,
    /// With `--bad-rows accept_valid`: the share of bad rows beyond which the whole file is refused.
    #[arg(long, value_name = "SHARE")]
    bad_share_max: Option<f64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Ndjson,
    Pinpoint,
    Tokens,
    Users,
    Parquet,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum BadRowsChoice {
    RejectAll,
    AcceptValid,
}

impl BadRowsChoice {
    /// As queries write it.
    const fn name(self) -> &'static str {
        match self {
            BadRowsChoice::RejectAll => "reject_all",
            BadRowsChoice::AcceptValid => "accept_valid",
        }
    }
}

impl RowsReading {
    /// What becomes of rows that cannot be read.
    pub(crate) fn bad_rows(&self) -> Result<BadRows> {
        BadRows::named(self.bad_rows.name(), self.bad_share_max).context("--bad-rows, --bad-share-max")
    }

    /// How a file is written; `of_text` is what plain text is.
    pub(super) fn format(&self, file: &Path, of_text: UploadFormat) -> Result<UploadFormat> {
        match self.format {
            Some(format) => Ok(format.into()),
            None => match format_of(file, of_text) {
                Some(format) => Ok(format),
                None => bail!("{}: its name does not tell how it is written: say --format", file.display()),
            },
        }
    }

    /// The query of its upload. What was checked needs no escaping.
    pub(super) fn query(&self, format: UploadFormat) -> String {
        let mut query = format!("format={}&bad_rows={}", format.name(), self.bad_rows.name());
        if let Some(share) = self.bad_share_max {
            write!(query, "&bad_share_max={share}").expect("a string takes every text");
        }
        query
    }
}

impl Reading {
    /// Finds what the service would refuse, before anything is sent.
    pub(super) fn check(&self) -> Result<()> {
        self.bad_rows()?;
        self.defaults().map(drop)
    }

    /// What becomes of rows that cannot be read.
    pub(crate) fn bad_rows(&self) -> Result<BadRows> {
        self.rows.bad_rows()
    }

    /// What rows take that do not say it.
    pub(crate) fn defaults(&self) -> Result<Defaults> {
        let defaults = Defaults {
            platform: self.platform,
            apns_app: self.apns_app.clone(),
            fcm_app: self.fcm_app.clone(),
            locale: self.locale.clone(),
            market: self.market.clone(),
        };
        defaults.check()?;
        Ok(defaults)
    }

    /// How a file is written.
    pub(crate) fn format(&self, file: &Path) -> Result<UploadFormat> {
        self.rows.format(file, UploadFormat::Tokens)
    }

    /// The query of its upload.
    pub(super) fn query(&self, format: UploadFormat) -> String {
        let mut query = self.rows.query(format);
        let labels = [
            ("platform", self.platform.map(Platform::name)),
            ("apns_app", self.apns_app.as_deref()),
            ("fcm_app", self.fcm_app.as_deref()),
            ("locale", self.locale.as_deref()),
            ("market", self.market.as_deref()),
        ];
        for (name, value) in labels {
            if let Some(value) = value {
                write!(query, "&{name}={value}").expect("a string takes every text");
            }
        }
        query
    }
}

/// The media type of a format.
pub(super) const fn media_type(format: UploadFormat) -> &'static str {
    match format {
        UploadFormat::Csv => "text/csv",
        UploadFormat::Ndjson | UploadFormat::Pinpoint => "application/x-ndjson",
        UploadFormat::Tokens | UploadFormat::Users => "text/plain",
        UploadFormat::Parquet => "application/vnd.apache.parquet",
    }
}

impl From<Format> for UploadFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Csv => UploadFormat::Csv,
            Format::Ndjson => UploadFormat::Ndjson,
            Format::Pinpoint => UploadFormat::Pinpoint,
            Format::Tokens => UploadFormat::Tokens,
            Format::Users => UploadFormat::Users,
            Format::Parquet => UploadFormat::Parquet,
        }
    }
}

/// The format that a file's name tells, whatever packed it.
fn format_of(file: &Path, of_text: UploadFormat) -> Option<UploadFormat> {
    let name = file.file_name()?.to_str()?.to_ascii_lowercase();
    let name = [".gz", ".zst"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
    match name.rsplit_once('.')?.1 {
        "csv" => Some(UploadFormat::Csv),
        "ndjson" | "jsonl" => Some(UploadFormat::Ndjson),
        "txt" => Some(of_text),
        "parquet" => Some(UploadFormat::Parquet),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_s_name_tells_how_it_is_written() {
        let of = |name: &str| format_of(Path::new(name), UploadFormat::Tokens);
        assert_eq!(of("/a/Fans.CSV.gz"), Some(UploadFormat::Csv));
        assert_eq!(of("fans.jsonl.zst"), Some(UploadFormat::Ndjson));
        assert_eq!(of("tokens.txt"), Some(UploadFormat::Tokens));
        assert_eq!(format_of(Path::new("gone.txt"), UploadFormat::Users), Some(UploadFormat::Users));
        assert_eq!(of("fans.gz"), None);
        assert_eq!(of("fans"), None);
    }
}
