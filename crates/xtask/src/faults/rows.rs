//! The matrix: each fault, the flags that bring it about, and what must come of it.

use super::case::{Case, Provider};

/// A fault.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Whose simulators know it.
    pub(crate) providers: &'static [Provider],
    /// Flags of `fanfare sim`. `{n/4}` stands for a quarter of the devices, likewise `{n/2}`; `{at}` for the request of a
    /// connection that is in the middle of its work; `A|B` for A with APNs and B with FCM.
    flags: &'static [&'static str],
    /// More flags of `fanfare demo`.
    pub(crate) demo: &'static [&'static str],
    pub(crate) expect: Expect,
}

/// What must come of it, besides the invariants.
#[derive(Clone, Copy)]
pub(crate) struct Expect {
    pub(crate) outcome: Outcome,
    pub(crate) accepted: Many,
    pub(crate) rejected: Many,
    pub(crate) not_sent: Many,
    pub(crate) unknown: Many,
    pub(crate) resent: Many,
    /// Requests sent again because the provider did not process them.
    pub(crate) repeated: Many,
    /// Whether nearly all devices have their answers as soon as without the fault.
    pub(crate) is_unharmed: bool,
    /// Connections that the fault has hit: none means that nothing was tried.
    pub(crate) hits: Many,
    /// From the press to the end of the launch.
    pub(crate) within_s: u64,
    /// What the report has to say; `A|B` as in the flags.
    says: &'static [&'static str],
}

/// How it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With a report.
    Launched,
    /// Nobody can press Go: readiness says why.
    NotReady,
}

/// How many devices, or connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Many {
    Zero,
    One,
    /// At least one.
    Some,
    All,
    /// At most as many as the connections that were hit could carry. Those that came in their place had hardly any.
    UpToLost,
    /// All but those: each may have been lost with one connection and, sent again, with another.
    AllButLost,
    /// This share of the devices, or more.
    AtLeast(f64),
    /// This share, or fewer.
    AtMost(f64),
    /// More than the first share and fewer than the second.
    Between(f64, f64),
    /// However many.
    Any,
}

impl Row {
    /// The simulator's flags.
    pub(crate) fn flags(&self, case: Case) -> String {
        let flags = self.flags.iter().map(|flag| pick(flag, case.provider)).collect::<Vec<_>>().join(" ");
        let part = |divisor: u64| (case.devices / divisor).to_string();
        let flags = flags.replace("{n/4}", &part(4)).replace("{n/2}", &part(2));
        flags.replace("{at}", &case.hit_at().to_string())
    }
}

impl Expect {
    /// What has to be said of a run with this provider; with `None` of any.
    pub(crate) fn says(&self, provider: Option<Provider>) -> Vec<&'static str> {
        self.says.iter().map(|text| pick(text, provider.unwrap_or(Provider::Apns))).collect()
    }
}

