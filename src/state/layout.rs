//! Every path of the state on a host, each in one place (contract §6).
//!
//! All paths are absolute inside the root mount.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use crate::package::{Mode, OWN_NAME, Step};
use crate::python;

/// The most bytes of a file name, as in the kernel.
const NAME_MAX: usize = 255;

/// The most bytes of a flag's path: the kernel's 4096, less room for a root mount.
const FLAG_PATH_MAX: usize = 3500;

/// The paths of one package's state.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    /// `SKYHOOK_ROOT_DIR`: the directory of all state.
    pub root_dir: &'a str,
    /// The package's name.
    pub package: &'a str,
    /// The package's version.
    pub version: &'a str,
}

impl Layout<'_> {
    /// `flags/START`: set by each run that gets as far as its steps.
    #[must_use]
    pub fn start_flag(&self) -> String {
        format!("{}/flags/START", self.root_dir)
    }

    /// `flags`: the directory of all flags of steps and checks.
    #[must_use]
    pub fn flag_root(&self) -> String {
        format!("{}/flags", self.root_dir)
    }

    /// `flags/{package}`: the directory of the steps' flags, of all versions.
    #[must_use]
    pub fn package_flag_dir(&self) -> String {
        format!("{}/{}", self.flag_root(), self.package)
    }

    /// `flags/{package}/{version}`: the directory of the steps' flags.
    #[must_use]
    pub fn flag_dir(&self) -> String {
        format!("{}/{}", self.package_flag_dir(), self.version)
    }

    /// `flags/{package}/{version}/{step path}_{marker}`: the flag of a step.
    ///
    /// The marker is the base64 of the arguments and the return codes, as Python
    /// prints them; its slashes make directories. If a name would be longer than 255
    /// bytes, or the path too long for the kernel, `sha256-` and a hash of the marker
    /// take its place (§10).
    #[must_use]
    pub fn step_flag(&self, step: &Step) -> String {
        let arguments = python::strings(&step.arguments);
        let returncodes = python::integers(&step.returncodes);
        let marker = BASE64_STANDARD.encode(format!("{arguments}_{returncodes}"));
        let flag = self.marked(step, &marker);
        let fits = flag.split('/').all(|name| name.len() <= NAME_MAX);
        if fits && flag.len() <= FLAG_PATH_MAX {
            return flag;
        }
        self.marked(step, &format!("sha256-{}", sha256(&marker)))
    }

    fn marked(&self, step: &Step, marker: &str) -> String {
        format!("{}/{}_{marker}", self.flag_dir(), step.path)
    }

    /// `flags/check_results`: how the checks of the last check run went.
    #[must_use]
    pub fn check_results(&self) -> String {
        format!("{}/flags/check_results", self.root_dir)
    }

    /// `flags/{mode}_ALL_CHECKED`: set if no check of the mode failed.
    #[must_use]
    pub fn all_checked_flag(&self, mode: Mode) -> String {
        format!("{}/flags/{mode}_ALL_CHECKED", self.root_dir)
    }

    /// `history`: the directory of the histories.
    #[must_use]
    pub fn history_dir(&self) -> String {
        format!("{}/history", self.root_dir)
    }

    /// `history/{package}.json`: the versions that the package has had.
    #[must_use]
    pub fn history_file(&self) -> String {
        format!("{}/{}.json", self.history_dir(), self.package)
    }

    /// `history/{package}.json.backup`: a history that could not be understood.
    #[must_use]
    pub fn history_backup(&self) -> String {
        format!("{}.backup", self.history_file())
    }

    /// `interrupts/flags/{resource id}/{interrupt}.complete`: an interrupt runs, or
    /// has run, for that resource. `interrupt` is `no_op`, or `{type}_{i}` for the
    /// command of that index.
    #[must_use]
    pub fn interrupt_flag(&self, resource_id: &str, interrupt: &str) -> String {
        format!(
            "{}/interrupts/flags/{resource_id}/{interrupt}.complete",
            self.root_dir
        )
    }

    /// `interrupts/flags/{resource id}/{interrupt}.boot`: the boot of the node in which a
    /// reboot was asked for (§11).
    #[must_use]
    pub fn interrupt_boot(&self, resource_id: &str, interrupt: &str) -> String {
        format!(
            "{}/interrupts/flags/{resource_id}/{interrupt}.boot",
            self.root_dir
        )
    }

    /// The name that a file of the state has while it is written, if it needs one. It is
    /// the package's own, and agents of one package run one at a time: a file that is
    /// found under this name is left over from an agent that was killed.
    #[must_use]
    pub fn temporary_name(&self) -> String {
        own_name(self.package, "new")
    }

    /// `.skyhook-agent-{package}.{lock}`: a lock of the package, while an agent holds it.
    #[must_use]
    pub fn lock_name(&self, lock: Lock) -> String {
        own_name(self.package, lock.name())
    }
}

/// The locks of a package. An agent that takes both takes them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Held by each run of the package that the resource id names.
    Run,
    /// Held by each run that uses the state of the package that config.json names. The
    /// operator may give a package another name than the package gives itself.
    State,
}

impl Lock {
    fn name(self) -> &'static str {
        match self {
            Lock::Run => "run",
            Lock::State => "state",
        }
    }
}

/// Names one of the agent's own files.
fn own_name(package: &str, suffix: &str) -> String {
    let name = format!("{OWN_NAME}{package}.{suffix}");
    if name.len() <= NAME_MAX {
        return name;
    }
    format!("{OWN_NAME}{}.{suffix}", sha256(package))
}

/// The SHA-256 of a text, in hexadecimal digits.
fn sha256(text: &str) -> String {
    let hash = Sha256::digest(text);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
