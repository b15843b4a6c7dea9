//! Flags: empty or nearly empty files whose being there is what they say.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::State;
use crate::error::Error;

use crate::package::{Mode, Step};
use crate::python;
use crate::stamp::Iso8601;

/// The longest name of a file.
const LONGEST_NAME: usize = 255;

/// The longest path of a flag: the kernel's 4096 with room for a root mount.
const LONGEST_PATH: usize = 3500;

impl State<'_> {
    /// Says that a run has come as far as its steps: `flags/START`.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn set_started(&self) -> Result<(), Error> {
        self.write(&format!("{}/flags/START", self.dir), "")
    }

    /// The path of a step's flag inside the root:
    /// `flags/{package}/{version}/{step path}_{marker}`.
    ///
    /// The marker is the base64 of the arguments and the return codes, as Python
    /// prints them; its slashes make folders. Where a name would be longer than
    /// 255 bytes, or the path too long for the kernel, `sha256-` and a hash of the marker take its place (§10).
    #[must_use]
    pub fn flag(&self, step: &Step) -> String {
        let arguments = python::strings(&step.arguments);
        let returncodes = python::integers(&step.returncodes);
        let marker = BASE64_STANDARD.encode(format!("{arguments}_{returncodes}"));
        let path = |marker: &str| {
            let State {
                dir,
                package,
                version,
                ..
            } = self;
            format!("{dir}/flags/{package}/{version}/{}_{marker}", step.path)
        };
        let flag = path(&marker);
        let fits = flag.split('/').all(|name| name.len() <= LONGEST_NAME);
        if fits && flag.len() <= LONGEST_PATH {
            return flag;
        }
        let hash = Sha256::digest(&marker);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        path(&format!("sha256-{hex}"))
    }

    /// What a flag is called in what is printed.
    #[must_use]
    pub fn shown(&self, flag: &str) -> String {
        format!("{}{flag}", self.root_mount)
    }

    /// Whether a flag is set.
    ///
    /// # Errors
    /// Where the host cannot tell.
    pub fn is_set(&self, flag: &str) -> Result<bool, Error> {
        self.root.exists(Path::new(flag))
    }

    /// Sets a step's flag: it has succeeded.
    ///
    /// # Errors
    /// Where it cannot be written: it is not set then, unless it is merely not
    /// durable.
    pub fn set_succeeded(&self, flag: &str, step: &Step) -> Result<(), Error> {
        let now = Iso8601(self.clock.local());
        let always = python::boolean(step.idempotence);
        self.write(
            flag,
            &format!("last_run: {now}\nstep_always_runs: {always}"),
        )
    }

    /// Takes a flag back.
    ///
    /// # Errors
    /// Where it is there and cannot be removed.
    pub fn clear(&self, flag: &str) -> Result<(), Error> {
        self.remove(flag)
    }

    /// Writes what a mode's checks came to: `flags/check_results`, and
    /// `flags/{mode}_ALL_CHECKED` where none failed. `failed` has one for each
    /// of `steps`. True where none failed.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn set_checked(&self, mode: Mode, steps: &[Step], failed: &[bool]) -> Result<bool, Error> {
        let results: Vec<String> = steps
            .iter()
            .zip(failed)
            .map(|(step, failed)| format!("{} {}", step.path, python::boolean(*failed)))
            .collect();
        self.write(
            &format!("{}/flags/check_results", self.dir),
            &results.join("\n"),
        )?;
        let all_passed = !failed.contains(&true);
        if all_passed {
            self.write(&format!("{}/flags/{mode}_ALL_CHECKED", self.dir), "")?;
        }
        Ok(all_passed)
    }

    /// The path of an interrupt's flag inside the root.
    #[must_use]
    pub fn interrupt_flag(&self, resource_id: &str, interrupt: &str) -> String {
        format!(
            "{}/interrupts/flags/{resource_id}/{interrupt}.complete",
            self.dir
        )
    }

    /// Sets an interrupt's flag: it runs, or has run.
    ///
    /// # Errors
    /// Where it cannot be written: it is not set then, unless it is merely not
    /// durable.
    pub fn set_interrupted(&self, flag: &str) -> Result<(), Error> {
        // As Python prints a float: with a fraction, be it `.0`.
        let epoch = self.clock.utc() - time::OffsetDateTime::UNIX_EPOCH;
        self.write(flag, &format!("{:?}", epoch.as_seconds_f64()))
    }
}
