//! The configuration: the commented default, then a file, then the environment. Unknown keys are refused, and all
//! mistakes are told at once, before anything is opened.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// The default, as `fanfare config print` shows it.
pub(crate) const DEFAULT: &str = include_str!("default.toml");

/// Prefix of the environment's names.
const ENVIRONMENT: &str = "FANFARE_";
/// Names with the prefix that are no configuration keys.
const ENVIRONMENT_OTHERS: &[&str] = &["FANFARE_CONFIG"];

/// See `default.toml` for what each key means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) installation: Installation,
    pub(crate) backend: Backend,
    pub(crate) api: Api,
    pub(crate) uploads: Uploads,
    pub(crate) resolver: Resolver,
    pub(crate) retention: Retention,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) worker: Worker,
    pub(crate) apns: Apns,
    pub(crate) fcm: Fcm,
    pub(crate) log: Log,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Installation {
    pub(crate) kind: InstallationKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum InstallationKind {
    Real,
    Simulated,
}

impl InstallationKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            InstallationKind::Real => "real",
            InstallationKind::Simulated => "simulated",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Backend {
    pub(crate) kind: BackendKind,
    pub(crate) folder: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BackendKind {
    Embedded,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Api {
    pub(crate) listen: SocketAddr,
    pub(crate) upload_bytes_max: u64,
    pub(crate) idle_s_max: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Uploads {
    pub(crate) line_bytes_max: u64,
    pub(crate) columns_max: u64,
    pub(crate) rows_max: u64,
    pub(crate) unpacked_bytes_max: u64,
    pub(crate) unpacked_ratio_max: u64,
    pub(crate) bad_rows_listed_max: u64,
    pub(crate) left_out_listed_max: u64,
    pub(crate) late_list_max: u64,
    pub(crate) age_s_max: u64,
    pub(crate) at_once_max: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Resolver {
    pub(crate) build_bytes_max: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Retention {
    pub(crate) uploads_days: u32,
    pub(crate) exports_days: u32,
    pub(crate) inquiries_days: u32,
    pub(crate) snapshots_days: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dispatcher {
    pub(crate) shard_devices_apns: u32,
    pub(crate) shard_devices_fcm: u32,
    pub(crate) slices_max: u16,
    pub(crate) attempts_max: u32,
    pub(crate) fcm_quota_undeclared: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Worker {
    pub(crate) threads: u32,
    pub(crate) answer_s_max: u64,
    pub(crate) connect_s_max: u64,
    pub(crate) open_spacing_ms: u64,
    pub(crate) drain_s_max: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Apns {
    pub(crate) endpoint: String,
    pub(crate) sandbox_endpoint: String,
    pub(crate) topics: Vec<String>,
    pub(crate) key_file: PathBuf,
    pub(crate) key_id: String,
    pub(crate) team_id: String,
    pub(crate) sandbox_key_file: PathBuf,
    pub(crate) sandbox_key_id: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) connections: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fcm {
    pub(crate) endpoint: String,
    pub(crate) projects: Vec<String>,
    pub(crate) service_account_files: Vec<PathBuf>,
    pub(crate) ca_file: PathBuf,
    pub(crate) connections: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Log {
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Every mistake in a configuration, each with its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistakes(pub(crate) Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.len();
        write!(f, "the configuration has {number} {}:", if number == 1 { "mistake" } else { "mistakes" })?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

impl Default for Config {
    fn default() -> Self {
        toml::from_str(DEFAULT).expect("a test reads the built-in default")
    }
}

impl Config {
    /// Default, then `file` when given, then the environment.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, Mistakes> {
        let mut mistakes = Vec::new();
        let default: Table = DEFAULT.parse().expect("a test reads the built-in default");
        let mut merged = default.clone();
        if let Some(path) = file {
            match read(path) {
                Ok(table) => merge(&mut merged, table, &path.display().to_string(), &mut mistakes),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        for (name, value) in environment {
            set_from_environment(&mut merged, &name, &value, &mut mistakes);
        }
        let config = match Config::deserialize(Value::Table(merged)) {
            Ok(config) => Some(config),
            Err(error) => {
                mistakes.push(error.to_string().trim().replace('\n', " "));
                None
            }
        };
        if let Some(config) = &config {
            config.note_mistakes(&mut mistakes);
        }
        config.filter(|_| mistakes.is_empty()).ok_or(Mistakes(mistakes))
    }

    /// Checks again what was changed after loading.
    pub(crate) fn checked(self) -> Result<Config, Mistakes> {
        let mut mistakes = Vec::new();
        self.note_mistakes(&mut mistakes);
        if mistakes.is_empty() { Ok(self) } else { Err(Mistakes(mistakes)) }
    }

    /// What the types cannot say.
    fn note_mistakes(&self, mistakes: &mut Vec<String>) {
        let mut must = |holds: bool, mistake: &str| {
            if !holds {
                mistakes.push(mistake.to_owned());
            }
        };
        must(
            self.api.listen.ip().is_loopback(),
            "api.listen: only loopback addresses are accepted: whoever reaches it may press Go",
        );
        let uploads = &self.uploads;
        must(
            (1_024..=1 << 26).contains(&uploads.line_bytes_max),
            "uploads.line_bytes_max: must be 1024 to 67108864: two lines are held in memory",
        );
        must(uploads.columns_max >= 8, "uploads.columns_max: must be at least 8");
        must(uploads.rows_max > 0, "uploads.rows_max: must be at least 1");
        must(uploads.unpacked_bytes_max > 0, "uploads.unpacked_bytes_max: must be at least 1");
        must(uploads.unpacked_ratio_max > 0, "uploads.unpacked_ratio_max: must be at least 1");
        must(uploads.late_list_max > 0, "uploads.late_list_max: must be at least 1");
        must(self.uploads.age_s_max >= 60, "uploads.age_s_max: must be at least 60");
        must(self.uploads.at_once_max > 0, "uploads.at_once_max: must be at least 1");
        must(self.api.idle_s_max > 0, "api.idle_s_max: must be at least 1");
        must(!self.backend.folder.as_os_str().is_empty(), "backend.folder: must not be empty");
        let Retention { uploads_days, exports_days, inquiries_days, snapshots_days } = self.retention;
        let days = [uploads_days, exports_days, inquiries_days, snapshots_days];
        must(days.iter().all(|days| (1..=3_650).contains(days)), "retention: each must be 1 to 3650 days");
        must(self.resolver.build_bytes_max >= 1 << 24, "resolver.build_bytes_max: must be at least 16 MiB");
        let shards = [self.dispatcher.shard_devices_apns, self.dispatcher.shard_devices_fcm];
        must(
            shards.iter().all(|devices| (1..=100_000).contains(devices)),
            "dispatcher.shard_devices_apns, shard_devices_fcm: must be 1 to 100000",
        );
        must((1..=80).contains(&self.dispatcher.slices_max), "dispatcher.slices_max: must be 1 to 80");
        must(self.dispatcher.attempts_max > 0, "dispatcher.attempts_max: must be at least 1");
        must((1..=64).contains(&self.worker.threads), "worker.threads: must be 1 to 64");
        must(self.worker.answer_s_max > 0, "worker.answer_s_max: must be at least 1");
        must(self.worker.connect_s_max > 0, "worker.connect_s_max: must be at least 1");
        must(self.worker.open_spacing_ms <= 60_000, "worker.open_spacing_ms: must be at most 60000");
        must((1..=10_000).contains(&self.apns.connections), "apns.connections: must be 1 to 10000");
        must((1..=10_000).contains(&self.fcm.connections), "fcm.connections: must be 1 to 10000");
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log.filter);
        must(
            filter.is_ok(),
            "log.filter: is no list of levels and targets, for example \"warn,fanfare=info\"",
        );
        self.check_installation(&mut must);
    }

    fn check_installation(&self, must: &mut impl FnMut(bool, &str)) {
        let (apns, fcm) = (&self.apns, &self.fcm);
        match self.installation.kind {
            InstallationKind::Real => {
                let keys = [&apns.key_id, &apns.team_id];
                must(
                    apns.topics.is_empty()
                        || !apns.key_file.as_os_str().is_empty() && keys.iter().all(|key| !key.is_empty()),
                    "apns: topics need key_file, key_id and team_id",
                );
                must(
                    fcm.projects.is_empty() || !fcm.service_account_files.is_empty(),
                    "fcm: projects need service_account_files",
                );
                must(
                    apns.sandbox_key_file.as_os_str().is_empty() == apns.sandbox_key_id.is_empty(),
                    "apns: sandbox_key_file and sandbox_key_id go together",
                );
                let private = [&apns.ca_file, &fcm.ca_file];
                must(
                    private.iter().all(|file| file.as_os_str().is_empty()),
                    "apns.ca_file, fcm.ca_file: a real installation trusts no private CA",
                );
            }
            InstallationKind::Simulated => {
                must(
                    apns.topics.is_empty() || !apns.endpoint.is_empty(),
                    "apns.endpoint: a simulated installation must name its simulator",
                );
                must(
                    fcm.projects.is_empty() || !fcm.endpoint.is_empty(),
                    "fcm.endpoint: a simulated installation must name its simulator",
                );
            }
        }
    }

    /// As TOML. There are no secrets in it, only the names of files that hold some.
    pub(crate) fn print(&self) -> String {
        toml::to_string_pretty(self).expect("a configuration is tables of plain values")
    }
}

fn read(path: &Path) -> Result<Table, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
        format!("{}:{at}: {}", path.display(), error.message())
    })
}

/// Lays `over` on `base`. A key that `base` lacks is unknown, a value of another kind is a mistake.
fn merge(base: &mut Table, over: Table, place: &str, mistakes: &mut Vec<String>) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (None, _) => mistakes.push(format!("{place}: unknown key {key:?}")),
            (Some(Value::Table(base)), Value::Table(over)) => {
                merge(base, over, &format!("{place}: {key}"), mistakes);
            }
            (Some(slot), value) if slot.same_type(&value) => *slot = value,
            (Some(slot), value) => {
                let (wanted, got) = (slot.type_str(), value.type_str());
                mistakes.push(format!("{place}: {key}: must be of type {wanted}, is {got}"));
            }
        }
    }
}

fn set_from_environment(merged: &mut Table, name: &str, value: &str, mistakes: &mut Vec<String>) {
    let Some(path) = name.strip_prefix(ENVIRONMENT) else { return };
    if ENVIRONMENT_OTHERS.contains(&name) {
        return;
    }
    let path = path.to_lowercase();
    let slot = path.split_once("__").and_then(|(section, key)| merged.get_mut(section)?.get_mut(key));
    let Some(slot) = slot else {
        mistakes.push(format!("environment {name}: unknown key; write FANFARE_<SECTION>__<KEY>"));
        return;
    };
    let parsed = match slot {
        Value::String(_) => Some(Value::String(value.to_owned())),
        Value::Integer(_) => value.replace('_', "").parse().ok().map(Value::Integer),
        Value::Boolean(_) => value.parse().ok().map(Value::Boolean),
        Value::Array(_) => {
            let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
            Some(Value::Array(parts.map(|part| Value::String(part.to_owned())).collect()))
        }
        _ => None,
    };
    match parsed {
        Some(parsed) => *slot = parsed,
        None => mistakes.push(format!("environment {name}: must be of type {}", slot.type_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, Mistakes> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fanfare.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Config::load(Some(&path), environment)
    }

    #[test]
    fn the_built_in_default_is_valid() {
        assert_eq!(Config::load(None, std::iter::empty()), Ok(Config::default()));
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config = load("[api]\nlisten = \"127.0.0.1:1\"", &[("FANFARE_API__LISTEN", "127.0.0.1:2")]);
        assert_eq!(config.unwrap().api.listen.port(), 2);
        let config = load("", &[("FANFARE_APNS__TOPICS", "a.b, c.d"), ("FANFARE_CONFIG", "x")]);
        let mistakes = config.unwrap_err();
        assert_eq!(mistakes.0, ["apns: topics need key_file, key_id and team_id"]);
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        let text = "[api]\nlisten = \"0.0.0.0:80\"\nport = 1\n[worker]\nthreads = \"two\"\n[wroker]\nx = 1";
        let mistakes = load(text, &[("FANFARE_FCM__CONNECTIONS", "many")]).unwrap_err().0;
        let all = mistakes.join("\n");
        for part in [
            "unknown key \"port\"",
            "must be of type integer, is string",
            "\"wroker\"",
            "FCM__CONNECTIONS",
            "only loopback",
        ] {
            assert!(all.contains(part), "{part} not in:\n{all}");
        }
        assert_eq!(mistakes.len(), 5, "{all}");
    }

    #[test]
    fn a_file_that_is_no_toml_names_the_line() {
        let mistakes = load("[api]\nlisten = \n", &[]).unwrap_err().0;
        assert!(mistakes[0].contains("fanfare.toml:2:"), "{mistakes:?}");
    }

    /// The kinds in the table of `docs/privacy.md`: the first word of each row in backquotes, with the whole row.
    fn documented() -> Vec<(String, String)> {
        let text = include_str!("../../../docs/privacy.md");
        let rows = text.lines().filter_map(|line| {
            let (kind, _) = line.strip_prefix("| `")?.split_once('`')?;
            Some((kind.to_owned(), line.to_owned()))
        });
        rows.collect()
    }

    #[test]
    fn the_documentation_of_personal_data_has_every_kind_that_is_kept_with_its_key() {
        use model::retention::Kind;
        let documented = documented();
        let kinds: Vec<&str> = documented.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, Kind::ALL.map(Kind::name));
        let default: Table = DEFAULT.parse().unwrap();
        for ((_, row), kind) in documented.iter().zip(Kind::ALL) {
            let key = kind.key();
            assert_eq!(key.is_some(), row.contains("retention.") || row.contains("uploads.age"), "{row}");
            let Some(key) = key else { continue };
            assert!(row.contains(&format!("`{key}`")), "{row}");
            let (section, name) = key.split_once('.').unwrap();
            assert!(default[section].as_table().unwrap().contains_key(name), "{key} can be set");
        }
        let settable = default["retention"].as_table().unwrap().keys();
        for name in settable {
            let key = format!("retention.{name}");
            assert!(Kind::ALL.iter().any(|kind| kind.key() == Some(&key)), "{key} is said to keep something");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        let config = Config::default();
        assert_eq!(load(&config.print(), &[]), Ok(config));
    }
}
