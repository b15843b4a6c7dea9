//! What a report says besides the findings themselves: what they mean, what is left out of
//! them, what changed in texts, and what validate says before.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::{Node, assert_says, or_skip, pipe_without_reader, stderr, stdout};
use super::{can_have_a_view, document, package, rehearse};

/// A package whose apply is this script, with an uninstall that does nothing.
fn applying(script: &str) -> Node {
    lives(script, &[("uninstall", "#!/bin/sh\n:\n")], &json!({}))
}

/// A package with this apply, with scripts for other modes, each with its check, and with
/// other fields in its config.json.
fn lives(apply: &str, modes: &[(&str, &str)], fields: &Value) -> Node {
    let node = Node::new().step("a.sh", apply);
    let mut config: Value = serde_json::from_str(&node.config()).unwrap();
    let mut step = config["modes"]["apply"][0].clone();
    for (mode, script) in modes {
        let check = format!("{mode}-check");
        for (mode, script) in [(*mode, *script), (&*check, "#!/bin/sh\n")] {
            let path = format!("{mode}.sh");
            node.script(&path, script);
            step["name"] = json!(mode);
            step["path"] = json!(path);
            config["modes"][mode] = json!([step]);
        }
    }
    for (field, value) in fields.as_object().unwrap() {
        config[field] = value.clone();
    }
    node.write_config(config.to_string());
    node
}

#[track_caller]
fn human(arguments: &[&str], node: &Node) -> String {
    let output = rehearse(arguments, &node.path("copy")).output().unwrap();
    assert_eq!(stderr(&output), "");
    stdout(&output)
}

#[track_caller]
fn markdown(arguments: &[&str], node: &Node) -> String {
    human(&[&["--output", "markdown"], arguments].concat(), node)
}

#[test]
fn warnings_of_validate_come_first_and_do_not_end_it() {
    or_skip!(can_have_a_view());
    let node = lives("#!/bin/sh\n:\n", &[], &json!({ "made_up": 1 }));
    let shown = human(&["--no-cut"], &node);
    let (warnings, rest) = shown.split_once("▶ rehearse ").unwrap();
    assert_says(
        warnings,
        &["warning[ignored-key]: ", "/copy/config.json:1:", "= help: "],
    );
    assert!(!rest.contains("ignored-key"), "{rest}");
    let (document, output) = document(&["--no-cut"], &node.path("copy"));
    assert_eq!(output.status.code(), Some(0), "{document}");
    let warnings = document["warnings"].as_array().unwrap();
    let warning = warnings
        .iter()
        .find(|warning| warning["code"] == "ignored-key")
        .unwrap();
    assert_eq!(warning["severity"], "warning");
    assert_eq!(warning["line"], 1);
    assert_says(
        &markdown(&["--no-cut"], &node),
        &[
            "\n### Warnings of validate\n\n- `",
            "/copy/config.json:1` `ignored-key: ",
        ],
    );
}

#[test]
fn the_operator_s_name_is_compared_with_the_package_s() {
    or_skip!(can_have_a_view());
    let node = applying("#!/bin/sh\n:\n");
    let other = human(&["--no-cut", "--name", "other"], &node);
    assert_says(&other, &["warning[other-name]: "]);
    assert!(!human(&["--no-cut", "--name", "pkg"], &node).contains("other-name"));
}

#[test]
fn warnings_of_the_old_version_are_not_shown() {
    or_skip!(can_have_a_view());
    let fields = json!({ "made_up": 1, "package_version": "1.0.0" });
    let old = lives("#!/bin/sh\n:\n", &[], &fields);
    let modes = [("upgrade", "#!/bin/sh\n:\n")];
    let new = lives("#!/bin/sh\n:\n", &modes, &json!({}));
    let old = old.path("copy");
    let arguments = ["--no-cut", "--from", old.to_str().unwrap()];
    let shown = human(&arguments, &new);
    assert_says(&shown, &["Upgrade to version", "✓ every stage succeeded"]);
    assert!(!shown.contains("ignored-key"), "{shown}");
}

