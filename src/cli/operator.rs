//! The operator's forms of the command line (contract §7): `MODE ROOT_MOUNT COPY_DIR`,
//! and those without a root mount.

use std::ffi::OsString;

use super::usage;
use crate::commands::agent::{self, Task};
use crate::package::{Interrupt, Mode};

/// The root mount of the forms without ROOT_MOUNT: older versions of the operator
/// mount the host's root there.
const LEGACY_ROOT_MOUNT: &str = "/root";

/// Reads one of the forms.
pub(super) fn read(words: Vec<OsString>) -> Result<agent::Options, clap::Error> {
    let utf8: Vec<String> = words
        .into_iter()
        .map(OsString::into_string)
        .collect::<Result<_, _>>()
        .map_err(|word| usage(&format!("expected UTF-8, got {}", word.display())))?;
    let arguments: Vec<&str> = utf8.iter().map(String::as_str).collect();
    let (mode, root_mount, copy_dir, data) = match arguments[..] {
        ["interrupt", copy_dir, data] => ("interrupt", LEGACY_ROOT_MOUNT, copy_dir, Some(data)),
        ["interrupt", root_mount, copy_dir, data] => {
            ("interrupt", root_mount, copy_dir, Some(data))
        }
        ["interrupt", ..] => return Err(usage("interrupt: expected [ROOT_MOUNT] COPY_DIR DATA")),
        [mode, copy_dir] => (mode, LEGACY_ROOT_MOUNT, copy_dir, None),
        [mode, root_mount, copy_dir] => (mode, root_mount, copy_dir, None),
        _ => return Err(wrong_form(arguments.first().copied().unwrap_or_default())),
    };
    let known = Mode::from_name(mode);
    if !copy_dir.starts_with('/') {
        return Err(match known {
            Some(_) => usage(&format!(
                "COPY_DIR: expected an absolute path, got {copy_dir:?}"
            )),
            // More likely a command that does not exist than a mode to come.
            None => wrong_form(mode),
        });
    }
    let task = match data {
        Some(data) => Task::Interrupt {
            interrupt: Interrupt::parse(data).map_err(|error| usage(&error.to_string()))?,
            data: data.to_owned(),
        },
        None => known.map_or_else(|| Task::Unknown(mode.to_owned()), Task::Steps),
    };
    Ok(agent::Options {
        task,
        root_mount: root_mount.to_owned(),
        copy_dir: copy_dir.to_owned(),
    })
}

/// The error for words that are none of the operator's forms.
fn wrong_form(first: &str) -> clap::Error {
    usage(&match Mode::from_name(first) {
        Some(mode) => format!("{mode}: expected [ROOT_MOUNT] COPY_DIR"),
        None => {
            format!(
                "{first}: expected a command, or MODE [ROOT_MOUNT] COPY_DIR with an absolute COPY_DIR"
            )
        }
    })
}
