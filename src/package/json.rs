//! JSON values that know their place in a document and note there what is wrong
//! with them, so that one reading finds every problem.

use std::cell::RefCell;

use serde_json::Value;

/// What is wrong with a document, each with its place.
pub(super) type Problems = RefCell<Vec<String>>;

/// A value of a document. What reads it notes what is not as expected, and leaves
/// it out: a document with a note is not to be used.
#[derive(Debug)]
pub(super) struct Node<'v> {
    /// As in `modes.apply[0].path`; empty for the whole document.
    place: String,
    value: &'v Value,
    problems: &'v Problems,
}

impl<'v> Node<'v> {
    pub(super) fn document(value: &'v Value, problems: &'v Problems) -> Node<'v> {
        Node {
            place: String::new(),
            value,
            problems,
        }
    }

    /// Notes a problem of this value.
    pub(super) fn note(&self, problem: &str) {
        let problem = match &*self.place {
            "" => problem.to_owned(),
            place => format!("{place}: {problem}"),
        };
        self.problems.borrow_mut().push(problem);
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

    /// What `read` makes of a field that an object must have.
    pub(super) fn field<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Node<'v>) -> Option<T>,
    ) -> Option<T> {
        let Some(field) = self.optional(key) else {
            let missing = self.below(key, &Value::Null);
            missing.note("expected a value, got none");
            return None;
        };
        read(&field)
    }

    /// A list of what `read` makes of its values.
    pub(super) fn list<T>(&self, read: impl Fn(&Node<'v>) -> Option<T>) -> Option<Vec<T>> {
        let Value::Array(values) = self.value else {
            return self.unexpected("a list");
        };
        let read = |(i, value)| read(&self.at(format!("{}[{i}]", self.place), value));
        Some(values.iter().enumerate().filter_map(read).collect())
    }

    /// Whether this is a list with something in it. Notes nothing.
    pub(super) fn has_items(&self) -> bool {
        matches!(self.value, Value::Array(values) if !values.is_empty())
    }

    pub(super) fn string(&self) -> Option<String> {
        self.string_that("a string", |_| true)
    }

    /// A string that is valid; `expected` says which are.
    pub(super) fn string_that(
        &self,
        expected: &str,
        is_valid: impl Fn(&str) -> bool,
    ) -> Option<String> {
        match self.value {
            Value::String(string) if is_valid(string) => Some(string.clone()),
            _ => self.unexpected(expected),
        }
    }

    pub(super) fn bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(*value),
            _ => self.unexpected("true or false"),
        }
    }

    /// Whether this is `true`. Notes nothing.
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

    /// Notes that this is not what was expected.
    fn unexpected<T>(&self, expected: &str) -> Option<T> {
        let got = match self.value {
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
            scalar => cut(scalar.to_string()),
        };
        self.note(&format!("expected {expected}, got {got}"));
        None
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
            problems: self.problems,
        }
    }
}

/// What can be read at a glance.
fn cut(mut value: String) -> String {
    if let Some((end, _)) = value.char_indices().nth(100) {
        value.replace_range(end.., "…");
    }
    value
}