/// The kernel would say that there is no such file.
#[test]
fn line_ends_of_windows_are_named_before_there_is_a_view() {
    let node = applying("#!/bin/sh\r\necho a\r\n");
    for form in ["human", "json"] {
        let output = rehearse(&["--output", form], &node.path("copy"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(stdout(&output), "");
        assert_says(
            &stderr(&output),
            &[
                "copy/config.json: modes.apply[0].path: expected lines that end in \\n: the kernel \
                 would look for an interpreter called \"/bin/sh\\r\" (",
                "/copy/skyhook_dir/a.sh:1)\n",
            ],
        );
    }
}

#[test]
fn a_failed_stage_says_what_it_means_and_what_to_do() {
    or_skip!(can_have_a_view());
    let help = "help: mend the step, or give it what it needs";
    let network = "help: there is no network in the view; --network lets steps use";
    let failing = |said: &str| applying(&format!("#!/bin/sh\necho \"{said}\" >&2\nexit 1\n"));
    let shown = human(&[], &failing("oops"));
    assert_says(
        &shown,
        &["      = note: on a node the operator starts this stage again"],
    );
    assert_says(&shown, &[&help.replace("help:", "      = help:")]);
    let markdown_help = help.replace("help:", "\n*help:*");
    assert_says(&markdown(&[], &failing("oops")), &[&markdown_help]);

    for said in [
        "E: Temporary failure resolving 'deb.example'",
        "curl: (6) Could not resolve host: example",
        "ping: example: Name or service not known",
        "connect: Network is unreachable",
        "getaddrinfo: Temporary failure in name resolution",
    ] {
        let shown = human(&[], &failing(said));
        assert_says(&shown, &[&network.replace("help:", "      = help:")]);
        assert!(!shown.contains("mend the step"), "{shown}");
    }
    // A shell that looks for a program that the root lacks.
    for said in ["9: update-grub: not found", "kexec: command not found"] {
        let shown = human(&[], &failing(said));
        assert_says(
            &shown,
            &["help: the root lacks a program", "--stand-in NAME"],
        );
        assert!(!shown.contains("mend the step"), "{shown}");
    }
    // It is there.
    let shown = human(&["--network"], &failing("Network is unreachable"));
    assert!(!shown.contains("no network in the view"), "{shown}");
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("report.xml");
    human(
        &["--junit", file.to_str().unwrap()],
        &failing("Network is unreachable"),
    );
    assert_says(&fs::read_to_string(&file).unwrap(), &[network]);
}

#[test]
fn caches_and_the_like_are_changes_and_no_findings() {
    or_skip!(can_have_a_view());
    let script = "#!/bin/sh\nmkdir -p /var/cache/rehearse /var/log/rehearse\n\
                  echo a >>/var/cache/rehearse/index\necho a >>/var/log/rehearse/log\n";
    let node = applying(script);
    let (document, output) = document(&["--no-cut"], &node.path("copy"));
    assert_eq!(output.status.code(), Some(0), "{document}");
    assert_eq!(document["not_idempotent"], json!([]));
    assert_eq!(document["left_behind"], json!([]));
    assert_eq!(document["ignored"], json!(["/var/cache", "/var/log"]));
    let changes = document["changes"].as_array().unwrap();
    let of = |path: &str| -> Vec<&Value> {
        changes
            .iter()
            .filter(|change| change["path"] == path)
            .collect()
    };
    let index = of("/var/cache/rehearse/index");
    let passes: Vec<_> = index.iter().map(|change| &change["pass"]).collect();
    assert_eq!(passes, ["first", "forced"]);
    assert_eq!(index[0]["ignored"], true);
    assert_says(
        &human(&["--no-cut"], &node),
        &[
            "\n    + /var/cache/rehearse/index  ignored\n",
            "\nNotes\n",
            "\n  left out of the findings: /var/cache, /var/log\n",
        ],
    );
}

#[test]
fn a_path_can_be_left_out_of_findings_and_what_is_above_it_is_not() {
    or_skip!(can_have_a_view());
    let script = "#!/bin/sh\nmkdir -p /etc/rehearse-own/state/deep\n\
                  echo a >>/etc/rehearse-own/state/deep/count\necho a >>/etc/rehearse-own-too\n";
    let node = applying(script);
    let arguments = [
        "--no-cut",
        "--ignore",
        "/etc/rehearse-own/state/",
        "--ignore",
        "/etc/rehearse-own-too",
    ];
    let (with, output) = document(&arguments, &node.path("copy"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(with["not_idempotent"], json!([]));
    assert_eq!(with["left_behind"], json!(["/etc/rehearse-own"]));
    assert_eq!(
        with["ignored"],
        json!(["/etc/rehearse-own-too", "/etc/rehearse-own/state"])
    );
    let (without, _) = document(&["--no-cut"], &node.path("copy"));
    assert_eq!(without["not_idempotent"].as_array().unwrap().len(), 2);
    assert_eq!(without["left_behind"].as_array().unwrap().len(), 5);
    assert_eq!(
        without["changes"].as_array().unwrap().len(),
        with["changes"].as_array().unwrap().len()
    );
    // It has no name of its own, or none that is sure.
    for wrong in ["/", "relative", "/etc/../x", ""] {
        let output = rehearse(&["--ignore", wrong], &package("good")).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}: {output:?}");
        assert_says(&stderr(&output), &["--ignore", "expected"]);
    }
}

#[test]
fn many_files_below_a_directory_are_one_line_and_each_is_in_the_json() {
    or_skip!(can_have_a_view());
    let script = "#!/bin/sh\nmkdir -p /etc/rehearse-many/a\ni=0\n\
                  while [ $i -lt 1500 ]; do echo $i >/etc/rehearse-many/a/$i; i=$((i+1)); done\n";
    let node = applying(script);
    let shown = human(&["--no-cut", "--diff"], &node);
    assert_says(
        &shown,
        &[
            "\n  apply a.sh\n    + /etc/rehearse-many/ … 1,500 files\n",
            "\nLeft behind after uninstall\n  + /etc/rehearse-many/ … 1,500 files (apply a.sh)\n",
            "; left behind: 1,502 in ",
        ],
    );
    // The diffs are those of the lines that are shown.
    assert!(!shown.contains("@@"), "{shown}");
    assert_says(
        &markdown(&["--no-cut"], &node),
        &[
            "- `+ /etc/rehearse-many/ … 1,500 files (apply a.sh)`\n",
            "<summary>Changes: 1,502</summary>\n\n- `+ /etc/rehearse-many/ … 1,500 files` by",
        ],
    );
    let (document, _) = document(&["--no-cut"], &node.path("copy"));
    assert_eq!(document["changes"].as_array().unwrap().len(), 1502);
    assert_eq!(document["left_behind"].as_array().unwrap().len(), 1502);
}

#[test]
fn diffs_show_what_the_second_pass_changed_and_what_is_left() {
    or_skip!(can_have_a_view());
    let root = TempDir::new().unwrap();
    super::support::fill_root(root.path());
    for dir in ["etc", "var/lib", "var/log"] {
        fs::create_dir_all(root.path().join(dir)).unwrap();
    }
    fs::write(root.path().join("etc/a.conf"), "one\n").unwrap();
    let node = applying("#!/bin/sh\necho two >>/etc/a.conf\n");
    let arguments = ["--no-cut", "--root", root.path().to_str().unwrap()];
    let with_diff = [&arguments[..], &["--diff"]].concat();
    assert_says(
        &human(&with_diff, &node),
        &[
            "  apply a.sh: ~ /etc/a.conf (forced)\n        @@ -1,2 +1,3 @@\n         one\n         \
             two\n        +two\n  = note: ",
            "  ~ /etc/a.conf (apply a.sh)\n        @@ -1 +1,3 @@\n         one\n        \
             +two\n        +two\n  = note: ",
        ],
    );
    assert_says(
        &markdown(&with_diff, &node),
        &[
            "- `apply a.sh: ~ /etc/a.conf (forced)`\n\n```diff\n@@ -1,2 +1,3 @@\n one\n two\n+two\n```\n",
            "- `~ /etc/a.conf (apply a.sh)`\n\n```diff\n@@ -1 +1,3 @@\n one\n+two\n+two\n```\n",
        ],
    );
    let (document, _) = document(&with_diff, &node.path("copy"));
    assert_eq!(
        document["not_idempotent"][0]["diff"],
        "@@ -1,2 +1,3 @@\n one\n two\n+two\n"
    );
    assert!(!human(&arguments, &node).contains("@@"));
}

#[test]
fn what_a_failed_uninstall_leaves_is_not_looked_at_and_that_is_said() {
    or_skip!(can_have_a_view());
    let apply = "#!/bin/sh\n: >/etc/rehearse-left\n";
    let node = lives(apply, &[("uninstall", "#!/bin/sh\nexit 1\n")], &json!({}));
    assert_says(
        &human(&["--no-cut"], &node),
        &["; uninstall failed: what it leaves was not looked at in "],
    );
    assert_says(
        &markdown(&["--no-cut"], &node),
        &["\n*note:* `uninstall failed: what it leaves was not looked at`\n"],
    );
}

#[test]
fn a_junit_report_that_cannot_be_written_does_not_take_the_other_report_away() {
    or_skip!(can_have_a_view());
    let node = applying("#!/bin/sh\n:\n");
    // It can be opened, and is full.
    let output = rehearse(&["--no-cut", "--junit", "/dev/full"], &node.path("copy")).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_says(&stdout(&output), &["✓ every stage succeeded"]);
    assert_says(&stderr(&output), &["/dev/full"]);
}

/// What 0 says is not known.
#[test]
fn a_rehearsal_whose_reader_leaves_before_its_end_has_not_succeeded() {
    or_skip!(can_have_a_view());
    let node = applying("#!/bin/sh\n:\n");
    let mut command = rehearse(&["--no-cut"], &node.path("copy"));
    let status = command.stdout(pipe_without_reader()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    // The reader of a document leaves when the life has been lived.
    for (script, code) in [(":", 0), ("exit 1", 1)] {
        let node = applying(&format!("#!/bin/sh\n{script}\n"));
        let mut command = rehearse(&["--no-cut", "--output", "json"], &node.path("copy"));
        let status = command.stdout(pipe_without_reader()).status().unwrap();
        assert_eq!(status.code(), Some(code));
    }
}

#[test]
fn what_a_step_changes_in_both_later_passes_is_one_finding() {
    or_skip!(can_have_a_view());
    let config = "#!/bin/sh\necho a >>/etc/rehearse-config\n";
    let node = lives("#!/bin/sh\n:\n", &[("config", config)], &json!({}));
    let (document, _) = document(&["--no-cut"], &node.path("copy"));
    let found = document["not_idempotent"].as_array().unwrap();
    assert_eq!(found.len(), 1, "{document}");
    assert_eq!(found[0]["pass"], "again");
}

/// The agent does that before the first step.
#[test]
fn files_of_root_dir_are_changes_of_no_step() {
    or_skip!(can_have_a_view());
    let node = applying("#!/bin/sh\n: >/etc/rehearse-of-step\n");
    let etc = node.path("copy/root_dir/etc");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("rehearse-laid"), "a\n").unwrap();
    let (document, _) = document(&["--no-cut"], &node.path("copy"));
    let changes = document["changes"].as_array().unwrap();
    let step_of = |path: &str| {
        let change = changes.iter().find(|change| change["path"] == path);
        change.map(|change| change["step"].clone())
    };
    assert_eq!(
        step_of("/etc/rehearse-laid"),
        Some(Value::Null),
        "{document}"
    );
    assert_eq!(step_of("/etc/rehearse-of-step"), Some(json!("a.sh")));
}
