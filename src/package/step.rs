//! One step of a package, as data.

use std::collections::BTreeMap;

/// One step, as config.json has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What people call it.
    pub name: String,
    /// The program, under `{copy_dir}/skyhook_dir`.
    pub path: String,
    /// Its arguments; `env:NAME` stands for the variable NAME.
    pub arguments: Vec<String>,
    /// The codes that mean success: exit codes, or `-signum`.
    pub returncodes: Vec<i64>,
    /// Kept for the package's schema; every step runs in the root it is given.
    pub on_host: bool,
    /// Whether it runs again although it has succeeded before.
    pub idempotence: bool,
    /// Whether it is given the versions of an upgrade.
    pub upgrade_step: bool,
    /// Goes over the environment it inherits.
    pub env: BTreeMap<String, String>,
    /// Accepted and of no effect on the agent.
    pub requires_interrupt: bool,
}
