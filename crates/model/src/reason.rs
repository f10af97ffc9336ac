//! Why a device was not accepted: the providers' reasons, written as they write them, and our own causes.
//! Codes are stored in records for ever: add at the end of a range, never change or reuse one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal, $transient:literal;)*) => {
        /// A provider's reason or our own cause; see the module.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Reason { $($(#[$doc])* $name = $code,)* }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The stored code, below 4,096.
            pub const fn code(self) -> u16 { self as u16 }

            /// The reason of a stored code.
            pub const fn from_code(code: u16) -> Option<Reason> {
                match code { $($code => Some(Reason::$name),)* _ => None }
            }

            /// As the provider writes it, or our own name for it.
            pub const fn text(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }

            /// Whether the same request may succeed later: such devices are what a late retry is for.
            pub const fn is_transient(self) -> bool {
                match self { $(Reason::$name => $transient,)* }
            }

            /// Whether it says that the key is dead for its app: such devices are not worth another message. (Apple tells since
            /// when; a registration after that is another.)
            pub const fn is_of_dead_key(self) -> bool {
                matches!(
                    self,
                    Reason::BadDeviceToken
                        | Reason::DeviceTokenNotForTopic
                        | Reason::Unregistered
                        | Reason::ExpiredToken
                        | Reason::SenderIdMismatch
                        | Reason::FcmUnregistered
                )
            }

            fn from_text(text: &str) -> Option<Reason> {
                match text { $($text => Some(Reason::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    /// No reason: the device was accepted, or the class says it all.
    None = 0, "none", false;

    // APNs, "Handling notification responses from APNs"; 1 to 255.
    /// 400: not a token of this environment.
    BadDeviceToken = 1, "BadDeviceToken", false;
    /// 400: a token of another topic.
    DeviceTokenNotForTopic = 2, "DeviceTokenNotForTopic", false;
    /// 410: the app was removed.
    Unregistered = 3, "Unregistered", false;
    /// 410: the token expired.
    ExpiredToken = 4, "ExpiredToken", false;
    /// 400.
    BadTopic = 5, "BadTopic", false;
    /// 400.
    MissingTopic = 6, "MissingTopic", false;
    /// 400.
    TopicDisallowed = 7, "TopicDisallowed", false;
    /// 400.
    BadCollapseId = 8, "BadCollapseId", false;
    /// 400.
    BadExpirationDate = 9, "BadExpirationDate", false;
    /// 400.
    BadMessageId = 10, "BadMessageId", false;
    /// 400.
    BadPriority = 11, "BadPriority", false;
    /// 400.
    InvalidPushType = 12, "InvalidPushType", false;
    /// 400.
    DuplicateHeaders = 13, "DuplicateHeaders", false;
    /// 400.
    PayloadEmpty = 14, "PayloadEmpty", false;
    /// 400.
    MissingDeviceToken = 15, "MissingDeviceToken", false;
    /// 400: the connection was idle for too long.
    IdleTimeout = 16, "IdleTimeout", true;
    /// 403: the JWT is older than an hour.
    ExpiredProviderToken = 17, "ExpiredProviderToken", true;
    /// 403.
    InvalidProviderToken = 18, "InvalidProviderToken", false;
    /// 403.
    MissingProviderToken = 19, "MissingProviderToken", false;
    /// 403.
    BadCertificate = 20, "BadCertificate", false;
    /// 403.
    BadCertificateEnvironment = 21, "BadCertificateEnvironment", false;
    /// 403.
    BadEnvironmentKeyIdInToken = 22, "BadEnvironmentKeyIdInToken", false;
    /// 403.
    UnrelatedKeyIdInToken = 23, "UnrelatedKeyIdInToken", false;
    /// 403.
    Forbidden = 24, "Forbidden", false;
    /// 404.
    BadPath = 25, "BadPath", false;
    /// 405.
    MethodNotAllowed = 26, "MethodNotAllowed", false;
    /// 413.
    PayloadTooLarge = 27, "PayloadTooLarge", false;
    /// 429: too many for this device.
    TooManyRequests = 28, "TooManyRequests", true;
    /// 429: the provider token was renewed too often.
    TooManyProviderTokenUpdates = 29, "TooManyProviderTokenUpdates", true;
    /// 500.
    InternalServerError = 30, "InternalServerError", true;
    /// 503.
    ServiceUnavailable = 31, "ServiceUnavailable", true;
    /// 503: this server goes away.
    Shutdown = 32, "Shutdown", true;
    /// A reason that APNs did not have when this was written.
    OtherApns = 255, "other APNs reason", false;

    // FCM HTTP v1, "ErrorCode"; 256 to 511.
    /// 400.
    InvalidArgument = 256, "INVALID_ARGUMENT", false;
    /// 401.
    Unauthenticated = 257, "UNAUTHENTICATED", true;
    /// 401: the APNs certificate or web push key that FCM should use.
    ThirdPartyAuthError = 258, "THIRD_PARTY_AUTH_ERROR", false;
    /// 403: a token of another project.
    SenderIdMismatch = 259, "SENDER_ID_MISMATCH", false;
    /// 404: the app was removed, or the token expired.
    FcmUnregistered = 260, "UNREGISTERED", false;
    /// 429: of the project or of the device.
    QuotaExceeded = 261, "QUOTA_EXCEEDED", true;
    /// 500.
    Internal = 262, "INTERNAL", true;
    /// 503.
    Unavailable = 263, "UNAVAILABLE", true;
    /// 403 without an FCM error code: the service account may not send.
    PermissionDenied = 264, "PERMISSION_DENIED", false;
    /// An error code that FCM did not have when this was written.
    OtherFcm = 511, "other FCM error", false;

    // Not sent: nothing for this device reached the provider; 512 to 767.
    /// The launch was aborted first.
    Aborted = 512, "aborted", false;
    /// A fault of the message or the credentials stopped the launch.
    LaunchStopped = 513, "launch stopped", false;
    /// No connection to the provider could be had before the deadline.
    NoConnection = 514, "no connection", true;
    /// The provider refused the stream each time (REFUSED_STREAM, GOAWAY).
    StreamRefused = 515, "stream refused", true;
    /// The shard was given up after too many attempts.
    AttemptsExhausted = 516, "attempts exhausted", false;
    /// The worker shut down and nobody took over in time.
    WorkerStopped = 517, "worker stopped", false;
    /// Read from the snapshot, but cannot be sent (a damaged key).
    UnusableKey = 518, "unusable key", false;

    // Unknown: a request left, its answer never came; 768 to 1,023.
    /// No answer within the request's deadline.
    TimedOut = 768, "timed out", false;
    /// The connection ended before the answer.
    ConnectionLost = 769, "connection lost", false;
    /// The provider reset the stream with another code than REFUSED_STREAM.
    StreamReset = 770, "stream reset", false;
    /// The worker that had claimed the shard was lost.
    WorkerLost = 771, "worker lost", false;
    /// An answer that no table knows.
    AnswerNotUnderstood = 772, "answer not understood", false;
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A text that names no reason.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such reason: {0:?}")]
pub struct ReasonError(String);

impl FromStr for Reason {
    type Err = ReasonError;
    fn from_str(text: &str) -> Result<Self, ReasonError> {
        Reason::from_text(text).ok_or_else(|| ReasonError(text.chars().take(80).collect()))
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_texts_name_one_reason_each() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
            assert_eq!(reason.text().parse(), Ok(*reason));
            assert!(reason.code() < 4_096);
        }
    }
}
