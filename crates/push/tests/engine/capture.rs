//! A server made of the `h2` crate that writes down what it is asked and accepts it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// Nothing in a test takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    pub(crate) method: String,
    pub(crate) scheme: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// The server; it ends when it is dropped.
pub(crate) struct Capture {
    pub(crate) port: u16,
    pub(crate) certificate_pem: Vec<u8>,
    requests: Receiver<Captured>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    pub(crate) fn start() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let mut tls = builder.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ((sender, requests), (stop, stopped)) = (channel(), oneshot::channel());
        let serve = move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let serving = serve(listener, TlsAcceptor::from(Arc::new(tls)), sender);
            tokio.block_on(async {
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().spawn(serve).unwrap();
        let certificate_pem = cert.pem().into_bytes();
        Self { port, certificate_pem, requests, stop: Some(stop), thread: Some(thread) }
    }

    /// The next request.
    pub(crate) fn next(&self) -> Captured {
        self.requests.recv_timeout(PATIENCE).unwrap()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// One connection after the other: a sender that loses one opens the next.
async fn serve(listener: std::net::TcpListener, tls: TlsAcceptor, to: Sender<Captured>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let Ok(stream) = tls.accept(socket).await else { continue };
        let Ok(mut connection) = h2::server::handshake(stream).await else { continue };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let (parts, mut stream) = request.into_parts();
            let reading = async {
                let mut body = Vec::new();
                while let Some(Ok(data)) = stream.data().await {
                    body.extend_from_slice(&data);
                    stream.flow_control().release_capacity(data.len()).unwrap();
                }
                body
            };
            // Data arrives while the connection is driven; no other request comes before this one is answered.
            let body = tokio::select! {
                body = reading => body,
                _ = std::future::poll_fn(|cx| connection.poll_closed(cx)) => break,
            };
            let headers = parts.headers;
            let captured = Captured {
                method: parts.method.to_string(),
                scheme: parts.uri.scheme_str().unwrap_or_default().to_owned(),
                path: parts.uri.path().to_owned(),
                headers,
                body,
            };
            // The test may be over already.
            let _ = to.send(captured);
            let mut answer = respond.send_response(Response::new(()), false).unwrap();
            answer.send_data(Bytes::from_static(br#"{"name":"projects/p/messages/1"}"#), true).unwrap();
        }
    }
}
