//! Which pools may reach whom. A rehearsal's pool is another type than a live one, and neither crosses over: the types
//! keep them apart at compile time, and these checks at run time.

use std::net::IpAddr;

use model::Platform;
use model::device::is_sandbox;

use crate::error::Error;

/// What an installation as a whole is: fixed at its first start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Installation {
    /// Its live pools reach phones.
    Real,
    /// Its live pools reach simulators: the demo, benchmarks.
    Simulated,
}

/// Side of pools, messages and gates that send to whom the installation sends.
#[derive(Debug)]
pub enum Live {}

/// Side of pools, messages and gates that can reach nothing but simulators.
#[derive(Debug)]
pub enum Rehearsal {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Live {}
    impl Sealed for super::Rehearsal {}
}

/// [`Live`] or [`Rehearsal`]. What belongs to one side does not fit into what belongs to the other:
///
/// ```
/// # use push::{GroupMessage, LaunchGate, Side};
/// fn belong_together<S: Side>(_: GroupMessage<S>, _: LaunchGate<S>) {}
/// # use push::Live;
/// fn is_fine(message: GroupMessage<Live>, gate: LaunchGate<Live>) {
///     belong_together(message, gate);
/// }
/// ```
///
/// ```compile_fail,E0308
/// # use push::{GroupMessage, LaunchGate, Side};
/// fn belong_together<S: Side>(_: GroupMessage<S>, _: LaunchGate<S>) {}
/// # use push::{Live, Rehearsal};
/// fn does_not_compile(message: GroupMessage<Live>, gate: LaunchGate<Rehearsal>) {
///     belong_together(message, gate);
/// }
/// ```
///
/// A rehearsal's target takes no credential and no trust but its simulator's, so there is nothing of a provider's that
/// could be given to it.
pub trait Side: sealed::Sealed + Send + Sync + 'static {
    /// For pages and logs.
    const NAME: &'static str;
}

impl Side for Live {
    const NAME: &'static str = "live";
}

impl Side for Rehearsal {
    const NAME: &'static str = "rehearsal";
}

/// Whether a pool belongs to a provider or to a simulator, after every check of who may use which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    /// Phones.
    Provider,
    /// Simulators.
    Simulator,
}

impl Reach {
    pub(crate) fn of(installation: Installation, is_rehearsal: bool) -> Self {
        match (installation, is_rehearsal) {
            (Installation::Real, false) => Reach::Provider,
            _ => Reach::Simulator,
        }
    }

    /// Whether an endpoint of this name may be used.
    pub(crate) fn check_host(self, platform: Platform, host: &str) -> Result<(), Error> {
        let refuse = |why| Err(Error::Endpoint { host: host.chars().take(80).collect(), why });
        match self {
            Reach::Provider if !is_host_of(platform, host) => {
                refuse("a live pool of a real installation reaches its provider only")
            }
            Reach::Simulator if is_provider(host) => {
                refuse("a simulated or rehearsal pool never names a provider")
            }
            _ => Ok(()),
        }
    }

    /// Whether a connection may be opened to this address, whatever name led to it.
    pub(crate) fn check_address(self, host: &str, address: IpAddr) -> Result<(), Error> {
        let refuse = |why| Err(Error::Endpoint { host: host.into(), why });
        match self {
            Reach::Provider if is_local(address) => refuse("its address is local, so it is no provider"),
            Reach::Simulator if is_apples(address) => refuse("its address is Apple's, so it is no simulator"),
            _ => Ok(()),
        }
    }
}

impl Reach {
    /// Whether a host may be shown the app's tokens. Apple calls a token of the other environment bad, and such tokens are
    /// taken from the directory as dead.
    pub(crate) fn check_environment(self, platform: Platform, host: &str, app: &str) -> Result<(), Error> {
        let is_right = match (self, platform) {
            (Reach::Provider, Platform::Apns) => (plain(host) != APNS_PRODUCTION) == is_sandbox(app),
            _ => true,
        };
        let why = "it is not of the topic's environment (TOPIC@sandbox is sent to the sandbox, TOPIC is not)";
        is_right.then_some(()).ok_or_else(|| Error::Endpoint { host: host.into(), why })
    }
}

