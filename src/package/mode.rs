//! The modes: the occasions on which the operator runs a package's steps.

use std::fmt;

/// An occasion on which the operator runs a package's steps (contract §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the operator's own")]
pub enum Mode {
    Uninstall,
    UninstallCheck,
    Upgrade,
    UpgradeCheck,
    Apply,
    ApplyCheck,
    Config,
    ConfigCheck,
    PostInterrupt,
    PostInterruptCheck,
    Interrupt,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Mode; 11] = [
        Mode::Apply,
        Mode::ApplyCheck,
        Mode::Config,
        Mode::ConfigCheck,
        Mode::PostInterrupt,
        Mode::PostInterruptCheck,
        Mode::Upgrade,
        Mode::UpgradeCheck,
        Mode::Uninstall,
        Mode::UninstallCheck,
        Mode::Interrupt,
    ];

    /// The name in config.json and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Uninstall => "uninstall",
            Mode::UninstallCheck => "uninstall-check",
            Mode::Upgrade => "upgrade",
            Mode::UpgradeCheck => "upgrade-check",
            Mode::Apply => "apply",
            Mode::ApplyCheck => "apply-check",
            Mode::Config => "config",
            Mode::ConfigCheck => "config-check",
            Mode::PostInterrupt => "post-interrupt",
            Mode::PostInterruptCheck => "post-interrupt-check",
            Mode::Interrupt => "interrupt",
        }
    }

    /// Finds the mode of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// The mode whose steps check those of this one. Check modes have none, and the
    /// interrupt mode has none.
    #[must_use]
    pub fn check(self) -> Option<Mode> {
        match self {
            Mode::Uninstall => Some(Mode::UninstallCheck),
            Mode::Upgrade => Some(Mode::UpgradeCheck),
            Mode::Apply => Some(Mode::ApplyCheck),
            Mode::Config => Some(Mode::ConfigCheck),
            Mode::PostInterrupt => Some(Mode::PostInterruptCheck),
            _ => None,
        }
    }

    /// Tells if its steps are given the version that the node has and the one to come.
    #[must_use]
    pub fn has_versions(self) -> bool {
        matches!(self, Mode::Upgrade | Mode::UpgradeCheck)
    }

    /// Tells if its runs lay the package's files over the host, and expect its config
    /// files: a package is uninstalled as it is.
    #[must_use]
    pub fn has_overlay(self) -> bool {
        !matches!(self, Mode::Uninstall | Mode::UninstallCheck)
    }

    /// Tells if its steps check those of another mode.
    #[must_use]
    pub fn is_check(self) -> bool {
        self.check().is_none() && self != Mode::Interrupt
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_has_a_name_and_a_check_or_is_one() {
        for mode in Mode::ALL {
            assert_eq!(Mode::from_name(mode.name()), Some(mode));
            match mode.check() {
                Some(check) => assert_eq!(check.name(), format!("{mode}-check")),
                None => assert_eq!(mode.is_check(), mode.name().ends_with("-check")),
            }
            assert!(!mode.is_check() || mode.check().is_none());
        }
        assert_eq!(Mode::from_name("bogus"), None);
    }
}
