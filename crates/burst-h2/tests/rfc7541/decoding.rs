//! Sections 2 to 6 for a decoder: tables and their sizes, integers, strings, representations.

use burst_h2::ErrorCode;
use httlib_hpack::Encoder;

use crate::transcript::frames::{answer, fields};
use crate::{hex, read, with_table};

/// The block behind a status of an answer makes the connection's compression state useless.
#[track_caller]
fn refused(table: u32, block: &str) {
    let block = [&[0x8d][..], &hex(block)].concat();
    with_table(table).breaks(answer(1, &block), ErrorCode::COMPRESSION_ERROR);
}

/// A literal that enters the table.
fn entry(name: &str, value_bytes: usize) -> Vec<u8> {
    let mut out = vec![0x40, name.len() as u8];
    out.extend_from_slice(name.as_bytes());
    if value_bytes < 127 {
        out.push(value_bytes as u8);
    } else {
        let rest = value_bytes - 127;
        out.extend_from_slice(&[127, rest as u8 | 0x80, (rest >> 7) as u8]);
    }
    out.extend(vec![b'v'; value_bytes]);
    out
}

#[test]
fn s2_3_2_the_newest_entry_has_the_lowest_index() {
    let mut wire = with_table(4096);
    read(&mut wire, 1, &[entry("a", 1), entry("b", 1), entry("c", 1)].concat());
    assert_eq!(read(&mut wire, 3, &hex("be bf c0")), "c=v b=v a=v");
}

#[test]
fn s2_3_2_entries_may_be_there_twice() {
    let mut wire = with_table(4096);
    read(&mut wire, 1, &entry("a", 1).repeat(2));
    assert_eq!(read(&mut wire, 3, &hex("be bf")), "a=v a=v");
}

#[test]
fn s2_3_3_indices_beyond_both_tables_are_refused() {
    refused(4096, "be");
    refused(0, "be");
    refused(4096, "ff 80 01");
    refused(4096, "7f 00 01 61");
    let mut wire = with_table(4096);
    read(&mut wire, 1, &entry("a", 1));
    wire.breaks(answer(3, &hex("8d be bf")), ErrorCode::COMPRESSION_ERROR);
}

#[test]
fn s4_1_an_entry_counts_32_bytes_more_than_its_name_and_value() {
    // 100 bytes hold an entry of 1 + 67 + 32 and not one of 1 + 68 + 32; two of 50 and not one byte more.
    let mut wire = with_table(100);
    read(&mut wire, 1, &entry("a", 67));
    assert_eq!(read(&mut wire, 3, &hex("be")), format!("a={}", "v".repeat(67)));
    read(&mut wire, 5, &[entry("b", 17), entry("c", 17)].concat());
    assert_eq!(read(&mut wire, 7, &hex("bf")), format!("b={}", "v".repeat(17)));
    read(&mut wire, 9, &[entry("d", 17), entry("e", 18)].concat());
    wire.breaks(answer(11, &hex("8d bf")), ErrorCode::COMPRESSION_ERROR);
}

#[test]
fn s4_2_updates_up_to_what_we_announced_are_obeyed_and_larger_ones_refused() {
    for (table, update, is_fine) in [
        (4096, "3f e1 1f", true),
        (4096, "3f e2 1f", false),
        (100, "3f 45", true),
        (100, "3f 46", false),
        (0, "20", true),
        (0, "21", false),
    ] {
        let block = [hex(update), vec![0x88]].concat();
        let mut wire = with_table(table);
        if is_fine {
            wire.peer_sends(answer(1, &block));
            wire.tells(["1 answered 200"]);
        } else {
            wire.breaks(answer(1, &block), ErrorCode::COMPRESSION_ERROR);
        }
    }
}

#[test]
fn s4_2_an_update_stands_at_the_beginning_of_a_block_and_may_stand_twice() {
    let mut wire = with_table(4096);
    read(&mut wire, 1, &entry("a", 1));
    wire.peer_sends(answer(3, &hex("20 3f e1 1f 8d")));
    wire.tells(["2 answered 404"]);
    wire.breaks(answer(5, &hex("8d be")), ErrorCode::COMPRESSION_ERROR);
    refused(4096, "20");
}

#[test]
fn s4_3_a_smaller_table_loses_its_oldest_entries() {
    let mut wire = with_table(4096);
    read(&mut wire, 1, &[entry("a", 1), entry("b", 1), entry("c", 1)].concat());
    // Two entries of 34 fit 68 bytes.
    wire.peer_sends(answer(3, &hex("3f 25 8d be bf")));
    wire.tells(["2 answered 404 c=v b=v"]);
    wire.breaks(answer(5, &hex("8d c0")), ErrorCode::COMPRESSION_ERROR);
}

#[test]
fn s4_4_an_entry_larger_than_the_table_empties_it_and_is_no_error() {
    let mut wire = with_table(100);
    read(&mut wire, 1, &entry("a", 1));
    assert_eq!(read(&mut wire, 3, &entry("b", 68)), format!("b={}", "v".repeat(68)));
    wire.breaks(answer(5, &hex("8d be")), ErrorCode::COMPRESSION_ERROR);
}

#[test]
fn s4_4_a_new_entry_may_take_its_name_from_one_that_makes_room_for_it() {
    let mut wire = with_table(70);
    read(&mut wire, 1, &entry("name", 2));
    let block = [&hex("7e 20")[..], &[b'w'; 32]].concat();
    assert_eq!(read(&mut wire, 3, &block), format!("name={}", "w".repeat(32)));
    assert_eq!(read(&mut wire, 5, &hex("be")), format!("name={}", "w".repeat(32)));
}

