//! Faults and their places.

use super::*;

fn faults(variant: Variant) -> Vec<(String, String)> {
    let variant = Variant { body: "Now".into(), ..variant };
    of("en", &variant).into_iter().map(|fault| (fault.pointer, fault.detail)).collect()
}

fn with_link(link: &str) -> Vec<(String, String)> {
    faults(Variant { link: Some(link.into()), ..Variant::default() })
}

fn with_image(image: &str) -> Vec<(String, String)> {
    faults(Variant { image: Some(image.into()), ..Variant::default() })
}

fn with_key(key: &str) -> Vec<(String, String)> {
    faults(Variant { data: [(key.to_string(), "x".to_string())].into(), ..Variant::default() })
}

#[test]
fn links_are_addresses_that_open_something() {
    for link in [
        "https://owl.example",
        "http://owl.example/a?b#c",
        "owl://lesson/1",
        "owl:lesson",
        "tel:+4930",
        "https://[::1]:80/x",
        "HTTPS://OWL.EXAMPLE",
    ] {
        assert_eq!(with_link(link), [], "{link}");
    }
    for link in [
        "",
        "owl",
        "/lesson",
        "https://",
        "https:///x",
        "https://:80/",
        "https:owl",
        "javascript:alert(1)",
        "JavaScript:x",
        "data:text/html,x",
        "file:///etc",
        "https://a b",
        "https://a\nb",
        "1x:y",
        ":x",
        "ö:x",
        "owl:",
    ] {
        let found = with_link(link);
        assert_eq!(found.len(), 1, "{link}");
        assert_eq!(found[0].0, "/content/variants/en/link");
    }
}

#[test]
fn images_are_https() {
    assert_eq!(with_image("https://img.example/owl.png"), []);
    for image in ["http://img.example/owl.png", "owl.png", "", "https://", "ftp://img.example/o"] {
        assert_eq!(with_image(image)[0].0, "/content/variants/en/image", "{image}");
    }
}

#[test]
fn data_keys_of_the_providers_are_refused_with_their_place() {
    for key in [
        "aps",
        "from",
        "message_type",
        "notification",
        "collapse_key",
        "google.a",
        "gcm.notification.x",
        "gcm.n",
        "",
        "a\u{7}",
    ] {
        assert_eq!(with_key(key).len(), 1, "{key}");
    }
    for key in ["googly", "gcm", "link", "image", "course", "From"] {
        assert_eq!(with_key(key), [], "{key}");
    }
    assert_eq!(with_key("gcm./~")[0].0, "/content/variants/en/data/gcm.~1~0");
}

#[test]
fn a_data_key_cannot_hide_the_variants_own() {
    let data = [("link".to_string(), "x".to_string()), ("image".to_string(), "x".to_string())].into();
    let link = Some("owl://a".to_string());
    let image = Some("https://img.example/a".to_string());
    assert_eq!(faults(Variant { data, link, image, ..Variant::default() }).len(), 2);
}

#[test]
fn numbers_and_names_have_their_ranges() {
    let mut variant = Variant { badge: Some(BADGE_MAX), sound: Some("default".into()), ..Variant::default() };
    variant.apple.relevance_percent = Some(100);
    variant.android.color = Some("#58CC02".into());
    assert_eq!(faults(variant.clone()), []);
    variant.badge = Some(BADGE_MAX + 1);
    variant.sound = Some(String::new());
    variant.apple.relevance_percent = Some(101);
    variant.android.color = Some("#58CC0".into());
    let pointers: Vec<_> = faults(variant).into_iter().map(|(pointer, _)| pointer).collect();
    let fields = ["badge", "apple/relevance_percent", "android/color", "sound"];
    assert_eq!(pointers, fields.map(|field| format!("/content/variants/en/{field}")));
}

#[test]
fn nothing_to_show_is_a_fault_unless_silent() {
    assert_eq!(of("en", &Variant::default())[0].pointer, "/content/variants/en");
    assert_eq!(of("en", &Variant { title: " ".into(), ..Variant::default() }).len(), 1);
    assert_eq!(of("en", &Variant { silent: true, ..Variant::default() }), []);
}
