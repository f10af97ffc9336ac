//! From the texts of a row to a user or a device: what rows do not say the defaults do, and all of it is checked.

use std::borrow::Cow;

use model::audience::{Defaults, UploadFormat, UploadRows};
use model::device::{check_user, mark};
use model::{Device, Platform, Timestamp};

use crate::cause::{Cause, Unreadable};
use crate::columns::Column;

/// The texts of a row by [`Column`].
pub(crate) type Texts<'a> = [Option<Cow<'a, str>>; Column::ALL.len()];

/// What holds for all rows of an upload.
#[derive(Clone, Debug)]
pub(crate) struct Taking {
    /// What they are.
    pub(crate) rows: UploadRows,
    pub(crate) defaults: Defaults,
    /// Time of registration of a device whose row has none.
    pub(crate) uploaded_at: Timestamp,
    /// Whether users are named after their keys.
    pub(crate) names_users: bool,
}

impl Taking {
    /// The row's user, into `user`.
    pub(crate) fn user(&self, texts: &Texts<'_>, user: &mut String) -> Result<(), Cause> {
        self.check_kind(texts)?;
        let text = texts[Column::User as usize].as_deref().ok_or(Cause::Missing(Column::User))?;
        check_user(text)?;
        user.clear();
        user.push_str(text);
        Ok(())
    }

    /// The row's device, checked, in the memory of `spare`.
    pub(crate) fn device(&self, texts: &Texts<'_>, spare: Option<Device>) -> Result<Device, Cause> {
        let platform: Platform = match (said(texts, Column::Platform), self.defaults.platform) {
            (Ok(text), _) if !text.is_empty() => text.parse()?,
            (_, Some(platform)) => platform,
            (said, None) => said?.parse()?,
        };
        let registered_at: Timestamp = match texts[Column::RegisteredAt as usize].as_deref() {
            None | Some("") => self.uploaded_at,
            Some(text) => text.parse()?,
        };
        let mut device = spare.unwrap_or_else(|| empty(platform));
        (device.platform, device.registered_at) = (platform, registered_at);
        put(&mut device.key, said(texts, Column::Key)?);
        let Defaults { locale, market, .. } = &self.defaults;
        put(&mut device.app, or(texts, Column::App, self.defaults.app(platform))?);
        mark(platform, &mut device.app, texts[Column::Environment as usize].as_deref().unwrap_or_default())?;
        put(&mut device.locale, or(texts, Column::Locale, locale.as_deref())?);
        put(&mut device.market, or(texts, Column::Market, market.as_deref())?);
        if self.names_users {
            name_user(&mut device);
        } else {
            put(&mut device.user, said(texts, Column::User)?);
        }
        Ok(device.checked()?)
    }

    fn check_kind(&self, texts: &Texts<'_>) -> Result<(), Cause> {
        match self.rows {
            UploadRows::Users if is_device(texts) => Err(Cause::DeviceAmongUsers),
            _ => Ok(()),
        }
    }
}

/// Whether the row says anything of a device.
pub(crate) fn is_device(texts: &Texts<'_>) -> bool {
    texts[Column::Platform as usize..].iter().any(Option::is_some)
}

/// Refuses a format that cannot say everything, where the defaults do not say the rest.
pub(crate) fn check_defaults(format: UploadFormat, defaults: &Defaults) -> Result<(), Unreadable> {
    let mut missing = Vec::new();
    match (format, defaults.platform) {
        (UploadFormat::Tokens, Some(platform)) => {
            let app = match platform {
                Platform::Apns => "apns_app",
                Platform::Fcm => "fcm_app",
            };
            missing.extend(defaults.app(platform).is_none().then_some(app));
        }
        (UploadFormat::Tokens, None) => missing.push("platform (and apns_app or fcm_app)"),
        (UploadFormat::Pinpoint, _) if defaults.apns_app.is_none() && defaults.fcm_app.is_none() => {
            missing.push("apns_app, fcm_app or both");
        }
        _ => {}
    }
    if format == UploadFormat::Tokens {
        missing.extend(defaults.locale.is_none().then_some("locale"));
        missing.extend(defaults.market.is_none().then_some("market"));
    }
    let is_said = missing.is_empty();
    if is_said { Ok(()) } else { Err(Unreadable::NoDefaults { missing: missing.join(", ") }) }
}

fn said<'a>(texts: &'a Texts<'_>, column: Column) -> Result<&'a str, Cause> {
    texts[column as usize].as_deref().ok_or(Cause::Missing(column))
}

/// What the row says, unless that is nothing and there is a default.
fn or<'a>(texts: &'a Texts<'_>, column: Column, default: Option<&'a str>) -> Result<&'a str, Cause> {
    match (texts[column as usize].as_deref(), default) {
        (Some("") | None, Some(default)) => Ok(default),
        (Some(text), _) => Ok(text),
        (None, None) => Err(Cause::Missing(column)),
    }
}

fn put(place: &mut String, text: &str) {
    place.clear();
    place.push_str(text);
}

/// Names the user of a device that has none after its key, so that the same key gets the same user whenever it comes.
fn name_user(device: &mut Device) {
    const DIGEST_BYTES: usize = 16;
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if device.platform == Platform::Apns {
        device.key.make_ascii_lowercase();
    }
    put(&mut device.user, "key-");
    for byte in &blake3::hash(device.key.as_bytes()).as_bytes()[..DIGEST_BYTES] {
        device.user.push(char::from(DIGITS[usize::from(byte >> 4)]));
        device.user.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

const fn empty(platform: Platform) -> Device {
    Device {
        user: String::new(),
        platform,
        key: String::new(),
        app: String::new(),
        locale: String::new(),
        market: String::new(),
        registered_at: Timestamp(0),
    }
}
