//! The one rule for sending a device again within the burst; docs/decisions/005 says why it is this one.
//! Whatever else may be tried later is a late retry, and not of this crate.

use burst_h2::Cause;
use model::{Class, OnUnknown, Outcome, Platform, Reason};

use crate::verdict::{Effect, Fault, Verdict};

/// How often a device is sent again because a provider did not process the request.
pub const REFUSALS_MAX: u8 = 7;

/// What was tried for a device so far. One byte, so that it travels in the tag of the request and needs no memory.
///
/// Bits 0 to 2: requests that the provider did not process. Bits 3 to 5: why nobody knows what became of an earlier
/// request, 0 when there is none. Bit 6: an answer asked for a new token. Bit 7: an answer asked for another connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt(u8);

const REFUSALS: u8 = 0b111;
/// Refusals after which a device goes before those that were refused less often.
const URGENT_AFTER: u8 = 3;
const EARLIER_SHIFT: u32 = 3;
const RENEWED: u8 = 1 << 6;
const RECONNECTED: u8 = 1 << 7;

/// The causes for which a device can be unknown, by their number in an [`Attempt`]; 0 stands for none.
const UNKNOWNS: [Reason; 6] = [
    Reason::None,
    Reason::TimedOut,
    Reason::ConnectionLost,
    Reason::StreamReset,
    Reason::WorkerLost,
    Reason::AnswerNotUnderstood,
];

impl Attempt {
    /// Nothing was tried.
    pub const FIRST: Attempt = Attempt(0);

    /// A worker that was lost may have sent it.
    pub const TAKEN_OVER: Attempt = Attempt(4 << EARLIER_SHIFT);

    /// The byte for a tag.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// From the byte of a tag.
    pub const fn from_code(code: u8) -> Attempt {
        Attempt(code)
    }

    /// Why nobody knows what became of an earlier request, if there was such a one.
    fn earlier(self) -> Option<Reason> {
        let cause = UNKNOWNS.get(usize::from(self.0 >> EARLIER_SHIFT) & 7).copied();
        cause.filter(|cause| *cause != Reason::None)
    }

    /// Requests that the provider has had for the device, those that it refused unread left out.
    fn requests(self) -> u32 {
        u32::from(self.earlier().is_some()) + (self.0 & (RENEWED | RECONNECTED)).count_ones()
    }

    /// Whether a request written now makes the device *resent*: the provider has had one before that was not refused
    /// unread. One that was answered "not like this" has not arrived at the phone, but it counts where requests are
    /// counted, as that of a late retry does.
    pub fn is_resent(self) -> bool {
        self.requests() > 0
    }

    /// Whether the provider has had no request of this worker's for the device: whoever takes it up again starts afresh.
    pub fn is_open(self) -> bool {
        self.refusal(Platform::Apns).is_none() && matches!(self.earlier(), None | Some(Reason::WorkerLost))
    }

    /// What the answer was called that asked for another request.
    fn refusal(self, platform: Platform) -> Option<Reason> {
        let of_token = match platform {
            Platform::Apns => Reason::ExpiredProviderToken,
            Platform::Fcm => Reason::Unauthenticated,
        };
        let is = |bit| self.0 & bit != 0;
        is(RENEWED).then_some(of_token).or_else(|| is(RECONNECTED).then_some(Reason::IdleTimeout))
    }

    /// Whether so many of its repetitions are used up that it should stand first on the next connection: providers
    /// refuse what stands last.
    pub(crate) fn is_urgent(self) -> bool {
        self.0 & REFUSALS >= URGENT_AFTER
    }

    fn refused(self) -> Option<Attempt> {
        (self.0 & REFUSALS < REFUSALS_MAX).then(|| Attempt(self.0 + 1))
    }

    fn unanswered(self, cause: Reason) -> Option<Attempt> {
        let number = UNKNOWNS.iter().position(|known| *known == cause)?;
        self.earlier().is_none().then_some(Attempt(self.0 | (number as u8) << EARLIER_SHIFT))
    }

    /// Once for each of the two causes that an answer can give.
    fn asked_again(self, cause: u8) -> Option<Attempt> {
        (self.0 & cause == 0).then_some(Attempt(self.0 | cause))
    }

    /// The outcome when no further request leaves for the device: what is not known of an earlier one stays unknown, and
    /// an answer that asked for another request is the last word. Of this class and reason if there was neither.
    pub fn unsent(self, platform: Platform, class: Class, reason: Reason) -> Outcome {
        let outcome = match (self.refusal(platform), self.earlier()) {
            (None, None) => Outcome::new(class, reason),
            // The worker that was lost may have sent it; ours was refused, and a late retry is marked anyhow.
            (Some(refusal), None | Some(Reason::WorkerLost)) => Outcome::new(Class::Rejected, refusal),
            (_, Some(cause)) => Outcome::new(Class::Unknown, cause),
        };
        outcome.with_resent(self.requests() > 1)
    }

