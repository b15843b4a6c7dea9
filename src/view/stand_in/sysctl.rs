//! `sysctl` as a stand-in: what it sets is not set, but later calls read it; all else is
//! read for real.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Answer, Output};
use crate::view::{Call, Parameter};

/// Where parameters are.
const PARAMETERS: &str = "/proc/sys";

/// The directories of files that `--system` loads. A file hides those of the same name in
/// the directories after it.
const DIRECTORIES: [&str; 5] = [
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
];

/// The file that is loaded without the name of one, and by `--system` after all others.
const FILE: &str = "/etc/sysctl.conf";

/// Answers a call, after the earlier ones.
pub(super) fn answer(arguments: &[String], calls: &[Call], output: &mut Output<'_>) -> Answer {
    if only_reads(arguments) {
        return Answer::read(read(arguments, &assignments(calls), output));
    }
    set(arguments, output)
}

/// Tells if a call of sysctl only reads.
fn only_reads(arguments: &[String]) -> bool {
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

/// The parameters that calls have set, the newest last.
fn assignments(calls: &[Call]) -> Vec<Parameter> {
    let mut set = Vec::new();
    for call in calls {
        if call.is_boot() {
            // The kernel has forgotten them. As files are now, which is near enough.
            set = of_system();
        }
        set.extend(call.set.iter().cloned());
    }
    set
}

/// The parameters that the start of a node sets.
pub(super) fn of_system() -> Vec<Parameter> {
    let lines = system_files()
        .into_iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    let mut set = Vec::new();
    for text in lines {
        set.extend(
            text.lines()
                .filter_map(|line| Assignment::of(line)?.known()),
        );
    }
    set
}

/// The files that `--system` loads, in that order.
fn system_files() -> Vec<PathBuf> {
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for directory in DIRECTORIES {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if let (Some(name), true) = (
                path.file_name(),
                path.extension().is_some_and(|end| end == "conf"),
            ) {
                files.entry(name.to_owned()).or_insert(path);
            }
        }
    }
    files.into_values().chain([FILE.into()]).collect()
}

/// `NAME=VALUE`, of a command line or of a file.
#[derive(Debug)]
struct Assignment {
    name: PathBuf,
    value: String,
    /// If it may fail: with `-` before the name, in a file.
    may_fail: bool,
}

impl Assignment {
    fn of(text: &str) -> Option<Assignment> {
        let (name, value) = text.trim().split_once('=')?;
        let name = name.trim();
        let plain = name.trim_start_matches('-');
        if plain.is_empty() || name.starts_with(['#', ';']) {
            return None;
        }
        Some(Assignment {
            name: relative(plain),
            value: value.trim().to_owned(),
            may_fail: plain != name,
        })
    }

    /// Gives what is set; `None` if the kernel has no such parameter.
    fn known(self) -> Option<Parameter> {
        // The network of a view has less than that of a node. A name with `*` is that of all
        // that match, be it none.
        let is_known = self.name.starts_with("net")
            || self.name.iter().any(|part| part == "*")
            || Path::new(PARAMETERS).join(&self.name).exists();
        let name = self.name.to_string_lossy().into_owned();
        is_known.then_some((name, self.value))
    }
}

/// What a call wants that sets parameters.
#[derive(Debug, Default)]
struct Setting {
    /// What is set, in order.
    set: Vec<Parameter>,
    has_failed: bool,
    ignores_unknown: bool,
    is_quiet: bool,
    format: Format,
}

fn set(arguments: &[String], output: &mut Output<'_>) -> Answer {
    let options = Options::of(arguments);
    let mut setting = Setting {
        ignores_unknown: options.has('e', "ignore"),
        is_quiet: options.has('q', "quiet"),
        format: options.format(),
        ..Setting::default()
    };
    let is_system = options.has_long("system");
    let named = options.long_value("load");
    let loads = named.is_some() || options.has('p', "load") || options.has('f', "load");
    let mut files: Vec<PathBuf> = named.into_iter().map(PathBuf::from).collect();
    if loads {
        // `-` is the standard input, of which nothing is known later.
        let words = options.words.iter().filter(|word| **word != "-");
        files.extend(words.map(PathBuf::from));
        if options.words.is_empty() && files.is_empty() {
            files.push(FILE.into());
        }
    } else {
        for word in &options.words {
            match Assignment::of(word) {
                Some(assignment) => setting.add(assignment, output),
                None => setting.fails("command line(0): invalid syntax, continuing...", output),
            }
        }
    }
    if is_system {
        for file in system_files() {
            if file.exists() {
                if !setting.is_quiet {
                    let _ = writeln!(output.out, "* Applying {} ...", file.display());
                }
                setting.load(&file, output);
            }
        }
    }
    for file in files {
        setting.load(&file, output);
    }
    let mut answer = Answer::recorded(u8::from(setting.has_failed));
    if !options.has_long("dry-run") {
        answer.set = setting.set;
    }
    answer
}

