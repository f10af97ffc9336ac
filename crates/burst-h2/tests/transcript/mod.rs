//! A connection and the peer's side of its wire, so that tests read as transcripts: the peer sends, the client writes,
//! requests end. Only the public API of the crate is used; frames are laid out here a second time.
#![allow(dead_code, reason = "each suite uses its part")]
#![allow(clippy::unwrap_used, reason = "all of it is test code")]

pub(crate) mod frames;

use burst_h2::{
    Cause, Connection, ConnectionConfig, ConnectionError, End, EndResult, Ends, ErrorCode, Event, Field,
    Full, Nanos, Part, Request, Template,
};
use frames::{Frame, settings};

pub(crate) const MILLI: Nanos = 1_000_000;
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection told, in words.
#[derive(Default)]
struct Told(Vec<String>);

impl Ends for Told {
    fn end(&mut self, end: End<'_>) {
        let mut text = match end.result {
            EndResult::Answered { status, .. } => format!("{} answered {status}", end.tag),
            EndResult::NotProcessed(cause) => format!("{} not processed: {cause:?}", end.tag),
            EndResult::Unknown(cause) => format!("{} unknown: {cause:?}", end.tag),
        };
        if let EndResult::Answered { fields, body, .. } = end.result {
            for (name, value) in fields.iter() {
                text += &format!(" {}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
            }
            if !body.is_empty() {
                text += &format!(" {:?}", String::from_utf8_lossy(body));
            }
        }
        self.0.push(text);
    }

    fn event(&mut self, event: Event<'_>) {
        self.0.push(match event {
            Event::Settings(limit) => format!("ready, limit {limit}"),
            Event::StreamLimit(limit) => format!("limit {limit}"),
            Event::Draining { reason, debug_data: [] } => {
                format!("draining: {reason:?}")
            }
            Event::Draining { reason, debug_data } => {
                format!("draining: {reason:?} {:?}", String::from_utf8_lossy(debug_data))
            }
            Event::Pong { round_trip } => format!("pong after {round_trip}"),
        });
    }
}

/// Both sides.
pub(crate) struct Wire {
    pub(crate) connection: Connection,
    pub(crate) template: Template,
    pub(crate) now: Nanos,
    told: Told,
    taken: u64,
}

pub(crate) fn template_with(more: &[(&str, &str)]) -> Template {
    let mut fields = vec![
        Field::constant(":method", "POST"),
        Field::constant(":scheme", "https"),
        Field::varying(":path"),
        Field::constant("authorization", "bearer x"),
    ];
    fields.extend(more.iter().map(|(name, value)| Field::constant(name, value)));
    Template::with_body(fields, vec![Part::Varying]).unwrap()
}

impl Wire {
    /// Before the peer has said anything.
    pub(crate) fn silent(config: ConnectionConfig) -> Wire {
        let connection = Connection::new(&config, 0);
        Wire { connection, template: template_with(&[]), now: 0, told: Told::default(), taken: 0 }
    }

    /// The peer's SETTINGS received and acknowledged, our beginning sent.
    pub(crate) fn configured(config: ConnectionConfig, peer: &[(u16, u32)]) -> Wire {
        let mut wire = Wire::silent(config);
        wire.peer_sends(settings(peer));
        wire.output();
        wire.told();
        wire
    }

    pub(crate) fn ready_with(peer: &[(u16, u32)]) -> Wire {
        Wire::configured(ConnectionConfig::default(), peer)
    }

    pub(crate) fn ready() -> Wire {
        Wire::ready_with(&[])
    }

    /// Ready, with requests of these tags and a short body on the streams 1, 3, 5 and so on, all sent.
    pub(crate) fn with_requests(count: u64) -> Wire {
        let mut wire = Wire::ready();
        wire.client_starts_many(count);
        wire
    }

    pub(crate) fn client_starts_many(&mut self, count: u64) {
        for tag in 1..=count {
            self.client_starts(tag, "body");
        }
        self.output();
    }

    pub(crate) fn client_starts(&mut self, tag: u64, body: &str) {
        self.try_start(tag, body, Nanos::MAX).unwrap();
    }

