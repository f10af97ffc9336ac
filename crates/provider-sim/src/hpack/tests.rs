//! Both directions against an independent codec, and what a decoder must refuse.

use proptest::prelude::*;

use super::{Corrupt, Decoder, Encoder, Name, huffman};

type Field = (Vec<u8>, Vec<u8>);

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(Name, Vec<u8>)>, Corrupt> {
    let mut fields = Vec::new();
    decoder.decode(block, |name, value, _| fields.push((name, value.to_vec())))?;
    Ok(fields)
}

fn known(fields: &[Field]) -> Vec<(Name, Vec<u8>)> {
    fields.iter().map(|(name, value)| (Name::of(name), value.clone())).collect()
}

fn theirs(decoder: &mut httlib_hpack::Decoder<'_>, block: &[u8]) -> Vec<Field> {
    let (mut block, mut fields) = (block.to_vec(), Vec::new());
    decoder.decode(&mut block, &mut fields).unwrap();
    fields.into_iter().map(|(name, value, _)| (name, value)).collect()
}

fn a_field() -> impl Strategy<Value = (Field, u8)> {
    let names = [":path", ":method", "authorization", "apns-id", "apns-topic", "x-other", "content-length"];
    let name = prop::sample::select(names.map(str::as_bytes).to_vec());
    (name, prop::collection::vec(any::<u8>(), 0..60), any::<u8>()).prop_map(|(name, value, flags)| {
        ((name.to_vec(), value), flags & 0x1f & !httlib_hpack::Encoder::NEVER_INDEXED)
    })
}

proptest! {
    #[test]
    fn decodes_what_an_independent_encoder_writes(blocks in prop::collection::vec(prop::collection::vec(a_field(), 0..12), 1..30)) {
        let (mut encoder, mut decoder) = (httlib_hpack::Encoder::default(), Decoder::new(4_096));
        for fields in blocks {
            let mut block = Vec::new();
            for ((name, value), flags) in &fields {
                encoder.encode((name.clone(), value.clone(), *flags), &mut block).unwrap();
            }
            let fields: Vec<Field> = fields.into_iter().map(|(field, _)| field).collect();
            prop_assert_eq!(decode(&mut decoder, &block), Ok(known(&fields)));
        }
    }

    #[test]
    fn an_independent_decoder_reads_what_it_encodes(
        blocks in prop::collection::vec(prop::collection::vec((a_field(), any::<bool>()), 0..12), 1..30),
        sizes in prop::collection::vec(0usize..6_000, 30),
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(4_096), httlib_hpack::Decoder::default());
        for (number, (fields, size)) in blocks.into_iter().zip(sizes).enumerate() {
            if number % 3 == 2 {
                encoder.allow(size);
            }
            let (mut block, mut expected) = (Vec::new(), Vec::new());
            encoder.begin(&mut block);
            for ((field, _), is_constant) in fields {
                match is_constant {
                    true => encoder.constant(&field.0, &field.1, &mut block),
                    false => encoder.named(&field.0, &field.1, &mut block),
                }
                expected.push(field);
            }
            prop_assert_eq!(theirs(&mut decoder, &block), expected);
        }
    }

    #[test]
    fn no_block_makes_it_panic(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..10)) {
        let mut decoder = Decoder::new(4_096);
        for block in blocks {
            let _ = decode(&mut decoder, &block);
        }
    }
}

#[test]
fn every_byte_survives_the_huffman_code() {
    for byte in 0..=255u8 {
        let value = vec![byte, b'a', byte, byte];
        let mut block = Vec::new();
        let flags = httlib_hpack::Encoder::HUFFMAN_VALUE | httlib_hpack::Encoder::HUFFMAN_NAME;
        httlib_hpack::Encoder::default().encode((b"x-y".to_vec(), value.clone(), flags), &mut block).unwrap();
        assert_eq!(decode(&mut Decoder::new(4_096), &block), Ok(vec![(Name::Other, value)]));
    }
}

#[test]
fn huffman_text_must_end_in_less_than_a_byte_of_ones() {
    let decode = |coded: &[u8]| {
        let mut out = Vec::new();
        huffman::decode(coded, &mut out).map(|()| out)
    };
    assert_eq!(decode(&[0b0001_1111]), Ok(b"a".to_vec()));
    assert_eq!(decode(&[]), Ok(Vec::new()));
    assert_eq!(decode(&[0b0001_1110]), Err(Corrupt), "padding of zeros");
    assert_eq!(decode(&[0b0001_1111, 0xff]), Err(Corrupt), "a whole byte of padding");
    assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), Err(Corrupt), "the end-of-string symbol");
}

#[test]
fn what_cannot_be_meant_is_corrupt() {
    for (block, why) in [
        (&[0x80][..], "index 0"),
        (&[0xff, 0x80, 0x80, 0x80, 0x80, 0x01], "an index that is too long"),
        (&[0xbe], "an empty dynamic table"),
        (&[0x00, 0x05, b'a'], "a name that ends early"),
        (&[0x04], "a value that is missing"),
        (&[0x82, 0x20], "a size update after a field"),
        (&[0x3f, 0xe2, 0x1f], "4,097 bytes of table"),
    ] {
        assert_eq!(decode(&mut Decoder::new(4_096), block), Err(Corrupt), "{why}");
    }
    assert_eq!(decode(&mut Decoder::new(4_096), &[0x3f, 0xe1, 0x1f]), Ok(vec![]), "4,096 bytes of table");
}

#[test]
fn once_acknowledged_a_smaller_table_is_the_limit() {
    let mut decoder = Decoder::new(0);
    assert!(decode(&mut decoder, &[0x3f, 0xe1, 0x1f]).is_ok(), "before the acknowledgement");
    decoder.limit(0);
    assert_eq!(decode(&mut decoder, &[0x3f, 0xe1, 0x1f]), Err(Corrupt));
    assert!(decode(&mut decoder, &[0x20]).is_ok());
    assert_eq!(decode(&mut decoder, b"\x44\x01/\xbe"), Err(Corrupt), "nothing stays in a table of no bytes");
}

#[test]
fn a_table_of_no_bytes_makes_answers_literal() {
    let mut encoder = Encoder::new(4_096);
    encoder.allow(0);
    let mut blocks = [Vec::new(), Vec::new()];
    for block in &mut blocks {
        encoder.begin(block);
        encoder.constant(b":status", b"200", block);
        encoder.constant(b"server", b"x", block);
    }
    assert_eq!(blocks[0][..2], [0x20, 0x88], "the size update comes first");
    assert_eq!(blocks[0][1..], blocks[1][..], "and nothing depends on what came before");
}

#[test]
fn names_that_http2_forbids_are_malformed() {
    for bad in ["", "Upper", "sp ace", "connection", "transfer-encoding", ":unknown", "a:b"] {
        assert_eq!(Name::of(bad.as_bytes()), Name::Malformed, "{bad:?}");
    }
    assert_eq!(Name::of(b"te"), Name::Other);
}
