//! A client made of the `h2` crate over rustls: nothing of the simulator's own HTTP/2.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use provider_sim::Simulator;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, version};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// One connection.
pub(crate) struct Client {
    pub(crate) send: SendRequest<Bytes>,
    pub(crate) connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

pub(crate) fn tls(ca_pem: &str, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

impl Client {
    pub(crate) async fn connect(simulator: &Simulator) -> Client {
        Self::connect_with(simulator, tls(simulator.ca_pem(), &[&version::TLS13])).await.unwrap()
    }

    pub(crate) async fn connect_with(
        simulator: &Simulator,
        tls: ClientConfig,
    ) -> Result<Client, Box<dyn std::error::Error>> {
        let socket = TcpStream::connect(simulator.address()).await?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, socket).await?;
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(8 << 20);
        let (send, connection) = builder.handshake(stream).await?;
        Ok(Client { send, connection: tokio::spawn(connection) })
    }

    /// Sends a request for a device key without waiting for its answer.
    pub(crate) async fn start(
        &mut self,
        uri: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<ResponseFuture, h2::Error> {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut send = self.send.clone().ready().await?;
        let (answer, mut stream) = send.send_request(request.body(()).unwrap(), false)?;
        stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true)?;
        Ok(answer)
    }

    pub(crate) async fn apns(&mut self, token: &str) -> Result<Answer, h2::Error> {
        let uri = format!("https://localhost/3/device/{token}");
        let headers =
            [("authorization", "bearer t"), ("apns-topic", "org.example"), ("apns-push-type", "alert")];
        finish(self.start(&uri, &headers, r#"{"aps":{"alert":"x"}}"#).await?).await
    }

    pub(crate) async fn fcm(&mut self, token: &str) -> Result<Answer, h2::Error> {
        let body = format!(r#"{{"message":{{"token":"{token}","notification":{{"title":"x"}}}}}}"#);
        let uri = "https://localhost/v1/projects/demo/messages:send";
        finish(self.start(uri, &[("authorization", "Bearer t")], &body).await?).await
    }
}

pub(crate) async fn finish(answer: ResponseFuture) -> Result<Answer, h2::Error> {
    let (parts, mut stream) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        body.extend_from_slice(&data);
        stream.flow_control().release_capacity(data.len())?;
    }
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
}

pub(crate) fn token(number: u32) -> String {
    format!("{number:064x}")
}
