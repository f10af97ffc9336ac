//! What is wrong with a request, and the book in which all of it is counted. Nothing here holds a device key, a token
//! or a text that somebody wrote: details name header fields, JSON fields and fingerprints.

use std::collections::BTreeMap;

use model::Reason;

use super::apns::Lesson;
use crate::fingerprint::Fingerprint;
use crate::report::Found;

/// How many examples of a kind are kept.
const EXAMPLES_MAX: usize = 3;

/// One thing that is wrong with a request or a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What it is counted as.
    pub(crate) kind: &'static str,
    /// What the provider answers for it; `None`: it lets it pass.
    pub(crate) reason: Option<Reason>,
    /// Where, for example a JSON field; may be empty.
    pub(crate) detail: String,
}

impl Finding {
    /// For which the provider refuses the request.
    pub(crate) fn refused(reason: Reason, kind: &'static str) -> Self {
        Self { kind, reason: Some(reason), detail: String::new() }
    }

    /// That the provider lets pass, though its documents forbid it.
    pub(crate) fn passed(kind: &'static str) -> Self {
        Self { kind, reason: None, detail: String::new() }
    }

    /// The same with a place.
    pub(crate) fn at(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }
}

/// What was found out about one request.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// The device that it names, wrong or not.
    pub(crate) device: Option<Fingerprint>,
    /// FCM: `validate_only`.
    pub(crate) is_probe: bool,
    /// FCM: the project of its path.
    pub(crate) project: String,
    /// All that is wrong with it, in the order of the provider's checks.
    pub(crate) findings: Vec<Finding>,
    /// APNs: what its connection learns from it when it is processed; `None` when it is refused for who sends it.
    pub(crate) lesson: Option<Lesson>,
}

impl Judged {
    /// What the provider answers, unless the request is as it should be.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.findings.iter().find_map(|finding| finding.reason)
    }
}

/// Findings by kind.
#[derive(Debug, Default)]
pub(crate) struct Book(BTreeMap<String, Found>);

impl Book {
    /// Counts findings of a request for `device`.
    pub(crate) fn note(&mut self, findings: &[Finding], device: Option<Fingerprint>) {
        for finding in findings {
            let answer = finding.reason.map_or(String::new(), |reason| format!("{reason}: "));
            let found = self.0.entry(format!("{answer}{}", finding.kind)).or_default();
            found.count += 1;
            if found.examples.len() < EXAMPLES_MAX {
                let device = device.map(|device| format!("device {device}"));
                let parts: Vec<&str> = [device.as_deref().unwrap_or_default(), &finding.detail]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect();
                found.examples.push(parts.join(", "));
            }
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> BTreeMap<String, Found> {
        self.0.clone()
    }

    /// Forgets them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
