//! Lets shells read the scripts that are written for them, without running them.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::package::lint::{Report, Script, Text};
use crate::package::{Code, Finding, Severity};

/// The most time that a shell has for a script. It needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Warns of each script that its shell refuses. Says nothing about a shell that is not
/// here, as in the agent's own image, or that cannot be asked.
pub(super) fn check(report: &mut Report) {
    for script in std::mem::take(&mut report.scripts) {
        let Some(text) = report.texts.get(script.text) else {
            continue;
        };
        let Some(complaint) = shell(&script).and_then(|shell| complaint(&shell, &text.bytes))
        else {
            continue;
        };
        let (line, message) = read(&complaint);
        let span = line.and_then(|line| line_of(text, line));
        let message = format!("{} cannot read this script: {message}", script.shell);
        let finding = Finding::new(Severity::Warning, Code::ShellSyntax, &script.place, message);
        report.add_about(script.text, finding, span);
    }
    report.sort();
}

fn shell(script: &Script) -> Option<PathBuf> {
    let dirs = ["/bin", "/usr/bin"].into_iter();
    let mut paths = dirs.map(|dir| Path::new(dir).join(&script.shell));
    paths.find(|path| path.exists())
}

/// Asks a shell about a script. Gives the start of what it says if it refuses the script.
fn complaint(shell: &Path, script: &[u8]) -> Option<String> {
    let (input, mut output) = (file_with(script).ok()?, tempfile::tempfile().ok()?);
    let child = Command::new(shell)
        .arg("-n")
        // Without BASH_ENV, which names a script that bash does run.
        .env_clear()
        .stdin(Stdio::from(input))
        .stdout(Stdio::null())
        .stderr(Stdio::from(output.try_clone().ok()?))
        .spawn();
    let mut child = child.ok()?;
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => sleep(Duration::from_millis(2)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    };
    // One that a signal has ended has said nothing about the script.
    if status.success() || status.code().is_none() {
        return None;
    }
    let mut said = Vec::new();
    output.rewind().ok()?;
    output.take(4096).read_to_end(&mut said).ok()?;
    let said = String::from_utf8_lossy(&said);
    Some(said.lines().next()?.to_owned())
}

fn file_with(bytes: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Takes the line's number from what a shell says: `bash: line 3: …`, `sh: 3: …`.
fn read(complaint: &str) -> (Option<usize>, &str) {
    let mut parts = complaint.splitn(3, ": ");
    let (Some(_), Some(line), Some(message)) = (parts.next(), parts.next(), parts.next()) else {
        return (None, complaint);
    };
    match line.strip_prefix("line ").unwrap_or(line).parse() {
        Ok(line) => (Some(line), message),
        Err(_) => (None, complaint),
    }
}

/// The bytes of a line, from 1 on. A shell names the line after the last one if the end
/// comes too soon.
fn line_of(text: &Text, line: usize) -> Option<Range<usize>> {
    let mut start = 0;
    for (i, bytes) in text
        .bytes
        .split_inclusive(|byte| *byte == b'\n')
        .enumerate()
    {
        if i + 1 == line {
            return Some(start..start + bytes.trim_ascii_end().len());
        }
        start += bytes.len();
    }
    Some(start..start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_taken_from_what_a_shell_says() {
        for (said, line, message) in [
            (
                "/bin/bash: line 3: syntax error: x",
                Some(3),
                "syntax error: x",
            ),
            ("/bin/sh: 12: Syntax error: y", Some(12), "Syntax error: y"),
            (
                "zsh: parse error near `}'",
                None,
                "zsh: parse error near `}'",
            ),
            ("", None, ""),
        ] {
            assert_eq!(read(said), (line, message), "{said}");
        }
    }
}
