//! `fanfare sim`: a provider stand-in whose every latency, limit, quota, fault and check is a flag.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use model::{Platform, Reason};
use provider_sim::config::{
    Certificate, Config, ConnectionFault, Distribution, Goaway, Hits, ListedFault, Mode, OverLimit, Quota,
    Shares, Storm, StreamChange, text,
};

/// Run a stand-in for a provider.
#[derive(Args)]
#[command(args_override_self = true)]
pub(crate) struct Sim {
    /// Which provider.
    provider: Provider,
    /// How strictly requests are judged: fast (counts and answers, made to cost little) or validating (another HTTP/2
    /// implementation, which checks every request as the provider would and reports what it finds).
    #[arg(long, default_value = "fast", value_parser = mode, value_name = "MODE")]
    mode: Mode,
    /// Where to listen; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where the control channel listens: newline-separated JSON.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    control: SocketAddr,
    /// Where to write the certificate authority that is made at the start (PEM).
    #[arg(long, value_name = "FILE")]
    ca_out: Option<PathBuf>,
    /// More names for the server's certificate.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    names: Vec<String>,
    /// Threads that serve connections.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Decides every draw.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Requests to prepare memory for.
    #[arg(long, default_value_t = 0)]
    expect: usize,
    /// From a request's last byte to its answer.
    #[arg(long, default_value = "0ms", value_parser = duration)]
    latency: Duration,
    /// How far answers stray from the latency.
    #[arg(long, default_value = "0ms", value_parser = duration)]
    spread: Duration,
    /// How they stray: uniform or exponential.
    #[arg(long, default_value = "uniform", value_parser = distribution)]
    distribution: Distribution,
    /// Answers become due on ticks of this length.
    #[arg(long, default_value = "1ms", value_parser = duration)]
    tick: Duration,
    /// Streams per connection; the provider's usual number when absent.
    #[arg(long)]
    streams: Option<u32>,
    /// Changes of the stream limit by a connection's age, for example 2s=1,5s=1000.
    #[arg(long, value_delimiter = ',', value_parser = stream_change, value_name = "AGE=STREAMS")]
    stream_changes: Vec<StreamChange>,
    /// One stream until the first request was accepted; APNs does so with token authentication.
    #[arg(long)]
    one_stream_until_valid: Option<bool>,
    /// What happens to a stream above the limit: refuse or goaway; the provider's usual way when absent.
    #[arg(long, value_parser = over_limit)]
    over_limit: Option<OverLimit>,
    /// What a request may send before more is granted.
    #[arg(long)]
    stream_window: Option<u32>,
    /// The connection's flow-control window.
    #[arg(long)]
    connection_window: Option<u32>,
    /// The dynamic table that clients may use.
    #[arg(long)]
    header_table_bytes: Option<u32>,
    /// The longest frame that is read, 16384 to 16777215.
    #[arg(long, value_name = "BYTES")]
    frame_bytes_max: Option<u32>,
    /// The longest header block that is read.
    #[arg(long, value_name = "BYTES")]
    header_block_bytes_max: Option<u32>,
    /// Connections open at once.
    #[arg(long, value_name = "N")]
    connections_max: Option<usize>,
    /// How long a new connection waits before its first byte is read.
    #[arg(long, default_value = "0ms", value_parser = duration)]
    accept_delay: Duration,
    /// APNs sandbox: answers carry apns-unique-id.
    #[arg(long)]
    sandbox: bool,
    /// Answers without the headers that the real provider adds to what a client needs.
    #[arg(long)]
    plain_answers: bool,
    /// The dynamic table used for answers, if the client allows as much; 0 sends literals only.
    #[arg(long, value_name = "BYTES")]
    answer_table_bytes: Option<u32>,
    /// Share of keys that are dead (410 Unregistered, 404 UNREGISTERED).
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    dead: f64,
    /// Which seed decides who is dead; the other one when absent.
    #[arg(long, value_name = "SEED")]
    dead_seed: Option<u64>,
    /// The timestamp of a 410 lies at most this long before the start.
    #[arg(long, value_parser = duration, value_name = "AGE")]
    unregistered_within: Option<Duration>,
    /// Shares of other reasons, for example BadDeviceToken=0.01,ServiceUnavailable=0.002.
    #[arg(long, default_value = "", value_name = "REASON=SHARE,...")]
    shares: Shares,
    /// Retry-After of 429 and 503.
    #[arg(long, default_value = "10s", value_parser = duration)]
    retry_after: Duration,
    /// Share answered with REFUSED_STREAM.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    refused: f64,
    /// Share whose connection is dropped before the request is processed.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    dropped_before: f64,
    /// Share whose connection is dropped instead of the answer.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    dropped_after: f64,
    /// Share that is processed and never answered.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    silent: f64,
    /// Drop the connection before processing every n-th request.
    #[arg(long, value_name = "N")]
    drop_before_every: Option<u64>,
    /// Drop the connection instead of answering every n-th request.
    #[arg(long, value_name = "N")]
    drop_after_every: Option<u64>,
    /// Faults of single keys: a file with a JSON list.
    #[arg(long, value_name = "FILE")]
    listed: Option<PathBuf>,
    /// FCM: messages per window, over all projects.
    #[arg(long, value_name = "N")]
    quota: Option<u64>,
    /// After how long the quota is refilled whole.
    #[arg(long, default_value = "60s", value_parser = duration)]
    quota_window: Duration,
    /// GOAWAY after so many requests of a connection.
    #[arg(long, value_name = "N")]
    goaway_every: Option<u64>,
    /// GOAWAY at this age of a connection.
    #[arg(long, value_parser = duration, value_name = "AGE")]
    goaway_after: Option<Duration>,
    /// GOAWAY after so many answers of a connection that found a device or the message wrong.
    #[arg(long, value_name = "N")]
    goaway_after_rejections: Option<u64>,
    /// What GOAWAY says.
    #[arg(long, default_value = "", value_name = "REASON")]
    goaway_reason: String,
    /// Credentials seen earlier than this after the start have expired then.
    #[arg(long, value_parser = duration, value_name = "AGE")]
    credentials_expire_after: Option<Duration>,
    /// A storm begins with this request for a device, over all connections; 0: with the simulator.
    #[arg(long, default_value_t = 0, value_name = "N")]
    storm_from: u64,
    /// How long the storm lasts; for ever when absent.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    storm_lasts: Option<Duration>,
    /// Storm: what happens to connections: tls-alert, half-close, close-notify, reset (in mid-frame), stall (in mid-frame),
    /// silence, settings-flood, ping-flood, reset-flood, giant-headers, continuations, goaway-twice, goaway-rising, no-streams.
    #[arg(long, value_name = "FAULT")]
    connection_fault: Option<ConnectionFault>,
    /// Which connections it happens to: one, all or a share of them.
    #[arg(long, default_value = "all", value_name = "WHICH")]
    hits: Hits,
    /// The request of a connection, for a device, that brings its turn.
    #[arg(long, default_value_t = 1, value_name = "N")]
    hit_at: u64,
    /// How long no-streams lasts.
    #[arg(long, default_value = "500ms", value_parser = duration, value_name = "TIME")]
    hit_pause: Duration,
    /// Storm: what every request for a device is answered, for example InvalidProviderToken.
    #[arg(long, value_parser = reason, value_name = "REASON")]
    storm_answers: Option<Reason>,
    /// Storm: new connections are refused.
    #[arg(long)]
    refuse_connections: bool,
    /// Storm: the server's certificate: good, expired or other-name.
    #[arg(long, default_value = "good", value_name = "KIND")]
    certificate: Certificate,
    /// Storm: credentials seen before it have expired.
    #[arg(long)]
    expire_credentials: bool,
    /// Falsify the account: n hides n arrivals, -n counts n twice. Proves that a comparison would notice.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    miscount: i64,
    /// Stop when standard input closes: a child never outlives the parent that holds the pipe.
    #[arg(long, hide = true)]
    exit_when_stdin_closes: bool,
    // Last: its heading holds for whatever stands behind it.
    #[command(flatten)]
    checks: Checks,
}