const APNS_PRODUCTION: &str = "api.push.apple.com";

fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether the name is one under which this provider takes messages.
fn is_host_of(platform: Platform, host: &str) -> bool {
    let host = plain(host);
    match platform {
        Platform::Apns => host.ends_with(".push.apple.com"),
        Platform::Fcm => host == "fcm.googleapis.com" || host == "fcm.mtls.googleapis.com",
    }
}

/// Whether the name belongs to Apple or Google at all.
pub(crate) fn is_provider(host: &str) -> bool {
    const DOMAINS: [&str; 5] =
        ["apple.com", "googleapis.com", "google.com", "firebase.com", "firebaseio.com"];
    let host = plain(host);
    let is_under =
        |domain: &&str| host.strip_suffix(*domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let is_address_of_apple = host.trim_matches(['[', ']']).parse().is_ok_and(is_apples);
    DOMAINS.iter().any(is_under) || is_address_of_apple
}

/// 17.0.0.0/8 and 2620:149::/32 are all Apple's; Apple tells firewalls to open them for APNs.
fn is_apples(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets()[0] == 17,
        IpAddr::V6(address) => address.segments()[..2] == [0x2620, 0x149],
    }
}

/// Loopback, private, link-local or no address at all: where simulators live and providers do not.
fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVIDERS: [(Platform, &str); 5] = [
        (Platform::Apns, "api.push.apple.com"),
        (Platform::Apns, "API.Push.Apple.com."),
        (Platform::Apns, "api.sandbox.push.apple.com"),
        (Platform::Fcm, "fcm.googleapis.com"),
        (Platform::Fcm, "fcm.mtls.googleapis.com"),
    ];

    #[test]
    fn a_real_live_pool_reaches_its_provider_and_nobody_else() {
        let reach = Reach::of(Installation::Real, false);
        for (platform, host) in PROVIDERS {
            assert!(reach.check_host(platform, host).is_ok(), "{host}");
        }
        for host in [
            "localhost",
            "127.0.0.1",
            "::1",
            "sim.internal",
            "api.push.apple.com.evil.test",
            "fcm.googleapis.com",
        ] {
            assert!(reach.check_host(Platform::Apns, host).is_err(), "{host}");
        }
        assert!(reach.check_host(Platform::Fcm, "api.push.apple.com").is_err());
    }

    #[test]
    fn a_rehearsal_and_a_simulated_installation_name_no_provider() {
        let reaches = [
            Reach::of(Installation::Real, true),
            Reach::of(Installation::Simulated, true),
            Reach::of(Installation::Simulated, false),
        ];
        for reach in reaches {
            for (platform, host) in PROVIDERS {
                assert!(reach.check_host(platform, host).is_err(), "{host}");
            }
            for host in
                ["17.188.143.1", "::ffff:17.1.2.3", "apple.com", "oauth2.googleapis.com", "www.google.com"]
            {
                assert!(reach.check_host(Platform::Fcm, host).is_err(), "{host}");
            }
            for host in ["localhost", "127.0.0.1", "sim.internal", "pineapple.com"] {
                assert!(reach.check_host(Platform::Apns, host).is_ok(), "{host}");
            }
        }
    }

    #[test]
    fn an_address_betrays_a_name_that_leads_elsewhere() {
        let is_fine =
            |reach: Reach, address: &str| reach.check_address("x", address.parse().unwrap()).is_ok();
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "169.254.0.1",
            "0.0.0.0",
            "::1",
            "fd00::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(!is_fine(Reach::Provider, address), "{address}");
            assert!(is_fine(Reach::Simulator, address), "{address}");
        }
        for address in ["17.188.143.1", "2620:149::1", "::ffff:17.188.143.1"] {
            assert!(is_fine(Reach::Provider, address), "{address}");
            assert!(!is_fine(Reach::Simulator, address), "{address}");
        }
    }
}
