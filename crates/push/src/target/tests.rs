//! Who may reach whom, tried both ways, and what stands in a debug print.

use model::runtime::SeededRandomness;

use super::*;
use crate::secret::Secret;

fn ca() -> Vec<u8> {
    simulator_ca("simulator")
}

fn simulator_ca(name: &str) -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.self_signed(&key).unwrap().pem().into_bytes()
}

fn simulator() -> Endpoint {
    Endpoint { host: "localhost".into(), port: 2197 }
}

/// A key as Apple gives it out.
fn signer() -> Credential {
    let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    Credential::Apns(Arc::new(Signer::from_p8(&Secret::new(pem), "ABC123DEFG", "DEF123GHIJ").unwrap()))
}

fn live(
    installation: Installation,
    endpoint: Endpoint,
    trust: Trust,
    credential: Credential,
) -> Result<Target<Live>, Error> {
    let randomness = SeededRandomness::new(1);
    Target::live(installation, Platform::Apns, "org.example.app", endpoint, &trust, &credential, &randomness)
}

#[test]
fn a_real_installation_reaches_apple_with_public_roots_and_a_real_key() {
    let target = live(Installation::Real, Endpoint::apns_production(), Trust::Public, signer()).unwrap();
    assert_eq!(target.reach, Reach::Provider);
    assert_eq!(target.authority, "api.push.apple.com");
    assert_eq!(
        format!("{target:?}"),
        r#"Target("live apns api.push.apple.com org.example.app apns DEF123GHIJ ABC123DEFG")"#
    );
}

#[test]
fn a_topic_reaches_its_own_environment_only() {
    let live = |app, endpoint, installation, trust, credential| {
        let randomness = SeededRandomness::new(1);
        Target::live(installation, Platform::Apns, app, endpoint, &trust, &credential, &randomness)
    };
    let real = |app, endpoint| live(app, endpoint, Installation::Real, Trust::Public, signer());
    assert!(real("org.example.app", Endpoint::apns_production()).is_ok());
    assert!(real("org.example.app@sandbox", Endpoint::apns_sandbox()).is_ok());
    for (app, endpoint) in [
        ("org.example.app", Endpoint::apns_sandbox()),
        ("org.example.app@sandbox", Endpoint::apns_production()),
    ] {
        let refused = real(app, endpoint).unwrap_err().to_string();
        assert!(refused.contains("environment"), "{refused}");
    }
    // One simulator may stand for both.
    let simulated =
        |app| live(app, simulator(), Installation::Simulated, Trust::Simulator(ca()), Credential::ThrowAway);
    assert!(simulated("org.example.app").is_ok() && simulated("org.example.app@sandbox").is_ok());
    assert!(simulated("@sandbox").is_err() && simulated("a@b").is_err());
}

#[test]
fn a_real_installation_refuses_whatever_belongs_to_a_simulator() {
    let real = |endpoint, trust, credential| live(Installation::Real, endpoint, trust, credential);
    assert!(real(simulator(), Trust::Public, signer()).is_err());
    assert!(real(Endpoint::apns_production(), Trust::Simulator(ca()), signer()).is_err());
    assert!(real(Endpoint::apns_production(), Trust::Public, Credential::ThrowAway).is_err());
}

#[test]
fn a_simulated_installation_refuses_whatever_belongs_to_a_provider() {
    let simulated = |endpoint, trust, credential| live(Installation::Simulated, endpoint, trust, credential);
    assert!(simulated(simulator(), Trust::Simulator(ca()), Credential::ThrowAway).is_ok());
    assert!(simulated(Endpoint::apns_production(), Trust::Simulator(ca()), Credential::ThrowAway).is_err());
    assert!(simulated(simulator(), Trust::Public, Credential::ThrowAway).is_err());
    assert!(simulated(simulator(), Trust::Simulator(ca()), signer()).is_err());
}

#[test]
fn a_rehearsal_trusts_one_simulator_and_names_no_provider() {
    let randomness = SeededRandomness::new(1);
    let rehearsal = |endpoint, pem| Target::rehearsal(Platform::Fcm, "a-project", endpoint, pem, &randomness);
    let target = rehearsal(simulator(), ca()).unwrap();
    assert_eq!((target.reach, target.tokens.is_throw_away()), (Reach::Simulator, true));
    assert!(rehearsal(Endpoint::fcm(), ca()).is_err());
    assert!(rehearsal(simulator(), Vec::new()).is_err());
    let bundle = [simulator_ca("one"), simulator_ca("two")].concat();
    assert!(rehearsal(simulator(), bundle).is_err(), "a bundle could hold public authorities");
}

#[test]
fn an_app_that_could_break_a_header_or_a_path_is_refused() {
    let randomness = SeededRandomness::new(1);
    for app in ["", "a\r\nb", "a/b", "a b", "ä"] {
        let target = Target::rehearsal(Platform::Fcm, app, simulator(), ca(), &randomness);
        assert!(matches!(target, Err(Error::Name { .. })), "{app:?}");
    }
}

#[test]
fn a_service_account_asks_google_or_a_simulator_and_never_the_other() {
    for uri in ["https://oauth2.googleapis.com/token", "https://accounts.google.com/o/oauth2/token"] {
        assert!(check_token_endpoint(Reach::Provider, uri).is_ok(), "{uri}");
        assert!(check_token_endpoint(Reach::Simulator, uri).is_err(), "{uri}");
    }
    for uri in ["http://127.0.0.1:8080/token", "http://oauth2.googleapis.com.evil.test/token", "token"] {
        assert!(check_token_endpoint(Reach::Provider, uri).is_err(), "{uri}");
        assert!(check_token_endpoint(Reach::Simulator, uri).is_ok(), "{uri}");
    }
    assert!(check_token_endpoint(Reach::Provider, "http://oauth2.googleapis.com/token").is_err());
}

#[test]
fn both_roots_that_apple_asks_for_are_trusted() {
    let has = |roots: &RootCertStore, name: &[u8]| {
        roots.roots.iter().any(|root| root.subject.as_ref().windows(name.len()).any(|part| part == name))
    };
    let roots = public_roots(Platform::Apns).unwrap();
    assert!(has(&roots, b"AAA Certificate Services"));
    assert!(has(&roots, b"USERTrust RSA Certification Authority"));
    assert!(!has(&public_roots(Platform::Fcm).unwrap(), b"AAA Certificate Services"));
}

#[test]
fn aes_128_is_offered_first() {
    assert_eq!(crypto().cipher_suites[0].suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
}

#[test]
fn an_address_is_bracketed_in_the_authority() {
    let authority = |host: &str, port| Endpoint { host: host.into(), port }.authority();
    assert_eq!(authority("::1", 2197), "[::1]:2197");
    assert_eq!(authority("fcm.googleapis.com", 443), "fcm.googleapis.com");
}