/// What only the validating mode is told.
#[derive(Args)]
#[command(next_help_heading = "With --mode validating")]
struct Checks {
    /// APNs: the topics that may be pushed to; any when absent.
    #[arg(long, value_name = "TOPIC", value_delimiter = ',')]
    topics: Vec<String>,
    /// FCM: the projects that there are; any when absent.
    #[arg(long, value_name = "PROJECT", value_delimiter = ',')]
    projects: Vec<String>,
    /// APNs: the public key of the provider tokens (PEM); learned from the tokens themselves when absent.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// FCM: the access tokens that are good, a file with one a line; any when absent.
    #[arg(long, value_name = "FILE")]
    access_tokens: Option<PathBuf>,
    /// APNs: how long a key's provider token has to last before the next one [default: 20m].
    #[arg(long, value_parser = duration, value_name = "AGE")]
    token_updates_every: Option<Duration>,
    /// Requests that a device takes in a window, 0 for any number [default: 240].
    #[arg(long, value_name = "N")]
    device_rate: Option<u64>,
    /// The window [default: 60s].
    #[arg(long, value_parser = duration, requires = "device_rate", value_name = "TIME")]
    device_window: Option<Duration>,
    /// APNs: by how much each penalty of a connection delays its answers; 400 to 413 are penalties, BadDeviceToken is
    /// four [default: 1ms].
    #[arg(long, value_parser = duration, value_name = "TIME")]
    penalty_delay: Option<Duration>,
    /// APNs: with how many penalties a connection ends with GOAWAY [default: 200].
    #[arg(long, value_name = "N")]
    penalties_max: Option<u64>,
}

