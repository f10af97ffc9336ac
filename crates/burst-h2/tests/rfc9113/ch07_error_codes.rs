//! Section 7: error codes.

use burst_h2::ErrorCode;

use crate::transcript::Wire;
use crate::transcript::frames::*;

#[test]
fn s7_every_code_is_called_as_the_rfc_calls_it() {
    let names = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    for (code, name) in (0..).zip(names) {
        assert_eq!(ErrorCode(code).to_string(), name);
    }
    assert_eq!(ErrorCode(0xe).to_string(), "code 0xe");
}

#[test]
fn s7_unknown_codes_trigger_nothing_special() {
    let mut wire = Wire::with_requests(2);
    wire.peer_sends(reset(1, ErrorCode(0xdead_beef)));
    wire.tells(["1 unknown: Reset(code 0xdeadbeef)"]);
    wire.peer_sends(goaway(3, ErrorCode(u32::MAX), ""));
    wire.tells(["draining: GoAway { code: code 0xffffffff, last_stream: 3 }"]);
    wire.peer_sends(answer(3, OK));
    wire.tells(["2 answered 200"]);
}

#[test]
fn s7_only_refused_stream_says_that_nothing_was_processed() {
    for code in 0..=0x10 {
        let mut wire = Wire::with_requests(1);
        wire.peer_sends(reset(1, ErrorCode(code)));
        let told = wire.told();
        assert_eq!(told[0] == "1 not processed: Refused", code == ErrorCode::REFUSED_STREAM.0, "{told:?}");
    }
}
