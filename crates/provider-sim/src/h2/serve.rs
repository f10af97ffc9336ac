//! What happens to a request once it is all here: whom it is for, the verdict, the record, the answer.

use model::{Platform, Reason};

use super::connection::{Connection, Stop};
use super::frame::{self, ErrorCode};
use super::request::{Head, Request};
use crate::answers::Rest;
use crate::apns;
use crate::config::Manner;
use crate::desk::{Desk, Due};
use crate::fcm::body::Target;
use crate::hpack::Name;
use crate::judge::Verdict;
use crate::ledger::NO_RECORD;

impl Connection {
    pub(super) fn complete_kept(&mut self, mut request: Request, desk: &mut Desk) -> Result<(), Stop> {
        let body = std::mem::take(&mut request.body);
        self.complete(request, &body, desk)
    }

    /// A request is all here: judge it, record it, and answer it now or later.
    pub(super) fn complete(&mut self, request: Request, body: &[u8], desk: &mut Desk) -> Result<(), Stop> {
        desk.ledger.arrivals += 1;
        let body_bytes = request.body_bytes.max(body.len());
        let target = self.target(&request.head, body, body_bytes, desk);
        if request.is_refused {
            desk.refuse(if let Target::Device(key) = target { Some(key) } else { None });
            self.refuse(request.stream);
            return Ok(());
        }
        let (verdict, record) = self.judge(&request.head, target, desk);
        self.requests += 1;
        self.settle(request.stream, &request.head, verdict, record, desk)?;
        if desk.config.faults.goaway.every.is_some_and(|every| self.requests >= every) {
            self.leave(desk);
        }
        Ok(())
    }

    #[inline]
    fn target(&mut self, head: &Head, body: &[u8], body_bytes: usize, desk: &mut Desk) -> Target {
        match (head.wrong, head.device) {
            (Some(reason), _) => Target::Wrong(reason),
            (None, None) => desk.templates.target(body),
            (None, Some(_)) if body_bytes == 0 => Target::Wrong(Reason::PayloadEmpty),
            (None, Some(_)) if body_bytes > apns::BODY_BYTES_MAX => Target::Wrong(Reason::PayloadTooLarge),
            (None, Some(device)) => Target::Device(device),
        }
    }

    #[inline]
    fn judge(&mut self, head: &Head, target: Target, desk: &mut Desk) -> (Verdict, u32) {
        if self.receiver.watches_credentials && self.is_expired(head, desk) {
            let reason = match self.receiver.platform {
                Platform::Apns => Reason::ExpiredProviderToken,
                Platform::Fcm => Reason::Unauthenticated,
            };
            let verdict = Verdict::answered(reason);
            let Target::Device(key) = target else { return (verdict, NO_RECORD) };
            return (verdict, desk.ledger.record(key, verdict));
        }
        match target {
            Target::Device(key) => desk.arrive(key),
            Target::Probe => {
                desk.ledger.counts.probes += 1;
                (desk.pass(), NO_RECORD)
            }
            Target::Nobody => {
                desk.ledger.counts.unkeyed += 1;
                (desk.pass(), NO_RECORD)
            }
            Target::Wrong(reason) => {
                desk.ledger.counts.unkeyed += 1;
                (Verdict::answered(reason), NO_RECORD)
            }
        }
    }

    fn is_expired(&mut self, head: &Head, desk: &Desk) -> bool {
        let is_expired = desk.judge.is_expired(head.credential, desk.time.now_us);
        self.is_wedged |= is_expired && self.receiver.platform == Platform::Apns;
        is_expired || self.is_wedged
    }

    fn settle(
        &mut self,
        stream: u32,
        head: &Head,
        verdict: Verdict,
        record: u32,
        desk: &mut Desk,
    ) -> Result<(), Stop> {
        match verdict.manner {
            Manner::Refused => {
                self.refuse(stream);
                Ok(())
            }
            Manner::DroppedBefore => Err(Stop::Dropped),
            Manner::Silent => Ok(()),
            Manner::Answered | Manner::DroppedAfter => {
                let apns_id = match self.receiver.platform {
                    Platform::Apns if head.has(Name::ApnsId) => head.apns_id,
                    Platform::Apns => {
                        apns::uuid(u128::from(desk.next_id()) << 64 | u128::from(desk.next_id()))
                    }
                    Platform::Fcm => [0; 36],
                };
                let (connection, generation) = self.id;
                let arrived_us = desk.time.now_us;
                let due = Due { connection, generation, stream, record, arrived_us, verdict, apns_id };
                match desk.due_us() {
                    Some(due_us) => desk.due.push(due_us, due),
                    None => self.answer(&due, desk)?,
                }
                Ok(())
            }
        }
    }

    fn refuse(&mut self, stream: u32) {
        if self.open.remove(stream) {
            frame::write_reset(stream, ErrorCode::RefusedStream, &mut self.out);
        }
    }

    /// Writes an answer that is due, unless the client has reset its stream.
    #[inline]
    pub(crate) fn answer(&mut self, due: &Due, desk: &mut Desk) -> Result<(), Stop> {
        if !self.open.contains(due.stream) {
            return Ok(());
        }
        if due.verdict.manner == Manner::DroppedAfter {
            return Err(Stop::Dropped);
        }
        self.open.remove(due.stream);
        self.answers.set_project(&self.project);
        match self.answers.write(due, desk, &mut self.out) {
            Rest::Nothing => self.flow.forget(due.stream),
            Rest::Body(body) => self.flow.send_last(due.stream, body, &mut self.out),
        }
        let now_us = desk.time.now_us;
        desk.ledger.answered(due.record, due.verdict.reason, due.arrived_us, now_us);
        if !self.is_valid && due.verdict == Verdict::ACCEPTED {
            self.is_valid = true;
            self.keep_house(desk);
        }
        Ok(())
    }
}
