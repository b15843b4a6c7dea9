//! docs/packages.md: its commands run, print what it says, and its links lead somewhere.

mod support;

use std::fs;
use std::path::Path;

use support::skip::{Skip, skip};
use support::{is_root, names, shell, stderr, stdout, stdout_of_success};

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

/// The commands of one kind in the document, in order, each with the output that the
/// document shows below it.
fn examples<'a>(document: &'a str, wanted: &str) -> Vec<(&'a str, Option<&'a str>)> {
    let blocks = blocks(document);
    let after = blocks.iter().skip(1).map(Some).chain([None]);
    let pairs = blocks.iter().zip(after);
    let examples = pairs.filter(|((kind, _), _)| *kind == wanted);
    examples
        .map(|((_, commands), after)| {
            let shown = after.filter(|(kind, _)| kind.is_empty());
            (*commands, shown.map(|(_, text)| *text))
        })
        .collect()
}

/// Puts TIME in place of each time, and `N s` in place of each number of seconds.
fn without_times(text: &str) -> String {
    // As in stamps and in the list of steps; as in the names of logs.
    const SHAPES: [&str; 2] = ["dddd-dd-dd?dd:dd:dd", "dddd-dd-dd-dddddd"];
    let fits = |c: char, shape: char| match shape {
        'd' => c.is_ascii_digit(),
        '?' => c == 'T' || c == ' ',
        _ => c == shape,
    };
    let is_of = |text: &str, shape: &str| {
        text.len() >= shape.len() && text.chars().zip(shape.chars()).all(|(c, s)| fits(c, s))
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(shape) = SHAPES.iter().find(|shape| is_of(rest, shape)) {
            out.push_str("TIME");
            let after = &rest[shape.len()..];
            let is_of_fraction = |c: char| c.is_ascii_digit();
            let fraction = after
                .strip_prefix('.')
                .filter(|rest| rest.starts_with(is_of_fraction));
            rest = fraction.map_or(after, |rest| rest.trim_start_matches(is_of_fraction));
        } else if is_of(rest, "d.d s") {
            out.push_str("N s");
            rest = &rest["d.d s".len()..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// Runs examples one after the other in one shell, as a reader would type them. `prelude`
/// comes first.
#[track_caller]
fn assert_print_what_is_shown(prelude: &str, examples: &[(&str, Option<&str>)]) {
    const MARK: &str = "--- next ---\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    let commands = examples.iter().map(|(commands, _)| *commands);
    let script = commands.collect::<Vec<_>>().join("echo '--- next ---'\n");
    let output = shell(&path, &format!("set -eu\n{prelude}{script}"))
        .output()
        .unwrap();
    let (stdout, stderr) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    let printed = without_times(&stdout).replace(path.to_str().unwrap(), "DIR");
    let printed: Vec<&str> = printed.split(MARK).collect();
    assert_eq!(printed.len(), examples.len());
    for ((commands, shown), printed) in examples.iter().zip(printed) {
        if let Some(shown) = shown {
            assert_eq!(printed, without_times(shown), "{commands}");
        }
    }
}

#[test]
fn the_commands_run_and_print_what_the_document_shows() {
    let document = document();
    let examples = examples(&document, "sh");
    assert!(examples.len() >= 8, "{}", examples.len());
    let shown = examples.iter().filter(|(_, shown)| shown.is_some());
    assert!(shown.count() >= 6);
    assert_print_what_is_shown("", &examples);
}

/// They rehearse on the root of this machine, and change nothing there.
#[test]
fn the_commands_for_root_run_and_print_what_the_document_shows() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can rehearse on a root's /"));
    }
    let document = document();
    let examples = examples(&document, "sh as-root");
    assert!(examples.len() >= 5, "{}", examples.len());
    assert_print_what_is_shown("", &examples);
    assert!(!Path::new("/etc/my-limits.conf").exists());
}

/// The commands of the workflow that use the agent, as its shell runs them.
#[test]
fn the_commands_of_the_workflow_run() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can rehearse on a root's /"));
    }
    let document = document();
    let blocks = blocks(&document);
    let workflow = blocks.iter().find(|(_, text)| text.contains("jobs:"));
    let mut steps = workflow.unwrap().1.split("- name: ");
    let mut run = |name: &str| {
        let step = steps.find_map(|step| step.strip_prefix(name)).unwrap();
        let (_, run) = step.split_once("run: ").unwrap();
        let lines = run.lines().map(str::trim_start);
        let lines = lines.filter(|line| *line != "|" && !line.starts_with("- uses"));
        lines
            .take_while(|line| *line != "if: always()")
            .collect::<Vec<_>>()
            .join("\n")
    };
    let script = format!("{}\n({})\n", run("Validate\n"), run("Rehearse\n"));
    let prelude = "sudo() { \"$@\"; }; GITHUB_STEP_SUMMARY=summary\n\
                   skyhook-agent new my-package >new.txt\n";
    let script = format!("{script}grep -c '## ' summary; ls rehearsal.*\n");
    let shown = "1 package: no errors, no warnings\n1\nrehearsal.md\nrehearsal.xml\n";
    assert_print_what_is_shown(prelude, &[(&script, Some(shown))]);
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