impl Checks {
    fn configure(self, config: &mut Config) -> Result<()> {
        let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| path.display().to_string());
        let checks = &mut config.checks;
        checks.topics = self.topics;
        checks.projects = self.projects;
        checks.public_key = self.public_key.as_ref().map(read).transpose()?;
        let tokens = self.access_tokens.as_ref().map(read).transpose()?.unwrap_or_default();
        checks.access_tokens = tokens.split_whitespace().map(str::to_owned).collect();
        set(&mut checks.token_updates_every, self.token_updates_every);
        if let Some(requests) = self.device_rate {
            let window = self.device_window.unwrap_or(Duration::from_secs(60));
            checks.device_rate = (requests > 0).then_some(Quota { requests, window });
        }
        set(&mut checks.penalty_delay, self.penalty_delay);
        set(&mut checks.penalties_max, self.penalties_max);
        Ok(())
    }
}

/// A provider, as the command line names it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Provider {
    Apns,
    Fcm,
}

impl From<Provider> for Platform {
    fn from(provider: Provider) -> Self {
        match provider {
            Provider::Apns => Platform::Apns,
            Provider::Fcm => Platform::Fcm,
        }
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    text::parse_duration(text).map_err(|error| error.to_string())
}

fn distribution(text: &str) -> Result<Distribution, String> {
    match text {
        "uniform" => Ok(Distribution::Uniform),
        "exponential" => Ok(Distribution::Exponential),
        _ => Err("uniform or exponential".into()),
    }
}

pub(crate) fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "fast" => Ok(Mode::Fast),
        "validating" => Ok(Mode::Validating),
        _ => Err("fast or validating".into()),
    }
}

fn over_limit(text: &str) -> Result<OverLimit, String> {
    match text {
        "refuse" => Ok(OverLimit::Refuse),
        "goaway" => Ok(OverLimit::Goaway),
        _ => Err("refuse or goaway".into()),
    }
}

fn reason(text: &str) -> Result<Reason, String> {
    text.parse().map_err(|_| format!("{text:?} is no reason of a provider"))
}

fn stream_change(text: &str) -> Result<StreamChange, String> {
    let (after, streams) = text.split_once('=').ok_or("AGE=STREAMS, for example 2s=1")?;
    let streams = streams.parse().map_err(|_| format!("{streams:?} is no number of streams"))?;
    Ok(StreamChange { after: duration(after)?, streams })
}

