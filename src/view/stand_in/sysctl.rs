//! `sysctl` as a stand-in: what it reads is read for real, what it writes is not written.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

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

/// What is printed of each parameter.
#[derive(Clone, Copy, Debug, Default)]
struct Format {
    values_only: bool,
    names_only: bool,
    no_newline: bool,
    ignores_unknown: bool,
}

/// Prints the parameters that a call asks for, and gives the exit code.
pub(super) fn read(arguments: &[String], out: &mut dyn Write) -> u8 {
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
        print_all(root, root, format, out);
        return 0;
    }
    let mut code = 0;
    for name in names {
        let path = root.join(relative(name));
        let printed = if path.is_dir() {
            print_all(root, &path, format, out);
            true
        } else {
            print(root, &path, format, out)
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

fn print(root: &Path, path: &Path, format: Format, out: &mut dyn Write) -> bool {
    let Ok(value) = fs::read_to_string(path) else {
        return false;
    };
    let relative = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
    let name: String = relative
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

fn print_all(root: &Path, path: &Path, format: Format, out: &mut dyn Write) {
    let Ok(entries) = fs::read_dir(path) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            print_all(root, &path, format, out);
        } else {
            print(root, &path, format, out);
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
        assert_eq!(read(&arguments, &mut out), 0);
        assert_eq!(String::from_utf8(out).unwrap(), "kernel.ostype = Linux\n");
    }
}
