//! Reads what processes wrote, as text.

use std::process::Output;

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A process's stderr, without the line in which the agent of a container says which it
/// is and what it was asked to do. A run of the agent has it, first of all: see
/// [`introduction`].
pub fn stderr(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    match introduction(&stderr) {
        Some(line) => stderr[line.len() + 1..].to_owned(),
        None => stderr,
    }
}

/// The first line of stderr, if the agent of a container says there which it is and what
/// it was asked to do: `skyhook-agent VERSION: MODE PACKAGE VERSION`. Looks at its form.
pub fn introduction(stderr: &str) -> Option<&str> {
    let version = concat!("skyhook-agent ", env!("CARGO_PKG_VERSION"));
    let (line, _) = stderr.split_once('\n')?;
    let rest = line.strip_prefix(version)?;
    let (commit, run) = rest.split_once(": ").unwrap();
    let is_commit = commit.starts_with(" (") && commit.ends_with(')');
    assert!(commit.is_empty() || is_commit, "{line:?}");
    assert_eq!(run.split(' ').count(), 3, "{line:?}");
    Some(line)
}

/// Asserts that `text` contains every one of these.
#[track_caller]
pub fn assert_says(text: &str, expected: &[&str]) {
    for part in expected {
        assert!(text.contains(part), "expected {part:?} in {text:?}");
    }
}

/// Takes every stamp out of `text`, and looks at each: label, date, `T`, time, six
/// digits, space.
#[track_caller]
pub fn unstamp(label: &str, text: &str) -> String {
    let mut pieces = text.split(label);
    let mut out = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (stamp, rest) = piece.split_at(27);
        let shape: String = stamp
            .chars()
            .map(|c| if c.is_ascii_digit() { 'd' } else { c })
            .collect();
        assert_eq!(shape, "dddd-dd-ddTdd:dd:dd.dddddd ", "in {piece:?}");
        out.push_str(rest);
    }
    out
}

/// Asserts that a process succeeded with nothing on stderr.
#[track_caller]
pub fn assert_succeeds(output: &Output) {
    assert_eq!(stderr(output), "");
    assert_eq!(output.status.code(), Some(0), "{}", stdout(output));
}

/// The stdout of a process that [succeeded](assert_succeeds).
#[track_caller]
pub fn stdout_of_success(output: &Output) -> String {
    assert_succeeds(output);
    stdout(output)
}

/// The same without stamps.
#[track_caller]
pub fn unstamped_success(output: &Output) -> String {
    unstamp("[out]", &stdout_of_success(output))
}

/// A run's stdout after the banner, which must be there, as must be the line on stderr
/// that [introduces](introduction) the agent.
#[track_caller]
pub fn after_banner(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.is_empty() || introduction(&stderr).is_some(),
        "{stderr:?}"
    );
    let stdout = stdout(output);
    let rule = format!("{}\n", "-".repeat(20));
    let banner = stdout
        .strip_prefix(&rule)
        .and_then(|rest| rest.split_once(&rule));
    let (_, rest) = banner.unwrap_or_else(|| panic!("expected a banner: {output:?}"));
    rest.to_owned()
}

/// A run's stderr, parted into what its steps wrote and the agent's own lines.
#[track_caller]
pub fn steps_and_agent_stderr(output: &Output) -> (String, String) {
    unstamp("[err]", &stderr(output))
        .split_inclusive('\n')
        .partition(|line| !line.starts_with("skyhook-agent: "))
}

/// Asserts that a process ran nothing: it printed nothing, and wrote one line of the
/// agent's own on stderr. Returns that line.
#[track_caller]
pub fn agent_line(output: &Output, code: i32) -> String {
    let line = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert_eq!(stdout(output), "", "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with("skyhook-agent: "), "{line}");
    line
}
