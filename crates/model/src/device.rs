//! A device, and the directory's words about it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The two push providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Apple Push Notification service.
    Apns,
    /// Firebase Cloud Messaging, HTTP v1.
    Fcm,
}

impl Platform {
    /// Both, in the order in which tables show them.
    pub const ALL: [Platform; 2] = [Platform::Apns, Platform::Fcm];

    /// `apns` or `fcm`.
    pub const fn name(self) -> &'static str {
        match self {
            Platform::Apns => "apns",
            Platform::Fcm => "fcm",
        }
    }

    /// 0 for APNs, 1 for FCM: an index into arrays by provider.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Platform {
    type Err = DeviceError;
    fn from_str(text: &str) -> Result<Self, DeviceError> {
        match text {
            "apns" => Ok(Platform::Apns),
            "fcm" => Ok(Platform::Fcm),
            _ => Err(DeviceError::Platform),
        }
    }
}

/// The id of a user, as the uploader writes it: 1 to 256 bytes of UTF-8 without control characters.
pub type UserId = String;
/// A market, as the uploader writes it: for example `de` or `north-america`.
pub type Market = String;

/// The longest user id, in bytes.
pub const USER_BYTES_MAX: usize = 256;
/// The longest app, market or locale, in bytes.
pub const LABEL_BYTES_MAX: usize = 128;
/// The longest key text, in characters: eight times today's usual FCM token would still fit.
pub const KEY_CHARS_MAX: usize = 2_048;

/// What the app of a device ends with whose token is of APNs' sandbox, the environment of builds that were not given out by
/// a store: `org.example.app@sandbox`. To everything but the connection it is another app than the topic's own.
pub const SANDBOX_MARK: &str = "@sandbox";

/// The APNs topic of an app.
pub fn topic(app: &str) -> &str {
    app.strip_suffix(SANDBOX_MARK).unwrap_or(app)
}

/// Whether the devices of an app are reached through APNs' sandbox.
pub fn is_sandbox(app: &str) -> bool {
    app.ends_with(SANDBOX_MARK)
}

/// One device of one user, as the directory holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its owner.
    pub user: UserId,
    /// The provider that reaches it.
    pub platform: Platform,
    /// APNs: the device token as lower-case hex of any even length. FCM: registration token or FID, as given.
    pub key: String,
    /// APNs topic (bundle id), with [`SANDBOX_MARK`] behind it where the token is of the sandbox; or FCM project.
    pub app: String,
    /// BCP 47 language tag, for example `pt-BR`.
    pub locale: String,
    /// Market.
    pub market: Market,
    /// When the app registered it; decides whether a 410 of APNs is news.
    pub registered_at: Timestamp,
}

/// Why a device cannot be taken. The message never shows the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceError {
    /// Not `apns` or `fcm`.
    #[error("platform is neither apns nor fcm")]
    Platform,
    /// Missing, too long, or with control characters.
    #[error("user is empty, longer than {USER_BYTES_MAX} bytes or has control characters")]
    User,
    /// An APNs token must be hex of even length.
    #[error("key is not an APNs device token: hex digits of even length, at most {KEY_CHARS_MAX}")]
    ApnsKey,
    /// An FCM key has the base64url alphabet, colons and at most `KEY_CHARS_MAX` characters.
    #[error(
        "key is not an FCM registration token or FID: letters, digits, - _ : and at most {KEY_CHARS_MAX}"
    )]
    FcmKey,
    /// Missing, too long, or with characters that cannot stand in a header.
    #[error(
        "app is empty, longer than {LABEL_BYTES_MAX} bytes or not letters, digits, . - _ (an APNs topic may have @sandbox behind it)"
    )]
    App,
    /// Not an environment of APNs, not an APNs device, or not the one that the app says.
    #[error(
        "environment is neither production nor sandbox, is said of a device that is none of APNs, or contradicts the app"
    )]
    Environment,
    /// Not shaped like a BCP 47 tag.
    #[error("locale is not a language tag of letters, digits, - _ of at most {LABEL_BYTES_MAX} bytes")]
    Locale,
    /// Missing, too long, or with odd characters.
    #[error("market is empty, longer than {LABEL_BYTES_MAX} bytes or not letters, digits, . - _")]
    Market,
}

impl DeviceError {
    /// The field that is wrong, as a word that never changes.
    pub const fn word(self) -> &'static str {
        match self {
            DeviceError::Platform => "platform",
            DeviceError::User => "user",
            DeviceError::ApnsKey => "apns_key",
            DeviceError::FcmKey => "fcm_key",
            DeviceError::App => "app",
            DeviceError::Environment => "environment",
            DeviceError::Locale => "locale",
            DeviceError::Market => "market",
        }
    }
}

impl Device {
    /// The device, of `production` or of the `sandbox` of APNs; when nothing is said, of what its app says.
    ///
    /// # Errors
    /// [`DeviceError::Environment`].
    pub fn in_environment(mut self, environment: &str) -> Result<Device, DeviceError> {
        mark(self.platform, &mut self.app, environment)?;
        Ok(self)
    }

    /// Checks every field and brings an APNs key to lower case.
    pub fn checked(mut self) -> Result<Device, DeviceError> {
        check_user(&self.user)?;
        match self.platform {
            Platform::Apns => check_apns_key(&mut self.key)?,
            Platform::Fcm => check_fcm_key(&self.key)?,
        }
        check_app(self.platform, &self.app)?;
        is_label(&self.locale, b"-_").then_some(()).ok_or(DeviceError::Locale)?;
        is_label(&self.market, b".-_").then_some(()).ok_or(DeviceError::Market)?;
        Ok(self)
    }
}

