//! The encoder against an independent decoder, under changing tables, and the size of what it writes.

use httlib_hpack::Decoder as OtherDecoder;
use proptest::prelude::*;

use super::*;

fn template(token: &str, topic: &str) -> Template {
    Template::new(vec![
        Field::constant(":method", "POST"),
        Field::constant(":scheme", "https"),
        Field::constant(":authority", "api.push.apple.com"),
        Field::varying(":path"),
        Field::constant("authorization", token),
        Field::constant("apns-topic", topic),
        Field::varying("apns-id"),
    ])
    .unwrap()
}

fn fields(template: &Template, varying: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut values = varying.iter();
    let with_value = |field: &Field| match field {
        Field::Constant { name, value } => (name.as_bytes().to_vec(), value.to_vec()),
        Field::Varying { name } => (name.as_bytes().to_vec(), values.next().unwrap().to_vec()),
    };
    template.fields().iter().map(with_value).collect()
}

/// Our encoder and the peer's decoder, which must agree on every block.
struct Pair {
    encoder: Encoder,
    decoder: OtherDecoder<'static>,
    is_settled_next: bool,
}

impl Pair {
    fn new() -> Pair {
        Pair {
            encoder: Encoder::new(),
            decoder: OtherDecoder::with_dynamic_size(4096),
            is_settled_next: false,
        }
    }

    fn announce(&mut self, bytes: usize) {
        self.encoder.set_table_bytes(bytes);
        self.decoder.set_max_dynamic_size(bytes as u32);
    }

    /// Sends a request and returns its block.
    fn send(&mut self, template: &Template, varying: &[&[u8]]) -> Vec<u8> {
        let mut block = Vec::new();
        // A connection sends the settled block wherever there is one; here each kind follows each.
        self.is_settled_next = !self.is_settled_next;
        match self.encoder.settled(template, varying) {
            Some(settled) if self.is_settled_next => block = settled.filled(varying),
            _ => self.encoder.encode(template, varying, &mut block),
        }
        let mut decoded = Vec::new();
        self.decoder.decode(&mut block.clone(), &mut decoded).unwrap();
        let decoded: Vec<_> = decoded.into_iter().map(|(name, value, _)| (name, value)).collect();
        assert_eq!(decoded, fields(template, varying));
        block
    }
}

#[test]
fn from_the_second_request_on_a_constant_is_one_byte() {
    let mut pair = Pair::new();
    let template = template(&"t".repeat(200), "com.example");
    let path = [b'p'; 74];
    assert!(pair.send(&template, &[&path, b"id-1"]).len() > 300);
    let block = pair.send(&template, &[&path, b"id-2"]);
    // Five constants of a byte each, two names of one or two, two lengths, the values.
    assert_eq!(block.len(), 5 + (1 + 1 + 74) + (2 + 1 + 4));
    let before = pair.encoder.generation;
    assert_eq!(pair.send(&template, &[&path, b"id-3"]).len(), block.len());
    assert_eq!(pair.encoder.generation, before, "nothing entered the table");
}

#[test]
fn a_renewed_authorization_takes_the_place_of_the_old_one() {
    let mut pair = Pair::new();
    // 2,000 bytes each: the table holds one beside the other constants.
    let tokens = ["a", "b", "c", "d"].map(|t| t.repeat(2000));
    for token in &tokens {
        let template = template(token, "com.example");
        for _ in 0..4 {
            pair.send(&template, &[b"/1", b"2"]);
        }
        assert!(pair.send(&template, &[b"/1", b"2"]).len() < 20, "all constants are back in the table");
    }
    assert!(pair.encoder.bytes <= 4096);
}

