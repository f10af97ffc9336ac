//! What a request to FCM looks like: everything is constant but the key between two parts of the body.
//! Source: Google, "Method: projects.messages.send", read in 2026.

use burst_h2::{Field, Nanos};

/// The longest key, in characters.
pub(crate) const KEY_CHARS_MAX: usize = model::device::KEY_CHARS_MAX;

/// The body that warms a connection: everything is checked and nothing is sent. It names a topic, which nobody needs
/// to have subscribed to, so that no device is bothered.
pub(crate) const WARM_UP_BODY: &[u8] = br#"{"validate_only":true,"message":{"topic":"fanfare-warm-up"}}"#;

/// What is kept of the time to live for the way of a request into the kernel, at most.
const WAY_MAX: Nanos = 30 * SECOND;
const SECOND: Nanos = 1_000_000_000;

/// FCM counts the time to live from when it gets a message. The one for requests started from `now` on, at most
/// `ttl_s_max`, and until when they may be started: what is with the kernel within half of [`WAY_MAX`] from then, or a
/// twentieth of the time left if that is less, does not outlive `not_after`.
pub(crate) fn ttl_s(ttl_s_max: u32, not_after: Nanos, now: Nanos) -> (u32, Nanos) {
    let left = not_after.saturating_sub(now);
    let way = (left / 10).min(WAY_MAX);
    let ttl_s = u32::try_from((left - way) / SECOND).unwrap_or(u32::MAX).min(ttl_s_max);
    let last_write = not_after.saturating_sub(u64::from(ttl_s) * SECOND);
    (ttl_s, last_write.saturating_sub(way / 2))
}

/// The fields of all requests to a project except `authorization`, in the order of sending.
pub(crate) fn fields(authority: &str, project: &str) -> Vec<Field> {
    vec![
        Field::constant(":method", "POST"),
        Field::constant(":scheme", "https"),
        Field::constant(":authority", authority),
        Field::constant(":path", format!("/v1/projects/{project}/messages:send")),
        Field::constant("content-type", "application/json"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_request_outlives_the_not_after(
            now in 0..1_000 * SECOND, left in 1..100_000 * SECOND, ttl_s_max in 0..200_000_u32
        ) {
            let not_after = now + left;
            let (ttl, until) = ttl_s(ttl_s_max, not_after, now);
            let last_write = until + (left / 10).min(WAY_MAX) / 2;
            prop_assert!(now <= until && ttl <= ttl_s_max);
            prop_assert!(last_write + u64::from(ttl) * SECOND <= not_after);
        }
    }

    #[test]
    fn nearly_all_of_the_time_left_is_used() {
        assert_eq!(ttl_s(u32::MAX, 3_600 * SECOND, 0).0, 3_570);
        assert_eq!(ttl_s(3_000, 3_600 * SECOND, 0), (3_000, 585 * SECOND));
        assert_eq!(ttl_s(u32::MAX, 10 * SECOND, 0).0, 9);
        assert_eq!(ttl_s(u32::MAX, SECOND, 2 * SECOND).0, 0);
    }
}