    pub(crate) fn client_starts_until(&mut self, tag: u64, body: &str, deadline: Nanos) {
        self.try_start(tag, body, deadline).unwrap();
    }

    pub(crate) fn try_start(&mut self, tag: u64, body: &str, deadline: Nanos) -> Result<(), Full> {
        let values: &[&[u8]] = &[b"/3/device/00", body.as_bytes()];
        let request = Request { template: &self.template, values, tag, deadline };
        self.connection.start(&request, self.now)
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        self.connection.receive(bytes, self.now, &mut self.told)
    }

    /// The peer sends a frame that is nothing to break a connection for.
    #[track_caller]
    pub(crate) fn peer_sends(&mut self, frame: Frame) {
        if let Err(error) = self.try_send(&frame.bytes()) {
            panic!("{frame:?} broke the connection: {error}");
        }
    }

    /// Time goes on, and deadlines pass.
    #[track_caller]
    pub(crate) fn passes(&mut self, nanos: Nanos) {
        self.now += nanos;
        self.connection.expire(self.now, &mut self.told).unwrap();
    }

    pub(crate) fn drains(&mut self) {
        self.connection.drain(&mut self.told);
    }

    pub(crate) fn revokes(&mut self, tag: u64) -> usize {
        self.connection.revoke(|other| other == tag, &mut self.told)
    }

    /// All that the client has to say now; it goes to the kernel.
    pub(crate) fn output(&mut self) -> Vec<u8> {
        self.connection.release();
        let output = self.connection.output().to_vec();
        self.connection.taken(output.len());
        self.taken += output.len() as u64;
        self.connection.written_through(self.taken);
        output
    }

    /// What the client writes now is exactly this; a preface is left out.
    #[track_caller]
    pub(crate) fn client_writes<const N: usize>(&mut self, expected: [&str; N]) {
        assert_eq!(self.written(), expected);
    }

    pub(crate) fn written(&mut self) -> Vec<String> {
        let output = self.output();
        frames::words(output.strip_prefix(PREFACE).unwrap_or(&output))
    }

    /// What was told since the last time is exactly this.
    #[track_caller]
    pub(crate) fn tells<const N: usize>(&mut self, expected: [&str; N]) {
        assert_eq!(self.told(), expected);
    }

    pub(crate) fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told.0)
    }

    /// The peer sends what breaks the connection: a GOAWAY of this code is the last that the client writes, requests do
    /// not start any more.
    #[track_caller]
    pub(crate) fn breaks(mut self, frame: Frame, code: ErrorCode) {
        self.output();
        match self.try_send(&frame.bytes()) {
            Err(ConnectionError::Protocol { code: actual, .. }) => {
                assert_eq!(actual, code, "{frame:?}");
            }
            other => panic!("{frame:?} should break the connection with {code}, not {other:?}"),
        }
        assert_eq!(
            self.written().last().map(String::as_str),
            Some(&*format!("GOAWAY 0 {code:?}")),
            "{frame:?}"
        );
        assert_eq!(self.connection.capacity(), 0);
        assert!(self.try_send(&settings(&[]).bytes()).is_err(), "nothing is taken any more");
    }

    /// The peer sends what is wrong with one stream only: that is reset with this code, and the next one is answered.
    #[track_caller]
    pub(crate) fn resets(mut self, frame: Frame, stream: u32, code: ErrorCode, end: &str) {
        self.output();
        self.told();
        self.peer_sends(frame);
        assert_eq!(self.written(), [format!("RST_STREAM {stream} {code:?}")]);
        self.tells([end]);
        self.still_works();
    }

    /// A further request is answered.
    #[track_caller]
    pub(crate) fn still_works(&mut self) {
        self.output();
        self.told();
        self.client_starts(999, "");
        let output = self.output();
        let stream = frames::parse(&output).last().unwrap().stream;
        self.peer_sends(frames::answer(stream, frames::OK));
        self.tells(["999 answered 200"]);
    }

    /// The connection is gone; what it tells then.
    pub(crate) fn close(mut self, cause: Cause) -> Vec<String> {
        self.connection.close(cause, &mut self.told);
        self.told.0
    }
}
