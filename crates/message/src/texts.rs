//! Looking at what people wrote: how wide it is on a screen, and what should not have been left in it.

/// Columns that `text` takes: East Asian wide characters and emoji count two, marks that combine or join count none.
pub(crate) fn cells(text: &str) -> usize {
    let mut is_joined = false;
    let mut cells = 0;
    for char in text.chars() {
        if !is_joined {
            cells += width(char);
        }
        is_joined = char == ZERO_WIDTH_JOINER;
    }
    cells
}

const ZERO_WIDTH_JOINER: char = '\u{200d}';

/// Ranges from Unicode's East Asian Width (W and F) and its emoji blocks, as coarse as a warning needs.
fn width(char: char) -> usize {
    match char {
        '\u{0300}'..='\u{036f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{1f3fb}'..='\u{1f3ff}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// Openings and endings of the marks that template languages leave, where anything may stand between.
const PAIRS: [(&str, &str); 8] = [
    ("{{", "}}"),
    ("${", "}"),
    ("#{", "}"),
    ("%{", "}"),
    ("<%", "%>"),
    ("{%", "%}"),
    ("*|", "|*"),
    ("%%", "%%"),
];
/// Pairs around a single name: in braces any, in brackets and angles one of capitals, as `[NAME]` or `<FIRST_NAME>`.
const NAMED: [(char, char, bool); 3] = [('{', '}', false), ('[', ']', true), ('<', '>', true)];
const NAME_CHARS_MAX: usize = 40;

/// The first thing in `text` that looks like a placeholder nobody filled.
pub(crate) fn placeholder(text: &str) -> Option<&str> {
    text.char_indices().find_map(|(at, char)| {
        let rest = &text[at..];
        paired(rest).or_else(|| named(rest, char)).or_else(|| printf(rest, &text[..at]))
    })
}

fn paired(rest: &str) -> Option<&str> {
    PAIRS.iter().find_map(|(open, close)| {
        let inner = rest.strip_prefix(open)?;
        let length = inner.find(close).filter(|length| (1..=NAME_CHARS_MAX * 2).contains(length))?;
        rest.get(..open.len() + length + close.len())
    })
}

fn named(rest: &str, first: char) -> Option<&str> {
    let (open, close, is_capital) = *NAMED.iter().find(|(open, _, _)| *open == first)?;
    let length = rest.find(close)?;
    let name = rest.get(open.len_utf8()..length)?;
    let fits = if is_capital { is_constant(name) } else { is_name(name) };
    fits.then(|| &rest[..length + close.len_utf8()])
}

fn is_name(name: &str) -> bool {
    let is_part = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-');
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(is_part)
}

fn is_constant(name: &str) -> bool {
    let is_part = |char: char| char.is_ascii_uppercase() || matches!(char, '_' | ' ');
    let starts = name.starts_with(|char: char| char.is_ascii_uppercase());
    (3..=NAME_CHARS_MAX).contains(&name.len()) && starts && name.chars().all(is_part)
}

/// `%s`, `%d`, `%@` and `%1$s`, but not `20%discount` and the like.
fn printf<'a>(rest: &'a str, before: &str) -> Option<&'a str> {
    let inner = rest.strip_prefix('%')?;
    let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
    let positional = if digits > 0 && inner[digits..].starts_with('$') { digits + 1 } else { 0 };
    let is_conversion = inner[positional..].starts_with(['s', 'd', '@', 'i', 'u', 'f']);
    let end = 1 + positional + 1;
    let is_word = rest.get(end..)?.starts_with(|next: char| next.is_alphanumeric());
    let is_percentage = positional == 0 && before.trim_end().ends_with(|last: char| last.is_numeric());
    (is_conversion && !is_word && !is_percentage).then(|| &rest[..end])
}

/// What programs write when they show their insides, as whole words.
const LEAKS: [&str; 11] = [
    "undefined",
    "[object Object]",
    "None",
    "NaN",
    "null",
    "nil",
    "lorem ipsum",
    "Lorem ipsum",
    "TODO",
    "FIXME",
    "TBD",
];
/// Escapes that should have been turned into what they stand for.
const ESCAPES: [&str; 10] = ["\\n", "\\u", "\\\"", "&amp;", "&lt;", "&gt;", "&quot;", "&#", "&nbsp;", "<br"];

