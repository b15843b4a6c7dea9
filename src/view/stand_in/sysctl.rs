//! `sysctl` as a stand-in: what it sets is not set, but later calls read it; all else is
//! read for real.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::view::Call;

/// Where parameters are.
const PARAMETERS: &str = "/proc/sys";

/// Tells if a call of sysctl only reads.
pub(super) fn only_reads(arguments: &[String]) -> bool {
    !arguments.is_empty()
        && arguments
            .iter()
            .all(|argument| match argument.strip_prefix("--") {
                Some(long) => !["write", "load", "system", "dry-run"]
                    .iter()
                    .any(|writes| long.starts_with(writes)),
                None if argument.starts_with('-') => !argument.contains(['w', 'p', 'f']),
                None => !argument.contains('='),
            })
}

/// The parameters that calls have set, the newest last. Files are read as they are now.
fn assignments(calls: &[Call]) -> Vec<(PathBuf, String)> {
    let calls = calls.iter().filter(|call| call.program == "sysctl");
    calls.flat_map(|call| of_call(&call.arguments)).collect()
}

fn of_call(arguments: &[String]) -> Vec<(PathBuf, String)> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut loads = false;
    let mut set = Vec::new();
    for argument in arguments {
        if let Some(long) = argument.strip_prefix("--") {
            if long == "system" {
                files.extend(system_files());
            } else if let Some(load) = long.strip_prefix("load") {
                loads = true;
                files.extend(load.strip_prefix('=').map(PathBuf::from));
            }
        } else if argument.starts_with('-') {
            loads |= argument.contains(['p', 'f']);
        } else if loads {
            files.push(argument.into());
        } else {
            set.extend(assignment(argument));
        }
    }
    if loads && files.is_empty() {
        files.push("/etc/sysctl.conf".into());
    }
    for file in files {
        let text = fs::read_to_string(file).unwrap_or_default();
        set.extend(text.lines().filter_map(assignment));
    }
    set
}

/// Reads `NAME=VALUE`, also as a line of a file: `-` before the name ignores errors.
fn assignment(text: &str) -> Option<(PathBuf, String)> {
    let text = text.trim();
    if text.starts_with(['#', ';']) {
        return None;
    }
    let (name, value) = text.split_once('=')?;
    let name = name.trim().trim_start_matches('-');
    Some((relative(name), format!("{}\n", value.trim())))
}

/// The files that `--system` loads, in that order.
fn system_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for directory in ["/usr/lib/sysctl.d", "/run/sysctl.d", "/etc/sysctl.d"] {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut of_directory: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "conf"))
            .collect();
        of_directory.sort();
        files.extend(of_directory);
    }
    files.push("/etc/sysctl.conf".into());
    files
}

/// What is printed of each parameter.
#[derive(Clone, Copy, Debug, Default)]
struct Format {
    values_only: bool,
    names_only: bool,
    no_newline: bool,
    ignores_unknown: bool,
}

/// Prints the parameters that a call asks for, as earlier `calls` have set them, and gives
/// the exit code.
pub(super) fn read(arguments: &[String], calls: &[Call], out: &mut dyn Write) -> u8 {
    let set = assignments(calls);
    let (options, names): (Vec<_>, Vec<_>) = arguments
        .iter()
        .partition(|argument| argument.starts_with('-'));
    let has = |letter: char, word: &str| {
        options
            .iter()
            .any(|option| match option.strip_prefix("--") {
                Some(long) => long == word,
                None => option.contains(letter),
            })
    };
    let format = Format {
        values_only: has('n', "values") || has('b', "binary"),
        names_only: has('N', "names"),
        no_newline: has('b', "binary"),
        ignores_unknown: has('e', "ignore"),
    };
    let root = Path::new(PARAMETERS);
    if has('a', "all") || has('A', "all") || has('X', "all") {
        print_all(root, &set, format, out);
        return 0;
    }
    let mut code = 0;
    for name in names {
        let path = root.join(relative(name));
        let printed = if path.is_dir() {
            print_all(&path, &set, format, out);
            true
        } else {
            print(&path, &set, format, out)
        };
        if !printed && !format.ignores_unknown {
            let _ = writeln!(
                std::io::stderr(),
                "sysctl: cannot stat {}: No such file or directory",
                path.display()
            );
            code = 1;
        }
    }
    code
}