    fn answered(self, outcome: Outcome) -> Outcome {
        outcome.with_resent(self.is_resent())
    }
}

/// What happens to a device next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing more.
    Final(Outcome),
    /// It is sent again, on another connection where there is one.
    Again(Attempt),
    /// Nothing more, and the launch cannot go on: every device would meet the same fault.
    Stop(Outcome, Fault),
}

/// After an answer.
pub fn after_answer(attempt: Attempt, verdict: &Verdict) -> Next {
    let outcome = attempt.answered(verdict.outcome);
    match verdict.effect {
        Effect::RenewToken { .. } => match attempt.asked_again(RENEWED) {
            Some(attempt) => Next::Again(attempt),
            None => Next::Stop(outcome, Fault::Credentials),
        },
        Effect::Reconnect => attempt.asked_again(RECONNECTED).map_or(Next::Final(outcome), Next::Again),
        Effect::StopLaunch(fault) => Next::Stop(outcome, fault),
        _ => Next::Final(outcome),
    }
}

/// After a request that the provider has certainly not processed. A revoked one was taken back by us: it is as if it
/// had never been started.
pub fn after_refusal(attempt: Attempt, cause: Cause, platform: Platform) -> Next {
    if cause == Cause::Revoked {
        return Next::Again(attempt);
    }
    let reason = match cause {
        Cause::Refused | Cause::GoAway => Reason::StreamRefused,
        _ => Reason::NoConnection,
    };
    match attempt.refused() {
        Some(attempt) => Next::Again(attempt),
        None => Next::Final(attempt.unsent(platform, Class::NotSent, reason)),
    }
}

