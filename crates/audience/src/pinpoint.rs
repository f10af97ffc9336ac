//! Endpoints as Amazon Pinpoint exports them: one JSON object a line, or CSV with the same names, a dot between an object
//! and its field. Most of an endpoint is of no use here and passed over.
//! <https://docs.aws.amazon.com/pinpoint/latest/apireference/apps-application-id-endpoints-endpoint-id.html>

use std::borrow::Cow;

use serde::Deserialize;

use crate::cause::{Cause, Unreadable};
use crate::columns::{self, Column};
use crate::fields::Fields;
use crate::json::{self, Text};
use crate::taking::Texts;

/// Why an endpoint is none to send to, with nothing wrong about it, as a word that never changes; `None`: it is a device.
pub(crate) type LeftOut = Option<&'static str>;

/// What is read of an endpoint, and its name in CSV.
#[derive(Clone, Copy)]
enum Part {
    Id,
    ChannelType,
    Address,
    EndpointStatus,
    OptOut,
    Locale,
    Country,
    UserId,
    EffectiveDate,
    CreationDate,
}

const PARTS: [(Part, &str); 10] = [
    (Part::Id, "Id"),
    (Part::ChannelType, "ChannelType"),
    (Part::Address, "Address"),
    (Part::EndpointStatus, "EndpointStatus"),
    (Part::OptOut, "OptOut"),
    (Part::Locale, "Demographic.Locale"),
    (Part::Country, "Location.Country"),
    (Part::UserId, "User.UserId"),
    (Part::EffectiveDate, "EffectiveDate"),
    (Part::CreationDate, "CreationDate"),
];

type Said<'a> = [Option<Cow<'a, str>>; PARTS.len()];

/// Which parts stand in which columns of a CSV file.
#[derive(Clone)]
pub(crate) struct Header(Vec<Option<Part>>);

impl Header {
    /// Reads the header in line `line`. Attributes, metrics and the like may be any number and are passed over.
    pub(crate) fn of_line(line: u64, text: &str, columns_max: usize) -> Result<Self, Unreadable> {
        let mut found: Vec<Option<Part>> = Vec::new();
        for name in columns::names(line, text, columns_max)? {
            let part = PARTS.iter().find(|(_, known)| *known == name);
            let is_twice = |(part, _): &&(Part, &str)| {
                found.iter().flatten().any(|seen| *seen as usize == *part as usize)
            };
            if let Some((_, name)) = part.filter(is_twice) {
                return Err(Unreadable::ColumnTwice { line, name });
            }
            found.push(part.map(|(part, _)| *part));
        }
        let has = |wanted: Part| found.iter().flatten().any(|part| *part as usize == wanted as usize);
        if has(Part::ChannelType) && has(Part::Address) {
            Ok(Self(found))
        } else {
            Err(Unreadable::NotPinpoint { line })
        }
    }

    /// The endpoint in a record, into `texts`.
    pub(crate) fn read<'a>(&self, record: &'a str, texts: &mut Texts<'a>) -> Result<LeftOut, Cause> {
        let mut said = Said::default();
        let mut found = 0;
        for field in Fields::new(record) {
            let field = field?;
            if let Some(Some(part)) = self.0.get(found) {
                said[*part as usize] = Some(field).filter(|text| !text.is_empty());
            }
            found += 1;
        }
        let wanted = self.0.len();
        if found == wanted { Ok(look(said, texts)) } else { Err(Cause::Fields { found, wanted }) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    channel_type: Option<Text<'a>>,
    address: Option<Text<'a>>,
    endpoint_status: Option<Text<'a>>,
    opt_out: Option<Text<'a>>,
    effective_date: Option<Text<'a>>,
    creation_date: Option<Text<'a>>,
    demographic: Option<Demographic<'a>>,
    location: Option<Location<'a>>,
    user: Option<User<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Demographic<'a> {
    #[serde(borrow)]
    locale: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Location<'a> {
    #[serde(borrow)]
    country: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct User<'a> {
    #[serde(borrow)]
    user_id: Option<Text<'a>>,
}

/// The endpoint in a line of JSON, into `texts`.
pub(crate) fn read<'a>(line: &'a str, texts: &mut Texts<'a>) -> Result<LeftOut, Cause> {
    if !line.trim_start().starts_with('{') {
        return Err(Cause::NotAnObject);
    }
    let endpoint: Endpoint<'_> = serde_json::from_str(line).map_err(|error| json::cause(&error))?;
    let parts = [
        (Part::Id, endpoint.id),
        (Part::ChannelType, endpoint.channel_type),
        (Part::Address, endpoint.address),
        (Part::EndpointStatus, endpoint.endpoint_status),
        (Part::OptOut, endpoint.opt_out),
        (Part::Locale, endpoint.demographic.and_then(|demographic| demographic.locale)),
        (Part::Country, endpoint.location.and_then(|location| location.country)),
        (Part::UserId, endpoint.user.and_then(|user| user.user_id)),
        (Part::EffectiveDate, endpoint.effective_date),
        (Part::CreationDate, endpoint.creation_date),
    ];
    let mut said = Said::default();
    for (part, text) in parts {
        said[part as usize] = text.map(|Text(text)| text).filter(|text| !text.is_empty());
    }
    Ok(look(said, texts))
}