impl Sim {
    fn config(self) -> Result<Config> {
        let mut config = Config::of(self.provider.into());
        config.mode = self.mode;
        self.checks.configure(&mut config)?;
        config.listen = self.listen;
        config.control = self.control;
        config.ca_out = self.ca_out;
        config.names = self.names;
        config.threads = self.threads;
        config.seed = self.seed;
        config.requests_expected = self.expect;
        config.miscount = self.miscount;
        config.exit_when_stdin_closes = self.exit_when_stdin_closes;
        config.latency.base = self.latency;
        config.latency.spread = self.spread;
        config.latency.distribution = self.distribution;
        config.latency.tick = self.tick;
        config.answers.sandbox = self.sandbox;
        config.answers.realistic = !self.plain_answers;
        set(&mut config.answers.header_table_bytes, self.answer_table_bytes);
        let limits = &mut config.limits;
        limits.stream_changes = self.stream_changes;
        limits.connections = self.connections_max;
        limits.accept_delay = self.accept_delay;
        set(&mut limits.streams, self.streams);
        set(&mut limits.one_stream_until_valid, self.one_stream_until_valid);
        set(&mut limits.over_limit, self.over_limit);
        set(&mut limits.frame_bytes_max, self.frame_bytes_max);
        set(&mut limits.header_block_bytes_max, self.header_block_bytes_max);
        set(&mut limits.stream_window, self.stream_window);
        set(&mut limits.connection_window, self.connection_window);
        set(&mut limits.header_table_bytes, self.header_table_bytes);
        let faults = &mut config.faults;
        faults.dead = self.dead;
        faults.dead_seed = self.dead_seed;
        set(&mut faults.unregistered_within, self.unregistered_within);
        faults.shares = self.shares;
        faults.retry_after = self.retry_after;
        faults.refused = self.refused;
        faults.dropped_before = self.dropped_before;
        faults.dropped_after = self.dropped_after;
        faults.silent = self.silent;
        faults.drop_before_every = self.drop_before_every;
        faults.drop_after_every = self.drop_after_every;
        let window = self.quota_window;
        faults.quota = self.quota.map(|requests| Quota { requests, window });
        faults.goaway = Goaway {
            every: self.goaway_every,
            after: self.goaway_after,
            after_rejections: self.goaway_after_rejections,
            reason: self.goaway_reason,
        };
        faults.credentials_expire_after = self.credentials_expire_after;
        faults.storm = Storm {
            from_request: self.storm_from,
            lasts: self.storm_lasts,
            connection: self.connection_fault,
            hits: self.hits,
            at_request: self.hit_at,
            pause: self.hit_pause,
            answers: self.storm_answers,
            refuses: self.refuse_connections,
            certificate: self.certificate,
            expires_credentials: self.expire_credentials,
        };
        if let Some(path) = &self.listed {
            faults.listed = listed(path)?;
        }
        Ok(config)
    }

    /// Runs the simulator until it is told to stop.
    pub(crate) fn run(self) -> Result<()> {
        crate::machine::raise_open_files(64)?;
        let config = self.config()?;
        config.check().map_err(crate::Usage::new)?;
        provider_sim::run(config, &mut std::io::stdout()).context("simulator")
    }
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

fn listed(path: &std::path::Path) -> Result<Vec<ListedFault>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| format!("{} is no list of faults", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sim: Sim,
    }

    fn config(line: &str) -> Value {
        let sim = Line::try_parse_from(line.split(' ')).unwrap().sim;
        serde_json::to_value(sim.config().unwrap()).unwrap()
    }

    /// Pointers of the fields that are the same in both.
    fn same(one: &Value, other: &Value, at: &str) -> Vec<String> {
        match (one, other) {
            (Value::Object(one), Value::Object(other)) if !one.is_empty() => {
                one.iter().flat_map(|(key, value)| same(value, &other[key], &format!("{at}/{key}"))).collect()
            }
            _ if one == other => vec![at.to_owned()],
            _ => vec![],
        }
    }

