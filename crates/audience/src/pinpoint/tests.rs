//! Endpoints as Pinpoint documents them.

use super::*;

const ENDPOINT: &str = r#"{"Id":"e1","ChannelType":"GCM","Address":"tok:1","EndpointStatus":"ACTIVE","OptOut":"NONE",
"Location":{"City":"Rio","Country":"BR","Latitude":-22.9},"Demographic":{"Make":"x","Locale":"pt_BR"},
"EffectiveDate":"2026-01-02T03:04:05.678Z","CreationDate":"2020-01-01T00:00:00Z","RequestId":"r","CohortId":"39",
"Attributes":{"Interests":["Music"]},"Metrics":{"m":6.0},"User":{"UserId":"ann","UserAttributes":{"a":["b"]}}}"#;

type Seen<'a> = Result<Result<Texts<'a>, &'static str>, Cause>;

fn seen<'a>(read: impl FnOnce(&mut Texts<'a>) -> Result<LeftOut, Cause>) -> Seen<'a> {
    let mut texts = Texts::default();
    read(&mut texts).map(|left_out| left_out.map_or(Ok(texts), Err))
}

fn read(line: &str) -> Seen<'_> {
    seen(|texts| super::read(line, texts))
}

fn texts<'a>(seen: &'a Seen<'_>) -> [Option<&'a str>; 8] {
    let texts = seen.as_ref().unwrap().as_ref().unwrap();
    std::array::from_fn(|index| texts[index].as_deref())
}

#[test]
fn an_endpoint_is_a_device() {
    let wanted = [
        Some("ann"),
        Some("fcm"),
        Some("tok:1"),
        None,
        Some("pt-BR"),
        Some("br"),
        Some("2026-01-02T03:04:05.678Z"),
        None,
    ];
    assert_eq!(texts(&read(ENDPOINT)), wanted);
}

#[test]
fn an_endpoint_of_nobody_is_its_own_user_and_as_old_as_it_is() {
    let line = r#"{"Id":"e1","ChannelType":"APNS","Address":"00aa","User":{"UserId":""},"CreationDate":"d","Location":null}"#;
    let seen = read(line);
    assert_eq!(texts(&seen), [Some("e1"), Some("apns"), Some("00aa"), None, None, None, Some("d"), None]);
}

#[test]
fn an_endpoint_of_the_sandbox_is_a_device_of_the_sandbox() {
    let seen = read(r#"{"Id":"e1","ChannelType":"APNS_SANDBOX","Address":"00aa"}"#);
    assert_eq!(
        texts(&seen),
        [Some("e1"), Some("apns"), Some("00aa"), None, None, None, None, Some("sandbox")]
    );
}

#[test]
fn endpoints_that_are_no_devices_to_send_to_are_left_out_by_reason() {
    let cases = [
        (r#"{"ChannelType":"EMAIL","Address":"a@example.org"}"#, "channel_email"),
        (r#"{"ChannelType":"APNS_VOIP_SANDBOX","Address":"00"}"#, "channel_apns_voip_sandbox"),
        (r#"{"ChannelType":"PIGEON"}"#, "channel_unknown"),
        (r#"{"ChannelType":"APNS","Address":"00","OptOut":"ALL"}"#, "opted_out"),
        (r#"{"ChannelType":"APNS","Address":"00","EndpointStatus":"INACTIVE","OptOut":"ALL"}"#, "inactive"),
        (r#"{"ChannelType":"GCM","Address":"00","OptOut":"SOMETIMES"}"#, "opted_out"),
    ];
    for (line, why) in cases {
        assert_eq!(read(line), Ok(Err(why)), "{line}");
    }
}

#[test]
fn what_is_no_endpoint_is_a_bad_row() {
    assert_eq!(read("[]"), Err(Cause::NotAnObject));
    assert_eq!(read("{\"Id\":7}"), Err(Cause::Field(7)));
    assert!(matches!(read("{\"Id\":\"e\""), Err(Cause::NotJson(_))));
    assert!(matches!(read("{\"Id\":\"e\",\"Id\":\"f\"}"), Err(Cause::Field(_))));
}

#[test]
fn csv_with_the_same_names_says_the_same() {
    let head = "Id,ChannelType,Address,OptOut,Attributes.Interests,Demographic.Locale,Location.Country,User.UserId,EffectiveDate";
    let header = Header::of_line(1, head, 9).unwrap();
    let record = "e1,GCM,tok:1,NONE,\"Music\nArt\",pt_BR,BR,ann,2026-01-02T03:04:05.678Z";
    let endpoint = |record| seen(|texts| header.read(record, texts));
    assert_eq!(texts(&endpoint(record)), texts(&read(ENDPOINT)));
    assert_eq!(endpoint("e1,SMS,,,,,,,"), Ok(Err("channel_sms")));
    assert_eq!(endpoint("e1,SMS"), Err(Cause::Fields { found: 2, wanted: 9 }));
    let fault = |text| Header::of_line(1, text, 9).err().unwrap().to_string();
    assert!(fault("Id,Address").contains("has ChannelType and Address"));
    assert!(fault("Address,ChannelType,Address").contains("Address stands twice"));
    assert!(fault(",,,,,,,,,").contains("more than 9 columns"));
}
