//! All variants of a campaign at once, while people are still writing it: exact sizes, warnings, faults.

use std::collections::BTreeMap;

use model::campaign::{Fault, TIME_TO_LIVE_S_MAX};
use model::{Content, LaunchId};
use serde::{Deserialize, Serialize};

use crate::apns::{self, CollapseId};
use crate::warning::{self, Warning, WarningKind};
use crate::{APNS_BYTES_MAX, FCM_BYTES_MAX, compose, faults, fcm};

/// What composing every variant showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Sizes, one per variant.
    pub variants: Vec<VariantSize>,
    /// What somebody should look at.
    pub warnings: Vec<Warning>,
    /// What must be mended.
    pub faults: Vec<Fault>,
}

/// How large a variant's messages are, in bytes exactly as sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantSize {
    /// Its locale.
    pub locale: String,
    /// The APNs body.
    pub apns_bytes: usize,
    /// APNs' limit on it.
    pub apns_bytes_max: usize,
    /// The JSON values of `notification`, `data` and `android.notification`.
    pub fcm_bytes: usize,
    /// FCM's limit on their content.
    pub fcm_bytes_max: usize,
    /// A whole FCM request body, without the device's key.
    pub fcm_request_bytes: usize,
}

/// Composes and checks every variant.
pub fn check(content: &Content) -> Findings {
    let mut findings = Findings::default();
    for (tag, variant) in &content.variants {
        let apns_bytes = apns::body(variant).len();
        let fcm = fcm::message(variant, &longest_id(), TIME_TO_LIVE_S_MAX);
        findings.faults.extend(faults::of(tag, variant));
        findings.faults.extend(faults::too_large(tag, "APNs", apns_bytes, APNS_BYTES_MAX));
        findings.faults.extend(faults::too_large(tag, "FCM", fcm.payload_bytes, FCM_BYTES_MAX));
        findings.warnings.extend(warning::of(tag, variant));
        findings.warnings.extend(warning::near_limit(tag, apns_bytes, fcm.payload_bytes));
        findings.variants.push(VariantSize {
            locale: tag.clone(),
            apns_bytes,
            apns_bytes_max: APNS_BYTES_MAX,
            fcm_bytes: fcm.payload_bytes,
            fcm_bytes_max: FCM_BYTES_MAX,
            fcm_request_bytes: fcm.request_bytes(0),
        });
    }
    if !content.variants.contains_key(&content.fallback) {
        findings.faults.push(faults::no_variant(content, "the others"));
    }
    findings
}

/// Warns of each locale of an audience that has no variant of its own and gets the fallback, with its devices.
/// `locales` may name one more than once, as a manifest's groups do.
pub fn check_locales<'a>(
    content: &Content,
    locales: impl IntoIterator<Item = (&'a str, u64)>,
) -> Vec<Warning> {
    let mut devices: BTreeMap<&str, u64> = BTreeMap::new();
    for (locale, count) in locales {
        *devices.entry(locale).or_default() += count;
    }
    let mut warnings = Vec::new();
    for (locale, devices) in devices {
        let Some(tag) = content.resolve(locale) else { continue };
        if let Some(warning) = warning::fallback(content, locale, tag) {
            let detail =
                format!("{devices} devices of locale {locale} have no variant and get the fallback {tag}");
            warnings.push(Warning { kind: WarningKind::Fallback, detail, ..warning });
        }
    }
    warnings
}

/// Every launch's collapse id has this length.
fn longest_id() -> CollapseId {
    compose::collapse_id(LaunchId(u128::MAX))
}

#[cfg(test)]
mod tests;
