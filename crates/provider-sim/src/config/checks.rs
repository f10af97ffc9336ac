//! What only the validating mode is told: who may send what to whom, and how often.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Answers, Config, Faults, Goaway, Limits, Quota, text};
use crate::error::Error;

/// How strictly requests are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Looks at what it needs to count and to answer; made to cost little.
    #[default]
    Fast,
    /// Checks everything as the provider would, on an HTTP/2 implementation that shares nothing with the sender's.
    Validating,
}

/// The rules of the validating mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checks {
    /// APNs: the topics that may be pushed to; empty: any.
    pub topics: Vec<String>,
    /// FCM: the projects that there are; empty: any.
    pub projects: Vec<String>,
    /// APNs: the public key of the provider tokens, PEM with `PUBLIC KEY`. `None`: learned from the tokens of each key
    /// id, whose signatures must all be of one key.
    pub public_key: Option<String>,
    /// FCM: the access tokens that are good; empty: any.
    pub access_tokens: Vec<String>,
    /// APNs: how long a key's provider token has to last before the next one. Apple: 20 minutes.
    #[serde(with = "text::duration")]
    pub token_updates_every: Duration,
    /// How many requests a device takes in a window; more are answered with 429. Google: 240 a minute; Apple does not
    /// say. `None`: any number.
    pub device_rate: Option<Quota>,
    /// APNs: by how much each penalty of a connection delays its answers. Answers 400 to 413 are penalties, 410 is none,
    /// BadDeviceToken is four.
    #[serde(with = "text::duration")]
    pub penalty_delay: Duration,
    /// APNs: with how many penalties a connection ends with GOAWAY. Observed, not documented.
    pub penalties_max: u64,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            topics: Vec::new(),
            projects: Vec::new(),
            public_key: None,
            access_tokens: Vec::new(),
            token_updates_every: Duration::from_secs(20 * 60),
            device_rate: Some(Quota::per_minute(240)),
            penalty_delay: Duration::from_millis(1),
            penalties_max: 200,
        }
    }
}

impl Checks {
    pub(super) fn check(&self, config: &Config) -> Result<(), Error> {
        match config.mode {
            Mode::Fast => self.check_unused(),
            Mode::Validating => self.check_used(config),
        }
    }

    /// What the fast mode would ignore.
    fn check_unused(&self) -> Result<(), Error> {
        let usual = Self::default();
        let told = [
            ("topics", self.topics != usual.topics),
            ("projects", self.projects != usual.projects),
            ("public-key", self.public_key != usual.public_key),
            ("access-tokens", self.access_tokens != usual.access_tokens),
            ("token-updates-every", self.token_updates_every != usual.token_updates_every),
            ("device-rate", self.device_rate != usual.device_rate),
            ("penalty-delay", self.penalty_delay != usual.penalty_delay),
            ("penalties-max", self.penalties_max != usual.penalties_max),
        ];
        let first = told.into_iter().find(|(_, is_told)| *is_told);
        first.map_or(Ok(()), |(flag, _)| {
            Err(Error::invalid(flag, "given", "nothing without --mode validating"))
        })
    }

    fn check_used(&self, config: &Config) -> Result<(), Error> {
        check_known(config)?;
        if config.answers.header_table_bytes != Answers::default().header_table_bytes {
            let told = config.answers.header_table_bytes.to_string();
            return Err(Error::invalid("answer-table-bytes", &told, "nothing with --mode validating"));
        }
        if self.penalties_max == 0 {
            return Err(Error::invalid("penalties-max", "0", "at least 1"));
        }
        let window = self.device_rate.as_ref().map(|rate| rate.window);
        if window.is_some_and(|window| window.is_zero()) {
            return Err(Error::invalid("device-window", "0", "more than nothing"));
        }
        Ok(())
    }
}

/// Every limit and fault by name: whoever adds one decides here whether the validating mode has it, too. Those of this
/// list it has, but for storms.
fn check_known(config: &Config) -> Result<(), Error> {
    let Limits {
        streams: _,
        stream_changes: _,
        one_stream_until_valid: _,
        over_limit: _,
        stream_window: _,
        connection_window: _,
        header_table_bytes: _,
        frame_bytes_max: _,
        header_block_bytes_max: _,
        connections: _,
        accept_delay: _,
    } = &config.limits;
    let Faults {
        dead: _,
        shares: _,
        dead_seed: _,
        unregistered_within: _,
        retry_after: _,
        refused: _,
        dropped_before: _,
        dropped_after: _,
        silent: _,
        drop_before_every: _,
        drop_after_every: _,
        listed: _,
        quota: _,
        goaway: Goaway { every: _, after_rejections: _, after: _, reason: _ },
        credentials_expire_after: _,
        storm,
    } = &config.faults;
    // A storm is of sockets and frames, which the validating mode leaves to others.
    storm
        .first_told()
        .map_or(Ok(()), |flag| Err(Error::invalid(flag, "given", "nothing with --mode validating")))
}
