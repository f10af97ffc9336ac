//! The certificate authority of one simulator. It exists only in this process and signs one server certificate, so
//! whoever trusts it trusts this simulator and nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Certificate;
use crate::error::Error;

/// Whose certificate the server shows when it shows another's.
const OTHER_NAME: &str = "elsewhere.example";

/// An authority and the server it vouches for.
pub(crate) struct Authority {
    /// The authority's certificate, for clients to trust.
    pub(crate) certificate_pem: String,
    /// The server's side of TLS.
    pub(crate) server: Arc<ServerConfig>,
    /// The same in a storm.
    pub(crate) in_storm: Arc<ServerConfig>,
}

impl Authority {
    /// Makes an authority and a server certificate for `localhost`, the loopback addresses and `names`; and the one that
    /// the server shows in a storm.
    pub(crate) fn new(names: &[String], common_name: &str, in_storm: Certificate) -> Result<Self, Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, format!("{common_name} authority"));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        let issuer = Issuer::new(params, key);
        let server = |kind| {
            let (chain, key) = server_certificate(names, common_name, &issuer, kind)?;
            Ok::<_, Error>(Arc::new(server_config(vec![chain, certificate.der().clone()], key)?))
        };
        let usual = server(Certificate::Good)?;
        let in_storm = if in_storm == Certificate::Good { Arc::clone(&usual) } else { server(in_storm)? };
        Ok(Self { certificate_pem: certificate.pem(), server: usual, in_storm })
    }
}

fn server_certificate(
    names: &[String],
    common_name: &str,
    issuer: &Issuer<'_, KeyPair>,
    kind: Certificate,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Error> {
    let loopback =
        [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].map(|ip| ip.to_string());
    let all: Vec<String> =
        ["localhost".to_owned()].into_iter().chain(loopback).chain(names.iter().cloned()).collect();
    let mut params = match kind {
        Certificate::OtherName => CertificateParams::new(vec![OTHER_NAME.to_owned()])?,
        Certificate::Good | Certificate::Expired => CertificateParams::new(all)?,
    };
    if kind == Certificate::Expired {
        // Long over, whatever the clocks of the two sides are.
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, common_name);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok((certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into())))
}

/// TLS 1.3 with AES-128-GCM where the client can: what APNs and FCM choose, and the cheapest with hardware AES.
fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, Error> {
    use aws_lc_rs::cipher_suite as suite;
    let provider = CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        ],
        kx_groups: vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    // The record layer after the handshake is our own.
    config.enable_secret_extraction = true;
    Ok(config)
}
