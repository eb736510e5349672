//! JSON as Go's encoding/json reads and writes it, where that differs from serde_json's ways.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object, in order and with all duplicates. `null` is an empty object.
pub(super) fn members(json: &str) -> serde_json::Result<Vec<(String, &RawValue)>> {
    let members: Option<Members<'_>> = serde_json::from_str(json)?;
    let members = members.map_or_else(Vec::new, |members| members.0);
    let named = |(key, value): (&RawValue, _)| Ok((string(key)?.unwrap_or_default(), value));
    members.into_iter().map(named).collect()
}

/// Whether a key is taken for the field `name`: case doesn't matter, and the long s and the Kelvin
/// sign count as the letters whose variants Unicode says they are.
pub(super) fn names(key: &str, name: &str) -> bool {
    let fold = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(name.chars().map(fold))
}

/// A string; none for `null`.
pub(super) fn string(value: &RawValue) -> serde_json::Result<Option<String>> {
    let text: Option<GoString> = serde_json::from_str(value.get())?;
    Ok(text.map(|text| text.0))
}

/// A number that is written as an integer; none for `null`.
pub(super) fn integer(value: &RawValue) -> serde_json::Result<Option<u64>> {
    serde_json::from_str(value.get())
}

/// `bytes` as text, with U+FFFD for *each* byte that is not UTF-8. (Rust's own replacement takes a
/// truncated character for one.)
pub(super) fn to_text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

/// `text` as a JSON string: like serde_json's, but fit to be embedded in HTML and JavaScript.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::new();
    for letter in serde_json::Value::from(text).to_string().chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            other => quoted.push(other),
        }
    }
    quoted
}

/// serde's own maps would lose duplicates and order.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(Self)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(&'de RawValue, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// A string in which half a surrogate pair is U+FFFD, not an error.
struct GoString(String);

impl<'de> Deserialize<'de> for GoString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde_json lets such halves pass only if it is asked for bytes.
        deserializer.deserialize_bytes(GoStringVisitor).map(Self)
    }
}

struct GoStringVisitor;

impl Visitor<'_> for GoStringVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<String, E> {
        let mut text = String::new();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            // The input was UTF-8, so all that is not comes from such a half: three bytes, of which
            // only the first is this one.
            if chunk.invalid().first() == Some(&0xed) {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<String> {
        let value: &RawValue = serde_json::from_str(json).ok()?;
        string(value).ok()?
    }

    #[test]
    fn half_a_surrogate_pair_is_one_replacement_character() {
        assert_eq!(read(r#""\ud83e\udd80""#).unwrap(), "\u{1f980}");
        assert_eq!(read(r#""\ud800""#).unwrap(), "\u{fffd}");
        assert_eq!(read(r#""\udc00\ud800x""#).unwrap(), "\u{fffd}\u{fffd}x");
        assert_eq!(read(r#""\ud800\u0041""#).unwrap(), "\u{fffd}A");
        assert_eq!(read(r#""\ud800\ud83e\udd80""#).unwrap(), "\u{fffd}\u{1f980}");
        assert_eq!(read(r#""\ud800\n""#).unwrap(), "\u{fffd}\n");
        assert_eq!(read("\"\u{d7ff}\u{e000}\"").unwrap(), "\u{d7ff}\u{e000}");
    }

    #[test]
    fn raw_control_characters_and_other_types_are_refused() {
        for json in ["\"a\nb\"", "5", "[97]", "{}", r#""\x""#, "\"a"] {
            assert_eq!(read(json), None, "{json}");
        }
        for json in ["{\"a\nb\":1}", "[]", "5", "{\"a\":1,}", "{} x", "{a:1}", ""] {
            assert!(members(json).is_err(), "{json}");
        }
    }

    #[test]
    fn each_invalid_byte_is_a_replacement_character() {
        assert_eq!(to_text(b"a\xe2\x82b\xff"), "a\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(to_text(b"\xed\xa0\x80"), "\u{fffd}\u{fffd}\u{fffd}");
        assert!(matches!(to_text("f\u{fc}r".as_bytes()), Cow::Borrowed("f\u{fc}r")));
    }

    #[test]
    fn keys_match_without_regard_to_case() {
        assert!(names("vOtEdFoR", "VotedFor"));
        assert!(names("\u{17f}ha", "SHA"));
        assert!(!names("SHA1", "SHA"));
        assert!(!names("Voted-For", "VotedFor"));
        assert!(!names("", "SHA"));
    }

    #[test]
    fn integers_are_written_as_integers() {
        let read = |json| integer(serde_json::from_str(json).unwrap()).ok();
        assert_eq!(read("18446744073709551615"), Some(Some(u64::MAX)));
        assert_eq!(read("null"), Some(None));
        for json in ["18446744073709551616", "-0", "-1", "5.0", "5e0", "\"5\"", "true"] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
