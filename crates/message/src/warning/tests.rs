//! Warnings and their places.

use super::*;

fn warnings(variant: &Variant) -> Vec<(String, WarningKind)> {
    let all = of("en", variant);
    all.into_iter().map(|one| (one.pointer.replace("/content/variants/en", ""), one.kind)).collect()
}

fn alert() -> Variant {
    Variant { title: "Kick-off".into(), body: "The owl is watching 🦉".into(), ..Variant::default() }
}

#[test]
fn an_ordinary_message_has_no_warning() {
    let link = Some("https://owl.example/play".to_string());
    assert_eq!(warnings(&Variant { link, ..alert() }), []);
}

#[test]
fn what_was_left_in_a_text_is_found() {
    let variant = Variant { title: "Hi {{name}}".into(), body: "Hi undefined".into(), ..alert() };
    let found = [("/title".to_string(), WarningKind::Placeholder), ("/body".to_string(), WarningKind::Leak)];
    assert_eq!(warnings(&variant), found);
    let data = [("a/b".to_string(), "${x}".to_string())].into();
    assert_eq!(warnings(&Variant { data, ..alert() })[0].0, "/data/a~1b");
}

#[test]
fn what_a_lock_screen_cuts_is_told_with_its_width() {
    let fits = Variant { title: "t".repeat(TITLE_CELLS_MAX), body: "b".repeat(BODY_CELLS_MAX), ..alert() };
    assert_eq!(warnings(&fits), []);
    let wide = Variant { title: "超".repeat(26), ..alert() };
    assert_eq!(warnings(&wide), [("/title".to_string(), WarningKind::Cut)]);
    assert!(of("en", &wide)[0].detail.contains("52 columns"));
}

#[test]
fn plain_http_and_a_missing_title_are_told() {
    let variant = Variant { title: String::new(), link: Some("HTTP://owl.example".into()), ..alert() };
    let kinds: Vec<_> = warnings(&variant).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, [WarningKind::NoTitle, WarningKind::InsecureLink]);
}

#[test]
fn fields_that_a_silent_message_drops_are_named() {
    let badge = Some(1);
    let variant = Variant { silent: true, badge, ..alert() };
    let found = warnings(&variant);
    let places: Vec<_> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(places, ["/title", "/body", "/badge", ""]);
    assert_eq!(found[3].1, WarningKind::Empty);
}

#[test]
fn odd_characters_are_told() {
    for title in [" Kick-off", "Kick\noff", "Kick\u{0}", "\u{202e}Kick"] {
        let found = warnings(&Variant { title: title.into(), ..alert() });
        assert_eq!(found, [("/title".to_string(), WarningKind::OddCharacters)], "{title:?}");
    }
    assert_eq!(warnings(&Variant { body: "one\ntwo".into(), ..alert() }), []);
}

#[test]
fn fields_of_one_platform_are_told() {
    let mut variant = Variant { subtitle: "Now".into(), sound: Some("hoot".into()), ..alert() };
    assert_eq!(warnings(&variant).len(), 2);
    variant.android.channel_id = Some("bowl".into());
    assert_eq!(warnings(&variant), [("/subtitle".to_string(), WarningKind::NotShown)]);
}
