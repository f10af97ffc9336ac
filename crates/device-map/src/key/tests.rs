//! Keys come back as they went in.

use proptest::prelude::*;

use super::*;

fn round_trip(platform: Platform, text: &str) -> (Encoding, usize, String) {
    let mut scratch = [0; KEY_CHARS_MAX];
    let packed = pack(platform, text, &mut scratch).expect("a good key");
    let mut out = vec![0; usize::from(packed.chars)];
    unpack_into(packed.encoding, packed.bytes, &mut out);
    (packed.encoding, packed.bytes.len(), String::from_utf8(out).expect("ascii"))
}

fn refused(platform: Platform, text: &str) -> DeviceError {
    pack(platform, text, &mut [0; KEY_CHARS_MAX]).map(|packed| packed.encoding).expect_err("a bad key")
}

#[test]
fn todays_registration_token_takes_122_bytes() {
    let token = format!("{}:{}", "dQw4w9WgXcQ-abcdefgh_1", "APA91b-_xyz".repeat(13)[..140].to_owned());
    assert_eq!(token.len(), 163);
    assert_eq!(round_trip(Platform::Fcm, &token), (Encoding::Token, 122, token.clone()));
}

#[test]
fn a_fid_is_exactly_22_characters_of_base64url() {
    let fid = "dQw4w9WgXcQ-abcdefgh_1";
    assert_eq!(round_trip(Platform::Fcm, fid), (Encoding::Fid, 17, fid.to_owned()));
    assert_eq!(round_trip(Platform::Fcm, &fid[..21]).0, Encoding::Base64);
    assert_eq!(round_trip(Platform::Fcm, &format!("{fid}9")).0, Encoding::Base64);
    assert_eq!(round_trip(Platform::Fcm, &format!("{}:", &fid[..21])).0, Encoding::Raw);
}

#[test]
fn a_colon_elsewhere_keeps_the_text() {
    for text in
        [":", "a:b", "dQw4w9WgXcQ-abcdefgh_1:", "dQw4w9WgXcQ-abcdefgh_1:a:b", "dQw4w9WgXcQ-abcdefgh_:1"]
    {
        assert_eq!(round_trip(Platform::Fcm, text), (Encoding::Raw, text.len(), text.to_owned()));
    }
}

#[test]
fn apns_tokens_are_binary_of_any_even_length_in_lower_case() {
    assert_eq!(round_trip(Platform::Apns, "AbCd09"), (Encoding::Binary, 3, "abcd09".to_owned()));
    let longest = "0f".repeat(KEY_CHARS_MAX / 2);
    assert_eq!(round_trip(Platform::Apns, &longest), (Encoding::Binary, KEY_CHARS_MAX / 2, longest.clone()));
}

#[test]
fn keys_that_no_provider_gives_are_refused() {
    for bad in ["", "abc", "xy", "ab\u{e9}", &"0f".repeat(KEY_CHARS_MAX)] {
        assert_eq!(refused(Platform::Apns, bad), DeviceError::ApnsKey);
    }
    for bad in ["", "a b", "a.b", "\u{fc}", "a\n", &"a".repeat(KEY_CHARS_MAX + 1)] {
        assert_eq!(refused(Platform::Fcm, bad), DeviceError::FcmKey);
    }
}

proptest! {
    #[test]
    fn any_fcm_key_comes_back(text in "[A-Za-z0-9_:-]{1,200}") {
        prop_assert_eq!(round_trip(Platform::Fcm, &text).2, text);
    }

    #[test]
    fn any_base64url_token_is_packed(fid in "[A-Za-z0-9_-]{22}", rest in "[A-Za-z0-9_-]{1,300}") {
        let text = format!("{fid}:{rest}");
        let (encoding, bytes, back) = round_trip(Platform::Fcm, &text);
        prop_assert_eq!((encoding, bytes), (Encoding::Token, 17 + (rest.len() * 6).div_ceil(8)));
        prop_assert_eq!(back, text);
    }

    #[test]
    fn any_apns_key_comes_back(text in "([0-9a-f]{2}){1,100}") {
        prop_assert_eq!(round_trip(Platform::Apns, &text).2, text);
    }

    #[test]
    fn packed_keys_of_one_length_differ_when_their_texts_do(a in "[A-Za-z0-9_-]{1,9}", b in "[A-Za-z0-9_-]{1,9}") {
        let (mut one, mut two) = ([0; KEY_CHARS_MAX], [0; KEY_CHARS_MAX]);
        let (one, two) = (pack(Platform::Fcm, &a, &mut one).expect("good"), pack(Platform::Fcm, &b, &mut two).expect("good"));
        prop_assert_eq!((one.chars, one.bytes) == (two.chars, two.bytes), a == b);
    }
}
