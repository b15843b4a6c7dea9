//! One step of a package, as data.

use std::collections::BTreeMap;

/// One step, as config.json has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// The program, under `{copy_dir}/skyhook_dir`.
    pub path: String,
    /// Its arguments; `env:NAME` stands for the variable NAME.
    pub arguments: Vec<String>,
    /// The codes that mean success: exit codes, or `-signum`.
    pub returncodes: Vec<i64>,
    /// Read for the schema's sake; every step runs in the root it is given.
    pub on_host: bool,
    /// Tells if it is skipped once it has succeeded.
    pub idempotence: Idempotence,
    /// Tells if it is given the versions of an upgrade as arguments.
    pub upgrade_step: bool,
    /// Variables that are set over the environment it inherits.
    pub env: BTreeMap<String, String>,
    /// Accepted and of no effect on the agent.
    pub requires_interrupt: bool,
}

impl Step {
    /// Gives a step of an upgrade the versions: in its environment, and, if it is an
    /// upgrade step, after its arguments.
    #[must_use]
    pub fn with_versions(&self, previous: &str, current: &str) -> Step {
        let mut versioned = self.clone();
        if self.upgrade_step {
            let versions = [previous, current].map(str::to_owned);
            versioned.arguments.extend(versions);
        }
        let env = &mut versioned.env;
        env.insert("PREVIOUS_VERSION".to_owned(), previous.to_owned());
        env.insert("CURRENT_VERSION".to_owned(), current.to_owned());
        versioned
    }
}

/// Tells if a step with a flag is skipped. The JSON has it the other way round:
/// `"idempotence": true` there means that the step runs every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotence {
    /// The agent skips the step if its flag is set. `false` in the JSON.
    Auto,
    /// The step runs every time. `true` in the JSON.
    Disabled,
}

impl Idempotence {
    /// The name that the reference prints: `Auto` or `Disabled`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Idempotence::Auto => "Auto",
            Idempotence::Disabled => "Disabled",
        }
    }
}

impl From<bool> for Idempotence {
    fn from(json: bool) -> Idempotence {
        if json {
            Idempotence::Disabled
        } else {
            Idempotence::Auto
        }
    }
}
