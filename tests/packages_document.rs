//! docs/packages.md: its commands run, print what it says, and its links lead somewhere.

mod support;

use std::fs;
use std::path::Path;

use support::{names, shell, stderr, stdout, stdout_of_success};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/packages.md");
    fs::read_to_string(path).unwrap()
}

/// A fenced block: what follows its first three backticks, and its text.
fn blocks(document: &str) -> Vec<(&str, &str)> {
    let pieces = document.split("```");
    let blocks = pieces.skip(1).step_by(2);
    blocks
        .map(|block| block.split_once('\n').unwrap())
        .collect()
}

/// The commands of the document, in order, each with the output that the document shows
/// below it.
fn examples(document: &str) -> Vec<(&str, Option<&str>)> {
    let blocks = blocks(document);
    let after = blocks.iter().skip(1).map(Some).chain([None]);
    let pairs = blocks.iter().zip(after);
    let examples = pairs.filter(|((kind, _), _)| *kind == "sh");
    examples
        .map(|((_, commands), after)| {
            let shown = after.filter(|(kind, _)| kind.is_empty());
            (*commands, shown.map(|(_, text)| *text))
        })
        .collect()
}

/// Puts TIME in place of each time, with a T or a space before the hour, and with or
/// without a fraction.
fn without_times(text: &str) -> String {
    const SHAPE: &str = "dddd-dd-dd?dd:dd:dd";
    let fits = |c: char, shape: char| match shape {
        'd' => c.is_ascii_digit(),
        '?' => c == 'T' || c == ' ',
        _ => c == shape,
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let is_time =
            rest.len() >= SHAPE.len() && rest.chars().zip(SHAPE.chars()).all(|(c, s)| fits(c, s));
        if is_time {
            out.push_str("TIME");
            let after = &rest[SHAPE.len()..];
            rest = after.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// One after the other in one shell, as a reader would type them.
#[test]
fn the_commands_run_and_print_what_the_document_shows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    let document = document();
    let examples = examples(&document);
    assert!(examples.len() >= 8, "{}", examples.len());
    let shown = examples.iter().filter(|(_, shown)| shown.is_some());
    assert!(shown.count() >= 6);

    const MARK: &str = "--- next ---\n";
    let commands = examples.iter().map(|(commands, _)| *commands);
    let script = commands.collect::<Vec<_>>().join("echo '--- next ---'\n");
    let output = shell(&path, &format!("set -eu\n{script}"))
        .output()
        .unwrap();
    let (stdout, stderr) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    let printed = without_times(&stdout).replace(path.to_str().unwrap(), "DIR");
    let printed: Vec<&str> = printed.split(MARK).collect();
    assert_eq!(printed.len(), examples.len());
    for ((commands, shown), printed) in examples.iter().zip(printed) {
        if let Some(shown) = shown {
            assert_eq!(printed, *shown, "{commands}");
        }
    }
}

#[test]
fn the_config_json_that_it_shows_is_that_of_a_new_package() {
    let dir = tempfile::tempdir().unwrap();
    let output = shell(dir.path(), "skyhook-agent new my-package");
    stdout_of_success(&{ output }.output().unwrap());
    assert_eq!(names(dir.path()), ["my-package"]);
    let made = fs::read_to_string(dir.path().join("my-package/config.json")).unwrap();
    let document = document();
    let shown = blocks(&document);
    let shown = shown.iter().find(|(kind, _)| *kind == "json").unwrap();
    assert_eq!(shown.1, made);
}

/// As GitHub makes anchors of headings.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn its_links_lead_to_headings_that_are_there() {
    let document = document();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut links = 0;
    for link in document.split("](").skip(1) {
        let (link, _) = link.split_once(')').unwrap();
        let (file, wanted) = link.split_once('#').unwrap_or((link, ""));
        let file = if file.is_empty() { "packages.md" } else { file };
        let text = fs::read_to_string(docs.join(file)).unwrap();
        let mut headings = text.lines().filter(|line| line.starts_with('#'));
        let is_wanted = |line: &str| anchor(line.trim_start_matches('#').trim()) == wanted;
        assert!(wanted.is_empty() || headings.any(is_wanted), "{link}");
        links += 1;
    }
    assert!(links >= 20, "{links}");
}
