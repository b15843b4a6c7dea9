//! The files of steps: if the kernel can start them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::super::{Code, Finding, Place, Severity};
use super::config::in_step_dir;
use super::report::{Report, Script, Text};
use super::steps::Step;
use super::{Dir, Files, Notes, Options};
use crate::error::Error;
use crate::host::{Kind, Root};

/// The most bytes of a script that are looked at.
const MOST: u64 = 1024 * 1024;

/// Where `env` looks for a program, if the step has no PATH of its own.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Shells that can read a script without running it: `SHELL -n`.
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ksh", "zsh"];

/// The files of steps by their paths, with what is in them.
pub(super) type Scripts = HashMap<OsString, Vec<u8>>;

/// Looks at the file of each step, once.
pub(super) fn lint(
    root: &Root,
    files: &Files,
    options: &Options,
    steps: &[Step<'_>],
    notes: &mut Notes<'_>,
) -> Result<Scripts, Error> {
    let mut scripts = Scripts::new();
    let mut not_executable = Vec::new();
    for step in steps {
        let Some(path) = step.path() else { continue };
        if scripts.contains_key(path.as_os_str()) {
            continue;
        }
        // What cannot be found has been refused already.
        let Ok(Some(file)) = files.find(root, &in_step_dir(&path)) else {
            continue;
        };
        let place = step.place.key("path");
        let found = root.follow(&file.path)?;
        let is_file = found.is_some_and(|(kind, _)| kind == Kind::File);
        let bytes = if is_file {
            script(root, &file, options, step, &place, notes)?
        } else {
            let name = file.name.display();
            let message = format!("expected a file, got something else: {name}");
            notes.error(Code::NotAFile, &place, message);
            Vec::new()
        };
        // Those of another package are its author's.
        let is_own = files.own(&in_step_dir(&path)).as_ref() == Some(&file);
        if is_own && found.is_some_and(|(_, mode)| is_file && mode & 0o111 == 0) {
            not_executable.push((place, file.name));
        }
        scripts.insert(path.into(), bytes);
    }
    warn_of_modes(&not_executable, notes);
    Ok(scripts)
}

/// Warns once of all files that are not executable: often no file of a package is.
fn warn_of_modes(files: &[(Place, PathBuf)], notes: &mut Notes<'_>) {
    if let [(place, file), others @ ..] = files {
        let file = file.display();
        let message = match others {
            [] => format!("{file} is not executable; the agent makes it so"),
            [_] => format!(
                "{file} and another step's file are not executable; the agent makes them so"
            ),
            _ => {
                let others = others.len();
                format!(
                    "{file} and {others} other files of steps are not executable; the agent makes them so"
                )
            }
        };
        notes.warn(Code::NotExecutable, place, message);
    }
}

fn script(
    root: &Root,
    file: &Dir,
    options: &Options,
    step: &Step<'_>,
    place: &Place,
    notes: &mut Notes<'_>,
) -> Result<Vec<u8>, Error> {
    let bytes = match root.read_start(&file.path, MOST) {
        Ok(bytes) => bytes,
        Err(error) => {
            notes.error(Code::Unreadable, place, error.to_string());
            return Ok(Vec::new());
        }
    };
    if bytes.starts_with(b"\x7fELF") {
        return Ok(bytes);
    }
    let mut found = Contents {
        file,
        place,
        text: None,
        bytes: &bytes,
        report: notes.report,
    };
    match Interpreter::of(&bytes) {
        Some(interpreter) => found.lint(&interpreter, options, step)?,
        None => found.no_interpreter_line(),
    }
    Ok(bytes)
}

/// The contents of a step's file.
struct Contents<'a> {
    file: &'a Dir,
    /// The place that names it.
    place: &'a Place,
    /// The index of its text, if there was something to say about it.
    text: Option<usize>,
    bytes: &'a [u8],
    report: &'a mut Report,
}

