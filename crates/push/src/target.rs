//! Whom a pool reaches, under which app and credential, and whom it trusts to be that.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use model::Platform;
use model::device::topic;
use model::runtime::Randomness;
use rustls::client::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::apns::auth::Signer;
use crate::error::Error;
use crate::fcm::auth::{ServiceAccount, ThrowAway};
use crate::installation::{Installation, Live, Reach, Rehearsal, Side, is_provider};
use crate::pinned::Pinned;
use crate::token::TokenSource;

/// Where a provider, or whoever stands in for it, listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Host name, or an address without brackets. It is looked up anew for each connection.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Endpoint {
    /// APNs for apps from the store and TestFlight.
    pub fn apns_production() -> Self {
        Self { host: "api.push.apple.com".into(), port: 443 }
    }

    /// APNs for apps that run from Xcode.
    pub fn apns_sandbox() -> Self {
        Self { host: "api.sandbox.push.apple.com".into(), port: 443 }
    }

    /// FCM.
    pub fn fcm() -> Self {
        Self { host: "fcm.googleapis.com".into(), port: 443 }
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 443 { host } else { format!("{host}:{}", self.port) }
    }
}

/// Which authorities vouch for an endpoint.
#[derive(Clone)]
pub enum Trust {
    /// Mozilla's, and for APNs the one more that Apple asks for.
    Public,
    /// A simulator's own authority, or its certificate itself, as PEM: exactly one certificate.
    Simulator(Vec<u8>),
}

/// Who sends.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A key of Apple's.
    Apns(Arc<Signer>),
    /// A service account of Google's.
    Fcm(Arc<ServiceAccount>),
    /// Keys made now, for simulators.
    ThrowAway,
}

/// Whom a pool reaches. Made by checks that no later step can undo, hence without public fields.
pub struct Target<S> {
    pub(crate) platform: Platform,
    pub(crate) app: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) authority: String,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) reach: Reach,
    pub(crate) tokens: Arc<dyn TokenSource>,
    side: PhantomData<fn(S)>,
}

impl Target<Live> {
    /// Whom the installation sends to. `app` is an APNs topic, marked where it is of the sandbox, or a FCM project.
    ///
    /// # Errors
    /// A real installation refuses every endpoint that is not its provider's, Apple's other environment than the topic's,
    /// private authorities and throw-away keys;
    /// a simulated one refuses providers' endpoints, public authorities and real keys.
    pub fn live(
        installation: Installation,
        platform: Platform,
        app: &str,
        endpoint: Endpoint,
        trust: &Trust,
        credential: &Credential,
        randomness: &dyn Randomness,
    ) -> Result<Self, Error> {
        let reach = Reach::of(installation, false);
        let tokens = tokens(reach, platform, credential, randomness)?;
        Self::checked(reach, platform, app, endpoint, trust, tokens)
    }
}

impl Target<Rehearsal> {
    /// A simulator to rehearse with. It is given the simulator's authority and nothing else: keys are thrown away, and
    /// no provider can be named.
    ///
    /// # Errors
    /// The endpoint is a provider's, or the PEM is not one certificate.
    pub fn rehearsal(
        platform: Platform,
        app: &str,
        endpoint: Endpoint,
        simulator_ca_pem: Vec<u8>,
        randomness: &dyn Randomness,
    ) -> Result<Self, Error> {
        let reach = Reach::Simulator;
        let tokens = tokens(reach, platform, &Credential::ThrowAway, randomness)?;
        Self::checked(reach, platform, app, endpoint, &Trust::Simulator(simulator_ca_pem), tokens)
    }
}

impl<S: Side> Target<S> {
    fn checked(
        reach: Reach,
        platform: Platform,
        app: &str,
        endpoint: Endpoint,
        trust: &Trust,
        tokens: Arc<dyn TokenSource>,
    ) -> Result<Self, Error> {
        reach.check_host(platform, &endpoint.host)?;
        check_app(platform, app)?;
        reach.check_environment(platform, &endpoint.host, app)?;
        let server_name = ServerName::try_from(endpoint.host.clone())
            .map_err(|_| Error::Name { what: "host", name: endpoint.host.clone() })?;
        let tls = tls(reach, platform, &endpoint.host, trust)?;
        let authority = endpoint.authority();
        let app = app.into();
        Ok(Self { platform, app, endpoint, authority, server_name, tls, reach, tokens, side: PhantomData })
    }

