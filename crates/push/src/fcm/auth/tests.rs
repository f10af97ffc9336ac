//! Tokens from a local token endpoint, and what a key file must be.

use std::io::{Read, Write};
use std::net::TcpListener;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::engine::general_purpose::STANDARD;
use model::runtime::SeededRandomness;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn key_file(private_key: &str, token_uri: &str) -> Secret {
    let file = serde_json::json!({
        "type": "service_account",
        "project_id": "a-project",
        "private_key": private_key,
        "client_email": "push@a-project.iam.gserviceaccount.com",
        "token_uri": token_uri,
    });
    Secret::new(file.to_string())
}

fn private_key() -> String {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).unwrap();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()))
}

/// Answers one request with `answer`; returns what was asked.
fn serve_once(listener: TcpListener, answer: &'static str) -> std::thread::JoinHandle<String> {
    let serve = move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut room = [0; 4_096];
        while !String::from_utf8_lossy(&request).contains("assertion=") {
            let length = socket.read(&mut room).unwrap();
            request.extend_from_slice(&room[..length]);
        }
        let head =
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length:";
        write!(socket, "{head} {}\r\n\r\n{answer}", answer.len()).unwrap();
        String::from_utf8_lossy(&request).into_owned()
    };
    std::thread::Builder::new().spawn(serve).unwrap()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn an_access_token_comes_from_the_endpoint_that_the_key_file_names() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/token", listener.local_addr().unwrap());
    let account = ServiceAccount::from_json(&key_file(&private_key(), &uri)).unwrap();
    let server =
        serve_once(listener, r#"{"access_token":"ya29.example","expires_in":3599,"token_type":"Bearer"}"#);
    let token = block_on(account.token(NOW)).unwrap();
    assert_eq!(token.text.reveal(), b"ya29.example");
    assert_eq!(token.minted_at, NOW);
    let request = server.join().unwrap();
    assert!(request.starts_with("POST /token "), "{request}");
    assert!(request.contains("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"));
}

#[test]
fn a_key_file_that_is_none_is_refused_without_showing_it() {
    let not_a_key = key_file(
        "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n",
        "http://127.0.0.1/",
    );
    for json in [Secret::new("hunter2"), Secret::new([0xff]), Secret::new("{}"), not_a_key] {
        let error = ServiceAccount::from_json(&json).unwrap_err();
        let printed = format!("{error:?} {error}");
        assert!(!printed.contains("hunter2") && !printed.contains("aHVudGVyMg"), "{printed}");
    }
}

#[test]
fn an_account_prints_no_key() {
    let account = ServiceAccount::from_json(&key_file(&private_key(), "http://127.0.0.1/token")).unwrap();
    let printed = format!("{account:?}");
    assert_eq!(printed, r#"ServiceAccount { email: "push@a-project.iam.gserviceaccount.com", .. }"#);
}

#[test]
fn a_made_up_token_is_as_long_as_a_usual_one_and_never_the_same() {
    let account = ThrowAway::new(&SeededRandomness::new(1));
    let (one, two) = (block_on(account.token(NOW)).unwrap(), block_on(account.token(Timestamp(1))).unwrap());
    assert_ne!(one.text, two.text);
    assert!((1_000..1_050).contains(&one.text.reveal().len()));
    assert!(one.text.reveal().iter().all(u8::is_ascii_graphic));
}