impl Contents<'_> {
    fn error(&mut self, code: Code, span: Range<usize>, message: impl Into<String>) {
        let finding = Finding::new(Severity::Error, code, self.place, message);
        let text = self.text();
        self.report.add_about(text, finding, Some(span));
    }

    fn text(&mut self) -> usize {
        let (file, bytes) = (&self.file.name, self.bytes);
        let report = &mut *self.report;
        *self.text.get_or_insert_with(|| {
            report.add_text(Text {
                file: file.clone(),
                bytes: bytes.to_vec(),
            })
        })
    }

    fn no_interpreter_line(&mut self) {
        if self.bytes.starts_with(BYTE_ORDER_MARK) {
            let message = "expected #! as the first bytes, got a byte order mark";
            self.error(Code::ByteOrderMark, 0..BYTE_ORDER_MARK.len(), message);
            return;
        }
        let message = match self.bytes {
            [] => "expected a program, or a script with a #! line, got an empty file",
            _ => "expected a program, or a script with a #! line",
        };
        let end = self.bytes.iter().position(|byte| *byte == b'\n');
        self.error(
            Code::NoInterpreterLine,
            0..end.unwrap_or(self.bytes.len()),
            message,
        );
    }

    fn lint(
        &mut self,
        interpreter: &Interpreter<'_>,
        options: &Options,
        step: &Step<'_>,
    ) -> Result<(), Error> {
        let shell = interpreter.name();
        let is_shell = SHELLS.contains(&&*shell);
        // An interpreter other than a shell may take these line ends.
        let lines = if is_shell {
            self.bytes
        } else {
            interpreter.line
        };
        let line_end = lines.windows(2).position(|bytes| bytes == b"\r\n");
        if let Some(at) = line_end.or(interpreter.carriage_return()) {
            let message = match at < interpreter.line.len() {
                true => format!(
                    "expected lines that end in \\n: the kernel would look for an interpreter \
                     called \"{}\\r\"",
                    interpreter.words.first().unwrap_or(&"")
                ),
                false => format!("expected lines that end in \\n: {shell} takes the \\r for text"),
            };
            self.error(Code::LineEnds, at..at + 1, message);
            return Ok(());
        }
        if let Some(host_root) = &options.host_root
            && let Some(missing) = interpreter.missing(host_root, step)?
        {
            let host = host_root.host_path(Path::new("/"));
            let message = format!(
                "expected an interpreter of {}, which has no {missing}",
                host.display()
            );
            self.error(Code::NoInterpreter, 0..interpreter.line.len(), message);
        }
        // Of one that is longer, only the start is here.
        if is_shell && (self.bytes.len() as u64) < MOST {
            let text = self.text();
            self.report.scripts.push(Script {
                shell,
                text,
                place: self.place.clone(),
            });
        }
        Ok(())
    }
}

/// The first line of a script.
struct Interpreter<'a> {
    /// Without its newline.
    line: &'a [u8],
    /// The interpreter and its arguments.
    words: Vec<&'a str>,
}

impl<'a> Interpreter<'a> {
    fn of(bytes: &'a [u8]) -> Option<Interpreter<'a>> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let line = bytes.get(..end.unwrap_or(bytes.len()))?;
        let words = str::from_utf8(line.strip_prefix(b"#!")?).ok()?;
        let words: Vec<&str> = words.split_ascii_whitespace().collect();
        (!words.is_empty()).then_some(Interpreter { line, words })
    }

    fn carriage_return(&self) -> Option<usize> {
        self.line.ends_with(b"\r").then(|| self.line.len() - 1)
    }

    /// What `env` is to start, if the interpreter is `env`.
    fn of_env(&self) -> Option<&'a str> {
        let is_env = Path::new(self.words.first()?).ends_with("env");
        let mut words = self.words.iter().skip(1);
        let word = words.find(|word| !word.starts_with('-') && !word.contains('='));
        word.copied().filter(|_| is_env)
    }

    /// The name of the program that reads the script.
    fn name(&self) -> String {
        let path = self.of_env().or(self.words.first().copied());
        let name = path.and_then(|path| path.rsplit('/').next());
        name.unwrap_or_default().to_owned()
    }

    /// Finds what is not there in the root of a node.
    fn missing(&self, host_root: &Root, step: &Step<'_>) -> Result<Option<&'a str>, Error> {
        let Some(interpreter) = self.words.first() else {
            return Ok(None);
        };
        if !host_root.exists(Path::new(interpreter))? {
            return Ok(Some(interpreter));
        }
        let Some(program) = self.of_env() else {
            return Ok(None);
        };
        let own = step.get("env").and_then(|env| env.get("PATH"));
        let path = own.and_then(|path| path.as_str()).unwrap_or(PATH);
        for dir in path.split(':').filter(|dir| !dir.is_empty()) {
            if host_root.exists(&Path::new(dir).join(program))? {
                return Ok(None);
            }
        }
        Ok(Some(program))
    }
}
