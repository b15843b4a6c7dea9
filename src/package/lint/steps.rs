//! The steps of a document, as far as they can be read: a document with errors has steps
//! too.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::super::{Mode, Place};

/// A step, in the document.
#[derive(Debug)]
pub(super) struct Step<'d> {
    pub(super) mode: Mode,
    pub(super) place: Place,
    value: &'d Value,
}

/// The steps of all modes, in the order in which the modes are listed.
pub(super) fn of(document: &Value) -> Vec<Step<'_>> {
    let modes = Mode::ALL.into_iter();
    modes.flat_map(|mode| of_mode(document, mode)).collect()
}

fn of_mode(document: &Value, mode: Mode) -> Vec<Step<'_>> {
    let steps = document
        .get("modes")
        .and_then(|modes| modes.get(mode.name()));
    let steps = steps.and_then(Value::as_array).into_iter().flatten();
    let place = mode_place(mode);
    let step = |(i, value)| Step {
        mode,
        place: place.index(i),
        value,
    };
    steps.enumerate().map(step).collect()
}

pub(super) fn mode_place(mode: Mode) -> Place {
    Place::DOCUMENT.key("modes").key(mode.name())
}

impl<'d> Step<'d> {
    pub(super) fn get(&self, key: &str) -> Option<&'d Value> {
        self.value.get(key)
    }

    pub(super) fn name(&self) -> Option<&'d str> {
        self.get("name")?.as_str()
    }

    /// The path of its file, below skyhook_dir, without `.` in it; `None` if it leads out.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let path = Path::new(self.get("path")?.as_str()?);
        let mut plain = PathBuf::new();
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::Normal(name) => plain.push(name),
                _ => return None,
            }
        }
        let is_named = !plain.as_os_str().is_empty() && !path.to_str()?.contains('\0');
        is_named.then_some(plain)
    }

    pub(super) fn list(&self, key: &str) -> &'d [Value] {
        let list = self.get(key).and_then(Value::as_array);
        list.map_or(&[], Vec::as_slice)
    }

    /// The arguments that are strings, with their places in the list.
    pub(super) fn arguments(&self) -> impl Iterator<Item = (usize, &'d str)> {
        let arguments = self.list("arguments").iter().enumerate();
        arguments.filter_map(|(i, argument)| Some((i, argument.as_str()?)))
    }

    /// What the name of its flag is made of.
    pub(super) fn flag(&self) -> Option<(OsString, &'d [Value], &'d [Value])> {
        Some((
            self.path()?.into(),
            self.list("arguments"),
            self.list("returncodes"),
        ))
    }
}
