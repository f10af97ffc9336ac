//! hyper in a thread of this process, over rustls: answers with the number of bytes that it received.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::mpsc::channel;

use ::hyper::body::Incoming;
use ::hyper::server::conn::http2;
use ::hyper::service::service_fn;
use ::hyper::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::TlsAcceptor;

use crate::certificate::Certificate;

async fn answer(request: Request<Incoming>) -> Result<Response<Full<::hyper::body::Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Ok(Response::new(Full::from(body.len().to_string())))
}

/// Serves until the process ends.
pub(crate) fn serve(certificate: &Certificate) -> SocketAddr {
    let acceptor = TlsAcceptor::from(certificate.server());
    let (tell, address) = channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, async move {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::task::spawn_local(async move {
                    let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                    let server = http2::Builder::new(TokioExecutor::new());
                    // Its end is the client's closing.
                    let _ = server.serve_connection(stream, service_fn(answer)).await;
                });
            }
        });
    };
    std::thread::Builder::new().spawn(run).unwrap();
    address.recv().unwrap()
}
