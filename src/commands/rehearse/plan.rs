//! The stages of a package's life, in the operator's order, as data.

use serde::Serialize;

use crate::package::{Config, Mode};

/// A part of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Pass {
    /// The version before an upgrade is installed.
    Old,
    /// The package is installed, or upgraded.
    First,
    /// The same once more, with the flags as they are.
    Again,
    /// The same once more, with `OVERLAY_ALWAYS_RUN_STEP`.
    Forced,
    /// The package is uninstalled.
    Uninstall,
    /// A stage that is cut off in the middle. In a life of its own.
    Cut,
    /// The stage after it was cut off; in the same life also a stage that is not.
    Anew,
}

impl Pass {
    /// The name in reports.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Pass::Old => "old",
            Pass::First => "first",
            Pass::Again => "again",
            Pass::Forced => "forced",
            Pass::Uninstall => "uninstall",
            Pass::Cut => "cut",
            Pass::Anew => "anew",
        }
    }
}

/// A version of the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// The one before an upgrade.
    Old,
    /// The one that is rehearsed.
    New,
}

/// A run of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    pub(super) pass: Pass,
    pub(super) version: Version,
    pub(super) mode: Mode,
    /// Tells if there are steps to run, or an interrupt. A stage without them is not shown
    /// unless it fails: it keeps the history of versions, and lays the package's files.
    pub(super) has_steps: bool,
}

/// The life of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Life {
    /// The old version, then this package for the first time.
    pub(super) first: Vec<Stage>,
    /// The passes that should change nothing.
    pub(super) again: Vec<Stage>,
    pub(super) forced: Vec<Stage>,
    pub(super) uninstall: Vec<Stage>,
}

/// Plans the life of `package`. With `old`, that version is there before.
pub(super) fn plan(package: &Config, old: Option<&Config>, has_interrupt: bool) -> Life {
    let again = |pass| {
        let mut stages = pair(package, pass, Mode::Apply);
        stages.extend(rest(package, pass, has_interrupt));
        stages
    };
    let mut first = Vec::new();
    if let Some(old) = old {
        first.extend(pair(old, Pass::Old, Mode::Apply));
        first.extend(some(old, Pass::Old, Mode::Config));
        first.extend(pair(package, Pass::First, Mode::Upgrade));
    } else {
        first.extend(pair(package, Pass::First, Mode::Apply));
    }
    first.extend(rest(package, Pass::First, has_interrupt));
    Life {
        first,
        again: again(Pass::Again),
        forced: again(Pass::Forced),
        uninstall: some(package, Pass::Uninstall, Mode::Uninstall),
    }
}

/// Tells if the stages of a pass are lived once more, and cut off then.
pub(super) fn is_cut_later(pass: Pass) -> bool {
    matches!(pass, Pass::Old | Pass::First | Pass::Uninstall)
}

/// What follows apply or upgrade.
fn rest(package: &Config, pass: Pass, has_interrupt: bool) -> Vec<Stage> {
    let mut stages = some(package, pass, Mode::Config);
    if has_interrupt {
        stages.push(Stage {
            pass,
            version: Version::New,
            mode: Mode::Interrupt,
            has_steps: true,
        });
    }
    stages.extend(some(package, pass, Mode::PostInterrupt));
    stages
}

/// A mode and its check, which the operator always runs both.
fn pair(package: &Config, pass: Pass, mode: Mode) -> Vec<Stage> {
    let version = match pass {
        Pass::Old => Version::Old,
        _ => Version::New,
    };
    let stage = |mode| Stage {
        pass,
        version,
        mode,
        has_steps: package
            .modes
            .get(&mode)
            .is_some_and(|steps| !steps.is_empty()),
    };
    std::iter::once(mode)
        .chain(mode.check())
        .map(stage)
        .collect()
}

/// The same, or nothing if neither has steps.
fn some(package: &Config, pass: Pass, mode: Mode) -> Vec<Stage> {
    let stages = pair(package, pass, mode);
    match stages.iter().any(|stage| stage.has_steps) {
        true => stages,
        false => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::package::{Idempotence, Step};

    fn package(modes: &[Mode]) -> Config {
        let step = Step {
            name: "a".to_owned(),
            path: "a.sh".to_owned(),
            arguments: Vec::new(),
            returncodes: vec![0],
            on_host: true,
            idempotence: Idempotence::Auto,
            upgrade_step: false,
            env: BTreeMap::new(),
            requires_interrupt: false,
        };
        Config {
            schema_version: "v1".to_owned(),
            package_name: "pkg".to_owned(),
            package_version: "1.0.0".to_owned(),
            expected_config_files: Vec::new(),
            modes: modes
                .iter()
                .map(|mode| (*mode, vec![step.clone()]))
                .collect(),
        }
    }

    fn shown(stages: &[Stage]) -> String {
        let names = stages.iter().map(|stage| {
            let quiet = if stage.has_steps { "" } else { "?" };
            format!("{}/{}{quiet}", stage.pass.name(), stage.mode)
        });
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_life_has_the_operator_s_order() {
        let package = package(&Mode::ALL);
        let life = plan(&package, None, true);
        assert_eq!(
            shown(&life.first),
            "first/apply first/apply-check first/config first/config-check first/interrupt \
             first/post-interrupt first/post-interrupt-check"
        );
        assert_eq!(
            shown(&life.again),
            shown(&life.first).replace("first/", "again/")
        );
        assert_eq!(
            shown(&life.forced),
            shown(&life.first).replace("first/", "forced/")
        );
        assert_eq!(
            shown(&life.uninstall),
            "uninstall/uninstall uninstall/uninstall-check"
        );
    }

    #[test]
    fn an_upgrade_comes_in_place_of_apply_after_the_old_version() {
        let new = package(&[Mode::Apply, Mode::Upgrade, Mode::ConfigCheck]);
        let old = package(&[Mode::Apply, Mode::Config, Mode::Uninstall]);
        let life = plan(&new, Some(&old), false);
        assert_eq!(
            shown(&life.first),
            "old/apply old/apply-check? old/config old/config-check? first/upgrade \
             first/upgrade-check? first/config? first/config-check"
        );
        assert_eq!(
            shown(&life.again),
            "again/apply again/apply-check? again/config? again/config-check"
        );
    }

    #[test]
    fn modes_without_steps_are_left_out_except_those_that_keep_the_history() {
        let life = plan(&package(&[]), None, false);
        assert_eq!(shown(&life.first), "first/apply? first/apply-check?");
        assert_eq!(life.uninstall, []);
    }
}
