//! The place of a value in a config.json.

use std::fmt;

use serde_json::Value;

/// The way from the whole document to one of its values.
///
/// `Display` gives it as in `modes.apply[0].path`, and nothing for the document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place(Vec<Part>);

/// One part of the way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// To the value of a key of an object.
    Key(String),
    /// To the item of a list.
    Index(usize),
}

impl Place {
    /// The whole document.
    pub const DOCUMENT: Place = Place(Vec::new());

    /// The place of the value of `key` in the object that is here.
    #[must_use]
    pub fn key(&self, key: &str) -> Place {
        self.below(Part::Key(key.to_owned()))
    }

    /// The place of an item of the list that is here.
    #[must_use]
    pub fn index(&self, index: usize) -> Place {
        self.below(Part::Index(index))
    }

    fn below(&self, part: Part) -> Place {
        Place(self.0.iter().cloned().chain([part]).collect())
    }

    /// The parts, from the document on.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The place of the object or list that this is in. The document is in itself.
    #[must_use]
    pub fn above(&self) -> Place {
        let parts = self.0.split_last().map_or(&[][..], |(_, above)| above);
        Place(parts.to_vec())
    }

    /// Finds the value that is there in a document.
    #[must_use]
    pub fn value<'v>(&self, document: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(document, |value, part| match part {
            Part::Key(key) => value.get(key),
            Part::Index(index) => value.get(index),
        })
    }

    /// The key that the way ends with, if it ends with one.
    #[must_use]
    pub fn last_key(&self) -> Option<&str> {
        match self.0.last() {
            Some(Part::Key(key)) => Some(key),
            _ => None,
        }
    }
}

impl FromIterator<Part> for Place {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Place {
        Place(parts.into_iter().collect())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.0.iter().enumerate() {
            match part {
                Part::Key(key) if i == 0 => f.write_str(key)?,
                Part::Key(key) => write!(f, ".{key}")?,
                Part::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
