//! Standing in for a program: this binary under the program's name, in a view.
//!
//! A call is recorded and answered with the exit code that the view has for it. Nothing is
//! done. What `systemctl` and `sysctl` would have done is remembered: later calls read it
//! out of the record.

mod sysctl;
mod systemctl;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::{Call, Parameter};

/// The directory of a view that stand-ins know.
pub(super) const DIRECTORY: &str = "/run/skyhook-agent";

/// The file in it that calls are added to, a line of JSON for each.
pub(super) const CALLS: &str = "calls";

/// The file in it with the exit codes: `CODE NAME` on each line.
pub(super) const EXITS: &str = "exits";

/// The names that this program has as itself. The second is its way to start itself.
const OWN_NAMES: [&str; 2] = ["skyhook-agent", "exe"];

/// Answers as the program that `command_line` names first, if this process is a stand-in.
/// Gives the exit code, or `None` for the agent itself.
///
/// It is a stand-in under another name than its own, in a view. The agent asks the system
/// nothing to tell that.
#[must_use]
pub fn answer(mut command_line: impl Iterator<Item = OsString>) -> Option<u8> {
    let name = command_line.next()?;
    let name = Path::new(&name).file_name()?;
    if OWN_NAMES.iter().any(|own| name == *own) {
        return None;
    }
    let directory = Path::new(DIRECTORY);
    let calls = directory.join(CALLS);
    calls.symlink_metadata().ok()?;
    let arguments: Vec<String> = command_line
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let name = name.to_string_lossy().into_owned();
    let exits = fs::read_to_string(directory.join(EXITS)).unwrap_or_default();
    let answer = match exit_code(&exits, &name) {
        0 => by_name(&name, &arguments, &calls),
        // It is to fail, whatever it is called for.
        code => Answer::recorded(code),
    };
    if answer.is_recorded {
        let call = Call {
            program: name,
            arguments,
            set: answer.set,
        };
        // The call is answered all the same: a step may have taken the file away.
        let _ = call.record(&calls);
    }
    Some(answer.code)
}

/// What a stand-in makes of a call.
#[derive(Debug)]
struct Answer {
    code: u8,
    /// If the call is one to know of: it does not only ask.
    is_recorded: bool,
    /// The kernel's parameters that it sets.
    set: Vec<Parameter>,
}

impl Answer {
    fn recorded(code: u8) -> Answer {
        Answer {
            code,
            is_recorded: true,
            set: Vec::new(),
        }
    }

    fn read(code: u8) -> Answer {
        Answer {
            is_recorded: false,
            ..Answer::recorded(code)
        }
    }
}

/// Where a stand-in prints.
struct Output<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

fn by_name(name: &str, arguments: &[String], calls: &Path) -> Answer {
    let earlier = || super::calls::read(calls, 0).unwrap_or_default().calls;
    let mut output = Output {
        out: &mut io::stdout().lock(),
        err: &mut io::stderr().lock(),
    };
    match name {
        "sysctl" => sysctl::answer(arguments, &earlier(), &mut output),
        "systemctl" | "service" => systemctl::answer(name, arguments, &earlier(), &mut output),
        _ => Answer::recorded(0),
    }
}

fn exit_code(exits: &str, name: &str) -> u8 {
    exits
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(_, of)| name == *of)
        .and_then(|(code, _)| code.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_its_own_name_it_is_no_stand_in() {
        let answered = |name: &str| answer([OsString::from(name)].into_iter());
        assert_eq!(answered("/skyhook-agent"), None);
        assert_eq!(answered("/proc/self/exe"), None);
        assert_eq!(answer(std::iter::empty()), None);
    }

    #[test]
    fn a_program_without_an_exit_code_succeeds() {
        let exits = "3 reboot\n0 systemctl\n256 dracut\n";
        assert_eq!(exit_code(exits, "reboot"), 3);
        assert_eq!(exit_code(exits, "systemctl"), 0);
        assert_eq!(exit_code(exits, "dracut"), 0);
        assert_eq!(exit_code(exits, "kubectl"), 0);
    }
}
