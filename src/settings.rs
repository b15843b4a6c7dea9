//! The variables of contract §5, read once, typed and validated.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::text;

/// The most bytes of one read unless the environment says otherwise: as many as
/// the reference reads (contract §5).
pub const DEFAULT_BUFFER_LIMIT: NonZeroUsize = match NonZeroUsize::new(8192) {
    Some(limit) => limit,
    None => NonZeroUsize::MIN,
};

/// The time for which a reboot is waited for, unless the environment says otherwise (§11).
const DEFAULT_REBOOT_TIMEOUT: Duration = Duration::from_secs(300);

/// An environment: steps inherit it, and `env:` arguments are looked up in it.
pub type Environment = BTreeMap<OsString, OsString>;

/// The settings of a run, from the environment (contract §5, §10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `SKYHOOK_AGENT_BUFFER_LIMIT`: the most bytes of one read, 1 or more;
    /// default 8192.
    pub buffer_limit: NonZeroUsize,
    /// `SKYHOOK_AGENT_DRAIN_TIMEOUT`: seconds to wait, from a step's exit, for
    /// the end of output that other processes still hold open; fractions are
    /// allowed. Default: no limit.
    pub drain_timeout: Option<Duration>,
    /// `SKYHOOK_AGENT_REBOOT_TIMEOUT`: seconds to wait for a reboot that was asked
    /// for (§11), 0 or more; fractions are allowed. Default 300.
    pub reboot_timeout: Duration,
    /// `SKYHOOK_AGENT_WRITE_LOGS`: whether there are log files; default true.
    pub write_logs: bool,
    /// `SKYHOOK_LOG_DIR`: the log root, under the root mount; default
    /// `/var/log/skyhook`.
    pub log_dir: String,
    /// `SKYHOOK_DATA_DIR`: the package of a legacy start; default
    /// `/skyhook-package`.
    pub data_dir: String,
    /// `SKYHOOK_ROOT_DIR`: the state root, under the root mount; default
    /// `/etc/skyhook`.
    pub root_dir: String,
    /// `COPY_RESOLV`: whether /etc/resolv.conf goes into the root mount; default
    /// true.
    pub copy_resolv: bool,
    /// `OVERLAY_ALWAYS_RUN_STEP`: whether steps run although their flag is set;
    /// default false.
    pub always_run_step: bool,
    /// `SKYHOOK_AGENT_SYNC`: tells if the work of steps is on disk before it counts as done;
    /// default true.
    pub sync: bool,
    /// The directories for control files, the first that can be written to: `TMPDIR`, if
    /// it is set, `/tmp`, `/var/tmp` and the working directory (contract §2).
    pub temp_dirs: Vec<PathBuf>,
    /// Tells if there is a terminal (/dev/tty) that a step can use.
    pub has_terminal: bool,
    /// The whole environment.
    pub environment: Environment,
}

/// The value of `SKYHOOK_RESOURCE_ID`: the operator names with it what a run is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceId {
    /// The whole value.
    pub whole: String,
    /// The custom resource and its generation.
    pub id: String,
    /// The package's name.
    pub package: String,
    /// The package's version.
    pub version: String,
}

/// Returns the process's environment.
#[must_use]
pub fn environment() -> Environment {
    std::env::vars_os().collect()
}

/// Returns `SKYHOOK_AGENT_TERMINATION_LOG`: the file for the reason of a failure (§12);
/// `None` for none. Default `/dev/termination-log`.
///
/// Any value can be used. So a run can report there that another variable cannot.
#[must_use]
pub fn termination_log() -> Option<PathBuf> {
    let value = std::env::var_os("SKYHOOK_AGENT_TERMINATION_LOG");
    let path = value.map_or_else(|| "/dev/termination-log".into(), PathBuf::from);
    (!path.as_os_str().is_empty()).then_some(path)
}

impl Settings {
    /// Reads the process's environment, and looks for a terminal.
    ///
    /// # Errors
    /// [`Error::Setting`] for a variable whose value cannot be used.
    pub fn from_process() -> Result<Settings, Error> {
        let mut settings = Settings::from_environment(environment())?;
        settings.has_terminal = File::open("/dev/tty").is_ok();
        Ok(settings)
    }