#[test]
fn templates_in_turn_share_the_table() {
    let mut pair = Pair::new();
    let one = template("token", "com.example.one");
    let two = template("token", "com.example.two");
    for _ in 0..3 {
        pair.send(&one, &[b"/1", b"2"]);
        pair.send(&two, &[b"/1", b"2"]);
    }
    assert_eq!(pair.send(&one, &[b"/1", b"2"]).len(), pair.send(&two, &[b"/1", b"2"]).len());
    assert!(pair.send(&one, &[b"/1", b"2"]).len() < 20);
}

#[test]
fn a_peer_without_table_gets_literals_and_is_told_the_size_first() {
    let mut pair = Pair::new();
    pair.announce(0);
    let template = template("token", "com.example");
    let first = pair.send(&template, &[b"/1", b"2"]);
    assert_eq!(first[0], 0x20, "size update to 0");
    let second = pair.send(&template, &[b"/1", b"2"]);
    assert_eq!(first[1..], second[..]);
}

#[test]
fn a_table_made_small_and_large_again_is_told_both() {
    let mut pair = Pair::new();
    let template = template("token", "com.example");
    pair.send(&template, &[b"/1", b"2"]);
    pair.announce(0);
    pair.announce(4096);
    let block = pair.send(&template, &[b"/1", b"2"]);
    assert_eq!(block[..4], [0x20, 0x3f, 0xe1, 0x1f], "first 0, which empties the table, then 4096");
    assert!(pair.send(&template, &[b"/1", b"2"]).len() < 20);
}

#[test]
fn a_larger_table_than_ours_is_not_used() {
    let mut pair = Pair::new();
    pair.announce(65_536);
    let template = template("token", "com.example");
    assert_eq!(pair.send(&template, &[b"/1", b"2"])[0], 0x83, "no size update");
}

#[test]
#[should_panic(expected = "one value for each varying place")]
fn a_missing_value_is_a_mistake_of_the_caller() {
    Encoder::new().encode(&template("token", "topic"), &[&b"/1"[..]], &mut Vec::new());
}

#[derive(Clone, Debug)]
enum Step {
    Announce(usize),
    Send(usize, Vec<u8>, Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = prop_oneof![Just(0usize), 30..200usize, 200..800usize, Just(4096), Just(10_000)];
    let value = || prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        1 => sizes.prop_map(Step::Announce),
        8 => (0..5usize, value(), value()).prop_map(|(at, path, id)| Step::Send(at, path, id)),
    ]
}

proptest! {
    #[test]
    fn agrees_with_an_independent_decoder_whatever_the_table_does(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let templates = [
            template("token", "com.example.one"),
            template("token", "com.example.two"),
            template(&"renewed".repeat(20), "com.example.one"),
            template(&"long".repeat(800), "com.example.one"),
            template(&"longer".repeat(800), "com.example.one"),
        ];
        let mut pair = Pair::new();
        for step in steps {
            match step {
                Step::Announce(bytes) => pair.announce(bytes),
                Step::Send(at, path, id) => {
                    pair.send(&templates[at], &[&path, &id]);
                }
            }
        }
    }

    #[test]
    fn a_template_sent_again_and_again_settles_in_the_table(
        sizes in prop::collection::vec(0..1500usize, 1..8),
        before in prop::collection::vec(0..3000usize, 0..4),
    ) {
        let mut pair = Pair::new();
        for size in before {
            pair.send(&template(&"x".repeat(size), "before"), &[b"/", b""]);
        }
        let mut list = vec![
            Field::constant(":method", "POST"),
            Field::constant(":scheme", "https"),
            Field::varying(":path"),
            Field::varying("x-varying"),
        ];
        list.extend(sizes.iter().enumerate().map(|(i, &n)| Field::constant(&format!("x-{i}"), "v".repeat(n))));
        let template = Template::new(list).unwrap();
        for _ in 0..12 {
            pair.send(&template, &[b"/", b"1"]);
        }
        let settled = pair.encoder.generation;
        pair.send(&template, &[b"/", b"2"]);
        prop_assert_eq!(pair.encoder.generation, settled);
    }
}
