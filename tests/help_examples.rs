//! Every example in the help of a command, and those of the documents that need no cluster,
//! can be typed as it stands.

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use support::skip::{Skip, try_out};
use support::{
    agent, assert_succeeds, files, fill_root, is_root, or_skip, shell, skip, stdout_of_success,
};
use tempfile::TempDir;

/// The commands that have examples.
const COMMANDS: [&str; 5] = ["run-step", "new", "validate", "status", "logs"];

/// Makes a package of version 1.2.3 whose steps need nothing but a shell. The step of its
/// apply is called sysctl.
fn package(dir: &Path, name: &str) {
    fs::create_dir_all(dir).unwrap();
    let make = format!("skyhook-agent new {name} --with upgrade");
    assert_succeeds(&shell(dir, &make).output().unwrap());
    let package = dir.join(name);
    let config = fs::read_to_string(package.join("config.json")).unwrap();
    let config = config
        .replace("\"0.1.0\"", "\"1.2.3\"")
        .replace("\"name\": \"apply\"", "\"name\": \"sysctl\"")
        .replace("\"apply.sh\"", "\"steps/sysctl.sh\"");
    fs::write(package.join("config.json"), config).unwrap();
    let steps = package.join("skyhook_dir");
    fs::create_dir(steps.join("steps")).unwrap();
    fs::rename(steps.join("apply.sh"), steps.join("steps/sysctl.sh")).unwrap();
    for step in files(&steps) {
        fs::write(step, "#!/bin/sh\necho done\n").unwrap();
    }
}

/// Makes all that the examples name: packages, `host` in place of /host, and the state of a
/// node on which the package tuning has run.
fn prepared() -> TempDir {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    for name in ["my-package", "tuned", "my-tuned", "tuning"] {
        package(dir, name);
    }
    package(&dir.join("packages"), "one");
    fs::create_dir(dir.join("host")).unwrap();
    fill_root(&dir.join("host"));
    package(&dir.join("host/var/lib"), "my-package");
    let apply = format!("{}skyhook-agent apply / \"$PWD/tuning\"", prelude(dir));
    let output = shell(dir, &apply).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    temporary
}

/// Tells the shell where state and logs are, and to leave this machine alone.
fn prelude(dir: &Path) -> String {
    let dir = dir.to_str().unwrap();
    format!(
        "export SKYHOOK_ROOT_DIR={dir}/state SKYHOOK_LOG_DIR={dir}/log TARGET_DIR={dir}/target \
         COPY_RESOLV=false SKYHOOK_RESOURCE_ID=id_tuning_1.2.3\n"
    )
}

/// The commands of a help text: below `Examples:`, indented by four; what is indented by
/// more goes on with the line before.
fn examples(help: &str) -> Vec<String> {
    let (_, after) = help.split_once("\nExamples:\n").unwrap();
    let lines = after.lines();
    let lines = lines.take_while(|line| line.is_empty() || line.starts_with("  "));
    let mut examples: Vec<String> = Vec::new();
    for line in lines.filter_map(|line| line.strip_prefix("    ")) {
        match examples.last_mut() {
            Some(example) if line.starts_with(' ') => *example += line,
            _ => examples.push(line.to_owned()),
        }
    }
    examples
}

/// Runs one as it stands, except for the places of this machine that it names.
#[track_caller]
fn run(dir: &Path, example: &str) {
    if example.contains("--chroot") && !is_root() {
        skip!(Skip::NotPossible("only root can chroot"));
    }
    if example.contains("| jq ") {
        let why = "jq does not work";
        or_skip!(try_out(Command::new("jq").arg("--version"), why));
    }
    let here = dir.to_str().unwrap();
    let mut command = example
        .replace(
            "/var/lib/skyhook/node/tuning-1.2.3",
            &format!("{here}/tuning"),
        )
        .replace(" /host", &format!(" {here}/host"));
    let mut expected = 0;
    if example.contains("--follow") {
        // It goes on until it is ended.
        command = format!("timeout 0.5 {command}");
        expected = 124;
    }
    if example.contains("--forget") {
        // It asks, which needs a terminal.
        let why = "script(1) gets no terminal";
        or_skip!(try_out(
            Command::new("script").args(["-qec", "true", "/dev/null"]),
            why
        ));
        command = format!("script -qec '{command}' /dev/null");
    }
    let script = format!("{}{command}", prelude(dir));
    let mut shell = shell(dir, &script);
    let mut running = shell
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The answer. Those that do not ask do not read it.
    let _ = running.stdin.take().unwrap().write_all(b"y\n");
    let output = running.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(expected),
        "{example}: {output:?}"
    );
}

#[test]
fn every_example_of_the_help_works() {
    let mut count = 0;
    for name in COMMANDS {
        let dir = prepared();
        let help = stdout_of_success(&agent().args([name, "--help"]).output().unwrap());
        let examples = examples(&help);
        assert!(!examples.is_empty(), "{name}");
        if name == "new" {
            fs::remove_dir_all(dir.path().join("my-package")).unwrap();
        }
        for example in &examples {
            run(dir.path(), example);
        }
        count += examples.len();
    }
    assert!(count >= 20, "{count}");
}

/// Those of docs/packages.md are run by a test of their own.
#[test]
fn the_commands_that_other_documents_show_work() {
    let dir = prepared();
    for (document, least) in [("README.md", 4), ("docs/operations.md", 3)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
        let text = fs::read_to_string(path).unwrap();
        let blocks = text.split("```sh\n").skip(1);
        let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
        let of_root = if is_root() { "sudo " } else { "" };
        let lines: Vec<&str> = lines
            .map(|line| line.strip_prefix(of_root).unwrap_or(line))
            .filter(|line| line.starts_with("skyhook-agent "))
            .collect();
        assert!(lines.len() >= least, "{document}: {lines:?}");
        for line in lines {
            run(dir.path(), line);
        }
    }
}
