//! What goes wrong between us and a provider, in words for people, and how often. Each text comes from a small set: no
//! time, number or key in it, so that the same trouble is one line however often it is met.

use burst_h2::{ConnectionError, DrainReason};
use rustls::{CertificateError, Error as Tls};

/// Troubles told apart in a pool; what comes after them is counted together.
const KINDS_MAX: usize = 32;
/// What the others are called.
const OTHERS: &str = "other trouble";

/// Something that went wrong, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In words, lower case.
    pub what: String,
    /// How often since its pool was opened: for every connection, request or token, what concerns the whole pool once
    /// in a while.
    pub count: u64,
}

/// A pool's troubles.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    list: Vec<Trouble>,
    last: Option<String>,
}

impl Troubles {
    pub(crate) fn add(&mut self, what: &str) {
        let is_new = !self.list.iter().any(|known| known.what == what);
        let name = if is_new && self.list.len() >= KINDS_MAX { OTHERS } else { what };
        match self.list.iter_mut().find(|known| known.what == name) {
            Some(known) => known.count += 1,
            None => self.list.push(Trouble { what: name.to_owned(), count: 1 }),
        }
        if self.last.as_deref() != Some(what) {
            self.last = Some(what.to_owned());
        }
    }

    pub(crate) fn last(&self) -> Option<String> {
        self.last.clone()
    }

    /// All of them, in the order in which they first came.
    pub(crate) fn all(&self) -> Vec<Trouble> {
        self.list.clone()
    }
}

/// Why a connection takes no new requests, for people; `None` when nothing is wrong.
pub(crate) fn of_draining(reason: DrainReason) -> Option<String> {
    match reason {
        DrainReason::GoAway { code, .. } => Some(format!("server sends a connection away (GOAWAY, {code})")),
        DrainReason::Timeouts => Some("connection replaced: too many requests without answer".to_owned()),
        DrainReason::Resets => Some("connection replaced: too many requests given up".to_owned()),
        _ => None,
    }
}

/// Why a connection ended, for people.
pub(crate) fn of_connection(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Tls(error) => of_tls(error),
        ConnectionError::Io(error) => {
            of_socket(error.kind()).unwrap_or_else(|| format!("socket failed: {error}"))
        }
        ConnectionError::PeerClosed => "server closed the connection".to_owned(),
        ConnectionError::Alpn => "server does not speak HTTP/2".to_owned(),
        ConnectionError::Protocol { code, what } => format!("server broke the protocol ({code}): {what}"),
        other => super::engine::describe(other),
    }
}

fn of_socket(kind: std::io::ErrorKind) -> Option<String> {
    use std::io::ErrorKind as Kind;
    let text = match kind {
        Kind::ConnectionRefused => "server refuses connections",
        Kind::ConnectionReset | Kind::BrokenPipe | Kind::ConnectionAborted => "server reset the connection",
        Kind::TimedOut => "server cannot be reached: the connection timed out",
        Kind::HostUnreachable | Kind::NetworkUnreachable => "server cannot be reached: no route to it",
        _ => return None,
    };
    Some(text.to_owned())
}

/// rustls' own texts of certificates hold the times that were compared.
fn of_tls(error: &Tls) -> String {
    use CertificateError as Bad;
    let what = match error {
        Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => "has expired",
        Tls::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => "is not valid yet",
        Tls::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "is for another name"
        }
        Tls::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            "is vouched for by nobody we trust"
        }
        Tls::InvalidCertificate(Bad::Revoked) => "was revoked",
        Tls::AlertReceived(alert) => return format!("server ended TLS with an alert: {alert:?}"),
        other => return format!("TLS failed: {other}"),
    };
    format!("server's certificate {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_one_line_and_their_number_is_bounded() {
        let mut troubles = Troubles::default();
        for round in 0..3 {
            for kind in 0..KINDS_MAX + 8 {
                troubles.add(&format!("trouble {kind}"));
            }
            assert_eq!(troubles.all().len(), KINDS_MAX + 1);
            assert_eq!(troubles.all()[0], Trouble { what: "trouble 0".into(), count: round + 1 });
        }
        assert_eq!(troubles.all()[KINDS_MAX], Trouble { what: OTHERS.into(), count: 24 });
        assert_eq!(
            troubles.last().unwrap(),
            format!("trouble {}", KINDS_MAX + 7),
            "the last in its own words"
        );
    }

    #[test]
    fn a_bad_certificate_is_told_without_the_times_that_were_compared() {
        let at =
            |seconds| rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let told = |seconds| {
            let expired = CertificateError::ExpiredContext { time: at(seconds), not_after: at(1) };
            of_connection(&ConnectionError::Tls(Tls::InvalidCertificate(expired)))
        };
        assert_eq!(told(5), "server's certificate has expired");
        assert_eq!(told(5), told(6));
    }

    #[test]
    fn a_refusal_of_the_kernel_is_told_as_the_server_s() {
        let told = |kind: std::io::ErrorKind| of_connection(&ConnectionError::Io(kind.into()));
        assert_eq!(told(std::io::ErrorKind::ConnectionRefused), "server refuses connections");
        assert_eq!(told(std::io::ErrorKind::BrokenPipe), told(std::io::ErrorKind::ConnectionReset));
    }
}
