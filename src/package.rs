//! A package as run-step needs it: its config.json, read, and checked for what
//! could lead out of the package or the log folder.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;

use crate::error::Error;
use crate::host::Root;
use crate::step::Step;

/// What a package's steps are run for (contract §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

    /// Its name in config.json and on the command line.
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
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A package's config.json. Keys that are not here are left alone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// `v1`.
    pub schema_version: String,
    /// The package's name; one component of its log folder's path.
    pub package_name: String,
    /// The package's version; another.
    pub package_version: String,
    /// Files that the package wants in its `configmaps` folder.
    pub expected_config_files: Vec<String>,
    /// The steps of each mode, in order.
    pub modes: BTreeMap<Mode, Vec<Step>>,
}

impl Config {
    /// Reads and checks the config.json at `file`, inside `root`.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read, [`Error::Package`] where it is not
    /// a config.json or a name or path in it leads out of its folder.
    pub fn load(root: &Root, file: &Path) -> Result<Config, Error> {
        let json = root.read(file)?;
        let invalid = |problem: String| Error::Package {
            file: root.outside(file),
            problem,
        };
        let config: Config =
            serde_json::from_slice(&json).map_err(|error| invalid(error.to_string()))?;
        config.check().map_err(invalid)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if self.schema_version != "v1" {
            return Err(format!(
                "schema_version: expected \"v1\", got {:?}",
                self.schema_version
            ));
        }
        for (field, name) in [
            ("package_name", &self.package_name),
            ("package_version", &self.package_version),
        ] {
            if matches!(&**name, "" | "." | "..") || name.contains(['/', '\0']) {
                return Err(format!("{field}: expected a name without /, got {name:?}"));
            }
        }
        for (mode, steps) in &self.modes {
            for (i, Step { path, .. }) in steps.iter().enumerate() {
                let leads_out = path.starts_with('/') || path.split('/').any(|name| name == "..");
                let is_file = !matches!(path.rsplit('/').next(), None | Some("" | "."));
                if leads_out || !is_file || path.contains('\0') {
                    return Err(format!(
                        "modes.{mode}[{i}].path: expected a file inside skyhook_dir, got {path:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(json: &str) -> Result<Config, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json).unwrap();
        Config::load(&Root::open(Path::new("/")).unwrap(), file.path())
    }

    fn with(name: &str, version: &str, path: &str) -> String {
        serde_json::json!({
            "schema_version": "v1",
            "package_name": name,
            "package_version": version,
            "expected_config_files": [],
            "unknown": "is fine",
            "modes": { "apply": [{
                "name": "s", "path": path, "arguments": [], "returncodes": [0],
                "on_host": true, "idempotence": false, "upgrade_step": false,
            }] },
        })
        .to_string()
    }

    #[test]
    fn mode_names_are_those_of_the_config() {
        for mode in Mode::ALL {
            let read: Mode = serde_json::from_str(&format!("{:?}", mode.name())).unwrap();
            assert_eq!(read, mode);
        }
    }

    #[test]
    fn a_sound_config_is_read() {
        for path in ["a.sh", "steps/a.sh", "./a.sh", "a//b", "..a", "a.."] {
            let config = load(&with("p", "1.0.0", path)).unwrap();
            assert_eq!(config.modes[&Mode::Apply][0].path, path);
        }
    }

    #[test]
    fn names_and_paths_that_lead_elsewhere_are_refused_by_place() {
        for name in ["", ".", "..", "a/b", "/a", "a/", "a\0"] {
            let error = load(&with(name, "1.0.0", "a.sh")).unwrap_err().to_string();
            assert!(
                error.contains("package_name: expected"),
                "{name:?}: {error}"
            );
            let error = load(&with("p", name, "a.sh")).unwrap_err().to_string();
            assert!(error.contains("package_version: expected"), "{error}");
        }
        for path in [
            "", ".", "..", "/bin/sh", "../x", "a/../b", "a/", "a/.", "a\0b",
        ] {
            let error = load(&with("p", "1", path)).unwrap_err();
            assert!(
                error.to_string().contains("modes.apply[0].path: expected"),
                "{error}"
            );
            assert_eq!(error.exit_code(), 1);
        }
    }

    #[test]
    fn what_is_no_config_is_refused_with_its_place() {
        for (json, place) in [
            ("", "line 1 column 0"),
            ("[]", "line 1 column"),
            ("{\n\"schema_version\": 1}", "line 2 column"),
            ("{}", "missing field `schema_version`"),
        ] {
            let error = load(json).unwrap_err().to_string();
            assert!(error.contains(place), "{error}");
        }
        let unknown_key = with("p", "1", "a").replace("\"on_host\"", "\"on_hots\"");
        let error = load(&unknown_key).unwrap_err().to_string();
        assert!(error.contains("unknown field `on_hots`"), "{error}");
    }
}