    /// Reads all settings from `environment`, without a terminal.
    ///
    /// # Errors
    /// [`Error::Setting`] for a variable whose value cannot be used.
    pub fn from_environment(environment: Environment) -> Result<Settings, Error> {
        let get = |name: &str| environment.get(OsStr::new(name)).map(OsString::as_os_str);
        let path = |name, default: &str| {
            // The banner shows it.
            let expected = "a path in UTF-8 without control characters";
            let path = parse(name, get, expected, |value| {
                (!value.contains(text::is_unshowable)).then(|| value.to_owned())
            })?;
            Ok(path.unwrap_or_else(|| default.to_owned()))
        };
        let seconds = |name| {
            parse(name, get, "a number of seconds, 0 or more", |value| {
                Duration::try_from_secs_f64(value.trim().parse().ok()?).ok()
            })
        };
        // "true", in upper or lower case, is true. Any other value is false.
        let flag =
            |name, default| get(name).map_or(default, |value| value.eq_ignore_ascii_case("true"));
        Ok(Settings {
            buffer_limit: parse(
                "SKYHOOK_AGENT_BUFFER_LIMIT",
                get,
                "a whole number of bytes, 1 or more",
                |value| value.trim().parse().ok(),
            )?
            .unwrap_or(DEFAULT_BUFFER_LIMIT),
            drain_timeout: seconds("SKYHOOK_AGENT_DRAIN_TIMEOUT")?,
            reboot_timeout: seconds("SKYHOOK_AGENT_REBOOT_TIMEOUT")?
                .unwrap_or(DEFAULT_REBOOT_TIMEOUT),
            write_logs: flag("SKYHOOK_AGENT_WRITE_LOGS", true),
            log_dir: path("SKYHOOK_LOG_DIR", "/var/log/skyhook")?,
            data_dir: path("SKYHOOK_DATA_DIR", "/skyhook-package")?,
            root_dir: path("SKYHOOK_ROOT_DIR", "/etc/skyhook")?,
            copy_resolv: flag("COPY_RESOLV", true),
            always_run_step: flag("OVERLAY_ALWAYS_RUN_STEP", false),
            sync: flag("SKYHOOK_AGENT_SYNC", true),
            temp_dirs: get("TMPDIR")
                .filter(|dir| !dir.is_empty())
                .into_iter()
                .chain(["/tmp", "/var/tmp", "."].map(OsStr::new))
                .map(PathBuf::from)
                .collect(),
            has_terminal: false,
            environment,
        })
    }

    /// Looks a variable up, for an `env:` argument.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.environment
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
    }

    /// Parses `SKYHOOK_RESOURCE_ID`. Only runs that keep state need it.
    ///
    /// # Errors
    /// [`Error::Setting`] if it is not set, or has another form than
    /// `{id}_{package}_{version}`.
    pub fn resource_id(&self) -> Result<ResourceId, Error> {
        const NAME: &str = "SKYHOOK_RESOURCE_ID";
        let value = self.variable(NAME).unwrap_or_default();
        let value = value.to_string_lossy().into_owned();
        // The parts become names of files and directories.
        let is_name = |part: &&str| {
            !part.contains('/')
                && !part.contains(text::is_unshowable)
                && !matches!(*part, "" | "." | "..")
        };
        match value.split('_').collect::<Vec<_>>()[..] {
            [id, package, version] if [id, package, version].iter().all(is_name) => {
                Ok(ResourceId {
                    whole: value.clone(),
                    id: id.to_owned(),
                    package: package.to_owned(),
                    version: version.to_owned(),
                })
            }
            _ => Err(Error::Setting {
                name: NAME,
                value,
                expected: "{id}_{package}_{version}, each part a file name",
            }),
        }
    }
}