impl Setting {
    fn load(&mut self, file: &Path, output: &mut Output<'_>) {
        let text = match fs::read(file) {
            Ok(text) => text,
            Err(error) => {
                let error = nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or_default());
                let problem = format!("cannot open \"{}\": {}", file.display(), error.desc());
                return self.fails(&problem, output);
            }
        };
        for (at, line) in String::from_utf8_lossy(&text).lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            match Assignment::of(line) {
                Some(assignment) => self.add(assignment, output),
                // `-NAME` alone leaves a parameter out. Else it is no failure either.
                None if line.starts_with('-') => {}
                None => {
                    let (file, at) = (file.display(), at + 1);
                    let problem = format!("{file}({at}): invalid syntax, continuing...");
                    let _ = writeln!(output.err, "sysctl: {problem}");
                }
            }
        }
    }

    fn add(&mut self, assignment: Assignment, output: &mut Output<'_>) {
        let path = Path::new(PARAMETERS).join(&assignment.name);
        let may_fail = assignment.may_fail || self.ignores_unknown;
        if let Some((name, value)) = assignment.known() {
            if !self.is_quiet {
                print_value(Path::new(&name), &value, self.format, output.out);
            }
            self.set.push((name, value));
        } else if !may_fail {
            self.fails(&missing(&path), output);
        }
    }

    fn fails(&mut self, problem: &str, output: &mut Output<'_>) {
        let _ = writeln!(output.err, "sysctl: {problem}");
        self.has_failed = true;
    }
}

fn missing(path: &Path) -> String {
    format!("cannot stat {}: No such file or directory", path.display())
}

/// The words of a call.
#[derive(Debug)]
struct Options<'a> {
    options: Vec<&'a str>,
    words: Vec<&'a str>,
}

impl<'a> Options<'a> {
    fn of(arguments: &'a [String]) -> Options<'a> {
        let arguments = arguments.iter().map(String::as_str);
        let (options, words) = arguments.partition(|word| word.starts_with('-') && word.len() > 1);
        Options { options, words }
    }

    fn has(&self, letter: char, word: &str) -> bool {
        self.options
            .iter()
            .any(|option| match option.strip_prefix("--") {
                Some(long) => long == word,
                None => option.contains(letter),
            })
    }

    fn has_long(&self, word: &str) -> bool {
        self.options
            .iter()
            .any(|option| option.strip_prefix("--") == Some(word))
    }

    /// The value in `--WORD=VALUE`.
    fn long_value(&self, word: &str) -> Option<&'a str> {
        self.options.iter().find_map(|option| {
            option
                .strip_prefix("--")?
                .strip_prefix(word)?
                .strip_prefix('=')
        })
    }

    fn format(&self) -> Format {
        Format {
            values_only: self.has('n', "values") || self.has('b', "binary"),
            names_only: self.has('N', "names"),
            no_newline: self.has('b', "binary"),
        }
    }
}

/// What is printed of each parameter.
#[derive(Clone, Copy, Debug, Default)]
struct Format {
    values_only: bool,
    names_only: bool,
    no_newline: bool,
}

/// Prints the parameters that a call asks for, as they have been `set`, and gives the exit
/// code.
fn read(arguments: &[String], set: &[Parameter], output: &mut Output<'_>) -> u8 {
    let options = Options::of(arguments);
    let format = options.format();
    let root = Path::new(PARAMETERS);
    if options.has('a', "all") || options.has('A', "all") || options.has('X', "all") {
        print_all(root, set, format, output.out);
        return 0;
    }
    let mut code = 0;
    for name in &options.words {
        let path = root.join(relative(name));
        if path.is_dir() {
            print_all(&path, set, format, output.out);
        } else if !print(&path, set, format, output.out) && !options.has('e', "ignore") {
            let _ = writeln!(output.err, "sysctl: {}", missing(&path));
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

/// Tells if a parameter at this path is meant by a name, which may have `*` for any part.
fn matches(name: &str, relative: &Path) -> bool {
    let mut parts = Path::new(name).iter();
    let mut all = relative.iter();
    loop {
        match (parts.next(), all.next()) {
            (None, None) => return true,
            (Some(part), Some(one)) if part == "*" || part == one => {}
            _ => return false,
        }
    }
}

fn print(path: &Path, set: &[Parameter], format: Format, out: &mut dyn Write) -> bool {
    let relative = path.strip_prefix(PARAMETERS).unwrap_or(path);
    let newest = set.iter().rev().find(|(name, _)| matches(name, relative));
    let value = match newest {
        Some((_, value)) => value.clone(),
        None => match fs::read_to_string(path) {
            Ok(value) => value,
            Err(_) => return false,
        },
    };
    print_value(relative, &value, format, out);
    true
}

fn print_value(relative: &Path, value: &str, format: Format, out: &mut dyn Write) {
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
}

fn print_all(path: &Path, set: &[Parameter], format: Format, out: &mut dyn Write) {
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
mod tests;