/// What the endpoint is to us. A status or a choice that Pinpoint does not document counts as one not to send to.
fn look<'a>(mut said: Said<'a>, texts: &mut Texts<'a>) -> LeftOut {
    let platform = match said[Part::ChannelType as usize].as_deref() {
        Some("APNS" | "APNS_SANDBOX") => Some("apns"),
        Some("GCM") => Some("fcm"),
        None => None,
        Some(channel) => return Some(other(channel)),
    };
    let is_sandbox = said[Part::ChannelType as usize].as_deref() == Some("APNS_SANDBOX");
    let is = |part: Part, wanted: &str| said[part as usize].as_deref().is_none_or(|text| text == wanted);
    if !is(Part::EndpointStatus, "ACTIVE") {
        return Some("inactive");
    }
    if !is(Part::OptOut, "NONE") {
        return Some("opted_out");
    }
    let is_said = |part: Part| said[part as usize].is_some();
    // An endpoint of nobody is its own user.
    let user = if is_said(Part::UserId) { Part::UserId } else { Part::Id };
    // When the app last told of it; else when it first did.
    let date = if is_said(Part::EffectiveDate) { Part::EffectiveDate } else { Part::CreationDate };
    let places = [
        (Column::Key, Part::Address),
        (Column::User, user),
        (Column::Locale, Part::Locale),
        (Column::Market, Part::Country),
        (Column::RegisteredAt, date),
    ];
    texts[Column::Platform as usize] = platform.map(Cow::Borrowed);
    texts[Column::Environment as usize] = is_sandbox.then_some(Cow::Borrowed("sandbox"));
    for (column, part) in places {
        texts[column as usize] = said[part as usize].take();
    }
    // Apps write `pt_BR`, and countries as `BR`: language tags have hyphens, and our markets small letters.
    change(&mut texts[Column::Locale as usize], |text| text.contains('_'), |text| text.replace('_', "-"));
    let is_large = |text: &str| text.bytes().any(|byte| byte.is_ascii_uppercase());
    change(&mut texts[Column::Market as usize], is_large, str::to_ascii_lowercase);
    None
}

fn change(text: &mut Option<Cow<'_, str>>, needs: impl Fn(&str) -> bool, to: impl Fn(&str) -> String) {
    if let Some(text) = text.as_mut().filter(|text| needs(text)) {
        *text = Cow::Owned(to(text));
    }
}

/// Why an endpoint of another channel is left out.
fn other(channel: &str) -> &'static str {
    match channel {
        "APNS_VOIP" => "channel_apns_voip",
        "APNS_VOIP_SANDBOX" => "channel_apns_voip_sandbox",
        "ADM" => "channel_adm",
        "BAIDU" => "channel_baidu",
        "CUSTOM" => "channel_custom",
        "EMAIL" => "channel_email",
        "IN_APP" => "channel_in_app",
        "PUSH" => "channel_push",
        "SMS" => "channel_sms",
        "VOICE" => "channel_voice",
        _ => "channel_unknown",
    }
}

#[cfg(test)]
mod tests;
