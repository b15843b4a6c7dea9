//! The text of a history: JSON in which the agent changes what is its own, and keeps
//! everything else as it is, in its order.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

const CURRENT_VERSION: &str = "current-version";
const HISTORY: &str = "history";

/// The history of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The version that the host has now, or [`UNINSTALLED`](super::UNINSTALLED).
    pub current_version: String,
    /// The versions, newest first.
    pub history: Vec<Entry>,
}

impl History {
    /// Reads the text of a history file; `None` if it is no history.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<History> {
        Document::parse(text).map(|document| document.history())
    }

    /// Tells since when the host has the current version: each check that succeeds puts
    /// the version on top once more.
    #[must_use]
    pub fn since(&self) -> Option<&str> {
        let of_current = |entry: &&Entry| entry.version == self.current_version;
        let first = self.history.iter().take_while(of_current).last()?;
        first.time.as_deref()
    }
}

/// One version in a history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Entry {
    /// The version, or [`UNINSTALLED`](super::UNINSTALLED); empty if the file has none.
    #[serde(default)]
    pub version: String,
    /// The time at which it came: UTC, ISO-8601 with `+00:00`; `None` if the file has
    /// none.
    pub time: Option<String>,
}

/// A history file's object: its fields in their order, each with its text.
#[derive(Debug, Default)]
pub(super) struct Document<'t> {
    current_version: String,
    fields: Vec<(String, Cow<'t, str>)>,
}

impl<'t> Document<'t> {
    /// Reads a text; `None` if it is no object with a `current-version`.
    pub(super) fn parse(text: &'t [u8]) -> Option<Document<'t>> {
        let Fields(fields) = serde_json::from_slice(text).ok()?;
        // Of two equal keys the last one counts.
        let (_, version) = fields
            .iter()
            .rev()
            .find(|(key, _)| key == CURRENT_VERSION)?;
        Some(Document {
            current_version: serde_json::from_str(version).ok()?,
            fields: fields
                .into_iter()
                .map(|(key, value)| (key, value.into()))
                .collect(),
        })
    }

    /// The part that the agent understands. Entries that are no objects are left out.
    pub(super) fn history(&self) -> History {
        let list = self.fields.iter().rev().find(|(key, _)| key == HISTORY);
        let entries: Vec<&RawValue> = list
            .and_then(|(_, list)| serde_json::from_str(list).ok())
            .unwrap_or_default();
        let entry = |entry: &RawValue| serde_json::from_str(entry.get()).ok();
        History {
            current_version: self.current_version.clone(),
            history: entries.into_iter().filter_map(entry).collect(),
        }
    }

    /// The text with a version put on top. It is written as Python's `json.dumps` writes:
    /// a blank after `,` and `:`, ASCII.
    pub(super) fn with_version(mut self, version: &str, time: &str) -> String {
        let version = serde_json::Value::from(version).to_string();
        let time = serde_json::Value::from(time);
        let entry = format!("{{\"version\": {version}, \"time\": {time}}}");
        let list = match self.fields.iter().rev().find(|(key, _)| key == HISTORY) {
            None => format!("[{entry}]"),
            Some((_, list)) if list == "null" => format!("[{entry}]"),
            Some((_, list)) => match list.strip_prefix('[').map(str::trim_start) {
                Some("]") => format!("[{entry}]"),
                Some(rest) => format!("[{entry}, {rest}"),
                // It is no list. It becomes the list's older entry.
                None => format!("[{entry}, {list}]"),
            },
        };
        self.set(CURRENT_VERSION, version);
        self.set(HISTORY, list);
        let mut out = String::from("{");
        for (i, (key, value)) in self.fields.iter().enumerate() {
            out += if i == 0 { "" } else { ", " };
            push_as_python(&serde_json::Value::from(&**key).to_string(), &mut out);
            out += ": ";
            push_as_python(value, &mut out);
        }
        out + "}"
    }

    /// Gives a field a value, in its place or as the last one.
    fn set(&mut self, key: &str, value: String) {
        match self.fields.iter_mut().rev().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value.into(),
            None => self.fields.push((key.to_owned(), value.into())),
        }
    }
}

