//! What a request to FCM looks like: everything is constant but the key between two parts of the body.
//! Source: Google, "Method: projects.messages.send", read in 2026.

use burst_h2::Field;

/// The longest key, in characters.
pub(crate) const KEY_CHARS_MAX: usize = model::device::KEY_CHARS_MAX;

/// The body that warms a connection: everything is checked and nothing is sent. It names a topic, which nobody needs
/// to have subscribed to, so that no device is bothered.
pub(crate) const WARM_UP_BODY: &[u8] = br#"{"validate_only":true,"message":{"topic":"fanfare-warm-up"}}"#;

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
