//! Sections 4 to 6 for an encoder: what our requests look like to an independent decoder while the peer's table changes.

use burst_h2::{Field, Nanos, Request, Template};
use httlib_hpack::Decoder;
use proptest::prelude::*;

use crate::transcript::Wire;
use crate::transcript::frames::*;

/// Our connection and the peer's decoder.
struct Pair {
    wire: Wire,
    decoder: Decoder<'static>,
}

impl Pair {
    fn new() -> Pair {
        let mut pair = Pair { wire: Wire::ready(), decoder: Decoder::with_dynamic_size(4096) };
        pair.wire.output();
        pair
    }

    /// The peer announces SETTINGS_HEADER_TABLE_SIZE.
    fn announces(&mut self, bytes: u32) {
        self.wire.now += 1_001_000_000;
        self.wire.peer_sends(settings(&[(HEADER_TABLE_SIZE, bytes)]));
        self.wire.output();
        self.decoder.set_max_dynamic_size(bytes);
    }

    /// Sends a request, which must be read as it was meant, and answers it. Its block.
    fn sends(&mut self, template: &Template, values: &[&[u8]]) -> Vec<u8> {
        let request = Request { template, values, tag: 0, deadline: Nanos::MAX };
        self.wire.connection.start(&request, self.wire.now).unwrap();
        let frames = parse(&self.wire.output());
        let stream = frames[0].stream;
        let block: Vec<u8> = frames.into_iter().flat_map(|frame| frame.payload).collect();
        let mut read = Vec::new();
        self.decoder.decode(&mut block.clone(), &mut read).unwrap();
        let read: Vec<_> = read.into_iter().map(|(name, value, _)| (name, value)).collect();
        let mut values = values.iter();
        let meant: Vec<_> = template
            .fields()
            .iter()
            .map(|field| match field {
                Field::Constant { name, value } => (name.as_bytes().to_vec(), value.to_vec()),
                Field::Varying { name } => (name.as_bytes().to_vec(), values.next().unwrap().to_vec()),
            })
            .collect();
        assert_eq!(read, meant);
        self.wire.peer_sends(answer(stream, OK));
        self.wire.told();
        block
    }

    fn sends_usual(&mut self, template: &Template) -> Vec<u8> {
        self.sends(template, &[b"/3/device/00", b"id"])
    }
}

fn template(authorization: &str) -> Template {
    Template::new(vec![
        Field::constant(":method", "POST"),
        Field::constant(":scheme", "https"),
        Field::constant(":authority", "fcm.googleapis.com"),
        Field::varying(":path"),
        Field::constant("authorization", authorization),
        Field::constant("content-type", "application/json"),
        Field::varying("apns-id"),
    ])
    .unwrap()
}

/// As OAuth has them.
fn long(letter: &str) -> Template {
    template(&letter.repeat(2048))
}

#[test]
fn s2_3_constants_enter_the_table_once_and_are_an_index_from_then_on() {
    let mut pair = Pair::new();
    let template = long("a");
    assert!(pair.sends_usual(&template).len() > 2100);
    let block = pair.sends_usual(&template);
    assert!(block.len() < 30, "{} bytes", block.len());
    assert_eq!(pair.sends_usual(&template), block);
}

#[test]
fn s4_2_a_peer_without_a_table_gets_literals_and_is_told_its_size_first() {
    let mut pair = Pair::new();
    pair.announces(0);
    let first = pair.sends_usual(&long("a"));
    assert_eq!(first[0], 0x20);
    assert_eq!(pair.sends_usual(&long("a")), first[1..]);
}

#[test]
fn s4_2_a_table_shrunk_between_requests_is_told_in_the_next_block() {
    let mut pair = Pair::new();
    let template = template("bearer x");
    pair.sends_usual(&template);
    pair.announces(100);
    let block = pair.sends_usual(&template);
    assert_eq!(block[..2], [0x3f, 100 - 31]);
    pair.sends_usual(&template);
    pair.announces(50);
    assert_eq!(pair.sends_usual(&template)[..2], [0x3f, 50 - 31]);
    pair.announces(0);
    assert_eq!(pair.sends_usual(&template)[0], 0x20);
}

