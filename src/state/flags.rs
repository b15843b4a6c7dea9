//! Flags: empty or nearly empty files. Their existence is what they say.

use std::ffi::OsStr;
use std::path::Path;

use super::State;
use crate::error::Error;
use crate::package::{Idempotence, Mode, Step};
use crate::python;
use crate::stamp::Iso8601;

impl State<'_> {
    /// Records that a run has come as far as its steps.
    ///
    /// # Errors
    /// If the flag cannot be written.
    pub fn set_started(&self) -> Result<(), Error> {
        self.write(&self.layout.start_flag(), "")
    }

    /// Tells if a flag is set.
    ///
    /// # Errors
    /// If the host cannot tell.
    pub fn is_set(&self, flag: &str) -> Result<bool, Error> {
        self.root.exists(Path::new(flag))
    }

    /// Sets a step's flag: the step has succeeded.
    ///
    /// # Errors
    /// If it cannot be written. It is not set then, or it is set and not durable.
    pub fn set_succeeded(&self, flag: &str, step: &Step) -> Result<(), Error> {
        let now = Iso8601(self.clock.local());
        let always = python::boolean(step.idempotence == Idempotence::Disabled);
        self.write(
            flag,
            &format!("last_run: {now}\nstep_always_runs: {always}"),
        )
    }

    /// Removes a flag. A missing one counts as removed.
    ///
    /// # Errors
    /// If it exists and cannot be removed.
    pub fn clear(&self, flag: &str) -> Result<(), Error> {
        self.remove(flag)
    }

    /// Removes the flags of all steps, of every version of the package: an older version
    /// that is installed again must run its steps. No link is followed.
    ///
    /// # Errors
    /// If one cannot be removed. Others may have been removed then.
    pub fn clear_package(&self) -> Result<(), Error> {
        let path = self.layout.package_flag_dir();
        let above = self.layout.flag_root();
        if !self.root.exists(Path::new(&above))? {
            return Ok(());
        }
        let dir = self.root.open_dir(Path::new(&above))?;
        dir.remove_tree(OsStr::new(self.layout.package))
            .map_err(|error| Error::io("remove", self.root.host_path(Path::new(&path)), error))
    }

    /// Writes the results of a mode's checks, and sets the mode's ALL_CHECKED flag if
    /// none failed. `failed` has one entry for each of `steps`.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn set_checked(&self, mode: Mode, steps: &[Step], failed: &[bool]) -> Result<(), Error> {
        let results: Vec<String> = steps
            .iter()
            .zip(failed)
            .map(|(step, failed)| format!("{} {}", step.path, python::boolean(*failed)))
            .collect();
        self.write(&self.layout.check_results(), &results.join("\n"))?;
        if failed.contains(&true) {
            return Ok(());
        }
        self.write(&self.layout.all_checked_flag(mode), "")
    }
}
