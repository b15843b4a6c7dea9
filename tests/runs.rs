//! Whole runs of the agent against what the reference did: exit code, stdout,
//! and every file left behind (testdata/goldens/runs.json).

mod support;

use std::collections::BTreeMap;
use std::fs;

use nix::errno::Errno;
use serde_json::{Value, json};
use support::{
    Node, Skip, files, fill_root, golden, interrupt_data, is_root, seccomp, skip, stderr, stdout,
};

/// The system calls of which docs/operations.md says that the agent can do without them.
const NEWER: [i64; 3] = [
    libc::SYS_openat2,
    libc::SYS_pidfd_open,
    libc::SYS_close_range,
];

/// Replaces what differs from run to run in `text` by the goldens' names for it.
fn normalise(text: &str, node: &Node) -> String {
    let text = text.replace(node.dir.path().to_str().unwrap(), "<D>");
    let digits = |text: &str| -> String {
        text.chars()
            .map(|c| if c.is_ascii_digit() { 'd' } else { c })
            .collect()
    };
    let mut out = String::new();
    let mut rest = text.as_str();
    'text: while let Some(c) = rest.chars().next() {
        for (shape, name) in [
            ("dddd-dd-ddTdd:dd:dd.dddddd+dd:dd", "<UTC>"),
            ("dddd-dd-ddTdd:dd:dd.dddddd", "<T>"),
            ("-dddd-dd-dd-dddddd", "-<TS>"),
        ] {
            if rest
                .get(..shape.len())
                .is_some_and(|part| digits(part) == shape)
            {
                out.push_str(name);
                rest = &rest[shape.len()..];
                continue 'text;
            }
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// Every file in these directories, by its normalised path. Several files may have the
/// same, so that each path has a list of contents.
fn files_below(node: &Node, directories: &[&str]) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for path in directories
        .iter()
        .flat_map(|below| files(&node.path(below)))
    {
        let name = format!("/{}", path.strip_prefix(node.dir.path()).unwrap().display());
        let mut content = fs::read_to_string(&path).unwrap();
        if name.ends_with(".complete") {
            assert!(content.parse::<f64>().unwrap() > 1.7e9 && content.contains('.'));
            "<EPOCH>".clone_into(&mut content);
        }
        let contents = found.entry(normalise(&name, node)).or_default();
        contents.push(normalise(&content, node));
        contents.sort();
    }
    found
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap()
}

fn scripts(case: &Value, key: &str) -> Vec<(String, String)> {
    let scripts = case[key].as_object().unwrap().clone();
    scripts
        .into_iter()
        .map(|(name, script)| (name, script.as_str().unwrap().to_owned()))
        .collect()
}

/// The node that a case begins with.
fn node(case: &Value) -> Node {
    let mut node = Node::from_config(case["config"].clone()).with_temp_dir();
    for (path, script) in scripts(case, "skyhook_dir") {
        node.script(&path, &script);
    }
    for (name, script) in scripts(case, "bin") {
        node = node.command(&name, &script);
    }
    if let Some(history) = case["history"].as_str() {
        fs::create_dir_all(node.path("state/history")).unwrap();
        fs::write(node.path("state/history/pkg.json"), history).unwrap();
    }
    node
}

fn assert_case(case: &Value) {
    let name = text(case, "name");
    let node = node(case);
    for run in case["runs"].as_array().unwrap() {
        let mut command = node.agent(&[]);
        for argument in run["args"].as_array().unwrap() {
            let dir = node.dir.path().to_str().unwrap();
            command.arg(argument.as_str().unwrap().replace("<D>", dir));
        }
        for (variable, value) in case["environ"].as_object().unwrap() {
            command.env(variable, value.as_str().unwrap());
        }
        let output = command.output().unwrap();
        let printed = normalise(&stdout(&output), &node);
        assert_eq!(printed, text(run, "stdout"), "{name}: {}", stderr(&output));
        let code = output.status.code().map(i64::from);
        assert_eq!(code, run["exit"].as_i64(), "{name}: {}", stderr(&output));
    }
    let expected: BTreeMap<String, Vec<String>> =
        serde_json::from_value(case["files_after"].clone()).unwrap();
    let left = files_below(&node, &["state", "log", "tmp"]);
    assert_eq!(left, expected, "{name}");
}

#[test]
fn whole_runs_print_and_leave_what_the_reference_did() {
    assert_cases();
}

fn assert_cases() {
    let cases = golden("runs.json");
    assert_eq!(cases.len(), 13);
    std::thread::scope(|scope| {
        for case in &cases {
            scope.spawn(|| assert_case(case));
        }
    });
}

/// A kernel answers ENOSYS, and some container runtimes EPERM, for what they do not know.
#[test]
fn whole_runs_are_the_same_without_newer_system_calls() {
    for error in [Errno::ENOSYS, Errno::EPERM] {
        seccomp::with_refused(&NEWER, error, assert_cases);
    }
    seccomp::without_unnamed_files(assert_cases);
}

/// Runs a package's whole life in a root of its own: the package is copied, its files go
/// over the host's, and its steps enter the root. Returns what was printed and left.
fn life() -> (Vec<String>, BTreeMap<String, Vec<String>>) {
    let step = |path: &str| {
        json!({
            "name": path, "path": path, "arguments": ["word"], "returncodes": [0],
            "on_host": true, "idempotence": false, "upgrade_step": false,
        })
    };
    let modes = ["apply", "config", "post-interrupt", "upgrade", "uninstall"];
    let steps = modes.into_iter().flat_map(|mode| {
        let check = format!("{mode}-check");
        [(mode.to_owned(), "do.sh"), (check, "check.sh")]
    });
    let steps: BTreeMap<_, _> = steps.map(|(mode, path)| (mode, [step(path)])).collect();
    let node = Node::from_config(json!({
        "schema_version": "v1", "package_name": "pkg", "package_version": "1.2.3",
        "expected_config_files": ["limits"], "modes": steps,
    }));
    node.script("do.sh", "#!/bin/sh\necho \"$@\"\necho err >&2\n");
    node.script(
        "check.sh",
        "#!/bin/sh\nread -r file < /etc/pkg/file && echo \"$file\"\n",
    );
    let node = node.command("systemctl", "#!/bin/sh\necho \"$@\"\n");
    fill_root(node.dir.path());
    for (name, text) in [
        ("root_dir/etc/pkg/file", "pkg's\n"),
        ("configmaps/limits", "1\n"),
    ] {
        let file = node.path("copy").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    fs::rename(node.path("copy"), node.path("data")).unwrap();

    let restart = interrupt_data(&json!({ "type": "service_restart", "services": ["a"] }));
    let mut printed = Vec::new();
    for run in [
        "apply",
        "apply-check",
        "config",
        "config-check",
        "interrupt",
        "post-interrupt",
        "post-interrupt-check",
        "upgrade",
        "upgrade-check",
        "uninstall",
        "uninstall-check",
    ] {
        let mut command = node.in_own_root(run);
        if run == "interrupt" {
            command.arg(&restart);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{run}: {output:?}");
        printed.push(normalise(&stdout(&output), &node));
    }
    (printed, files_below(&node, &["copy", "etc", "var"]))
}

#[test]
fn a_whole_life_in_a_root_of_its_own_is_the_same_without_newer_system_calls() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can chroot"));
    }
    let expected = life();
    for error in [Errno::ENOSYS, Errno::EPERM] {
        assert_eq!(seccomp::with_refused(&NEWER, error, life), expected);
    }
    assert_eq!(seccomp::without_unnamed_files(life), expected);
}