    #[test]
    fn every_field_of_a_simulator_is_a_flag() {
        let folder = tempfile::tempdir().unwrap();
        let listed = folder.path().join("listed");
        std::fs::write(&listed, r#"[{"key":"00000000000000000000000000000010","manner":"silent"}]"#).unwrap();
        let (key, tokens) = (folder.path().join("key"), folder.path().join("tokens"));
        std::fs::write(&key, "PEM").unwrap();
        std::fs::write(&tokens, "one\ntwo\n").unwrap();
        let checks = format!(
            "--mode validating --topics a --projects b --public-key {} --access-tokens {} --token-updates-every 1s \
             --device-rate 1 --device-window 1s --penalty-delay 2ms --penalties-max 1",
            key.display(),
            tokens.display()
        );
        let flags = "--listen 127.0.0.1:1 --control 127.0.0.1:2 --ca-out ca.pem --names sim --threads 2 --seed 3 \
             --expect 4 --latency 60ms --spread 5ms --distribution exponential --tick 2ms --streams 9 \
             --stream-changes 2s=1 --one-stream-until-valid true --over-limit refuse --stream-window 1 \
             --connection-window 65536 --header-table-bytes 1 --frame-bytes-max 16385 --header-block-bytes-max 300 \
             --connections-max 5 --accept-delay 1ms --sandbox --plain-answers --answer-table-bytes 0 --dead 0.1 \
             --dead-seed 6 --unregistered-within 1s --shares INTERNAL=0.1 --retry-after 1s --refused 0.1 \
             --dropped-before 0.1 --dropped-after 0.1 --silent 0.1 --drop-before-every 7 --drop-after-every 8 \
             --quota 9 --quota-window 1s --goaway-every 10 --goaway-after 1s --goaway-after-rejections 11 \
             --goaway-reason bye --credentials-expire-after 1s --miscount -1 --storm-from 1 \
             --storm-lasts 1s --connection-fault reset --hits one --hit-at 2 --hit-pause 1s --storm-answers INTERNAL \
             --refuse-connections --certificate expired --expire-credentials --exit-when-stdin-closes --listed";
        let told = config(&format!("sim fcm {checks} {flags} {}", listed.display()));
        let usual = config("sim fcm");
        assert_eq!(usual, serde_json::to_value(Config::fcm()).unwrap());
        assert_eq!(same(&usual, &told, ""), ["/provider"]);
        assert_eq!(told["faults"]["quota"]["window"], "1s");
        assert_eq!(told["checks"]["device_rate"]["window"], "1s");
        assert_eq!(told["checks"]["access_tokens"], serde_json::json!(["one", "two"]));
    }

    #[test]
    fn a_flag_of_a_storm_is_refused_by_its_name_where_it_has_no_effect() {
        for (flag, value) in [
            ("storm-from", "1"),
            ("storm-lasts", "1s"),
            ("connection-fault", "reset"),
            ("hits", "one"),
            ("hit-at", "2"),
            ("hit-pause", "1s"),
            ("storm-answers", "TooManyRequests"),
            ("refuse-connections", ""),
            ("certificate", "expired"),
            ("expire-credentials", ""),
        ] {
            let refused = |mode: &str| {
                let line = format!("sim apns --mode {mode} --{flag} {value}");
                let sim = Line::try_parse_from(line.trim_end().split(' ')).unwrap().sim;
                sim.config().unwrap().check().err().map(|error| error.to_string())
            };
            let error = refused("validating").unwrap();
            assert!(error.starts_with(&format!("{flag} is ")), "{error}");
            let does_nothing =
                ["storm-from", "storm-lasts", "hits", "hit-at", "hit-pause", "expire-credentials"];
            match refused("fast") {
                Some(error) => assert!(does_nothing.contains(&flag) && error.starts_with(flag), "{error}"),
                None => assert!(!does_nothing.contains(&flag), "{flag}"),
            }
        }
    }
}
