//! What happens to a request once it is all here: whom it is for, the verdict, the record, the answer.

use model::{Platform, Reason};

use super::connection::{Connection, Stop};
use super::frame::{self, ErrorCode};
use super::request::{Head, Request};
use crate::answers::Rest;
use crate::apns;
use crate::config::Manner;
use crate::desk::{Desk, Due};
use crate::fcm;
use crate::fcm::body::Target;
use crate::hpack::Name;
use crate::judge::Verdict;
use crate::ledger::NO_RECORD;

impl Connection {
    pub(super) fn complete_kept(&mut self, request: Request, desk: &mut Desk) -> Result<(), Stop> {
        let Request { stream, head, is_refused, body, body_bytes, .. } = request;
        if body_bytes > body.len() {
            // More than is kept for any message: what there is of it names nobody.
            let reason = self.too_large();
            return self.complete_target(stream, &head, is_refused, Target::Wrong(reason), desk);
        }
        self.complete(stream, &head, is_refused, &body, desk)
    }

    /// A request is all here: judge it, record it, and answer it now or later.
    #[inline]
    pub(super) fn complete(
        &mut self,
        stream: u32,
        head: &Head,
        is_refused: bool,
        body: &[u8],
        desk: &mut Desk,
    ) -> Result<(), Stop> {
        let target = match (head.wrong, head.device) {
            (Some(reason), _) => Target::Wrong(reason),
            (None, None) => desk.templates.target(body),
            (None, Some(_)) if body.is_empty() => Target::Wrong(Reason::PayloadEmpty),
            (None, Some(_)) if body.len() > apns::BODY_BYTES_MAX => Target::Wrong(Reason::PayloadTooLarge),
            (None, Some(device)) => Target::Device(device),
        };
        self.complete_target(stream, head, is_refused, target, desk)
    }

    fn too_large(&self) -> Reason {
        match self.platform {
            Platform::Apns => Reason::PayloadTooLarge,
            Platform::Fcm => Reason::InvalidArgument,
        }
    }

    #[inline]
    fn complete_target(
        &mut self,
        stream: u32,
        head: &Head,
        is_refused: bool,
        target: Target,
        desk: &mut Desk,
    ) -> Result<(), Stop> {
        desk.ledger.arrivals += 1;
        if is_refused {
            desk.refuse(if let Target::Device(key) = target { Some(key) } else { None });
            self.refuse(stream);
            return Ok(());
        }
        let may_storm = !desk.judge.weather.is_calm() && matches!(target, Target::Device(_));
        if may_storm {
            desk.judge.weather.count(desk.time.now_us);
        }
        let (verdict, record) = self.judge(head, target, desk);
        self.requests += 1;
        if may_storm {
            self.weather(stream, desk);
            if self.farewell.is_some() {
                return Ok(());
            }
        }
        self.settle(stream, head, verdict, record, desk)?;
        if desk.config.faults.goaway.every.is_some_and(|every| self.requests >= every) {
            self.leave(desk);
        }
        Ok(())
    }

    #[inline]
    fn judge(&mut self, head: &Head, target: Target, desk: &mut Desk) -> (Verdict, u32) {
        if self.headers.watches_credentials() && self.is_expired(head, desk) {
            let reason = match self.platform {
                Platform::Apns => Reason::ExpiredProviderToken,
                Platform::Fcm => Reason::Unauthenticated,
            };
            let verdict = desk.pass_or(reason);
            let Target::Device(key) = target else { return (verdict, NO_RECORD) };
            return (verdict, desk.ledger.record(key, verdict));
        }
        if let (Some(reason), Target::Device(key)) = (desk.judge.weather.answer(desk.time.now_us), &target) {
            let verdict = desk.pass_or(reason);
            return (verdict, desk.ledger.record(*key, verdict));
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
                (desk.pass_or(reason), NO_RECORD)
            }
        }
    }

    fn is_expired(&mut self, head: &Head, desk: &Desk) -> bool {
        let is_expired = desk.judge.is_expired(head.credential, desk.time.now_us);
        self.is_wedged |= is_expired && self.platform == Platform::Apns;
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
                let apns_id = match self.platform {
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
        if !self.open.remove(due.stream) {
            return Ok(());
        }
        if due.verdict.manner == Manner::DroppedAfter {
            return Err(Stop::Dropped);
        }
        self.answers.set_project(self.headers.project());
        match self.answers.write(due, desk, &mut self.out) {
            Rest::Nothing => self.flow.forget(due.stream),
            Rest::Body(body) => self.flow.send_last(due.stream, body, &mut self.out),
        }
        let now_us = desk.time.now_us;
        desk.ledger.answered(due.record, due.verdict.reason, due.arrived_us, now_us);
        if due.verdict.reason != Reason::None {
            self.count_rejection(due.verdict.reason, desk);
        }
        if !self.is_valid && due.verdict == Verdict::ACCEPTED {
            self.is_valid = true;
            self.keep_house(desk);
        }
        Ok(())
    }

    fn count_rejection(&mut self, reason: Reason, desk: &mut Desk) {
        let status = match self.platform {
            Platform::Apns => apns::status(reason),
            Platform::Fcm => fcm::status(reason),
        };
        let counts =
            matches!(status, Some("400" | "404" | "405" | "413")) && reason != Reason::FcmUnregistered;
        self.rejections += u64::from(counts);
        let most = desk.config.faults.goaway.after_rejections;
        if counts && most.is_some_and(|most| self.rejections >= most) {
            self.leave(desk);
        }
    }
}
