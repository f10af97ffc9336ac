//! What somebody should look at before Go, though it can be sent.

use model::{Content, Variant};
use serde::{Deserialize, Serialize};

use crate::texts::{cells, has_controls, is_direction_open, leak, placeholder};
use crate::{APNS_BYTES_MAX, FCM_BYTES_MAX, faults};

/// One line of a title on an iPhone's lock screen: about 50 columns. Neither Apple nor Google documents it; vendors
/// observe 50 on iOS and 20 to 55 on Android (SAP Emarsys, "Content limits"; read in 2026).
pub const TITLE_CELLS_MAX: usize = 50;
/// A text that a lock screen shows without being opened: about 140 columns since iOS 15 (Batch, "optimal length"),
/// four lines; Android shows one line of 20 to 55 until it is opened, then 200 and more.
pub const BODY_CELLS_MAX: usize = 140;
/// Bytes at which a payload counts as nearly full.
const NEARLY_FULL_BYTES: usize = 4_000;

/// A finding that does not stop a launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warning {
    /// RFC 6901 pointer into the campaign.
    pub pointer: String,
    /// What kind.
    pub kind: WarningKind,
    /// In words.
    pub detail: String,
}

/// The kinds of warnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// A locale has no variant of its own and gets the fallback.
    Fallback,
    /// Something that looks like a placeholder is left in a text.
    Placeholder,
    /// Something that looks like a program's insides is left in a text.
    Leak,
    /// A link is not encrypted.
    InsecureLink,
    /// A lock screen will cut the text.
    Cut,
    /// There is no title.
    NoTitle,
    /// A field is written and nobody will see it.
    NotShown,
    /// Control characters, open changes of direction, spaces around a text.
    OddCharacters,
    /// Close to a provider's limit.
    NearlyFull,
    /// A silent message that carries nothing.
    Empty,
}

/// Every warning about a variant.
pub(crate) fn of(tag: &str, variant: &Variant) -> Vec<Warning> {
    let mut warnings = Warnings { tag, list: Vec::new() };
    if variant.silent {
        warnings.silent(variant);
    } else {
        warnings.shown(variant);
    }
    if variant.link.as_deref().is_some_and(is_plain_http) {
        warnings.add("link", WarningKind::InsecureLink, "is not encrypted: use https");
    }
    for (key, value) in &variant.data {
        if let Some(found) = placeholder(value) {
            let field = format!("data/{}", faults::escape(key));
            warnings.add(&field, WarningKind::Placeholder, format!("has a placeholder left in it: {found}"));
        }
    }
    warnings.list
}

/// A warning that `locale` gets the variant of another language.
pub(crate) fn fallback(content: &Content, locale: &str, tag: &str) -> Option<Warning> {
    let is_fallback = tag == content.fallback && !language(locale).eq_ignore_ascii_case(language(tag));
    is_fallback.then(|| Warning {
        pointer: "/content/variants".to_string(),
        kind: WarningKind::Fallback,
        detail: format!("no variant for locale {locale}: its devices get the fallback {tag}"),
    })
}

/// Warnings about a size just under a limit.
pub(crate) fn near_limit(tag: &str, apns_bytes: usize, fcm_bytes: usize) -> Vec<Warning> {
    let sizes = [("APNs", apns_bytes, APNS_BYTES_MAX), ("FCM", fcm_bytes, FCM_BYTES_MAX)];
    let near = sizes.into_iter().filter(|(_, bytes, _)| *bytes > NEARLY_FULL_BYTES);
    let warnings = near.map(|(provider, bytes, bytes_max)| Warning {
        pointer: faults::pointer(tag, ""),
        kind: WarningKind::NearlyFull,
        detail: format!("{provider} payload has {bytes} of {bytes_max} bytes"),
    });
    warnings.collect()
}

pub(crate) fn language(locale: &str) -> &str {
    locale.split(['-', '_']).next().unwrap_or(locale)
}

fn is_plain_http(link: &str) -> bool {
    link.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("http:"))
}

struct Warnings<'a> {
    tag: &'a str,
    list: Vec<Warning>,
}

impl Warnings<'_> {
    fn add(&mut self, field: &str, kind: WarningKind, detail: impl Into<String>) {
        self.list.push(Warning { pointer: faults::pointer(self.tag, field), kind, detail: detail.into() });
    }

    fn shown(&mut self, variant: &Variant) {
        if variant.title.trim().is_empty() {
            self.add("title", WarningKind::NoTitle, "is empty: Android shows the app's name alone");
        }
        let texts = [
            ("title", &variant.title, TITLE_CELLS_MAX),
            ("subtitle", &variant.subtitle, TITLE_CELLS_MAX),
            ("body", &variant.body, BODY_CELLS_MAX),
        ];
        for (field, text, cells_max) in texts {
            self.text(field, text, cells_max);
        }
        if !variant.subtitle.is_empty() {
            self.add("subtitle", WarningKind::NotShown, "is shown on iOS only");
        }
        let has_channel = variant.android.channel_id.is_some();
        if variant.sound.is_some() && !has_channel {
            let detail = "Android 8 and later play the channel's sound, and no channel is named";
            self.add("sound", WarningKind::NotShown, detail);
        }
    }

    fn text(&mut self, field: &str, text: &str, cells_max: usize) {
        let columns = cells(text);
        if columns > cells_max {
            let detail = format!("takes {columns} columns; lock screens cut it at about {cells_max}");
            self.add(field, WarningKind::Cut, detail);
        }
        if let Some(found) = placeholder(text) {
            self.add(field, WarningKind::Placeholder, format!("has a placeholder left in it: {found}"));
        }
        if let Some(found) = leak(text) {
            self.add(field, WarningKind::Leak, format!("looks as if a program had written it: {found}"));
        }
        if has_controls(text, field == "body") {
            self.add(field, WarningKind::OddCharacters, "has control characters");
        }
        if is_direction_open(text) {
            self.add(
                field,
                WarningKind::OddCharacters,
                "changes the direction of writing and never changes it back",
            );
        }
        if text.trim() != text {
            self.add(field, WarningKind::OddCharacters, "has spaces around it");
        }
    }

    /// Background pushes show nothing (APNs refuses none of it, but iOS drops a push that mixes both).
    fn silent(&mut self, variant: &Variant) {
        let fields = [
            ("title", !variant.title.is_empty()),
            ("subtitle", !variant.subtitle.is_empty()),
            ("body", !variant.body.is_empty()),
            ("image", variant.image.is_some()),
            ("icon", variant.icon.is_some()),
            ("sound", variant.sound.is_some()),
            ("badge", variant.badge.is_some()),
            ("apple", variant.apple != model::extras::Apple::default()),
            ("android", variant.android != model::extras::Android::default()),
        ];
        for (field, _) in fields.iter().filter(|(_, is_set)| *is_set) {
            self.add(field, WarningKind::NotShown, "is not sent: the variant is silent");
        }
        if variant.data.is_empty() && variant.link.is_none() {
            self.add("", WarningKind::Empty, "is silent and carries no data: the app wakes for nothing");
        }
    }
}

#[cfg(test)]
mod tests;