#[test]
fn s5_1_integers_go_on_over_as_many_bytes_as_they_need() {
    // A value of 127 + 128 = 255 bytes; a name by index 58 in four bits; the same with zeros that add nothing.
    let mut wire = with_table(0);
    let value = "v".repeat(255);
    let block = [&hex("00 01 61 7f 80 01")[..], value.as_bytes()].concat();
    assert_eq!(read(&mut wire, 1, &block), format!("a={value}"));
    assert_eq!(read(&mut wire, 3, &hex("0f 2b 01 78")), "user-agent=x");
    assert_eq!(read(&mut wire, 5, &hex("0f ab 80 00 01 78")), "user-agent=x");
}

#[test]
fn s5_1_integers_that_are_cut_or_too_large_are_refused() {
    for block in [
        "ff",
        "ff 80",
        "0f",
        "00 01 61 7f",
        "ff ff ff ff ff ff 7f",
        "00 7f ff ff ff ff 7f 61",
        "ff 80 80 80 80 80 80 80 80 80 80 00",
    ] {
        refused(4096, block);
    }
}

#[test]
fn s5_2_strings_longer_than_their_block_are_refused() {
    for block in ["00", "00 01", "00 01 61", "00 01 61 02 62", "00 82 1f", "40 01 61 85 1f"] {
        refused(4096, block);
    }
}

#[test]
fn s5_2_strings_may_be_empty() {
    let mut wire = with_table(0);
    assert_eq!(read(&mut wire, 1, &hex("00 01 61 00")), "a=");
    assert_eq!(read(&mut wire, 3, &hex("00 01 61 80")), "a=");
}

#[test]
fn s5_2_huffman_strings_end_in_at_most_seven_ones() {
    // "a" is 00011; with three ones it fills its byte.
    let mut wire = with_table(0);
    assert_eq!(read(&mut wire, 1, &hex("00 01 78 81 1f")), "x=a");
    for (string, why) in
        [("81 18", "zeros"), ("82 1f ff", "eight ones and three"), ("81 ff", "nothing but ones")]
    {
        println!("{why}");
        refused(0, &format!("00 01 78 {string}"));
    }
}

#[test]
fn s5_2_a_huffman_string_with_the_end_of_string_symbol_is_refused() {
    refused(0, "00 01 78 84 ff ff ff ff");
    refused(0, "00 01 78 85 1f ff ff ff ff");
    refused(0, "00 84 ff ff ff fc 01 78");
}

#[test]
fn s5_2_every_byte_has_its_huffman_code() {
    let mut wire = with_table(0);
    for (stream, first) in [(1, 0), (3, 64), (5, 128), (7, 192)] {
        // Line ends and NUL are no values, and space may not stand at the edges.
        let text: Vec<u8> = (first..=first + 63u8).filter(|byte| !b"\0\r\n\t ".contains(byte)).collect();
        let mut block = Vec::new();
        let field = (b"x".to_vec(), text.clone(), Encoder::HUFFMAN_VALUE);
        Encoder::with_dynamic_size(0).encode(field, &mut block).unwrap();
        assert_eq!(read(&mut wire, stream, &block), format!("x={}", String::from_utf8_lossy(&text)));
    }
}

#[test]
fn s6_1_index_0_is_refused() {
    refused(4096, "80");
    refused(0, "80");
}

#[test]
fn s6_2_1_a_literal_with_indexing_enters_the_table() {
    let mut wire = with_table(4096);
    read(&mut wire, 1, &hex("40 01 61 01 62 75 01 63"));
    assert_eq!(read(&mut wire, 3, &hex("bf be")), "a=b retry-after=c");
}

#[test]
fn s6_2_2_other_literals_leave_the_table_alone() {
    let mut wire = with_table(4096);
    assert_eq!(read(&mut wire, 1, &hex("00 01 61 01 62 10 01 63 01 64")), "a=b c=d");
    assert_eq!(read(&mut wire, 3, &hex("0f 26 01 65 1f 26 01 66")), "retry-after=e retry-after=f");
    wire.breaks(answer(5, &hex("8d be")), ErrorCode::COMPRESSION_ERROR);
}

#[test]
fn s6_3_an_update_to_the_same_size_changes_nothing() {
    let mut wire = with_table(4096);
    read(&mut wire, 1, &entry("a", 1));
    wire.peer_sends(answer(3, &hex("3f e1 1f 8d be")));
    wire.tells(["2 answered 404 a=v"]);
}

#[test]
fn s4_2_a_block_of_an_update_alone_is_no_answer() {
    let mut wire = with_table(4096);
    wire.peer_sends(answer(1, &hex("20")));
    wire.tells(["1 unknown: Malformed"]);
    wire.peer_sends(answer(3, &fields(&[(":status", "200")])));
    wire.tells(["2 answered 200"]);
}

/// Where we differ on purpose: values of a 2xx answer are passed over, so broken Huffman code in one is not noticed.
#[test]
fn s5_2_values_that_nobody_keeps_are_passed_over() {
    let mut wire = with_table(0);
    wire.peer_sends(answer(1, &hex("88 00 01 78 81 18")));
    wire.tells(["1 answered 200"]);
}