/// The first thing in `text` that looks like a program's insides: a value never set, or an escape never undone.
pub(crate) fn leak(text: &str) -> Option<&'static str> {
    let escape = ESCAPES.into_iter().find(|escape| text.contains(escape));
    escape.or_else(|| LEAKS.into_iter().find(|leak| has_word(text, leak)))
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    })
}

/// Whether a direction is changed and never changed back (Unicode Bidirectional Algorithm, section 2): it would turn
/// whatever a phone shows after the text.
pub(crate) fn is_direction_open(text: &str) -> bool {
    let (mut embeddings, mut isolates) = (0_i32, 0_i32);
    for char in text.chars() {
        match char {
            '\u{202a}' | '\u{202b}' | '\u{202d}' | '\u{202e}' => embeddings += 1,
            '\u{202c}' => embeddings = (embeddings - 1).max(0),
            '\u{2066}'..='\u{2068}' => isolates += 1,
            '\u{2069}' => isolates = (isolates - 1).max(0),
            _ => {}
        }
    }
    embeddings > 0 || isolates > 0
}

/// Whether the text has control characters; line feeds are fine where `may_break`.
pub(crate) fn has_controls(text: &str, may_break: bool) -> bool {
    text.chars().any(|char| char.is_control() && !(may_break && char == '\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_of_every_usual_kind_are_found() {
        for (text, found) in [
            ("Hi {{name}}!", "{{name}}"),
            ("Hi {{ user.first_name }}!", "{{ user.first_name }}"),
            ("Hi ${name}", "${name}"),
            ("Hi #{name}", "#{name}"),
            ("Hi <%= name %>", "<%= name %>"),
            ("Hi {% if x %}", "{% if x %}"),
            ("Hi *|FNAME|*", "*|FNAME|*"),
            ("Hi %%NAME%%", "%%NAME%%"),
            ("Hi {0}", "{0}"),
            ("Hi {name}", "{name}"),
            ("Hi [NAME],", "[NAME]"),
            ("Hi <FIRST_NAME>", "<FIRST_NAME>"),
            ("Hi %s!", "%s"),
            ("%1$s, hi", "%1$s"),
            ("Hi %@", "%@"),
            ("%d of them", "%d"),
        ] {
            assert_eq!(placeholder(text), Some(found), "{text}");
        }
    }

    #[test]
    fn ordinary_text_has_no_placeholder() {
        for text in [
            "50% discount today",
            "Save 50 %",
            "100%s",
            "20 %d'économie",
            "[Ad] 2 < 3 > 1",
            "a {not a name!} b",
            "🏈 Kick-off {",
            "100 %",
            "%",
            "3 %% 4",
            "🦉 {ü} [ÄÖ]",
        ] {
            assert_eq!(placeholder(text), None, "{text}");
        }
    }

    #[test]
    fn insides_of_programs_are_found_as_whole_words() {
        for (text, found) in [
            ("Hi undefined", "undefined"),
            ("Hi null!", "null"),
            ("Score: NaN", "NaN"),
            ("line\\nbreak", "\\n"),
            ("Fish &amp; chips", "&amp;"),
            ("[object Object]", "[object Object]"),
        ] {
            assert_eq!(leak(text), Some(found), "{text}");
        }
        for text in ["annulled", "Nonetheless", "Nan's bread", "R&B", "a\nb"] {
            assert_eq!(leak(text), None, "{text}");
        }
    }

    #[test]
    fn wide_and_joined_characters_are_measured_as_shown() {
        assert_eq!(cells("owl"), 3);
        assert_eq!(cells("超级碗"), 6);
        assert_eq!(cells("🦉"), 2);
        assert_eq!(cells("e\u{301}"), 1);
        // A family of four joined into one picture, and a thumb with a skin tone.
        assert_eq!(cells("\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466}"), 2);
        assert_eq!(cells("\u{1f44d}\u{1f3fd}"), 2);
    }

    #[test]
    fn only_an_open_change_of_direction_is_told() {
        assert!(is_direction_open("\u{202e}abc"));
        assert!(is_direction_open("\u{2067}abc"));
        assert!(!is_direction_open("\u{2067}abc\u{2069}"));
        assert!(!is_direction_open("مرحبا"));
    }
}