    /// What makes two targets one pool: side, provider, environment, credential and topic or project.
    pub(crate) fn key(&self) -> String {
        let Self { platform, authority, app, tokens, .. } = self;
        format!("{} {platform} {authority} {app} {}", S::NAME, tokens.name())
    }
}

impl<S: Side> fmt::Debug for Target<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.key()).finish()
    }
}

/// The app stands in a header or in a path.
fn check_app(platform: Platform, app: &str) -> Result<(), Error> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    let name = if platform == Platform::Apns { topic(app) } else { app };
    let fits = !name.is_empty() && app.len() <= 255 && name.bytes().all(is_fine);
    fits.then_some(())
        .ok_or_else(|| Error::Name { what: "topic or project", name: app.chars().take(80).collect() })
}

fn tokens(
    reach: Reach,
    platform: Platform,
    credential: &Credential,
    randomness: &dyn Randomness,
) -> Result<Arc<dyn TokenSource>, Error> {
    let refuse = |why| Err(Error::Endpoint { host: platform.name().into(), why });
    let tokens: Arc<dyn TokenSource> = match (platform, credential) {
        (Platform::Apns, Credential::Apns(signer)) => signer.clone(),
        (Platform::Fcm, Credential::Fcm(account)) => {
            check_token_endpoint(reach, account.token_uri())?;
            account.clone()
        }
        (Platform::Apns, Credential::ThrowAway) => Arc::new(Signer::throw_away()?),
        (Platform::Fcm, Credential::ThrowAway) => Arc::new(ThrowAway::new(randomness)),
        _ => return refuse("the credential is the other provider's"),
    };
    match (reach, tokens.is_throw_away()) {
        (Reach::Provider, true) => refuse("a real installation needs real credentials"),
        // A service account whose tokens come from a simulator's endpoint is a simulator's too.
        (Reach::Simulator, false) if platform == Platform::Apns => {
            refuse("a simulator is never shown a real key")
        }
        _ => Ok(tokens),
    }
}

/// The assertion that a service account signs goes to Google and nobody else, and a simulated one's never to Google.
fn check_token_endpoint(reach: Reach, uri: &str) -> Result<(), Error> {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("", uri));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let why = match reach {
        Reach::Provider if scheme != "https" || !is_provider(host) => {
            "tokens of a real account come from google by https"
        }
        Reach::Simulator if is_provider(host) => {
            "a simulated or rehearsal pool never asks google for a token"
        }
        _ => return Ok(()),
    };
    Err(Error::Endpoint { host: host.chars().take(80).collect(), why })
}

fn tls(reach: Reach, platform: Platform, host: &str, trust: &Trust) -> Result<Arc<ClientConfig>, Error> {
    let refuse = |why| Err(Error::Endpoint { host: host.into(), why });
    let provider = Arc::new(crypto());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?;
    let builder = match (reach, trust) {
        (Reach::Provider, Trust::Public) => builder.with_root_certificates(public_roots(platform)?),
        (Reach::Simulator, Trust::Simulator(pem)) => builder
            .dangerous()
            .with_custom_certificate_verifier(Pinned::new(simulator_certificate(pem)?, provider)?),
        (Reach::Provider, _) => {
            return refuse("a live pool of a real installation trusts public authorities only");
        }
        (Reach::Simulator, _) => return refuse("a simulated or rehearsal pool trusts its simulator only"),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    // For the sending path's own records.
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

/// aws-lc-rs, with AES-128 before AES-256: what these providers' messages need, at less CPU.
fn crypto() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let is_preferred = |suite: CipherSuite| {
        matches!(
            suite,
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    };
    provider.cipher_suites.sort_by_key(|suite| !is_preferred(suite.suite()));
    provider
}

/// Apple asks for two roots; Mozilla's list has USERTrust RSA and no longer AAA Certificate Services.
fn public_roots(platform: Platform) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if platform == Platform::Apns {
        let aaa = CertificateDer::from_pem_slice(include_bytes!("apns/aaa_certificate_services.pem"))
            .map_err(|error| Error::Roots(error.to_string()))?;
        roots.add(aaa).map_err(|error| Error::Roots(error.to_string()))?;
    }
    Ok(roots)
}

fn simulator_certificate(pem: &[u8]) -> Result<CertificateDer<'static>, Error> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Roots(error.to_string()))?;
    let [certificate] = <[_; 1]>::try_from(certificates)
        .map_err(|all| Error::Roots(format!("{} certificates where one simulator has one", all.len())))?;
    Ok(certificate)
}

#[cfg(test)]
mod tests;