/// After a request that was sent and of which nobody knows what became.
pub fn after_silence(attempt: Attempt, cause: Cause, policy: OnUnknown) -> Next {
    let reason = match cause {
        Cause::Timeout => Reason::TimedOut,
        Cause::Reset(_) => Reason::StreamReset,
        Cause::Malformed => Reason::AnswerNotUnderstood,
        _ => Reason::ConnectionLost,
    };
    let again = (policy == OnUnknown::ResendOnce).then(|| attempt.unanswered(reason)).flatten();
    let outcome = Outcome::new(Class::Unknown, reason).with_resent(attempt.is_resent());
    again.map_or(Next::Final(outcome), Next::Again)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(next: Next) -> Attempt {
        match next {
            Next::Again(attempt) => attempt,
            other => panic!("not sent again but {other:?}"),
        }
    }

    fn rejected(reason: Reason, effect: Effect) -> Verdict {
        Verdict::rejected(reason).with_effect(effect)
    }

    #[test]
    fn what_was_not_processed_is_sent_again_a_bounded_number_of_times_and_never_marked() {
        let mut attempt = Attempt::FIRST;
        for _ in 0..REFUSALS_MAX {
            attempt = again(after_refusal(attempt, Cause::Refused, Platform::Apns));
            assert!(!attempt.is_resent());
        }
        let last = after_refusal(attempt, Cause::GoAway, Platform::Apns);
        assert_eq!(last, Next::Final(Outcome::new(Class::NotSent, Reason::StreamRefused)));
        let last = after_refusal(attempt, Cause::PeerClosed, Platform::Apns);
        assert_eq!(last, Next::Final(Outcome::new(Class::NotSent, Reason::NoConnection)));
    }

    #[test]
    fn who_was_refused_again_and_again_goes_first() {
        let refused = |attempt| again(after_refusal(attempt, Cause::GoAway, Platform::Apns));
        let mut attempt = refused(refused(Attempt::FIRST));
        assert!(!attempt.is_urgent());
        while let Some(next) = attempt.refused() {
            attempt = next;
            assert!(attempt.is_urgent());
        }
    }

    #[test]
    fn what_we_took_back_ourselves_costs_no_try() {
        assert_eq!(
            after_refusal(Attempt::FIRST, Cause::Revoked, Platform::Apns),
            Next::Again(Attempt::FIRST)
        );
    }

    #[test]
    fn an_unanswered_request_is_repeated_once_and_marked() {
        let second = again(after_silence(Attempt::FIRST, Cause::Timeout, OnUnknown::ResendOnce));
        assert!(second.is_resent());
        assert_eq!(after_answer(second, &Verdict::ACCEPTED), Next::Final(Outcome::ACCEPTED.resent()));
        let lost = Outcome::new(Class::Unknown, Reason::ConnectionLost).resent();
        assert_eq!(after_silence(second, Cause::PeerClosed, OnUnknown::ResendOnce), Next::Final(lost));
    }

    #[test]
    fn the_policy_to_leave_repeats_nothing() {
        let timed_out = Outcome::new(Class::Unknown, Reason::TimedOut);
        assert_eq!(after_silence(Attempt::FIRST, Cause::Timeout, OnUnknown::Leave), Next::Final(timed_out));
    }

    #[test]
    fn a_device_taken_over_has_had_its_second_chance() {
        let lost = Outcome::new(Class::Unknown, Reason::ConnectionLost).resent();
        let next = after_silence(Attempt::TAKEN_OVER, Cause::Transport, OnUnknown::ResendOnce);
        assert_eq!(next, Next::Final(lost));
        let accepted = after_answer(Attempt::TAKEN_OVER, &Verdict::ACCEPTED);
        assert_eq!(accepted, Next::Final(Outcome::ACCEPTED.resent()));
    }

    #[test]
    fn a_repetition_that_never_left_leaves_the_first_request_unknown_and_unmarked() {
        let second = again(after_silence(Attempt::FIRST, Cause::Transport, OnUnknown::ResendOnce));
        let lost = Outcome::new(Class::Unknown, Reason::ConnectionLost);
        assert_eq!(second.unsent(Platform::Apns, Class::NotSent, Reason::Aborted), lost);
        assert_eq!(
            Attempt::FIRST.unsent(Platform::Apns, Class::Expired, Reason::None),
            Outcome::new(Class::Expired, Reason::None)
        );
    }

    #[test]
    fn a_token_is_renewed_once_for_a_device_and_the_second_refusal_stops_the_launch() {
        let verdict = rejected(Reason::Unauthenticated, Effect::RenewToken { closes_connection: false });
        let second = again(after_answer(Attempt::FIRST, &verdict));
        assert!(second.is_resent(), "the provider has had two requests");
        assert_eq!(after_answer(second, &verdict), Next::Stop(verdict.outcome.resent(), Fault::Credentials));
    }

    #[test]
    fn an_idle_timeout_is_cured_once_and_never_stops_a_launch() {
        let verdict = rejected(Reason::IdleTimeout, Effect::Reconnect);
        let second = again(after_answer(Attempt::FIRST, &verdict));
        assert_eq!(after_answer(second, &verdict), Next::Final(verdict.outcome.resent()));
    }

    #[test]
    fn an_idle_timeout_before_an_expired_token_does_not_stop_the_launch() {
        let idle = rejected(Reason::IdleTimeout, Effect::Reconnect);
        let expired = rejected(Reason::ExpiredProviderToken, Effect::RenewToken { closes_connection: true });
        let second = again(after_answer(Attempt::FIRST, &idle));
        let third = again(after_answer(second, &expired));
        assert_eq!(after_answer(third, &idle), Next::Final(idle.outcome.resent()));
        assert_eq!(after_answer(third, &expired), Next::Stop(expired.outcome.resent(), Fault::Credentials));
    }

    #[test]
    fn a_device_whose_answer_asked_for_another_request_is_never_taken_up_unmarked() {
        let expired = rejected(Reason::Unauthenticated, Effect::RenewToken { closes_connection: false });
        let unsent = |attempt: Attempt| attempt.unsent(Platform::Fcm, Class::NotSent, Reason::NoConnection);
        let second = again(after_answer(Attempt::FIRST, &expired));
        assert!(!second.is_open(), "the provider has had a request");
        assert_eq!(unsent(second), expired.outcome);
        let taken_over = again(after_answer(Attempt::TAKEN_OVER, &expired));
        assert_eq!((taken_over.is_open(), unsent(taken_over)), (false, expired.outcome.resent()));
        let silent = again(after_silence(Attempt::FIRST, Cause::Timeout, OnUnknown::ResendOnce));
        let third = again(after_answer(silent, &expired));
        assert_eq!(unsent(third), Outcome::new(Class::Unknown, Reason::TimedOut).resent());
    }

    #[test]
    fn a_fault_of_all_stops_at_its_first_device() {
        let verdict = rejected(Reason::BadTopic, Effect::StopLaunch(Fault::Message));
        assert_eq!(after_answer(Attempt::FIRST, &verdict), Next::Stop(verdict.outcome, Fault::Message));
    }

    #[test]
    fn every_other_answer_is_final() {
        for reason in [Reason::ServiceUnavailable, Reason::TooManyRequests, Reason::QuotaExceeded] {
            let verdict = Verdict::rejected(reason);
            assert_eq!(after_answer(Attempt::FIRST, &verdict), Next::Final(verdict.outcome));
        }
    }

    #[test]
    fn a_device_is_open_until_a_request_of_ours_may_have_arrived() {
        assert!(Attempt::FIRST.is_open() && Attempt::TAKEN_OVER.is_open());
        assert!(again(after_refusal(Attempt::FIRST, Cause::GoAway, Platform::Apns)).is_open());
        assert!(!again(after_silence(Attempt::FIRST, Cause::Timeout, OnUnknown::ResendOnce)).is_open());
    }

    #[test]
    fn an_attempt_survives_its_tag() {
        for code in 0..=u8::MAX {
            assert_eq!(Attempt::from_code(code).code(), code);
            let _ = Attempt::from_code(code).is_resent();
        }
    }
}
