//! Sections 8.2 and 8.3: fields of requests and answers.

use burst_h2::{ConnectionConfig, ErrorCode, Field, Template};
use httlib_hpack::Decoder;

use crate::transcript::frames::*;
use crate::transcript::{Wire, template_with};

const P: ErrorCode = ErrorCode::PROTOCOL_ERROR;
const MALFORMED: &str = "1 unknown: Malformed";

/// An answer with this status and field is malformed, in whatever way the status is written.
#[track_caller]
fn is_malformed(status: &str, name: &str, value: &str) {
    let whole = fields(&[(":status", status), (name, value)]);
    let mut blocks = vec![whole];
    let indexed = ["200", "204", "206", "304", "400", "404", "500"].iter().position(|known| *known == status);
    blocks.extend(indexed.map(|at| [&[0x88 + at as u8][..], &fields(&[(name, value)])].concat()));
    for block in blocks {
        Wire::with_requests(1).resets(answer(1, &block), 1, P, MALFORMED);
    }
}

#[test]
fn s8_2_names_in_upper_case_are_malformed() {
    for status in ["200", "410"] {
        is_malformed(status, "Date", "today");
        is_malformed(status, "apns-iD", "x");
    }
}

#[test]
fn s8_2_1_names_with_other_characters_than_visible_ones_are_malformed() {
    for status in ["200", "400", "410"] {
        for name in ["", "a b", "a\0", "\x7f", "\u{e9}", "a:b", "a\n"] {
            is_malformed(status, name, "x");
        }
    }
}

#[test]
fn s8_2_1_values_with_line_ends_or_space_around_them_are_malformed() {
    for status in ["400", "410"] {
        for value in ["a\0", "a\nb", "a\rb", " a", "a\t"] {
            is_malformed(status, "x", value);
        }
    }
}

/// Where we differ on purpose: no value of a 2xx answer is kept, so none is looked at.
#[test]
fn s8_2_1_values_that_nobody_keeps_cost_an_accepted_request_nothing() {
    let mut wire = Wire::with_requests(2);
    wire.peer_sends(answer(1, &fields(&[(":status", "200"), ("x", "a\nb")])));
    wire.peer_sends(answer(3, &[OK, &fields(&[("x", " a ")])].concat()));
    wire.tells(["1 answered 200", "2 answered 200"]);
}

#[test]
fn s8_2_1_other_values_are_kept_as_they_are() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(answer(1, &fields(&[(":status", "400"), ("a", ""), ("b", "x \t\u{e9}\x7f\x01 y")])));
    wire.tells(["1 answered 400 a= b=x \t\u{e9}\x7f\x01 y"]);
}

#[test]
fn s8_2_2_fields_of_a_connection_are_malformed() {
    for status in ["200", "400", "410"] {
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
            is_malformed(status, name, "x");
        }
    }
    // By the index of its name, and with its name in Huffman code.
    for block in [&b"\x88\x0f\x2a\x01x"[..], b"\x88\xb9", b"\x88\x00\x85\xb6\xb9\xac\x1c\x85\x01x"] {
        Wire::with_requests(1).resets(answer(1, block), 1, P, MALFORMED);
    }
}

#[test]
fn s8_2_2_no_field_of_a_connection_is_sent() {
    for name in ["connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        let fields = [":method", ":scheme", ":path", name].map(|name| Field::constant(name, "x"));
        assert!(Template::new(fields.to_vec()).is_err(), "{name}");
    }
}

#[test]
fn s8_2_names_and_values_that_are_sent_are_legal() {
    let with = |name: &str, value: &str| {
        let mut fields = [":method", ":scheme", ":path"].map(|name| Field::constant(name, "x")).to_vec();
        fields.push(Field::constant(name, value));
        Template::new(fields)
    };
    assert!(with("apns-topic", "com.example").is_ok());
    for name in ["", "Upper", "a b", "a:b", "\u{e9}"] {
        assert!(with(name, "x").is_err(), "{name:?}");
    }
    for value in ["a\0", "a\r", "a\n", " a", "a\t"] {
        assert!(with("x", value).is_err(), "{value:?}");
    }
}