/// The path of a parameter. Names have dots between their parts, or slashes: then a dot is
/// a part's own, as in net/ipv4/conf/eth0.1/forwarding.
fn relative(name: &str) -> PathBuf {
    let with_slashes = match name.find(['.', '/']) {
        Some(at) if name.get(at..=at) == Some(".") => {
            let swapped = name.chars().map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            });
            swapped.collect()
        }
        _ => name.to_owned(),
    };
    // Nothing outside of /proc/sys.
    with_slashes
        .split('/')
        .filter(|part| !part.is_empty() && *part != "..")
        .collect()
}

fn print(path: &Path, set: &[(PathBuf, String)], format: Format, out: &mut dyn Write) -> bool {
    let Ok(value) = fs::read_to_string(path) else {
        return false;
    };
    let relative = path.strip_prefix(PARAMETERS).unwrap_or(path);
    let newest = set.iter().rev().find(|(name, _)| name == relative);
    let value = newest.map_or(value, |(_, value)| value.clone());
    let name: String = relative
        .to_string_lossy()
        .chars()
        .map(|c| match c {
            '/' => '.',
            '.' => '/',
            other => other,
        })
        .collect();
    // A reader that has left wants no more.
    let _ = match format {
        Format {
            names_only: true, ..
        } => writeln!(out, "{name}"),
        Format {
            no_newline: true, ..
        } => write!(out, "{}", value.trim_end_matches('\n')),
        _ => value.lines().try_for_each(|line| match format.values_only {
            true => writeln!(out, "{line}"),
            false => writeln!(out, "{name} = {line}"),
        }),
    };
    true
}

fn print_all(path: &Path, set: &[(PathBuf, String)], format: Format, out: &mut dyn Write) {
    let Ok(entries) = fs::read_dir(path) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            print_all(&path, set, format, out);
        } else {
            print(&path, set, format, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(arguments: &[&str]) -> bool {
        let owned: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        only_reads(&owned)
    }

    #[test]
    fn a_call_that_sets_or_loads_does_not_only_read() {
        assert!(reads(&["-n", "kernel.hostname"]));
        assert!(reads(&["-a"]));
        assert!(reads(&["--values", "kernel.hostname"]));
        for writes in [
            &["-w", "vm.swappiness=1"][..],
            &["vm.swappiness=1"],
            &["-qp", "/etc/sysctl.conf"],
            &["-p"],
            &["--system"],
            &["--load=/etc/sysctl.conf"],
            &["-f"],
            &[],
        ] {
            assert!(!reads(writes), "{writes:?}");
        }
    }

    #[test]
    fn a_name_becomes_a_path_below_the_parameters() {
        let path = |name| relative(name).to_string_lossy().into_owned();
        assert_eq!(path("kernel.hostname"), "kernel/hostname");
        assert_eq!(path("net.ipv4.conf.eth0/1.mtu"), "net/ipv4/conf/eth0.1/mtu");
        assert_eq!(path("net/ipv4/conf/eth0.1/mtu"), "net/ipv4/conf/eth0.1/mtu");
        assert_eq!(path("kernel/../../../etc/shadow"), "kernel/etc/shadow");
    }

    #[test]
    fn a_parameter_is_printed_as_sysctl_prints_it() {
        let mut out = Vec::new();
        let arguments = ["kernel.ostype".to_owned()];
        assert_eq!(read(&arguments, &[], &mut out), 0);
        assert_eq!(String::from_utf8(out).unwrap(), "kernel.ostype = Linux\n");
    }

    #[test]
    fn what_was_set_last_is_read_back() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "# a note\n-vm.swappiness = 10\n").unwrap();
        let call = |arguments: &[&str]| Call {
            program: "sysctl".to_owned(),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        };
        let calls = [
            call(&["-w", "kernel.ostype=First"]),
            call(&["-q", "-p", file.path().to_str().unwrap()]),
            call(&["kernel/ostype=Other"]),
        ];
        let mut out = Vec::new();
        let names = ["-n", "kernel.ostype", "vm.swappiness"].map(str::to_owned);
        assert_eq!(read(&names, &calls, &mut out), 0);
        assert_eq!(String::from_utf8(out).unwrap(), "Other\n10\n");
    }
}
