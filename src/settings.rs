//! The variables of contract §5, read once, typed and validated.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::reactor;

/// An environment: what steps inherit, and where `env:` arguments are looked up.
pub type Environment = BTreeMap<OsString, OsString>;

/// What the environment says about how to run (contract §5, §10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `SKYHOOK_AGENT_BUFFER_LIMIT`: the most bytes of one read, 1 or more;
    /// default 8192.
    pub buffer_limit: NonZeroUsize,
    /// `SKYHOOK_AGENT_DRAIN_TIMEOUT`: seconds to wait, from a step's exit, for
    /// the end of output that others still hold open; a fraction is fine.
    /// Default: as long as it takes.
    pub drain_timeout: Option<Duration>,
    /// `SKYHOOK_AGENT_WRITE_LOGS`: whether there are log files; default true.
    pub write_logs: bool,
    /// `SKYHOOK_LOG_DIR`: the log root, under the root mount; default
    /// `/var/log/skyhook`.
    pub log_dir: OsString,
    /// Where temporary files go: `TMPDIR`, default `/tmp`.
    pub temp_dir: PathBuf,
    /// Whether standard input is a terminal, which a step may want to read.
    pub stdin_is_terminal: bool,
    /// The whole environment.
    pub environment: Environment,
}

/// The process's environment.
#[must_use]
pub fn environment() -> Environment {
    std::env::vars_os().collect()
}

impl Settings {
    /// Reads the process's environment and looks at its standard input.
    ///
    /// # Errors
    /// [`Error::Setting`] for a variable whose value cannot be used.
    pub fn from_process() -> Result<Settings, Error> {
        let mut settings = Settings::from_environment(environment())?;
        settings.stdin_is_terminal = io::stdin().is_terminal();
        Ok(settings)
    }

    /// Takes everything from `environment`; standard input is no terminal.
    ///
    /// # Errors
    /// [`Error::Setting`] for a variable whose value cannot be used.
    pub fn from_environment(environment: Environment) -> Result<Settings, Error> {
        let get = |name: &str| environment.get(OsStr::new(name)).map(OsString::as_os_str);
        let is_true = |value: &OsStr| value.eq_ignore_ascii_case("true");
        Ok(Settings {
            buffer_limit: parse(
                "SKYHOOK_AGENT_BUFFER_LIMIT",
                get,
                "a whole number of bytes, 1 or more",
                |value| value.parse().ok(),
            )?
            .unwrap_or(reactor::DEFAULT_BUFFER_LIMIT),
            drain_timeout: parse(
                "SKYHOOK_AGENT_DRAIN_TIMEOUT",
                get,
                "a number of seconds, 0 or more",
                |value| Duration::try_from_secs_f64(value.parse().ok()?).ok(),
            )?,
            write_logs: get("SKYHOOK_AGENT_WRITE_LOGS").is_none_or(is_true),
            log_dir: get("SKYHOOK_LOG_DIR")
                .unwrap_or(OsStr::new("/var/log/skyhook"))
                .to_owned(),
            temp_dir: get("TMPDIR")
                .filter(|dir| !dir.is_empty())
                .unwrap_or(OsStr::new("/tmp"))
                .into(),
            stdin_is_terminal: false,
            environment,
        })
    }

    /// How a reactor runs under these settings.
    #[must_use]
    pub fn reactor_options(&self) -> reactor::Options {
        reactor::Options {
            buffer_limit: self.buffer_limit,
            drain_timeout: self.drain_timeout,
            // A step in a group of its own would be stopped when it reads from
            // the terminal, and Ctrl-C would not reach it.
            own_group: !self.stdin_is_terminal,
            ..reactor::Options::default()
        }
    }
}

/// The value of the variable `name`, white space around it aside; `None` where
/// it is not set.
fn parse<'a, T>(
    name: &'static str,
    get: impl Fn(&str) -> Option<&'a OsStr>,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Error> {
    let Some(value) = get(name) else {
        return Ok(None);
    };
    match value.to_str().and_then(|value| parse(value.trim())) {
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
        assert!(settings.write_logs);
        assert_eq!(settings.log_dir, "/var/log/skyhook");
        assert_eq!(settings.temp_dir, PathBuf::from("/tmp"));
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
    fn a_drain_timeout_is_a_number_of_seconds() {
        for value in ["-1", "soon", "", "NaN", "inf", "1e30", "10s"] {
            let error = settings(&[("SKYHOOK_AGENT_DRAIN_TIMEOUT", value)]).unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("SKYHOOK_AGENT_DRAIN_TIMEOUT: expected")
            );
        }
        for (value, millis) in [("0", 0), ("30", 30_000), ("0.25", 250)] {
            let settings = settings(&[("SKYHOOK_AGENT_DRAIN_TIMEOUT", value)]).unwrap();
            assert_eq!(settings.drain_timeout, Some(Duration::from_millis(millis)));
        }
    }

    #[test]
    fn only_the_word_true_is_true() {
        for (value, expected) in [("true", true), ("TrUe", true), ("1", false), ("", false)] {
            let settings = settings(&[("SKYHOOK_AGENT_WRITE_LOGS", value)]).unwrap();
            assert_eq!(settings.write_logs, expected, "{value:?}");
        }
    }
}
