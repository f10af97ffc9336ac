//! Composes answers. What is constant on a connection is encoded once and copied for every answer after that.

use model::{Platform, Reason};

use crate::apns;
use crate::desk::{Desk, Due};
use crate::fcm;
use crate::h2::frame::{self, FLAG_END_HEADERS, FLAG_END_STREAM, HEADERS};
use crate::hpack::Encoder;

/// What Google's front end adds to every answer, observed in 2026.
pub(crate) const FCM_CONSTANT: [(&str, &str); 9] = [
    ("content-type", "application/json; charset=UTF-8"),
    ("vary", "Origin"),
    ("vary", "X-Origin"),
    ("vary", "Referer"),
    ("server", "scaffolding on HTTPServer2"),
    ("x-xss-protection", "0"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-content-type-options", "nosniff"),
    ("alt-svc", "h3=\":443\"; ma=2592000,h3-29=\":443\"; ma=2592000"),
];

/// One connection's composer.
#[derive(Debug)]
pub(crate) struct Answers {
    encoder: Encoder,
    /// The constant front of a 200's header block, and the table generation and second it is valid for.
    accepted: Vec<u8>,
    accepted_for: Option<(u64, u64)>,
    block: Vec<u8>,
    body: Vec<u8>,
    /// FCM: the project of the latest request.
    project: Vec<u8>,
}

/// What follows an answer's HEADERS.
pub(crate) enum Rest<'a> {
    /// Nothing: they ended the stream.
    Nothing,
    /// A body, to be sent as the client's windows allow.
    Body(&'a [u8]),
}

impl Answers {
    pub(crate) fn new(header_table_bytes: u32) -> Self {
        Self {
            encoder: Encoder::new(header_table_bytes as usize),
            accepted: Vec::new(),
            accepted_for: None,
            block: Vec::new(),
            body: Vec::new(),
            project: Vec::new(),
        }
    }

    /// The client's SETTINGS_HEADER_TABLE_SIZE.
    pub(crate) fn allow_table(&mut self, bytes: u32) {
        self.encoder.allow(bytes as usize);
    }

    /// Remembers the project that answers name.
    pub(crate) fn set_project(&mut self, project: &[u8]) {
        if *self.project != *project {
            self.project = project.to_vec();
        }
    }

    /// Writes the HEADERS of the answer that is due; returns what follows.
    #[inline]
    pub(crate) fn write(&mut self, due: &Due, desk: &mut Desk, out: &mut Vec<u8>) -> Rest<'_> {
        match (due.verdict.reason, desk.platform()) {
            (Reason::None, Platform::Apns) => self.apns_accepted(due, desk, out),
            (Reason::None, Platform::Fcm) => self.fcm_accepted(due, desk, out),
            (_, platform) => self.fault(due, platform, desk, out),
        }
    }

    fn apns_accepted(&mut self, due: &Due, desk: &mut Desk, out: &mut Vec<u8>) -> Rest<'_> {
        if desk.config.answers.sandbox {
            let unique = apns::uuid(u128::from(desk.next_id()) << 64 | u128::from(desk.next_id()));
            self.begin(b"200");
            self.encoder.named(b"apns-id", &due.apns_id, &mut self.block);
            self.encoder.named(b"apns-unique-id", &unique, &mut self.block);
            self.write_block(due.stream, FLAG_END_STREAM, out);
        } else if self.accepted_for == Some((self.encoder.generation(), 0)) {
            let length = self.accepted.len() + due.apns_id.len();
            frame::write_header(length, HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, due.stream, out);
            out.extend_from_slice(&self.accepted);
            out.extend_from_slice(&due.apns_id);
        } else {
            let is_settled = self.settle(|this| {
                this.begin(b"200");
                this.encoder.named(b"apns-id", &due.apns_id, &mut this.block);
            });
            self.remember(is_settled, self.block.len() - due.apns_id.len(), 0);
            self.write_block(due.stream, FLAG_END_STREAM, out);
        }
        Rest::Nothing
    }

    fn fcm_accepted(&mut self, due: &Due, desk: &mut Desk, out: &mut Vec<u8>) -> Rest<'_> {
        let (second, date) = desk.time.date();
        if self.accepted_for == Some((self.encoder.generation(), second)) {
            frame::write_header(self.accepted.len(), HEADERS, FLAG_END_HEADERS, due.stream, out);
            out.extend_from_slice(&self.accepted);
        } else {
            let is_realistic = desk.config.answers.realistic;
            let is_settled = self.settle(|this| {
                this.begin(b"200");
                this.fcm_constant(is_realistic, date);
            });
            self.remember(is_settled, self.block.len(), second);
            self.write_block(due.stream, 0, out);
        }
        self.body.clear();
        let id = desk.next_id();
        fcm::append_accepted_body(&self.project, desk.time.stamp(), id, &mut self.body);
        Rest::Body(&self.body)
    }

    fn fault(&mut self, due: &Due, platform: Platform, desk: &mut Desk, out: &mut Vec<u8>) -> Rest<'_> {
        let reason = due.verdict.reason;
        let status = match platform {
            Platform::Apns => apns::status(reason),
            Platform::Fcm => fcm::status(reason),
        };
        self.begin(status.unwrap_or("500").as_bytes());
        match platform {
            Platform::Apns => self.encoder.named(b"apns-id", &due.apns_id, &mut self.block),
            Platform::Fcm => self.fcm_constant(desk.config.answers.realistic, desk.time.date().1),
        }
        if let Some(seconds) = desk.retry_after_s(due.verdict) {
            self.encoder.named(b"retry-after", seconds.to_string().as_bytes(), &mut self.block);
        }
        self.write_block(due.stream, 0, out);
        let body = match platform {
            Platform::Apns => {
                let is_gone = matches!(reason, Reason::Unregistered | Reason::ExpiredToken);
                apns::body(reason, is_gone.then(|| desk.unregistered_at_ms(due.record)))
            }
            Platform::Fcm => fcm::error_body(reason, due.verdict.is_project_quota),
        };
        self.body.clear();
        self.body.extend_from_slice(body.as_bytes());
        Rest::Body(&self.body)
    }

    fn begin(&mut self, status: &[u8]) {
        self.block.clear();
        self.encoder.begin(&mut self.block);
        self.encoder.constant(b":status", status, &mut self.block);
    }

    fn fcm_constant(&mut self, is_realistic: bool, date: &str) {
        let count = if is_realistic { FCM_CONSTANT.len() } else { 1 };
        for (name, value) in &FCM_CONSTANT[..count] {
            self.encoder.constant(name.as_bytes(), value.as_bytes(), &mut self.block);
        }
        if is_realistic {
            self.encoder.constant(b"date", date.as_bytes(), &mut self.block);
        }
    }

    /// Builds a block; says whether building it again would give the same bytes.
    fn settle(&mut self, build: impl FnOnce(&mut Self)) -> bool {
        let before = (self.encoder.generation(), self.encoder.has_updates());
        build(self);
        before == (self.encoder.generation(), false)
    }

    fn remember(&mut self, is_settled: bool, length: usize, second: u64) {
        if is_settled {
            self.accepted.clear();
            self.accepted.extend_from_slice(&self.block[..length]);
        }
        self.accepted_for = is_settled.then(|| (self.encoder.generation(), second));
    }

    fn write_block(&mut self, stream: u32, flags: u8, out: &mut Vec<u8>) {
        frame::write_header(self.block.len(), HEADERS, FLAG_END_HEADERS | flags, stream, out);
        out.extend_from_slice(&self.block);
    }
}