#[test]
fn s8_2_3_cookies_may_come_apart() {
    let mut wire = Wire::with_requests(1);
    wire.peer_sends(answer(1, &fields(&[(":status", "400"), ("cookie", "a=b"), ("cookie", "c=d")])));
    wire.tells(["1 answered 400 cookie=a=b cookie=c=d"]);
}

#[test]
fn s8_3_unknown_and_misplaced_pseudo_headers_are_malformed() {
    for status in ["200", "400", "410"] {
        for name in [":method", ":path", ":scheme", ":authority", ":protocol", ":", ":status"] {
            is_malformed(status, name, "200");
        }
    }
    let late = fields(&[("a", "b"), (":status", "200")]);
    Wire::with_requests(1).resets(answer(1, &late), 1, P, MALFORMED);
}

#[test]
fn s8_3_pseudo_headers_behind_the_status_are_malformed_by_index_too() {
    // Every entry of the static table that is a pseudo header, and each such name with a value of its own.
    for index in 1..=14 {
        for block in [vec![0x88, 0x80 | index], vec![0x88, index, 1, b'x']] {
            Wire::with_requests(1).resets(answer(1, &block), 1, P, MALFORMED);
        }
    }
}

#[test]
fn s8_3_a_pseudo_header_in_the_dynamic_table_is_malformed_behind_the_status() {
    let config = ConnectionConfig { header_table_bytes: 4096, ..ConnectionConfig::default() };
    for entry in
        [&b"\x48\x03404"[..], b"\x40\x07:method\x03PUT", b"\x40\x0aconnection\x05close", b"\x40\x01A\x01b"]
    {
        let mut wire = Wire::configured(config.clone(), &[]);
        wire.client_starts_many(3);
        wire.peer_sends(answer(1, entry));
        wire.output();
        wire.told();
        wire.peer_sends(answer(3, b"\x88\xbe"));
        wire.client_writes(["RST_STREAM 3 PROTOCOL_ERROR"]);
        wire.tells(["2 unknown: Malformed"]);
        wire.peer_sends(answer(5, b"\x88\x0f\x2f\x01x"));
        wire.client_writes(["RST_STREAM 5 PROTOCOL_ERROR"]);
        wire.tells(["3 unknown: Malformed"]);
    }
}

#[test]
fn s8_3_1_requests_have_their_pseudo_headers_once_and_first() {
    let mut wire = Wire::ready();
    wire.template = template_with(&[("x", "y")]);
    wire.client_starts(1, "");
    let output = wire.output();
    let mut read = Vec::new();
    Decoder::default().decode(&mut parse(&output)[0].payload.clone(), &mut read).unwrap();
    let names: Vec<String> = read.iter().map(|field| String::from_utf8(field.0.clone()).unwrap()).collect();
    assert_eq!(names, [":method", ":scheme", ":path", "authorization", "x"]);
    let fields = |names: &[&str]| names.iter().map(|name| Field::constant(name, "x")).collect::<Vec<_>>();
    for wrong in [
        &[":method", ":scheme"][..],
        &[":method", ":path"],
        &[":scheme", ":path"],
        &[":method", ":scheme", ":path", ":path"],
        &[":method", ":scheme", "x", ":path"],
        &[":method", ":scheme", ":path", ":status"],
        &[":method", ":scheme", ":path", ":protocol"],
    ] {
        assert!(Template::new(fields(wrong)).is_err(), "{wrong:?}");
    }
}

#[test]
fn s8_3_2_an_answer_has_one_status_of_three_digits() {
    for status in ["", "20", "2000", "2x0", "099", "-20", "+20", " 200"] {
        Wire::with_requests(1).resets(answer(1, &fields(&[(":status", status)])), 1, P, MALFORMED);
    }
    let twice = fields(&[(":status", "200"), (":status", "200")]);
    Wire::with_requests(1).resets(answer(1, &twice), 1, P, MALFORMED);
    for (status, told) in [("200", "1 answered 200"), ("299", "1 answered 299"), ("999", "1 answered 999")] {
        let mut wire = Wire::with_requests(1);
        wire.peer_sends(answer(1, &fields(&[(":status", status)])));
        wire.tells([told]);
    }
}
