//! What must not be sent: each fault with the JSON Pointer of its place in the campaign.

use model::campaign::Fault;
use model::{Content, Variant};

/// Words of the providers' own: FCM refuses the first two and the prefixes ("REST Resource: projects.messages"), APNs
/// keeps `aps`, and the FCM SDKs mix the rest up with the message's own fields.
const RESERVED_KEYS: [&str; 6] = ["from", "message_type", "aps", "notification", "data", "collapse_key"];
const RESERVED_PREFIXES: [&str; 2] = ["google.", "gcm."];
/// The largest number that every device can hold: watches and old phones count with 32 bits.
const BADGE_MAX: u32 = i32::MAX as u32;
/// Schemes that run or reveal something instead of opening it.
const FORBIDDEN_SCHEMES: [&str; 5] = ["javascript", "data", "file", "vbscript", "blob"];

/// Nobody wrote a variant for `locale`, and there is no fallback.
pub(crate) fn no_variant(content: &Content, locale: &str) -> Fault {
    let detail = format!("no variant for {locale:?}, and {:?} is not among the variants", content.fallback);
    Fault { pointer: "/content/fallback".to_string(), detail }
}

/// A message over a provider's limit, with its exact size.
pub(crate) fn too_large(tag: &str, provider: &str, bytes: usize, bytes_max: usize) -> Option<Fault> {
    let detail =
        || format!("{provider} payload of locale {tag} has {bytes} bytes, at most {bytes_max} are allowed");
    (bytes > bytes_max).then(|| Fault { pointer: pointer(tag, ""), detail: detail() })
}

/// The pointer of a variant, or of `field` in it.
pub(crate) fn pointer(tag: &str, field: &str) -> String {
    let slash = if field.is_empty() { "" } else { "/" };
    format!("/content/variants/{}{slash}{field}", escape(tag))
}

pub(crate) fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// Every fault of a variant but its size.
pub(crate) fn of(tag: &str, variant: &Variant) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |field: &str, detail: String| faults.push(Fault { pointer: pointer(tag, field), detail });
    let says_nothing = variant.title.trim().is_empty() && variant.body.trim().is_empty();
    if says_nothing && !variant.silent {
        add("", "has neither title nor body and is not silent".to_string());
    }
    if let Some(detail) = variant.image.as_deref().and_then(image_fault) {
        add("image", detail);
    }
    if let Some(detail) = variant.link.as_deref().and_then(link_fault) {
        add("link", detail);
    }
    if variant.badge.is_some_and(|badge| badge > BADGE_MAX) {
        add("badge", format!("must be at most {BADGE_MAX}"));
    }
    if variant.apple.relevance_percent.is_some_and(|percent| percent > 100) {
        add("apple/relevance_percent", "must be 0 to 100".to_string());
    }
    if variant.android.color.as_deref().is_some_and(|color| !is_color(color)) {
        add("android/color", "must be # and six hex digits".to_string());
    }
    for (field, text) in names(variant) {
        if text.is_some_and(|text| text.is_empty() || text.chars().any(char::is_control)) {
            add(field, "must not be empty nor have control characters; leave it out instead".to_string());
        }
    }
    for key in variant.data.keys() {
        if let Some(detail) = key_fault(key, variant) {
            add(&format!("data/{}", escape(key)), detail);
        }
    }
    faults
}

fn names(variant: &Variant) -> [(&'static str, Option<&str>); 7] {
    let (apple, android) = (&variant.apple, &variant.android);
    [
        ("icon", variant.icon.as_deref()),
        ("sound", variant.sound.as_deref()),
        ("apple/thread_id", apple.thread_id.as_deref()),
        ("apple/category", apple.category.as_deref()),
        ("apple/target_content_id", apple.target_content_id.as_deref()),
        ("apple/filter_criteria", apple.filter_criteria.as_deref()),
        ("android/channel_id", android.channel_id.as_deref()),
    ]
}

fn is_color(color: &str) -> bool {
    color.len() == 7 && color.starts_with('#') && color[1..].bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn key_fault(key: &str, variant: &Variant) -> Option<String> {
    if key.is_empty() || key.chars().any(char::is_control) {
        return Some("a data key must not be empty nor have control characters".to_string());
    }
    let is_reserved =
        RESERVED_KEYS.contains(&key) || RESERVED_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    if is_reserved {
        return Some(format!("data key {key:?} is reserved by a provider"));
    }
    let is_ours = (key == "link" && variant.link.is_some()) || (key == "image" && variant.image.is_some());
    is_ours.then(|| format!("data key {key:?} carries the variant's own {key}"))
}

fn image_fault(image: &str) -> Option<String> {
    let is_https =
        split_link(image).is_ok_and(|(scheme, rest)| scheme.eq_ignore_ascii_case("https") && has_host(rest));
    (!is_https).then(|| "must be an https address: phones load nothing else".to_string())
}

fn link_fault(link: &str) -> Option<String> {
    match split_link(link) {
        Err(detail) => Some(detail.to_string()),
        Ok((scheme, rest)) => {
            let scheme = scheme.to_ascii_lowercase();
            if FORBIDDEN_SCHEMES.contains(&&*scheme) {
                return Some(format!("must not have the scheme {scheme}"));
            }
            let needs_host = scheme == "https" || scheme == "http";
            (needs_host && !has_host(rest)).then(|| "has no host".to_string())
        }
    }
}

/// Scheme and the rest (RFC 3986, section 3.1).
fn split_link(link: &str) -> Result<(&str, &str), &'static str> {
    if link.chars().any(|char| char.is_whitespace() || char.is_control()) {
        return Err("must not have spaces nor control characters; write a space as %20");
    }
    let (scheme, rest) =
        link.split_once(':').ok_or("is no address: it has no scheme, such as https: or the app's")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !is_scheme || rest.is_empty() {
        return Err("is no address: a scheme, a colon and more are needed");
    }
    Ok((scheme, rest))
}

fn has_host(rest: &str) -> bool {
    let Some(authority) =
        rest.strip_prefix("//").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(""))
    else {
        return false;
    };
    let host = authority.rsplit('@').next().unwrap_or("");
    let host = if host.starts_with('[') { host } else { host.split(':').next().unwrap_or("") };
    !host.is_empty()
}

#[cfg(test)]
mod tests;