/// Parses the value of the variable `name`; `None` if it is not set.
fn parse<'a, T>(
    name: &'static str,
    get: impl Fn(&str) -> Option<&'a OsStr>,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Error> {
    let Some(value) = get(name) else {
        return Ok(None);
    };
    match value.to_str().and_then(&parse) {
        Some(parsed) => Ok(Some(parsed)),
        None => Err(Error::Setting {
            name,
            value: value.to_string_lossy().into_owned(),
            expected,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, Error> {
        let environment = variables.iter().map(|(k, v)| (k.into(), v.into()));
        Settings::from_environment(environment.collect())
    }

    #[test]
    fn an_empty_environment_gives_the_defaults_of_the_contract() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.buffer_limit.get(), 8192);
        assert_eq!(settings.drain_timeout, None);
        assert_eq!(settings.reboot_timeout, Duration::from_secs(300));
        assert!(settings.write_logs);
        assert_eq!(settings.log_dir, "/var/log/skyhook");
        assert_eq!(settings.data_dir, "/skyhook-package");
        assert_eq!(settings.root_dir, "/etc/skyhook");
        assert!(settings.copy_resolv);
        assert!(!settings.always_run_step);
        assert!(settings.sync);
        let temp_dirs = ["/tmp", "/var/tmp", "."].map(PathBuf::from);
        assert_eq!(settings.temp_dirs, temp_dirs);
    }

    #[test]
    fn a_limit_that_is_no_size_is_refused_by_name() {
        for value in ["abc", "0", "-5", "", "1.5", "8k", "99999999999999999999999"] {
            let error = settings(&[("SKYHOOK_AGENT_BUFFER_LIMIT", value)]).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "SKYHOOK_AGENT_BUFFER_LIMIT: expected a whole number of bytes, 1 or more, \
                     got {value:?}"
                )
            );
            assert_eq!(error.exit_code(), 2);
        }
        for (value, limit) in [("1", 1), ("+7", 7), (" 65536\n", 65536)] {
            let settings = settings(&[("SKYHOOK_AGENT_BUFFER_LIMIT", value)]).unwrap();
            assert_eq!(settings.buffer_limit.get(), limit);
        }
    }

    #[test]
    fn a_timeout_is_a_number_of_seconds() {
        for name in [
            "SKYHOOK_AGENT_DRAIN_TIMEOUT",
            "SKYHOOK_AGENT_REBOOT_TIMEOUT",
        ] {
            for value in ["-1", "soon", "", "NaN", "inf", "1e30", "10s"] {
                let error = settings(&[(name, value)]).unwrap_err();
                assert!(error.to_string().starts_with(&format!("{name}: expected")));
                assert_eq!(error.exit_code(), 2);
            }
            for (value, millis) in [("0", 0), ("30", 30_000), ("0.25", 250)] {
                let settings = settings(&[(name, value)]).unwrap();
                let timeout = match name {
                    "SKYHOOK_AGENT_DRAIN_TIMEOUT" => settings.drain_timeout,
                    _ => Some(settings.reboot_timeout),
                };
                assert_eq!(timeout, Some(Duration::from_millis(millis)));
            }
        }
    }

    #[test]
    fn a_path_that_must_not_be_shown_is_refused_by_name_and_escaped() {
        for name in ["SKYHOOK_LOG_DIR", "SKYHOOK_DATA_DIR", "SKYHOOK_ROOT_DIR"] {
            for (value, shown) in [("/a\u{1b}[2J", "/a\\u{1b}[2J"), ("/a\n", "/a\\n")] {
                let error = settings(&[(name, value)]).unwrap_err().to_string();
                assert!(
                    error.starts_with(&format!("{name}: expected a path")),
                    "{error}"
                );
                assert!(error.ends_with(&format!("got \"{shown}\"")), "{error}");
            }
        }
    }

    #[test]
    fn only_the_word_true_is_true() {
        for (value, expected) in [("true", true), ("TrUe", true), ("1", false), ("", false)] {
            let settings = settings(&[
                ("SKYHOOK_AGENT_WRITE_LOGS", value),
                ("COPY_RESOLV", value),
                ("OVERLAY_ALWAYS_RUN_STEP", value),
                ("SKYHOOK_AGENT_SYNC", value),
            ])
            .unwrap();
            assert_eq!(settings.write_logs, expected, "{value:?}");
            assert_eq!(settings.copy_resolv, expected, "{value:?}");
            assert_eq!(settings.always_run_step, expected, "{value:?}");
            assert_eq!(settings.sync, expected, "{value:?}");
        }
    }

    #[test]
    fn a_resource_id_has_exactly_three_parts() {
        let id = |value| {
            settings(&[("SKYHOOK_RESOURCE_ID", value)])
                .unwrap()
                .resource_id()
        };
        let good = id("scr-1234-1_pkg_1.2.3").unwrap();
        assert_eq!(
            [&*good.id, &good.package, &good.version],
            ["scr-1234-1", "pkg", "1.2.3"]
        );
        for bad in [
            "",
            "a",
            "a_b",
            "a_b_c_d",
            "a_b_",
            "a_.._c",
            "a/b_c_d",
            "a_b_\u{1b}[2J",
            "a\n_b_c",
        ] {
            let error = id(bad).unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("SKYHOOK_RESOURCE_ID: expected"),
                "{error}"
            );
            assert_eq!(error.exit_code(), 2);
        }
        assert!(settings(&[]).unwrap().resource_id().is_err());
    }
}
