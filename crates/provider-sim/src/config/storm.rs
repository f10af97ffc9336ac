//! What goes wrong with connections, and for all requests at once, during a storm: it begins with a request and lasts as
//! long as it is told to, so that a launch can be under way before it comes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use model::Reason;
use serde::{Deserialize, Serialize};

use super::text;
use crate::error::Error;

/// A storm. The default is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storm {
    /// It begins with this request for a device, counted over all connections; 0: with the simulator.
    pub from_request: u64,
    /// How long it lasts; `None`: for ever.
    #[serde(with = "text::duration_option")]
    pub lasts: Option<Duration>,
    /// What happens to a connection when its turn comes.
    pub connection: Option<ConnectionFault>,
    /// To which of the connections whose turn comes it happens.
    pub hits: Hits,
    /// A connection's turn comes with this request of its own for a device, or with the first one in the storm.
    pub at_request: u64,
    /// How long [`ConnectionFault::NoStreams`] allows no stream.
    #[serde(with = "text::duration")]
    pub pause: Duration,
    /// What every request for a device is answered.
    pub answers: Option<Reason>,
    /// Nobody listens: new connections are refused by the kernel.
    pub refuses: bool,
    /// The server's certificate, for connections made in the storm.
    pub certificate: Certificate,
    /// Credentials that were seen before the storm have expired, also after it.
    pub expires_credentials: bool,
}

impl Default for Storm {
    fn default() -> Self {
        Self {
            from_request: 0,
            lasts: None,
            connection: None,
            hits: Hits::All,
            at_request: 1,
            pause: Duration::from_millis(500),
            answers: None,
            refuses: false,
            certificate: Certificate::Good,
            expires_credentials: false,
        }
    }
}

impl Storm {
    /// Whether nothing of it ever happens.
    pub fn is_none(&self) -> bool {
        self.connection.is_none()
            && self.answers.is_none()
            && !self.refuses
            && self.certificate == Certificate::Good
            && !self.expires_credentials
    }

    /// The first field that is not as it is without a storm, as its flag is called.
    pub(super) fn first_told(&self) -> Option<&'static str> {
        let usual = Self::default();
        let Self {
            from_request,
            lasts,
            connection,
            hits,
            at_request,
            pause,
            answers,
            refuses,
            certificate,
            expires_credentials,
        } = self;
        let told = [
            ("storm-from", *from_request != usual.from_request),
            ("storm-lasts", *lasts != usual.lasts),
            ("connection-fault", *connection != usual.connection),
            ("hits", *hits != usual.hits),
            ("hit-at", *at_request != usual.at_request),
            ("hit-pause", *pause != usual.pause),
            ("storm-answers", *answers != usual.answers),
            ("refuse-connections", *refuses != usual.refuses),
            ("certificate", *certificate != usual.certificate),
            ("expire-credentials", *expires_credentials != usual.expires_credentials),
        ];
        told.into_iter().find_map(|(flag, is_told)| is_told.then_some(flag))
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if let Hits::Share(share) = self.hits
            && !(0.0..=1.0).contains(&share)
        {
            return Err(Error::invalid("share of connections", &share.to_string(), "0 to 1"));
        }
        self.check_effect()
    }

    /// Refuses what would have no effect.
    fn check_effect(&self) -> Result<(), Error> {
        let without = |flag, what| Err(Error::invalid(flag, "given", format!("nothing without {what}")));
        if self.is_none()
            && let Some(flag @ ("storm-from" | "storm-lasts")) = self.first_told()
        {
            return without(
                flag,
                "--connection-fault, --storm-answers, --refuse-connections, --certificate or --expire-credentials",
            );
        }
        let usual = Self::default();
        if self.connection.is_none() && self.hits != usual.hits {
            return without("hits", "--connection-fault");
        }
        if self.connection.is_none() && self.at_request != usual.at_request {
            return without("hit-at", "--connection-fault");
        }
        if self.connection != Some(ConnectionFault::NoStreams) && self.pause != usual.pause {
            return without("hit-pause", "--connection-fault no-streams");
        }
        if self.expires_credentials && self.from_request == 0 {
            return without(
                "expire-credentials",
                "--storm-from: no credential is seen before the first request",
            );
        }
        Ok(())
    }
}

/// What happens to a connection. The request that brings its turn was processed like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionFault {
    /// A fatal TLS alert, then the end.
    TlsAlert,
    /// The end of our side without a word; what the client still writes is read and processed, never answered.
    HalfClose,
    /// TLS's close_notify, the socket stays open; what the client still writes is read and processed, never answered.
    CloseNotify,
    /// Half a frame, then the connection is reset.
    Reset,
    /// Half a frame, then neither read nor write.
    Stall,
    /// Requests are read and processed, nothing is ever said again.
    Silence,
    /// SETTINGS without end.
    SettingsFlood,
    /// PING without end.
    PingFlood,
    /// RST_STREAM for every open stream, then without end for one that is over.
    ResetFlood,
    /// An answer with a header list far above what any client allows.
    GiantHeaders,
    /// An answer whose header block never ends: empty CONTINUATION frames.
    Continuations,
    /// GOAWAY that takes nothing back, as an announcement, and soon another with the last id that is processed.
    GoawayTwice,
    /// GOAWAY, and another with a higher id, which is forbidden.
    GoawayRising,
    /// SETTINGS that allow no stream, and after a pause the usual number again.
    NoStreams,
}

