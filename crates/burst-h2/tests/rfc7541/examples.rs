//! Appendix C: the RFC's examples, read by a connection. The requests of C.3 and C.4 come on a stream that is over, where
//! a block counts for the table only; an answer then shows what the table holds.

use burst_h2::ErrorCode;

use crate::transcript::Wire;
use crate::transcript::frames::{answer, reset};
use crate::{hex, read, with_table};

const OVER: u32 = 39;

/// Reads the blocks for their effect on the table.
fn after(table: u32, blocks: &[&str]) -> Wire {
    let mut wire = with_table(table);
    wire.peer_sends(reset(OVER, ErrorCode::CANCEL));
    for block in blocks {
        wire.peer_sends(answer(OVER, &hex(block)));
    }
    wire.told();
    wire
}

#[test]
fn c_2_1_literal_with_indexing() {
    let mut wire = with_table(4096);
    let block = hex("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572");
    assert_eq!(read(&mut wire, 1, &block), "custom-key=custom-header");
    assert_eq!(read(&mut wire, 3, &hex("be")), "custom-key=custom-header");
}

#[test]
fn c_2_2_literal_without_indexing() {
    let wire = after(4096, &["040c 2f73 616d 706c 652f 7061 7468"]);
    wire.breaks(answer(1, &hex("8d be")), ErrorCode::COMPRESSION_ERROR);
}

#[test]
fn c_2_3_literal_never_indexed() {
    let mut wire = with_table(4096);
    let block = hex("1008 7061 7373 776f 7264 0673 6563 7265 74");
    assert_eq!(read(&mut wire, 1, &block), "password=secret");
    wire.breaks(answer(3, &hex("8d be")), ErrorCode::COMPRESSION_ERROR);
}

#[test]
fn c_2_4_indexed() {
    let mut wire = with_table(4096);
    wire.peer_sends(answer(1, &hex("82")));
    wire.tells(["1 unknown: Malformed"]);
    wire.peer_sends(answer(3, &hex("88")));
    wire.tells(["2 answered 200"]);
}

const REQUESTS: [[&str; 3]; 2] = [
    [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ],
    [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ],
];

#[test]
fn c_3_and_c_4_requests_leave_the_table_that_the_rfc_shows() {
    for blocks in REQUESTS {
        let mut wire = after(4096, &blocks);
        assert_eq!(read(&mut wire, 1, &hex("be bf")), "custom-key=custom-value cache-control=no-cache");
        // The third entry is `:authority`, which no answer may have; a fourth there is not.
        wire.peer_sends(answer(3, &hex("8d c0")));
        wire.tells(["2 unknown: Malformed"]);
        wire.breaks(answer(5, &hex("8d c1")), ErrorCode::COMPRESSION_ERROR);
    }
}

const ANSWERS: [[&str; 3]; 2] = [
    [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d \
         546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f \
         6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b \
         2076 6572 7369 6f6e 3d31",
    ],
    [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 \
         8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 \
         dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ],
];

#[test]
fn c_5_and_c_6_answers_are_read_with_evictions() {
    for blocks in ANSWERS {
        let mut wire = with_table(256);
        for (stream, block) in [1, 3, 5].into_iter().zip(blocks) {
            wire.peer_sends(answer(stream, &hex(block)));
        }
        let rest =
            "cache-control=private date=Mon, 21 Oct 2013 20:13:21 GMT location=https://www.example.com";
        wire.tells([&*format!("1 answered 302 {rest}"), &format!("2 answered 307 {rest}"), "3 answered 200"]);
        // The third answer left its cookie, its encoding and its date, the newest first.
        let kept = read(&mut wire, 7, &hex("be bf c0"));
        let cookie = "set-cookie=foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
        assert_eq!(kept, format!("{cookie} content-encoding=gzip date=Mon, 21 Oct 2013 20:13:22 GMT"));
        wire.breaks(answer(9, &hex("8d c1")), ErrorCode::COMPRESSION_ERROR);
    }
}
