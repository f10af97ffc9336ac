//! The `h2` crate by itself: one task per connection drives its frames, starts requests and takes their answers, so that
//! no task or channel stands between a request and its connection, and many requests leave with one write.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Result, bail};
use bytes::Bytes;
use futures::future::try_join_all;
use h2::RecvStream;
use h2::client::{Connection, ResponseFuture, SendRequest};
use peers::{Job, Requests, Watch};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Windows that answers never fill.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 30;

type Wire = Connection<TlsStream<TcpStream>, Bytes>;

/// A request that is on its way.
enum Open {
    Head(ResponseFuture),
    Body(bool, RecvStream),
}

/// A connection, and the requests that it is to send.
struct Sender {
    requests: SendRequest<Bytes>,
    wire: Wire,
    open: VecDeque<Open>,
    streams: usize,
    next: u64,
    end: u64,
    answered: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let job = Job::read()?;
    let requests = Arc::new(Requests::of(&job)?);
    let mut tls = job.tls()?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(tls));
    let mut senders = Vec::new();
    let mut first = 0;
    for number in 0..job.connections {
        let end = first + job.share(number);
        senders.push(Sender::open(&job, &connector, first, end).await?);
        first = end;
    }
    let watch = Watch::start();
    let tasks: Vec<_> = senders
        .into_iter()
        .map(|mut sender| {
            let requests = Arc::clone(&requests);
            tokio::spawn(async move { poll_fn(|cx| sender.poll(&requests, cx)).await })
        })
        .collect();
    let mut answered = 0;
    for result in try_join_all(tasks).await? {
        answered += result?;
    }
    watch.stop(&job, answered)
}

impl Sender {
    async fn open(job: &Job, connector: &TlsConnector, next: u64, end: u64) -> Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", job.port)).await?;
        socket.set_nodelay(true)?;
        let socket = connector.connect(ServerName::try_from("localhost")?, socket).await?;
        let (requests, wire) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(socket)
            .await?;
        let streams = job.streams as usize;
        let open = VecDeque::with_capacity(streams);
        let mut sender = Self { requests, wire, open, streams, next, end, answered: 0 };
        sender.learn_the_limit().await?;
        Ok(sender)
    }

    /// Waits for the server's settings: until they are known, nothing limits the streams.
    async fn learn_the_limit(&mut self) -> Result<()> {
        let mut ping = self.wire.ping_pong().expect("nobody has taken it yet");
        let mut pong = std::pin::pin!(ping.ping(h2::Ping::opaque()));
        poll_fn(|cx| {
            if Pin::new(&mut self.wire).poll(cx)?.is_ready() {
                return Poll::Ready(Err(anyhow::anyhow!("the connection was closed at its start")));
            }
            pong.as_mut().poll(cx).map(|pong| Ok(pong.map(|_| ())?))
        })
        .await
    }

    /// Ready with the number of good answers when every request has ended.
    fn poll(&mut self, requests: &Requests, cx: &mut Context<'_>) -> Poll<Result<u64>> {
        loop {
            self.start(requests, cx)?;
            let is_closed = Pin::new(&mut self.wire).poll(cx)?.is_ready();
            let waiting = self.open.len();
            self.take_answers(cx)?;
            if self.next == self.end && self.open.is_empty() {
                return Poll::Ready(Ok(self.answered));
            }
            if is_closed {
                return Poll::Ready(bail_closed(self.open.len()));
            }
            if self.open.len() == waiting {
                return Poll::Pending;
            }
        }
    }

    fn start(&mut self, requests: &Requests, cx: &mut Context<'_>) -> Result<()> {
        while self.next < self.end
            && self.open.len() < self.streams
            && self.requests.poll_ready(cx)?.is_ready()
        {
            let (answer, mut body) = self.requests.send_request(requests.request(self.next, ()), false)?;
            body.send_data(requests.body.clone(), true)?;
            self.open.push_back(Open::Head(answer));
            self.next += 1;
        }
        Ok(())
    }

    /// Takes answers from the front: servers answer nearly in order, and only one request is asked in vain.
    fn take_answers(&mut self, cx: &mut Context<'_>) -> Result<()> {
        while let Some(open) = self.open.front_mut() {
            match open {
                Open::Head(answer) => {
                    let Poll::Ready(answer) = Pin::new(answer).poll(cx)? else { break };
                    *open = Open::Body(answer.status().is_success(), answer.into_body());
                }
                Open::Body(is_good, body) => {
                    if !body.is_end_stream() {
                        match body.poll_data(cx)? {
                            Poll::Pending => break,
                            Poll::Ready(Some(bytes)) => body.flow_control().release_capacity(bytes.len())?,
                            Poll::Ready(None) => {}
                        }
                        if !body.is_end_stream() {
                            continue;
                        }
                    }
                    self.answered += u64::from(*is_good);
                    self.open.pop_front();
                }
            }
        }
        Ok(())
    }
}

fn bail_closed(open: usize) -> Result<u64> {
    bail!("the connection was closed with {open} requests open")
}
