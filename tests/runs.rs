//! Whole runs of the agent against what the reference did: exit code, stdout,
//! and every file left behind (testdata/goldens/runs.json).

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{agent, golden, stderr, stdout, write_script};

/// What differs from run to run in `text`, as the goldens name it.
fn normalise(text: &str, dir: &Path) -> String {
    let text = text.replace(dir.to_str().unwrap(), "<D>");
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

/// Every file below `dir`, by its normalised path, with the contents found.
fn files(dir: &Path, below: &Path, found: &mut BTreeMap<String, Vec<String>>) {
    for entry in fs::read_dir(below).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(dir, &path, found);
            continue;
        }
        let name = format!("/{}", path.strip_prefix(dir).unwrap().display());
        let mut content = fs::read_to_string(&path).unwrap();
        if name.ends_with(".complete") {
            assert!(content.parse::<f64>().unwrap() > 1.7e9 && content.contains('.'));
            "<EPOCH>".clone_into(&mut content);
        }
        let contents = found.entry(normalise(&name, dir)).or_default();
        contents.push(normalise(&content, dir));
        contents.sort();
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap()
}

fn play(case: &Value) {
    let name = text(case, "name");
    let dir = tempfile::tempdir().unwrap();
    let dir = &dir.path().canonicalize().unwrap();
    fs::create_dir_all(dir.join("copy/skyhook_dir")).unwrap();
    fs::create_dir(dir.join("tmp")).unwrap();
    fs::write(dir.join("copy/config.json"), case["config"].to_string()).unwrap();
    for (folder, scripts) in [("copy/skyhook_dir", "skyhook_dir"), ("bin", "bin")] {
        for (file, script) in case[scripts].as_object().unwrap() {
            let path = dir.join(folder).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            write_script(&path, script.as_str().unwrap());
        }
    }
    if let Some(history) = case["history"].as_str() {
        fs::create_dir_all(dir.join("state/history")).unwrap();
        fs::write(dir.join("state/history/pkg.json"), history).unwrap();
    }
    for run in case["runs"].as_array().unwrap() {
        let mut command = agent();
        for argument in run["args"].as_array().unwrap() {
            command.arg(
                argument
                    .as_str()
                    .unwrap()
                    .replace("<D>", dir.to_str().unwrap()),
            );
        }
        let path = std::env::var("PATH").unwrap();
        command
            .env("PATH", format!("{}:{path}", dir.join("bin").display()))
            .env("TMPDIR", dir.join("tmp"))
            .env("COPY_RESOLV", "false")
            .env("SKYHOOK_RESOURCE_ID", "scr-1234-1_pkg_1.2.3")
            .env("SKYHOOK_ROOT_DIR", dir.join("state"))
            .env("SKYHOOK_LOG_DIR", dir.join("log"))
            .env("SKYHOOK_DATA_DIR", dir.join("data"));
        for (variable, value) in case["environ"].as_object().unwrap() {
            command.env(variable, value.as_str().unwrap());
        }
        let output = command.output().unwrap();
        let said = normalise(&stdout(&output), dir);
        assert_eq!(said, text(run, "stdout"), "{name}: {}", stderr(&output));
        let code = output.status.code().map(i64::from);
        assert_eq!(code, run["exit"].as_i64(), "{name}: {}", stderr(&output));
    }
    let mut found = BTreeMap::new();
    for below in ["state", "log", "tmp"] {
        files(dir, &dir.join(below), &mut found);
    }
    let expected: BTreeMap<String, Vec<String>> =
        serde_json::from_value(case["files_after"].clone()).unwrap();
    assert_eq!(found, expected, "{name}");
}

#[test]
fn whole_runs_print_and_leave_what_the_reference_did() {
    let cases = golden("runs.json");
    assert_eq!(cases.len(), 13);
    std::thread::scope(|scope| {
        for case in &cases {
            scope.spawn(|| play(case));
        }
    });
}