#[test]
fn s4_2_of_several_changes_the_smallest_and_the_last_are_told() {
    let mut pair = Pair::new();
    pair.sends_usual(&long("a"));
    for bytes in [1000, 40, 3000, 4096] {
        pair.announces(bytes);
    }
    let block = pair.sends_usual(&long("a"));
    assert_eq!(block[..5], [0x3f, 40 - 31, 0x3f, 0xe1, 0x1f]);
    assert!(pair.sends_usual(&long("a")).len() < 30, "everything is back in the table");
}

#[test]
fn s4_2_both_sizes_of_one_settings_frame_count() {
    let mut wire = Wire::ready();
    wire.client_starts_many(1);
    wire.peer_sends(settings(&[(HEADER_TABLE_SIZE, 0), (HEADER_TABLE_SIZE, 4096)]));
    wire.client_starts(2, "");
    let output = wire.output();
    assert_eq!(parse(&output)[1].payload[..4], [0x20, 0x3f, 0xe1, 0x1f]);
}

#[test]
fn s4_2_a_larger_table_than_we_use_needs_no_update() {
    let mut pair = Pair::new();
    pair.announces(65_536);
    assert_eq!(pair.sends_usual(&long("a"))[0], 0x83);
    pair.announces(8192);
    assert!(pair.sends_usual(&long("b"))[0] & 0xe0 != 0x20);
}

#[test]
fn s4_3_a_table_too_small_for_a_long_authorization_still_serves_the_others() {
    let mut pair = Pair::new();
    pair.announces(512);
    let template = long("a");
    pair.sends_usual(&template);
    let block = pair.sends_usual(&template);
    assert!(
        (2048..2048 + 60).contains(&block.len()),
        "{} bytes: only the long one is written out",
        block.len()
    );
}

#[test]
fn s4_4_a_renewed_authorization_evicts_the_old_one_and_shifts_the_others() {
    let mut pair = Pair::new();
    for letter in ["a", "b", "c", "d", "a"] {
        let template = long(letter);
        for _ in 0..3 {
            pair.sends_usual(&template);
        }
        let block = pair.sends_usual(&template);
        assert!(block.len() < 30, "everything is back in the table: {} bytes", block.len());
    }
}

#[test]
fn s4_4_old_and_new_authorization_may_take_turns() {
    let mut pair = Pair::new();
    let (old, new) = (long("a"), long("b"));
    for _ in 0..6 {
        pair.sends_usual(&old);
        pair.sends_usual(&new);
        pair.sends_usual(&new);
    }
}

#[test]
fn s5_2_values_of_any_length_are_written() {
    let mut pair = Pair::new();
    let template = template("bearer x");
    for length in [0, 1, 126, 127, 128, 254, 255, 256, 16_383, 16_384, 20_000] {
        pair.sends(&template, &[&vec![b'/'; length], &vec![b'i'; length]]);
    }
}

#[test]
fn s6_2_2_varying_values_never_enter_the_table() {
    let mut pair = Pair::new();
    let template = template("bearer x");
    pair.sends_usual(&template);
    pair.sends_usual(&template);
    let block = pair.sends(&template, &[b"/one", b"1"]);
    for number in 0..200u32 {
        let path = format!("/{number:03}");
        assert_eq!(pair.sends(&template, &[path.as_bytes(), b"1"]).len(), block.len());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Announce(u32),
    Send(usize, Vec<u8>, Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = prop_oneof![Just(0u32), 30..200u32, 200..3000u32, Just(4096), Just(65_536)];
    let value = || prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        1 => sizes.prop_map(Step::Announce),
        6 => (0..5usize, value(), value()).prop_map(|(at, path, id)| Step::Send(at, path, id)),
    ]
}

proptest! {
    #[test]
    fn an_independent_decoder_reads_every_request_whatever_the_table_does(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let templates = [template("bearer x"), template("bearer y"), long("a"), long("b"), template(&"z".repeat(500))];
        let mut pair = Pair::new();
        for step in steps {
            match step {
                Step::Announce(bytes) => pair.announces(bytes),
                Step::Send(at, path, id) => {
                    pair.sends(&templates[at], &[&path, &id]);
                }
            }
        }
    }
}
