//! JSON values that know their place in a document and note what is wrong with
//! them, so that one reading finds every problem.

use std::cell::RefCell;

use serde_json::Value;

use super::finding::{Code, Finding, Severity};

/// Collects what is wrong with a document.
pub(super) type Findings = RefCell<Vec<Finding>>;

/// A value of a document. Its readers note what is not as expected and leave it
/// out: a document with a finding must not be used.
#[derive(Debug)]
pub(super) struct Node<'v> {
    /// Its place, as in `modes.apply[0].path`; empty for the whole document.
    place: String,
    value: &'v Value,
    findings: &'v Findings,
}

impl<'v> Node<'v> {
    pub(super) fn document(value: &'v Value, findings: &'v Findings) -> Node<'v> {
        Node {
            place: String::new(),
            value,
            findings,
        }
    }

    /// Notes an error in this value.
    pub(super) fn note(&self, code: Code, message: impl Into<String>) {
        self.findings.borrow_mut().push(Finding {
            severity: Severity::Error,
            code,
            place: self.place.clone(),
            message: message.into(),
        });
    }

    /// All fields of an object, by key.
    pub(super) fn fields(&self) -> Option<Vec<(&'v str, Node<'v>)>> {
        let Value::Object(fields) = self.value else {
            return self.unexpected("an object");
        };
        let field = |(key, value): (&'v String, _)| (&**key, self.below(key, value));
        Some(fields.iter().map(field).collect())
    }

    /// A field of an object, if it has it.
    pub(super) fn optional(&self, key: &str) -> Option<Node<'v>> {
        Some(self.below(key, self.value.get(key)?))
    }

    /// Reads a field that an object must have with `read`.
    pub(super) fn field<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Node<'v>) -> Option<T>,
    ) -> Option<T> {
        let Some(field) = self.optional(key) else {
            let missing = self.below(key, &Value::Null);
            missing.note(Code::MissingValue, "expected a value, got none");
            return None;
        };
        read(&field)
    }

    /// Reads a list, each of its values with `read`.
    pub(super) fn list<T>(&self, read: impl Fn(&Node<'v>) -> Option<T>) -> Option<Vec<T>> {
        let Value::Array(values) = self.value else {
            return self.unexpected("a list");
        };
        let nodes = values
            .iter()
            .enumerate()
            .map(|(i, value)| self.at(format!("{}[{i}]", self.place), value));
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

    fn below(&self, key: &str, value: &'v Value) -> Node<'v> {
        match &*self.place {
            "" => self.at(key.to_owned(), value),
            place => self.at(format!("{place}.{key}"), value),
        }
    }

    fn at(&self, place: String, value: &'v Value) -> Node<'v> {
        Node {
            place,
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