/// The fields of an object, in their order.
struct Fields<'t>(Vec<(String, &'t str)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    fields.push((key, value.get()));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// Appends valid JSON, written as Python's `json.dumps` writes it. Numbers and escapes
/// stay as they are. It goes from character to character, so that no depth is too deep.
fn push_as_python(json: &str, out: &mut String) {
    let (mut is_in_string, mut is_escaped) = (false, false);
    for c in json.chars() {
        match c {
            _ if is_in_string => {
                is_in_string = is_escaped || c != '"';
                is_escaped = !is_escaped && c == '\\';
                if (' '..='~').contains(&c) {
                    out.push(c);
                } else {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        *out += &format!("\\u{unit:04x}");
                    }
                }
            }
            ',' | ':' => {
                out.push(c);
                out.push(' ');
            }
            ' ' | '\t' | '\n' | '\r' => {}
            _ => {
                is_in_string = c == '"';
                out.push(c);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(text: &str) -> Option<String> {
        Some(Document::parse(text.as_bytes())?.with_version("2", "t"))
    }

    #[test]
    fn what_the_agent_does_not_know_is_kept_in_its_order() {
        let text = "{ \"z\":[1.50,1e400,{\"b\" :null,\"a\":\"\\\"ä,:\\u00e4\\ud800\"}],\n\
                    \"history\":[ {\"by\":\"x\",\"version\":\"1\"} , 7 ],\"current-version\":\"1\",\
                    \"a\": 123456789012345678901234567890}";
        assert_eq!(
            add(text).unwrap(),
            "{\"z\": [1.50, 1e400, {\"b\": null, \"a\": \"\\\"\\u00e4,:\\u00e4\\ud800\"}], \
             \"history\": [{\"version\": \"2\", \"time\": \"t\"}, {\"by\": \"x\", \"version\": \
             \"1\"}, 7], \"current-version\": \"2\", \"a\": 123456789012345678901234567890}"
        );
    }

    #[test]
    fn a_history_that_is_missing_or_no_list_gets_a_list() {
        for (text, list) in [
            ("{\"current-version\": \"1\"}", "]"),
            ("{\"current-version\": \"1\", \"history\": null}", "]"),
            ("{\"current-version\": \"1\", \"history\": [ ]}", "]"),
            ("{\"current-version\": \"1\", \"history\": {}}", ", {}]"),
        ] {
            let expected = format!(
                "{{\"current-version\": \"2\", \"history\": [{{\"version\": \"2\", \"time\": \"t\"}}{list}}}"
            );
            assert_eq!(add(text).unwrap(), expected);
        }
    }

    #[test]
    fn a_text_that_is_no_object_with_a_current_version_is_no_history() {
        for text in [
            "",
            "[]",
            "{}",
            "{\"current-version\": 1}",
            "{\"current-version\": \"1\"} x",
            "\u{feff}{\"current-version\": \"1\"}",
        ] {
            assert_eq!(add(text), None, "{text}");
        }
        assert!(Document::parse(b"{\"current-version\": \"\xff\"}").is_none());
    }

    #[test]
    fn entries_are_read_as_far_as_they_are_understood() {
        let text = r#"{"current-version": "3", "history":
            [{"time": "t", "version": "3"}, {"version": "2"}, 7, {"by": "x"}]}"#;
        let history = Document::parse(text.as_bytes()).unwrap().history();
        assert_eq!(history.current_version, "3");
        let entry = |version: &str, time: Option<&str>| Entry {
            version: version.to_owned(),
            time: time.map(str::to_owned),
        };
        let expected = [entry("3", Some("t")), entry("2", None), entry("", None)];
        assert_eq!(history.history, expected);
    }

    #[test]
    fn the_deepest_nesting_is_kept() {
        let deep = format!("{}{}", "[".repeat(400_000), "]".repeat(400_000));
        let text = format!("{{\"current-version\": \"1\", \"x\": {deep}}}");
        assert!(add(&text).unwrap().contains(&deep));
    }
}
