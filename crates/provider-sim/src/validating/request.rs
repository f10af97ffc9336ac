//! One request from its first field to its answer.

use std::future::poll_fn;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use model::{Platform, Reason};

use super::answer;
use super::arrived::Arrived;
use super::connection::Link;
use super::finding::{Finding, Judged};
use super::thread::House;
use crate::apns;
use crate::config::Manner;
use crate::fcm;
use crate::judge::Verdict;
use crate::ledger::NO_RECORD;

/// What an answer weighs among a connection's penalties.
const BAD_DEVICE_TOKEN_WEIGHT: u64 = 4;

/// Reads, judges and answers; `is_refused` when the protocol lets it go unprocessed.
pub(super) async fn serve(
    house: &House,
    link: &Link,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    is_refused: bool,
) {
    // The connection's count goes down whatever becomes of this.
    let _closing = Closing(link);
    let Some(arrived) = read(request).await else {
        house.desk().ledger.counts.cancelled += 1;
        return;
    };
    let (verdict, record, judged) = judge(house, link, &arrived, is_refused);
    link.requests.set(link.requests.get() + u64::from(!is_refused));
    let arrived_us = house.now().since_start_us;
    match verdict.manner {
        Manner::Refused => respond.send_reset(h2::Reason::REFUSED_STREAM),
        Manner::DroppedBefore => link.drop_dead(),
        Manner::Silent => cancelled(house, &mut respond).await,
        Manner::Answered | Manner::DroppedAfter => {
            let due_us = due_us(house, link);
            tokio::select! {
                biased;
                () = house.until(due_us) => {}
                () = cancelled(house, &mut respond) => return,
            }
            if verdict.manner == Manner::DroppedAfter {
                return link.drop_dead();
            }
            let answer = answer::compose(house, verdict, record, &arrived, &judged);
            if answer::send(&mut respond, answer).await {
                house.desk().ledger.answered(record, verdict.reason, arrived_us, house.now_us());
                settle(house, link, verdict);
            }
        }
    }
    if !is_refused && house.config.faults.goaway.every.is_some_and(|every| link.requests.get() >= every) {
        link.leave(house, None);
    }
}

/// Tells the connection that its request is over.
struct Closing<'a>(&'a Link);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.is_closed();
    }
}

/// All of the request; `None` when the client resets it.
async fn read(request: http::Request<RecvStream>) -> Option<Arrived> {
    let (parts, mut stream) = request.into_parts();
    let mut arrived = Arrived::front(parts);
    while let Some(data) = poll_fn(|cx| stream.poll_data(cx)).await {
        let data = data.ok()?;
        arrived.extend(&data);
        stream.flow_control().release_capacity(data.len()).ok()?;
    }
    arrived.has_trailers = poll_fn(|cx| stream.poll_trailers(cx)).await.ok()?.is_some();
    Some(arrived)
}

/// Waits until the client resets the request.
async fn cancelled(house: &House, respond: &mut SendResponse<Bytes>) {
    // An error says that the connection is gone: nobody is left to answer.
    if poll_fn(|cx| respond.poll_reset(cx)).await.is_ok() {
        house.desk().ledger.counts.cancelled += 1;
    }
}

/// What happens to a request, the place of its record, and what is wrong with it.
fn judge(house: &House, link: &Link, request: &Arrived, is_refused: bool) -> (Verdict, u32, Judged) {
    let now = house.now();
    let mut bound = link.bound.borrow_mut();
    let mut judged = house.checker.judge(request, &bound, now);
    let mut desk = house.desk();
    let now_us = desk.time.now_us;
    desk.ledger.arrivals += 1;
    desk.ledger.arrived(now_us);
    if is_refused {
        desk.refuse(judged.device);
        return (Verdict { manner: Manner::Refused, ..Verdict::ACCEPTED }, NO_RECORD, judged);
    }
    let device = judged.device.filter(|_| !judged.is_probe);
    let is_over_rate = |device| !house.checker.takes(device, now_us);
    if judged.reason().is_none() && device.is_some_and(is_over_rate) {
        judged.findings.push(too_many(house));
    }
    house.checker.note(&judged.findings, judged.device);
    let expired = desk.judge.watches_credentials() && {
        let credential = answer::credential(request);
        desk.judge.is_expired(credential, now_us) || bound.is_wedged
    };
    let reason = if expired { Some(expired_reason(house.config.provider)) } else { judged.reason() };
    let (verdict, record) = match (device, reason) {
        (Some(device), None) => desk.arrive(device),
        (Some(device), Some(reason)) => {
            let verdict = desk.pass_or(reason);
            (verdict, desk.ledger.record(device, verdict))
        }
        (None, reason) => {
            let is_probe = judged.is_probe && reason.is_none();
            let counts = &mut desk.ledger.counts;
            *(if is_probe { &mut counts.probes } else { &mut counts.unkeyed }) += 1;
            (desk.pass_or(reason.unwrap_or(Reason::None)), NO_RECORD)
        }
    };
    let is_processed = !matches!(verdict.manner, Manner::Refused | Manner::DroppedBefore);
    if is_processed && expired {
        bound.is_wedged |= house.config.provider == Platform::Apns;
    } else if is_processed {
        let wedges = |finding: &Finding| finding.reason == Some(Reason::ExpiredProviderToken);
        bound.is_wedged |= judged.findings.iter().any(wedges);
        house.checker.learn(request, &judged, &mut bound, now);
    }
    (verdict, record, judged)
}

fn too_many(house: &House) -> Finding {
    let reason = match house.config.provider {
        Platform::Apns => Reason::TooManyRequests,
        Platform::Fcm => Reason::QuotaExceeded,
    };
    Finding::refused(reason, "too many requests for a device")
}

fn expired_reason(provider: Platform) -> Reason {
    match provider {
        Platform::Apns => Reason::ExpiredProviderToken,
        Platform::Fcm => Reason::Unauthenticated,
    }
}

/// When the answer is due: on a tick, and later on a connection with penalties.
fn due_us(house: &House, link: &Link) -> u64 {
    let penalty_us = match house.config.provider {
        Platform::Apns => link.penalties.get() * house.config.checks.penalty_delay.as_micros() as u64,
        Platform::Fcm => 0,
    };
    let mut desk = house.desk();
    let tick_us = house.config.latency.tick.as_micros() as u64;
    let now_us = desk.time.now_us;
    match desk.due_us() {
        None if penalty_us == 0 => now_us,
        due_us => (due_us.unwrap_or(now_us) + penalty_us).div_ceil(tick_us) * tick_us,
    }
}

/// What an answer means for its connection.
fn settle(house: &House, link: &Link, verdict: Verdict) {
    if verdict == Verdict::ACCEPTED {
        return link.is_proven(house);
    }
    let reason = verdict.reason;
    let status = match house.config.provider {
        Platform::Apns => apns::status(reason),
        Platform::Fcm => fcm::status(reason),
    };
    if !matches!(status, Some("400" | "403" | "404" | "405" | "413")) || reason == Reason::FcmUnregistered {
        return;
    }
    if status != Some("403") {
        link.rejections.set(link.rejections.get() + 1);
    }
    let most = house.config.faults.goaway.after_rejections;
    if most.is_some_and(|most| link.rejections.get() >= most) {
        link.leave(house, None);
    }
    if house.config.provider == Platform::Apns {
        let weight = if reason == Reason::BadDeviceToken { BAD_DEVICE_TOKEN_WEIGHT } else { 1 };
        link.penalties.set(link.penalties.get() + weight);
        if link.penalties.get() >= house.config.checks.penalties_max {
            link.leave(house, Some(reason));
        }
    }
}