/// Marks the app of a device whose environment is said.
///
/// # Errors
/// [`DeviceError::Environment`]: there is none of this name, or the device is of another one.
pub fn mark(platform: Platform, app: &mut String, environment: &str) -> Result<(), DeviceError> {
    match (environment, platform, is_sandbox(app)) {
        ("", _, _) | ("production", Platform::Apns, false) | ("sandbox", Platform::Apns, true) => Ok(()),
        ("sandbox", Platform::Apns, false) => {
            app.push_str(SANDBOX_MARK);
            Ok(())
        }
        _ => Err(DeviceError::Environment),
    }
}

/// Checks an app.
pub(crate) fn check_app(platform: Platform, app: &str) -> Result<(), DeviceError> {
    let name = if platform == Platform::Apns { topic(app) } else { app };
    let fits = is_label(name, b".-_") && app.len() <= LABEL_BYTES_MAX;
    fits.then_some(()).ok_or(DeviceError::App)
}

/// Checks a user id.
pub fn check_user(user: &str) -> Result<(), DeviceError> {
    let has_control = if user.is_ascii() {
        !all(user, |byte| !byte.is_ascii_control())
    } else {
        user.chars().any(char::is_control)
    };
    let fits = !user.is_empty() && user.len() <= USER_BYTES_MAX && !has_control;
    fits.then_some(()).ok_or(DeviceError::User)
}

/// Whether every byte is fine. Looks at all of them without stopping early, which lets the compiler look at many at once: an
/// import checks gigabytes.
fn all(text: &str, is_fine: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |fits, byte| fits & is_fine(byte))
}

fn check_apns_key(key: &mut str) -> Result<(), DeviceError> {
    key.make_ascii_lowercase();
    let fits = !key.is_empty()
        && key.len() <= KEY_CHARS_MAX
        && key.len().is_multiple_of(2)
        && all(key, |byte| byte.is_ascii_hexdigit());
    fits.then_some(()).ok_or(DeviceError::ApnsKey)
}

fn check_fcm_key(key: &str) -> Result<(), DeviceError> {
    let is_key_byte =
        |byte: u8| byte.is_ascii_alphanumeric() | (byte == b'-') | (byte == b'_') | (byte == b':');
    let fits = !key.is_empty() && key.len() <= KEY_CHARS_MAX && all(key, is_key_byte);
    fits.then_some(()).ok_or(DeviceError::FcmKey)
}

/// Whether `text` is 1 to [`LABEL_BYTES_MAX`] ASCII letters, digits or bytes of `others`.
pub(crate) fn is_label(text: &str, others: &[u8]) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || others.contains(&byte);
    !text.is_empty() && text.len() <= LABEL_BYTES_MAX && text.bytes().all(is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(platform: Platform, key: &str) -> Device {
        Device {
            user: "u1".into(),
            platform,
            key: key.into(),
            app: "org.example.app".into(),
            locale: "pt-BR".into(),
            market: "br".into(),
            registered_at: Timestamp::default(),
        }
    }

    #[test]
    fn apns_keys_are_hex_of_any_even_length_and_become_lower_case() {
        assert_eq!(device(Platform::Apns, "AB01").checked().map(|device| device.key), Ok("ab01".into()));
        for bad in ["", "abc", "zz", "ab "] {
            assert_eq!(device(Platform::Apns, bad).checked(), Err(DeviceError::ApnsKey));
        }
    }

    #[test]
    fn an_app_of_the_sandbox_is_marked_and_only_apns_has_one() {
        let app = |platform, app: &str| Device { app: app.into(), ..device(platform, "ab") }.checked();
        let marked = app(Platform::Apns, "org.example.app@sandbox").unwrap();
        assert!(is_sandbox(&marked.app) && topic(&marked.app) == "org.example.app");
        assert!(!is_sandbox("org.example.app") && topic("org.example.app") == "org.example.app");
        for (platform, bad) in [
            (Platform::Fcm, "project@sandbox"),
            (Platform::Apns, "@sandbox"),
            (Platform::Apns, "org.example.app@sandbox@sandbox"),
            (Platform::Apns, "org.example.app@production"),
        ] {
            assert_eq!(app(platform, bad), Err(DeviceError::App), "{bad}");
        }
        let longest = format!("{}{SANDBOX_MARK}", "a".repeat(LABEL_BYTES_MAX - SANDBOX_MARK.len()));
        assert!(app(Platform::Apns, &longest).is_ok());
        assert!(app(Platform::Apns, &format!("a{longest}")).is_err());
    }

    #[test]
    fn each_fault_is_named() {
        let good = device(Platform::Fcm, "cXyz:APA91b_-");
        assert_eq!(good.clone().checked(), Ok(good.clone()));
        assert_eq!(Device { key: "a b".into(), ..good.clone() }.checked(), Err(DeviceError::FcmKey));
        assert_eq!(Device { user: String::new(), ..good.clone() }.checked(), Err(DeviceError::User));
        assert_eq!(Device { user: "a\0".into(), ..good.clone() }.checked(), Err(DeviceError::User));
        assert_eq!(Device { app: "a\r\nb".into(), ..good.clone() }.checked(), Err(DeviceError::App));
        assert_eq!(Device { locale: String::new(), ..good.clone() }.checked(), Err(DeviceError::Locale));
        assert_eq!(Device { market: "ü".into(), ..good }.checked(), Err(DeviceError::Market));
    }
}
