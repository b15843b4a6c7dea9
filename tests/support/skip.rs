//! Skips a test that cannot run here, and says so.

use std::io::{self, Write};
use std::process::Command;

/// With this variable set to 1, a missing tool fails the test that needs it.
const STRICT: &str = "SKYHOOK_TEST_STRICT";

/// Why a test cannot run.
#[derive(Clone, Debug)]
pub enum Skip {
    /// This tool is not installed. A machine that runs all tests must have it.
    MissingTool(String),
    /// This user, kernel or file system does not allow it.
    NotPossible(&'static str),
}

/// Skips the test in which it stands: `skip!(Skip::NotPossible("only root can chroot"))`.
macro_rules! skip {
    ($why:expr) => {{
        fn here() {}
        $crate::support::skip::report(std::any::type_name_of_val(&here), &$why);
        return;
    }};
}
pub(crate) use skip;

/// Takes the value out of a `Result<T, Skip>`, or skips the test in which it stands.
macro_rules! or_skip {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(why) => $crate::support::skip::skip!(why),
        }
    };
}
pub(crate) use or_skip;

/// Writes to the real stderr, which the test harness does not capture.
pub fn report(here: &str, why: &Skip) {
    let test = here.trim_end_matches("::here");
    let why = match why {
        Skip::MissingTool(tool) => {
            let is_strict = std::env::var_os(STRICT).is_some_and(|value| value == "1");
            assert!(!is_strict, "{test}: {tool} is not installed ({STRICT}=1)");
            format!("{tool} is not installed")
        }
        Skip::NotPossible(why) => (*why).to_owned(),
    };
    // In one write, so that no other output comes between.
    let line = format!("skipped: {test}: {why}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Tries a command that a test needs. If it fails, the error says why.
pub fn try_out(command: &mut Command, if_refused: &'static str) -> Result<(), Skip> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        // A shell, or a tool that starts another, has not found that.
        Ok(output) if output.status.code() == Some(127) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Skip::MissingTool(format!("a tool ({said})")))
        }
        Ok(_) => Err(Skip::NotPossible(if_refused)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let tool = command.get_program().display().to_string();
            Err(Skip::MissingTool(tool))
        }
        Err(error) => panic!("{command:?}: {error}"),
    }
}
