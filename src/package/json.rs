//! JSON values that know their place in a document and note what is wrong with
//! them, so that one reading finds every problem.

use std::cell::RefCell;

use serde_json::Value;

use super::code::Code;
use super::finding::{Finding, Severity};
use super::place::{Part, Place};

/// Collects what is wrong with a document.
pub(super) type Findings = RefCell<Vec<Finding>>;

/// A value of a document. Its readers note what is not as expected and leave it
/// out: a document with a finding must not be used.
#[derive(Debug)]
pub(super) struct Node<'n> {
    /// The way to it: the value that it is in, and its key there. It becomes a
    /// [`Place`] if there is something to note.
    way: Option<(&'n Node<'n>, Step<'n>)>,
    value: &'n Value,
    findings: &'n Findings,
}

#[derive(Clone, Copy, Debug)]
enum Step<'n> {
    Key(&'n str),
    Index(usize),
}

impl<'n> Node<'n> {
    pub(super) fn document(value: &'n Value, findings: &'n Findings) -> Node<'n> {
        Node {
            way: None,
            value,
            findings,
        }
    }

    /// Notes an error in this value.
    pub(super) fn note(&self, code: Code, message: impl Into<String>) {
        self.findings.borrow_mut().push(Finding {
            severity: Severity::Error,
            code,
            place: self.place(),
            message: message.into(),
        });
    }

    fn place(&self) -> Place {
        let mut parts = Vec::new();
        let mut way = &self.way;
        while let Some((above, step)) = way {
            parts.push(match step {
                Step::Key(key) => Part::Key((*key).to_owned()),
                Step::Index(index) => Part::Index(*index),
            });
            way = &above.way;
        }
        parts.into_iter().rev().collect()
    }

    /// All fields of an object, by key.
    pub(super) fn fields(&'n self) -> Option<Vec<(&'n str, Node<'n>)>> {
        let Value::Object(fields) = self.value else {
            return self.unexpected("an object");
        };
        let field = |(key, value): (&'n String, _)| (&**key, self.below(Step::Key(key), value));
        Some(fields.iter().map(field).collect())
    }

    /// A field of an object, if it has it.
    pub(super) fn optional(&'n self, key: &'n str) -> Option<Node<'n>> {
        Some(self.below(Step::Key(key), self.value.get(key)?))
    }

    /// Reads a field that an object must have with `read`.
    pub(super) fn field<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Node<'_>) -> Option<T>,
    ) -> Option<T> {
        let Some(field) = self.optional(key) else {
            let missing = self.below(Step::Key(key), &Value::Null);
            missing.note(Code::MissingValue, "expected a value, got none");
            return None;
        };
        read(&field)
    }

    /// Reads a list, each of its values with `read`.
    pub(super) fn list<T>(&self, read: impl Fn(&Node<'_>) -> Option<T>) -> Option<Vec<T>> {
        let Value::Array(values) = self.value else {
            return self.unexpected("a list");
        };
        let nodes = values
            .iter()
            .enumerate()
            .map(|(i, value)| self.below(Step::Index(i), value));
        Some(nodes.filter_map(|node| read(&node)).collect())
    }

    /// Tells if this is a list with something in it. Notes nothing.
    pub(super) fn has_items(&self) -> bool {
        matches!(self.value, Value::Array(values) if !values.is_empty())
    }

    pub(super) fn string(&self) -> Option<String> {
        self.string_that(Code::WrongType, "a string", |_| true)
    }

    /// Reads a string that is valid; `expected` says which are, `code` is that of
    /// the others.
    pub(super) fn string_that(
        &self,
        code: Code,
        expected: &str,
        is_valid: impl Fn(&str) -> bool,
    ) -> Option<String> {
        match self.value {
            Value::String(string) if is_valid(string) => Some(string.clone()),
            _ => self.unexpected_as(code, expected),
        }
    }

    pub(super) fn bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(*value),
            _ => self.unexpected("true or false"),
        }
    }

    /// Tells if this is `true`. Notes nothing.
    pub(super) fn is_true(&self) -> bool {
        *self.value == Value::Bool(true)
    }

    /// An integer; in JSON, `1.0` is one too.
    pub(super) fn integer(&self) -> Option<i64> {
        // A whole number prints without a fraction.
        let whole = || self.value.as_f64()?.to_string().parse().ok();
        let integer = self.value.as_i64().or_else(whole);
        integer.or_else(|| self.unexpected("an integer of 64 bits"))
    }

    fn unexpected<T>(&self, expected: &str) -> Option<T> {
        self.unexpected_as(Code::WrongType, expected)
    }

    /// Notes that this is not what was expected.
    fn unexpected_as<T>(&self, code: Code, expected: &str) -> Option<T> {
        self.note(code, format!("expected {expected}, got {}", self.shown()));
        None
    }

    /// The value for people: in JSON, and in part if it is long.
    pub(super) fn shown(&self) -> String {
        match self.value {
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
            scalar => cut(scalar.to_string()),
        }
    }

    fn below<'b>(&'b self, step: Step<'b>, value: &'b Value) -> Node<'b> {
        Node {
            way: Some((self, step)),
            value,
            findings: self.findings,
        }
    }
}

/// Cuts a long value to what can be read at a glance.
fn cut(mut value: String) -> String {
    if let Some((end, _)) = value.char_indices().nth(100) {
        value.replace_range(end.., "…");
    }
    value
}
