//! Where the values of a JSON text are in it.

use std::collections::BTreeSet;
use std::ops::Range;

use jsonc_parser::ast::{ObjectProp, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::tokens::Token;
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, ParseOptions, parse_to_ast};

use super::place::{Part, Place};

/// What is taken without a word: all that is no JSON, but means the same without it.
const LENIENT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// What a text has that is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extra {
    ByteOrderMark,
    Comment,
    TrailingComma,
}

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A JSON text that knows where its values are.
#[derive(Debug)]
pub(super) struct Positions<'t> {
    /// `None` if the text cannot be read, or is empty.
    value: Option<Value<'t>>,
    /// The bytes in front of what was read.
    start: usize,
    /// What is no JSON.
    pub(super) extras: Vec<(Extra, Range<usize>)>,
}

impl<'t> Positions<'t> {
    pub(super) fn of(text: &'t str) -> Positions<'t> {
        let mut extras = Vec::new();
        let plain = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let start = text.len() - plain.len();
        if start > 0 {
            extras.push((Extra::ByteOrderMark, 0..start));
        }
        let collect = CollectOptions {
            comments: CommentCollectionStrategy::AsTokens,
            tokens: true,
        };
        let Ok(parsed) = parse_to_ast(plain, &collect, &LENIENT) else {
            return Positions {
                value: None,
                start,
                extras,
            };
        };
        let mut comma = None;
        for token in parsed.tokens.unwrap_or_default() {
            let range = range(start, &token);
            match token.token {
                Token::CommentLine(_) | Token::CommentBlock(_) => {
                    extras.push((Extra::Comment, range));
                    continue;
                }
                Token::CloseBrace | Token::CloseBracket => {
                    extras.extend(comma.map(|comma| (Extra::TrailingComma, comma)));
                    comma = None;
                }
                Token::Comma => comma = Some(range),
                _ => comma = None,
            }
        }
        Positions {
            value: parsed.value,
            start,
            extras,
        }
    }

    /// The bytes of the value at a place, or of the deepest one on the way to it that is
    /// there.
    pub(super) fn value(&self, place: &Place) -> Option<Range<usize>> {
        let mut value = self.value.as_ref()?;
        for part in place.parts() {
            match next(value, part) {
                Some((_, below)) => value = below,
                None => break,
            }
        }
        let mut range = range(self.start, value);
        // Of an object or a list, where it begins.
        if matches!(value, Value::Object(_) | Value::Array(_)) {
            range.end = range.start + 1;
        }
        Some(range)
    }

    /// The bytes of the key that a place ends with.
    pub(super) fn key(&self, place: &Place) -> Option<Range<usize>> {
        let mut value = self.value.as_ref()?;
        let mut key = None;
        for part in place.parts() {
            let (property, below) = next(value, part)?;
            key = property.map(|property| range(self.start, &property.name));
            value = below;
        }
        key
    }

    /// The keys that an object has more than once: the place of each, and the bytes of the
    /// key that does not count.
    pub(super) fn repeated_keys(&self) -> Vec<(Place, Range<usize>)> {
        let mut repeated = Vec::new();
        if let Some(value) = &self.value {
            find_repeated_keys(value, self.start, &Place::DOCUMENT, &mut repeated);
        }
        repeated
    }
}

fn range(start: usize, of: &impl Ranged) -> Range<usize> {
    start + of.start()..start + of.end()
}

/// Finds what is one part further on the way. The last of two equal keys counts.
fn next<'v, 't>(
    value: &'v Value<'t>,
    part: &Part,
) -> Option<(Option<&'v ObjectProp<'t>>, &'v Value<'t>)> {
    match (value, part) {
        (Value::Object(object), Part::Key(key)) => {
            let mut properties = object.properties.iter().rev();
            let property = properties.find(|property| property.name.as_str() == key)?;
            Some((Some(property), &property.value))
        }
        (Value::Array(array), Part::Index(index)) => Some((None, array.elements.get(*index)?)),
        _ => None,
    }
}

fn find_repeated_keys(
    value: &Value<'_>,
    start: usize,
    at: &Place,
    repeated: &mut Vec<(Place, Range<usize>)>,
) {
    match value {
        Value::Object(object) => {
            // From the last on, which counts.
            let mut known: BTreeSet<Vec<u8>> = BTreeSet::new();
            for property in object.properties.iter().rev() {
                let name = property.name.as_str();
                let place = at.key(name);
                if known.insert(name.into()) {
                    find_repeated_keys(&property.value, start, &place, repeated);
                } else {
                    repeated.push((place, range(start, &property.name)));
                }
            }
        }
        Value::Array(array) => {
            for (i, item) in array.elements.iter().enumerate() {
                find_repeated_keys(item, start, &at.index(i), repeated);
            }
        }
        _ => {}
    }
}

/// Puts spaces in place of what is no JSON. All other bytes stay where they are.
pub(super) fn without_extras(text: &str, extras: &[(Extra, Range<usize>)]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (_, range) in extras {
        for byte in bytes.get_mut(range.clone()).unwrap_or_default() {
            // A comment's lines stay lines.
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    bytes
}
