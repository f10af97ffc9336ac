//! Made-up campaigns: every field of a variant, with texts that are hard to write.

use std::collections::BTreeMap;

use message::compose::{Composed, Context};
use message::{CollapseId, compose};
use model::extras::{Android, Apple, InterruptionLevel};
use model::{Content, Timestamp, Variant};
use proptest::option::of;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{1,40}",
        "\\PC{1,20}",
        Just("\"quoted\" \\ and / </script>".to_owned()),
        Just("line\nbreak 🦉 \u{1f468}\u{200d}\u{1f469} مرحبا é\u{301}".to_owned()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9_.-]{1,20}", Just("näme \"x\"".to_owned())]
}

fn apple() -> impl Strategy<Value = Apple> {
    let level = prop_oneof![
        Just(None),
        Just(Some(InterruptionLevel::Passive)),
        Just(Some(InterruptionLevel::TimeSensitive)),
        Just(Some(InterruptionLevel::Critical))
    ];
    (level, of(0_u8..=100), of(name()), of(name()), of(name()), of(name())).prop_map(
        |(interruption_level, relevance_percent, thread_id, category, target_content_id, filter_criteria)| {
            Apple {
                interruption_level,
                relevance_percent,
                thread_id,
                category,
                target_content_id,
                filter_criteria,
            }
        },
    )
}

pub(crate) fn variant() -> impl Strategy<Value = Variant> {
    let texts = (text(), prop_oneof![Just(String::new()), text()], prop_oneof![Just(String::new()), text()]);
    let image = of(Just("https://img.example/a.png?x=\"1\"".replace('"', "%22")));
    let link =
        of(prop_oneof![Just("app://open/1".to_owned()), Just("https://example.org/?a=1&b=2".to_owned())]);
    let names = (image, of(name()), link, of(name()), of(0_u32..10_000), any::<bool>());
    let data = proptest::collection::btree_map("[a-z]{6,9}", text(), 0..4);
    let android = (of(name()), of(Just("#0a0B0c".to_owned())));
    (texts, names, data, apple(), android).prop_map(
        |(
            (title, subtitle, body),
            (image, icon, link, sound, badge, silent),
            data,
            apple,
            (channel_id, color),
        )| {
            let android = Android { channel_id, color };
            Variant { title, subtitle, body, image, icon, link, sound, badge, silent, data, apple, android }
        },
    )
}

/// A collapse id, and until when the message is worth something.
pub(crate) fn manner() -> impl Strategy<Value = (String, u64)> {
    ("[!-~]{1,64}", prop_oneof![Just(0_u64), 1_900_000_000_u64..4_000_000_000])
}

/// Both messages; `None` when the campaign would be refused.
pub(crate) fn composed(variant: &Variant, (collapse_id, not_after_s): &(String, u64)) -> Option<Composed> {
    let content =
        Content { variants: BTreeMap::from([("en".into(), variant.clone())]), fallback: "en".into() };
    let not_after = Timestamp::from_secs(*not_after_s);
    let now = Timestamp::from_secs(not_after_s.saturating_sub(3_600));
    let collapse_id = CollapseId::new(collapse_id.clone()).unwrap();
    compose(&content, "en", &Context { collapse_id, not_after, now }).ok()
}
