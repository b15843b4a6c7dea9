//! Whole runs of the agent against what the reference did: exit code, stdout,
//! and every file left behind (testdata/goldens/runs.json).

mod support;

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use support::{Node, files, golden, stderr, stdout};

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

/// Every file that the runs left, by its normalised path. Several files may have the
/// same, so that each path has a list of contents.
fn files_left(node: &Node) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for path in ["state", "log", "tmp"]
        .into_iter()
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
    assert_eq!(files_left(&node), expected, "{name}");
}

#[test]
fn whole_runs_print_and_leave_what_the_reference_did() {
    let cases = golden("runs.json");
    assert_eq!(cases.len(), 13);
    std::thread::scope(|scope| {
        for case in &cases {
            scope.spawn(|| assert_case(case));
        }
    });
}
