//! From a campaign's content to the two messages that leave.

use model::campaign::{Fault, TIME_TO_LIVE_S_MAX};
use model::{Content, Launch, LaunchId, Timestamp};

use crate::apns::{self, ApnsMessage, CollapseId};
use crate::fcm::{self, FcmMessage};
use crate::warning::{self, Warning};
use crate::{APNS_BYTES_MAX, FCM_BYTES_MAX, faults};

/// What a message depends on besides its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The same for every attempt for a device and launch, so that a second copy replaces the first on the screen.
    pub collapse_id: CollapseId,
    /// When the message becomes worthless.
    pub not_after: Timestamp,
    /// When it leaves: FCM's time to live counts from here.
    pub now: Timestamp,
}

impl Context {
    /// The context of a launch for requests that leave at `now`.
    pub fn of(launch: &Launch, now: Timestamp) -> Self {
        Self { collapse_id: collapse_id(launch.id), not_after: launch.not_after, now }
    }
}

/// The collapse id of every attempt of a launch.
pub fn collapse_id(launch: LaunchId) -> CollapseId {
    CollapseId::new(launch.to_string()).expect("a launch id is 36 letters, digits and underscores")
}

/// Both messages of a locale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// The locale whose variant this is.
    pub variant: String,
    /// For APNs.
    pub apns: ApnsMessage,
    /// For FCM.
    pub fcm: FcmMessage,
    /// What somebody should look at.
    pub warnings: Vec<Warning>,
}

/// Composes what devices of `locale` get. Fails with every fault of the variant and its size; pointers lead into the
/// campaign.
pub fn compose(content: &Content, locale: &str, context: &Context) -> Result<Composed, Vec<Fault>> {
    let Some((tag, variant)) = content.resolve(locale).and_then(|tag| content.variants.get_key_value(tag))
    else {
        return Err(vec![faults::no_variant(content, locale)]);
    };
    let mut faults = faults::of(tag, variant);
    let (push_type, priority) = apns::manner(variant);
    let apns = ApnsMessage {
        body: apns::body(variant),
        push_type,
        priority,
        collapse_id: context.collapse_id.clone(),
        expiration_s: context.not_after.as_secs(),
    };
    let ttl_s = ttl_s(context.not_after, context.now);
    let fcm = fcm::message(variant, &context.collapse_id, ttl_s);
    faults.extend(faults::too_large(tag, "APNs", apns.body.len(), APNS_BYTES_MAX));
    faults.extend(faults::too_large(tag, "FCM", fcm.payload_bytes, FCM_BYTES_MAX));
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut warnings = warning::of(tag, variant);
    warnings.extend(warning::near_limit(tag, apns.body.len(), fcm.payload_bytes));
    warnings.extend(warning::fallback(content, locale, tag));
    Ok(Composed { variant: tag.clone(), apns, fcm, warnings })
}

/// FCM's time to live for a request that leaves at `at`: whole seconds, rounded down so that it never outlives
/// `not_after`; at most FCM's 28 days. Zero means at once or never.
pub fn ttl_s(not_after: Timestamp, at: Timestamp) -> u32 {
    let left = not_after.since(at).as_secs();
    u32::try_from(left).unwrap_or(u32::MAX).min(TIME_TO_LIVE_S_MAX)
}

#[cfg(test)]
pub(crate) mod tests;
