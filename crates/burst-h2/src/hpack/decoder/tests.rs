//! The decoder against the examples of RFC 7541, an independent encoder, and blocks that no encoder writes.

use httlib_hpack::Encoder as OtherEncoder;
use proptest::prelude::*;

use super::*;

type Pairs = Vec<(String, String)>;

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Pairs, HpackError> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    decoder.decode(block, |name, value| fields.push((text(name), text(value))))?;
    Ok(fields)
}

fn with_table(bytes_max: usize) -> Decoder {
    Decoder::new(bytes_max, 1 << 20)
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

fn pairs(fields: &[(&str, &str)]) -> Pairs {
    fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn answers_of_rfc_7541_c_6_decode_with_evictions() {
    let mut decoder = with_table(256);
    let first = bytes(
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718
         63c7 8f0b 97c8 e9ae 82ae 43d3",
    );
    let common = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
    let location = ("location", "https://www.example.com");
    let expected = pairs(&[(":status", "302"), ("cache-control", "private"), common, location]);
    assert_eq!(decode(&mut decoder, &first).unwrap(), expected);

    let second = bytes("4883 640e ffc1 c0bf");
    let expected = pairs(&[(":status", "307"), ("cache-control", "private"), common, location]);
    assert_eq!(decode(&mut decoder, &second).unwrap(), expected);

    let third = bytes(
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7
         b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    );
    let expected = pairs(&[
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        location,
        ("content-encoding", "gzip"),
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ]);
    assert_eq!(decode(&mut decoder, &third).unwrap(), expected);
    assert_eq!(decoder.table.len(), 3, "the third answer evicts the first's entries");
}

#[test]
fn requests_of_rfc_7541_c_3_decode_without_huffman() {
    let mut decoder = with_table(4096);
    let block = bytes("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d");
    let expected =
        pairs(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")]);
    assert_eq!(decode(&mut decoder, &block).unwrap(), expected);
    let block = bytes("8286 84be 5808 6e6f 2d63 6163 6865");
    assert_eq!(decode(&mut decoder, &block).unwrap()[4], ("cache-control".into(), "no-cache".into()));
}

#[test]
fn never_indexed_literals_decode_and_leave_the_table_alone() {
    let mut decoder = with_table(4096);
    let block = bytes("1008 7061 7373 776f 7264 0673 6563 7265 74");
    assert_eq!(decode(&mut decoder, &block).unwrap(), pairs(&[("password", "secret")]));
    assert_eq!(decoder.table.len(), 0);
}

#[test]
fn broken_blocks_are_refused() {
    for (block, why) in [
        ("80", "index 0"),
        ("be", "index beyond the table"),
        ("ff", "integer cut"),
        ("ffffffffffffff7f", "integer too large"),
        ("40", "literal without a name"),
        ("4001", "name cut"),
        ("40016101", "value cut"),
        ("4001618261", "huffman value cut"),
        ("8820", "table size update after a field"),
        ("3fe21f", "table size beyond our limit"),
        ("400161 81 00", "broken huffman code"),
        ("0f", "index of a name cut"),
        ("7e", "name of an index beyond the table"),
    ] {
        assert!(decode(&mut with_table(4096), &bytes(block)).is_err(), "{why}");
    }
}

#[test]
fn with_table_size_0_nothing_is_kept_and_an_update_to_0_is_read() {
    let mut decoder = with_table(0);
    assert_eq!(decode(&mut decoder, &bytes("2088")).unwrap(), pairs(&[(":status", "200")]));
    assert_eq!(decode(&mut decoder, &bytes("4001610162")).unwrap(), pairs(&[("a", "b")]));
    assert_eq!(decoder.table.len(), 0);
    assert!(decode(&mut decoder, &bytes("be")).is_err());
}

#[test]
fn a_name_survives_the_eviction_of_the_entry_it_came_from() {
    let mut decoder = with_table(70);
    decode(&mut decoder, &bytes("40 02 6e61 02 7631")).unwrap();
    // Name by index 62, value long enough to push out that very entry.
    let block = [&bytes("7e 1e")[..], &[b'w'; 30]].concat();
    assert_eq!(decode(&mut decoder, &block).unwrap(), pairs(&[("na", &"w".repeat(30))]));
    assert_eq!(decode(&mut decoder, &bytes("be")).unwrap(), pairs(&[("na", &"w".repeat(30))]));
}

#[test]
fn skimming_reads_usual_answers_and_leaves_all_others_to_decoding() {
    let mut decoder = with_table(4096);
    for (block, status) in [
        ("88", Some(200)),
        ("88 0f2b 03 616263 1f0a 01 61", Some(200)),
        ("8b 00 02 7265 01 31", Some(304)),
        ("8c 0f0d 01 31", Some(400)),
        ("", None),
        ("20 88", None),
        ("82", None),
        ("88 88", None),
        ("88 bf", None),
        ("88 40 01 61 01 62", None),
        ("88 00 01 41 01 62", None),
        ("88 00 07 3a737461747573 03 323030", None),
        ("88 08 03 323030", None),
        ("88 0f2b 05 61", None),
    ] {
        assert_eq!(decoder.skim(&bytes(block)), status, "{block}");
    }
}

#[test]
fn without_a_table_literals_with_indexing_are_skimmed_too() {
    // What nginx sends: server, date and content-length "with indexing" each time.
    let block = bytes("88 76 85 aa6355e76b 61 03 646179 5f 01 30");
    assert_eq!(with_table(4096).skim(&block), None);
    assert_eq!(with_table(0).skim(&block), Some(200));
}

#[test]
fn names_in_huffman_code_are_skimmed_when_they_are_ordinary() {
    let mut decoder = with_table(0);
    // "no-cache" as a name, then ":status", then "A".
    assert_eq!(decoder.skim(&bytes("88 00 86 a8eb10649cbf 01 31")), Some(200));
    assert_eq!(decode(&mut with_table(0), &bytes("00 85 b8848d36a3 01 31")).unwrap()[0].0, ":status");
    assert_eq!(decoder.skim(&bytes("88 00 85 b8848d36a3 01 31")), None);
    assert_eq!(decode(&mut with_table(0), &bytes("00 81 87 01 31")).unwrap()[0].0, "A");
    assert_eq!(decoder.skim(&bytes("88 00 81 87 01 31")), None);
}

#[test]
fn a_block_skimmed_before_means_something_else_once_the_table_has_changed() {
    let mut decoder = with_table(4096);
    decoder.decode(&bytes("40 01 61 01 62"), |_, _| {}).unwrap();
    for _ in 0..2 {
        assert_eq!(decoder.skim(&bytes("88 be")), Some(200), "the newest entry is named a");
    }
    decoder.decode(&bytes("40 01 41 01 62"), |_, _| {}).unwrap();
    assert_eq!(decoder.skim(&bytes("88 be")), None, "now it is named A");
}

#[test]
fn only_the_value_at_the_end_of_a_skimmed_block_may_differ() {
    let mut decoder = with_table(4096);
    assert_eq!(decoder.skim(&bytes("88 0f2b 01 61 0f2c 02 6263")), Some(200));
    assert_eq!(decoder.skim(&bytes("88 0f2b 01 61 0f2c 02 0000")), Some(200));
    assert_eq!(decoder.skim(&bytes("8c 0f2b 01 61 0f2c 02 6263")), Some(400), "another status");
    assert_eq!(decoder.skim(&bytes("88 0f2b 01 61 0f2c 03 6263")), None, "a value beyond the end");
    assert_eq!(decoder.skim(&bytes("88 0f2b 01 61 0088 02 6263")), None, "a name in its place");
}

fn field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>, u8)> {
    let name = prop_oneof![
        Just(":status".to_owned()),
        Just("date".to_owned()),
        Just("apns-id".to_owned()),
        "[a-z][a-z-]{0,20}",
    ];
    let value = prop::collection::vec(any::<u8>(), 0..60);
    let flags = prop_oneof![Just(0u8), Just(0x4), Just(0x8), Just(0x14), Just(0x3), Just(0x17), Just(0x10)];
    (name, value, flags).prop_map(|(name, value, flags)| (name.into_bytes(), value, flags))
}

#[test]
fn a_short_block_that_stands_for_a_long_list_is_refused() {
    let mut decoder = Decoder::new(4096, 16 * 1024);
    let mut entry = vec![0x40, 1, b'a'];
    integer::put_string(&mut entry, &[b'v'; 4000]);
    assert_eq!(decode(&mut decoder, &entry).unwrap()[0].1.len(), 4000);
    assert_eq!(decode(&mut decoder, &[0xbe; 4]).unwrap().len(), 4);
    assert_eq!(decode(&mut decoder, &[0xbe; 5]), Err(HpackError("header list too long")));
}

proptest! {
    #[test]
    fn agrees_with_an_independent_encoder(
        blocks in prop::collection::vec(prop::collection::vec(field(), 0..12), 1..12),
        table in prop_oneof![Just(0u32), Just(100), Just(300), Just(4096)],
    ) {
        let mut other = OtherEncoder::with_dynamic_size(table);
        let mut decoder = with_table(table as usize);
        for fields in blocks {
            let mut block = Vec::new();
            for field in &fields {
                other.encode(field.clone(), &mut block).unwrap();
            }
            let skimmed = decoder.skim(&block);
            let mut decoded = Vec::new();
            decoder.decode(&block, |name, value| decoded.push((name.to_vec(), value.to_vec()))).unwrap();
            let expected: Vec<_> = fields.into_iter().map(|(name, value, _)| (name, value)).collect();
            if let Some(status) = skimmed {
                prop_assert_eq!(&decoded[0].0, b":status");
                let status = status.to_string().into_bytes();
                prop_assert_eq!(&decoded[0].1, &status);
            }
            prop_assert_eq!(decoded, expected);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_within_the_limits_of_the_table(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..8),
    ) {
        let mut decoder = with_table(200);
        for block in blocks {
            let _ = decoder.decode(&block, |_, _| {});
            prop_assert!(decoder.table.len() <= 200 / 32);
        }
    }

    #[test]
    fn what_skimming_accepts_decoding_accepts_too(rest in prop::collection::vec(any::<u8>(), 0..24)) {
        let mut decoder = with_table(0);
        let block = [&[0x88][..], &rest].concat();
        if decoder.skim(&block).is_some() {
            let result = decoder.decode(&block, |_, _| {});
            prop_assert!(result.is_ok() || result == Err(HpackError("broken huffman code")));
        }
    }
}