impl ConnectionFault {
    const ALL: [Self; 14] = [
        Self::TlsAlert,
        Self::HalfClose,
        Self::CloseNotify,
        Self::Reset,
        Self::Stall,
        Self::Silence,
        Self::SettingsFlood,
        Self::PingFlood,
        Self::ResetFlood,
        Self::GiantHeaders,
        Self::Continuations,
        Self::GoawayTwice,
        Self::GoawayRising,
        Self::NoStreams,
    ];

    /// As flags and files write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TlsAlert => "tls-alert",
            Self::HalfClose => "half-close",
            Self::CloseNotify => "close-notify",
            Self::Reset => "reset",
            Self::Stall => "stall",
            Self::Silence => "silence",
            Self::SettingsFlood => "settings-flood",
            Self::PingFlood => "ping-flood",
            Self::ResetFlood => "reset-flood",
            Self::GiantHeaders => "giant-headers",
            Self::Continuations => "continuations",
            Self::GoawayTwice => "goaway-twice",
            Self::GoawayRising => "goaway-rising",
            Self::NoStreams => "no-streams",
        }
    }
}

impl FromStr for ConnectionFault {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|fault| fault.name() == text);
        found.ok_or_else(|| Error::invalid("connection fault", text, names()))
    }
}

/// Which connections are hit, of those whose turn comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hits {
    /// The first.
    One,
    /// Each by the seed's decision.
    Share(f64),
    /// Every one.
    All,
}

impl FromStr for Hits {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "one" => Ok(Self::One),
            "all" => Ok(Self::All),
            _ => {
                let share = text.parse().map_err(|_| Error::invalid("hits", text, "one, all or a share"))?;
                Ok(Self::Share(share))
            }
        }
    }
}

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("one"),
            Self::Share(share) => share.fmt(f),
            Self::All => f.write_str("all"),
        }
    }
}

impl Serialize for Hits {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hits {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certificate {
    /// In order.
    #[default]
    Good,
    /// It ended years ago.
    Expired,
    /// It is another server's.
    OtherName,
}

impl FromStr for Certificate {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "good" => Ok(Self::Good),
            "expired" => Ok(Self::Expired),
            "other-name" => Ok(Self::OtherName),
            _ => Err(Error::invalid("certificate", text, "good, expired or other-name")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_fault_reads_back_from_its_name_and_in_json() {
        for fault in ConnectionFault::ALL {
            assert_eq!(fault.name().parse::<ConnectionFault>().unwrap(), fault);
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.name());
        }
        assert!("earthquake".parse::<ConnectionFault>().is_err());
    }

    #[test]
    fn what_would_have_no_effect_is_refused_by_its_flag() {
        let refused = |storm: Storm| match storm.check().unwrap_err() {
            Error::Invalid { what, .. } => what,
            error => panic!("{error}"),
        };
        let usual = Storm::default;
        usual().check().unwrap();
        let second = Duration::from_secs(1);
        let answers = Some(Reason::TooManyRequests);
        assert_eq!(refused(Storm { from_request: 9, ..usual() }), "storm-from");
        assert_eq!(refused(Storm { lasts: Some(second), ..usual() }), "storm-lasts");
        assert_eq!(refused(Storm { hits: Hits::One, ..usual() }), "hits");
        assert_eq!(refused(Storm { hits: Hits::One, answers, ..usual() }), "hits");
        assert_eq!(refused(Storm { at_request: 2, answers, ..usual() }), "hit-at");
        let connection = Some(ConnectionFault::Reset);
        assert_eq!(refused(Storm { pause: second, connection, ..usual() }), "hit-pause");
        assert_eq!(refused(Storm { expires_credentials: true, ..usual() }), "expire-credentials");
        Storm { expires_credentials: true, from_request: 1, ..usual() }.check().unwrap();
        let connection = Some(ConnectionFault::NoStreams);
        Storm { pause: second, connection, hits: Hits::One, at_request: 2, ..usual() }.check().unwrap();
    }

    #[test]
    fn hits_read_back() {
        for text in ["one", "all", "0.25"] {
            assert_eq!(text.parse::<Hits>().unwrap().to_string(), text);
        }
        assert!("some".parse::<Hits>().is_err());
        let storm = Storm { hits: Hits::Share(1.5), ..Storm::default() };
        assert!(storm.check().is_err());
    }
}