fn pick(text: &'static str, provider: Provider) -> &'static str {
    match (text.split_once('|'), provider) {
        (Some((apns, _)), Provider::Apns) => apns,
        (Some((_, fcm)), Provider::Fcm) => fcm,
        (None, _) => text,
    }
}

const BOTH: &[Provider] = &Provider::ALL;
const APNS: &[Provider] = &[Provider::Apns];
const FCM: &[Provider] = &[Provider::Fcm];
/// Requests without answer are given up early.
const SHORT: &[&str] = &["--answer-within", "2s"];

/// Everybody is reached, nobody twice.
const FINE: Expect = Expect {
    outcome: Outcome::Launched,
    accepted: Many::All,
    rejected: Many::Zero,
    not_sent: Many::Zero,
    unknown: Many::Zero,
    resent: Many::Zero,
    repeated: Many::Any,
    is_unharmed: false,
    hits: Many::Zero,
    within_s: 10,
    says: &[],
};
/// One connection is hit: everybody is reached, those on it are marked.
const ONE: Expect = Expect { resent: Many::UpToLost, hits: Many::One, is_unharmed: true, ..FINE };
/// One connection goes away in order: everybody is reached, nobody twice.
const ONE_IN_ORDER: Expect = Expect { hits: Many::One, is_unharmed: true, says: &["2 x ", "GOAWAY"], ..FINE };
/// Many are hit for a while: whoever was on them may be lost, once or twice, and all others are reached soon.
const MANY: Expect = Expect {
    accepted: Many::AllButLost,
    unknown: Many::UpToLost,
    resent: Many::UpToLost,
    hits: Many::Some,
    ..FINE
};
/// In the middle nothing goes any more: no device that was not on a connection is lost, and none is reached.
const CUT: Expect = Expect {
    accepted: Many::AtLeast(0.2),
    not_sent: Many::AtLeast(0.2),
    unknown: Many::UpToLost,
    resent: Many::UpToLost,
    hits: Many::Some,
    within_s: 30,
    ..FINE
};
/// In the middle the credentials are refused: the launch stops.
const STOPPED: Expect = Expect {
    accepted: Many::Between(0.45, 0.55),
    rejected: Many::Between(0.0, 0.1),
    not_sent: Many::AtLeast(0.35),
    resent: Many::AtMost(0.1),
    within_s: 30,
    ..FINE
};
const NOT_READY: Expect = Expect { outcome: Outcome::NotReady, ..FINE };

const fn row(name: &'static str, flags: &'static [&'static str], expect: Expect) -> Row {
    Row { name, providers: BOTH, flags, demo: &[], expect }
}

/// One connection in the middle of a launch.
macro_rules! one {
    ($fault:literal, $expect:expr) => {
        row(concat!($fault, "-one"), &["--connection-fault", $fault, "--hits one --hit-at {at}"], $expect)
    };
}

/// No fault: what the others are compared with.
pub(crate) const NONE: Row = row("none", &[], FINE);

/// All of them.
pub(crate) const ROWS: &[Row] = &[
    one!("tls-alert", Expect { says: &["ended TLS with an alert"], ..ONE }),
    one!("half-close", Expect { says: &["server closed the connection"], ..ONE }),
    one!("close-notify", Expect { says: &["server closed the connection"], ..ONE }),
    one!("reset", Expect { says: &["server reset the connection"], ..ONE }),
    Row { demo: SHORT, ..one!("stall", Expect { says: &["without answer"], ..ONE }) },
    Row { demo: SHORT, ..one!("silence", Expect { says: &["without answer"], ..ONE }) },
    row(
        "silence-from-first-one",
        &["--connection-fault silence --hits one"],
        Expect { says: &["without answer"], ..ONE },
    )
    .with(SHORT),
    one!("settings-flood", Expect { says: &["too many frames without use"], ..ONE }),
    one!("ping-flood", Expect { says: &["too many frames without use"], ..ONE }),
    one!("reset-flood", Expect { says: &["too many frames without use"], ..ONE }),
    one!("giant-headers", Expect { says: &["header block"], ..ONE }),
    one!("continuations", Expect { says: &["header block"], ..ONE }),
    one!("goaway-twice", ONE_IN_ORDER),
    one!("goaway-rising", ONE_IN_ORDER),
    one!("no-streams", Expect { says: &["server allows no request"], ..ONE_IN_ORDER }),
    // A share of the connections, and all of them for a while.
    row(
        "ping-flood-share",
        &["--connection-fault ping-flood --hits 0.3 --hit-at {at}"],
        Expect { says: &["too many frames without use"], ..MANY },
    ),
    row(
        "ping-flood-all",
        &["--storm-from {n/4} --storm-lasts 300ms --connection-fault ping-flood"],
        Expect { says: &["too many frames without use"], ..MANY },
    ),
    row(
        "tls-alert-all",
        &["--storm-from {n/4} --storm-lasts 300ms --connection-fault tls-alert"],
        Expect { says: &["ended TLS with an alert"], ..MANY },
    ),
    row(
        "reset-all",
        &["--storm-from {n/4} --storm-lasts 300ms --connection-fault reset"],
        Expect { says: &["server reset the connection"], ..MANY },
    ),
    row(
        "stall-all",
        &["--storm-from {n/4} --storm-lasts 300ms --connection-fault stall"],
        Expect { says: &["without answer"], ..MANY },
    )
    .with(SHORT),
    row(
        "no-streams-all",
        &["--storm-from {n/4} --storm-lasts 200ms --connection-fault no-streams"],
        Expect { hits: Many::Some, says: &["server allows no request"], ..FINE },
    ),
    row(
        "no-streams-for-ever",
        &["--storm-from {n/4} --connection-fault no-streams --hit-pause 1h"],
        Expect {
            unknown: Many::Zero,
            resent: Many::Zero,
            says: &["server allows no request", "not sent: no connection"],
            ..CUT
        },
    ),
    // Nobody can connect any more.
    row(
        "refused-for-a-while",
        &["--storm-from {n/4} --storm-lasts 2s --connection-fault reset --refuse-connections"],
        Expect { says: &["server refuses connections"], ..MANY },
    ),
    row(
        "slow-accept",
        &["--storm-from {n/4} --storm-lasts 100ms --connection-fault reset --accept-delay 1500ms"],
        Expect { says: &["server reset the connection"], ..MANY },
    ),
    row(
        "refused-for-ever",
        &["--storm-from {n/4} --connection-fault reset --refuse-connections"],
        Expect { says: &["server refuses connections", "not sent: no connection"], ..CUT },
    ),
    row(
        "certificate-expires",
        &["--storm-from {n/4} --connection-fault reset --certificate expired"],
        Expect { says: &["server's certificate has expired", "not sent: no connection"], ..CUT },
    ),
    row(
        "certificate-of-another",
        &["--storm-from {n/4} --connection-fault reset --certificate other-name"],
        Expect { says: &["server's certificate is for another name", "not sent: no connection"], ..CUT },
    ),
    // Nobody can connect from the beginning: Go is refused, with the reason.
    row(
        "certificate-expired-before",
        &["--certificate expired"],
        Expect { says: &["server's certificate has expired"], ..NOT_READY },
    ),
    row(
        "certificate-other-before",
        &["--certificate other-name"],
        Expect { says: &["server's certificate is for another name"], ..NOT_READY },
    ),
    row(
        "refused-before",
        &["--refuse-connections"],
        Expect { says: &["server refuses connections"], ..NOT_READY },
    ),
    row("dns", &[], Expect { says: &["name of the endpoint did not resolve"], ..NOT_READY })
        .with(&["--sim-host", "nowhere.invalid"]),
    // Credentials.
    row(
        "credentials-refused",
        &["--storm-from {n/2} --storm-answers", "InvalidProviderToken|PERMISSION_DENIED"],
        Expect {
            says: &["stopped: the provider refuses the credentials", "not sent: launch stopped"],
            ..STOPPED
        },
    ),
    row(
        "token-refused-for-ever",
        &["--storm-from {n/2} --storm-answers", "ExpiredProviderToken|UNAUTHENTICATED"],
        Expect {
            says: &[
                "stopped: the provider refuses the credentials: ExpiredProviderToken|stopped: the provider refuses the \
                 credentials: UNAUTHENTICATED",
                "provider no longer takes the token",
            ],
            ..STOPPED
        },
    ),
    // Apple asks not to renew a token before it is 20 minutes old: one that expires earlier stops the launch.
    Row {
        providers: APNS,
        ..row(
            "token-expires-young",
            &["--storm-from {n/2} --expire-credentials"],
            Expect { says: &["stopped:", "provider no longer takes the token"], ..STOPPED },
        )
    },
    Row {
        providers: FCM,
        ..row(
            "token-expires",
            &["--storm-from {n/2} --expire-credentials"],
            // Nor Google's before it is 10 s old.
            Expect {
                resent: Many::Between(0.0, 0.1),
                within_s: 15,
                says: &["provider no longer takes the token"],
                ..FINE
            },
        )
    },
    // Too many.
    row(
        "too-many-requests",
        &["--storm-from {n/2} --storm-lasts 200ms --storm-answers", "TooManyRequests|QUOTA_EXCEEDED"],
        Expect {
            accepted: Many::AtLeast(0.4),
            rejected: Many::Some,
            says: &["rejected: TooManyRequests|rejected: QUOTA_EXCEEDED"],
            ..FINE
        },
    ),
    Row {
        providers: FCM,
        ..row(
            "quota",
            &["--quota {n/2} --quota-window 3s"],
            Expect {
                accepted: Many::AtLeast(0.9),
                rejected: Many::Between(0.0, 0.1),
                says: &["project's quota is used up", "rejected: QUOTA_EXCEEDED"],
                ..FINE
            },
        )
    },
    // Single requests.
    row(
        "busy",
        &["--shares", "ServiceUnavailable=0.05|UNAVAILABLE=0.05"],
        Expect {
            accepted: Many::AtLeast(0.94),
            rejected: Many::AtLeast(0.04),
            says: &["rejected: ServiceUnavailable|rejected: UNAVAILABLE"],
            ..FINE
        },
    ),
    row(
        "dead",
        &["--dead 0.05"],
        Expect {
            accepted: Many::AtLeast(0.94),
            rejected: Many::AtLeast(0.04),
            says: &["rejected: Unregistered|rejected: UNREGISTERED"],
            ..FINE
        },
    ),
    row(
        "sent-away-for-rejections",
        &["--goaway-after-rejections 20 --shares", "BadDeviceToken=0.01|INVALID_ARGUMENT=0.01"],
        Expect {
            accepted: Many::AtLeast(0.98),
            rejected: Many::AtLeast(0.005),
            within_s: 20,
            says: &["GOAWAY", "rejected: BadDeviceToken|rejected: INVALID_ARGUMENT"],
            ..FINE
        },
    ),
    row(
        "refused-streams",
        &["--refused 0.05"],
        Expect { repeated: Many::Between(0.04, 0.06), says: &["server refused a request unread"], ..FINE },
    ),
    // A device that is refused unread again and again is given up: half of what an APNs connection carries goes back here.
    row(
        "goaway-every",
        &["--goaway-every 500"],
        Expect {
            accepted: Many::AtLeast(0.9999),
            not_sent: Many::AtMost(0.0001),
            repeated: Many::Some,
            says: &["GOAWAY"],
            ..FINE
        },
    ),
    row(
        "silent-requests",
        &["--silent 0.002"],
        Expect {
            accepted: Many::AtLeast(0.99),
            unknown: Many::AtMost(0.001),
            resent: Many::Between(0.001, 0.004),
            says: &["request without answer in time"],
            ..FINE
        },
    )
    .with(SHORT),
    row(
        "dropped-before",
        &["--dropped-before 0.00005"],
        Expect {
            accepted: Many::AtLeast(0.9),
            unknown: Many::AtMost(0.1),
            resent: Many::Between(0.0, 0.2),
            says: &["connection"],
            ..FINE
        },
    ),
    row(
        "dropped-after",
        &["--dropped-after 0.00005"],
        Expect {
            accepted: Many::AtLeast(0.9),
            unknown: Many::AtMost(0.1),
            resent: Many::Between(0.0, 0.2),
            says: &["connection"],
            ..FINE
        },
    ),
    row(
        "dropped-every",
        &["--drop-before-every 30000 --drop-after-every 40000"],
        Expect {
            accepted: Many::AtLeast(0.9),
            unknown: Many::AtMost(0.1),
            resent: Many::Between(0.0, 0.2),
            says: &["connection"],
            ..FINE
        },
    ),
    row(
        "never-speaks-before",
        &["--accept-delay 1h"],
        Expect { says: &["connection with settings did not come in time"], ..NOT_READY },
    ),
    // Each connection is sent away when it is so old: some are while the launch is on.
    row(
        "goaway-after",
        &["--goaway-after 3s", "--streams 100|--streams 20"],
        Expect { within_s: 30, says: &["GOAWAY"], ..FINE },
    ),
    // Limits that a provider may set.
    row("stream-limit-falls", &["--stream-changes 500ms=7,1500ms=50"], Expect { within_s: 30, ..FINE }),
    // Whoever goes above a limit that fell is sent away: nobody is.
    row(
        "stream-limit-falls-strictly",
        &["--over-limit goaway --stream-changes 500ms=7,1500ms=50"],
        Expect { repeated: Many::Zero, within_s: 30, ..FINE },
    ),
    row(
        "few-connections",
        &["--connections-max 3|--connections-max 20"],
        Expect { within_s: 20, says: &["the connection"], ..FINE },
    ),
    row("plain-answers", &["--plain-answers"], FINE),
    row("no-header-table", &["--header-table-bytes 0 --answer-table-bytes 0"], FINE),
    row(
        "narrow-windows",
        &["--stream-window 100 --connection-window 65535"],
        Expect { within_s: 20, ..FINE },
    ),
];

impl Row {
    const fn with(mut self, demo: &'static [&'static str]) -> Self {
        self.demo = demo;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_flags_without_a_gap() {
        let names: HashSet<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        for row in ROWS {
            for provider in Provider::ALL {
                let flags = row.flags(Case { provider, devices: 100_000 });
                assert!(!flags.contains(['{', '|']), "{}: {flags}", row.name);
            }
        }
    }
}
