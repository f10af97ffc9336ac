//! What push cannot do. What became of a device is an outcome, not an error.

use std::io;

/// Why a pool cannot be opened, a token cannot be had or an engine cannot run. Holds no key and no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not a key that APNs tokens can be signed with.
    #[error("apns signing key refused: {0}")]
    SigningKey(&'static str),
    /// The JSON is not a Google service account with a usable RSA key.
    #[error("service account refused: {0}")]
    ServiceAccount(&'static str),
    /// Google's token endpoint gave no token.
    #[error("no access token for the service account")]
    AccessToken(#[source] gcp_auth::Error),
    /// A name that cannot stand in a header, for example a topic with a line break.
    #[error("{what} is not usable: {name:?}")]
    Name {
        /// What it should have been.
        what: &'static str,
        /// As given.
        name: String,
    },
    /// The endpoint may not be used by this kind of pool in this installation.
    #[error("endpoint {host:?} refused: {why}")]
    Endpoint {
        /// Host as configured.
        host: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// A trust store that cannot be read or used.
    #[error("trust roots refused: {0}")]
    Roots(String),
    /// TLS could not be set up.
    #[error("tls set-up failed")]
    Tls(#[source] rustls::Error),
    /// The header fields do not make a template.
    #[error("header fields refused: {0}")]
    Template(String),
    /// A sending thread did not start.
    #[error("sending thread did not start")]
    Thread(#[source] io::Error),
    /// The engine is shutting down.
    #[error("engine is shut down")]
    Stopped,
    /// The message is for the other provider.
    #[error("message is for the other provider")]
    OtherProvider,
    /// An address could not be had.
    #[error("name of the endpoint did not resolve")]
    Resolve(#[source] io::Error),
    /// Something that is waited for did not come.
    #[error("{0} did not come in time")]
    Deadline(&'static str),
    /// A number in the configuration is out of its bounds.
    #[error("{what} must be {bounds}")]
    Bounds {
        /// Which number.
        what: &'static str,
        /// Its bounds.
        bounds: &'static str,
    },
}
