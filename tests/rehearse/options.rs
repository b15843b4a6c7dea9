//! The options of a rehearsal.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::{Node, Skip, agent_line, assert_says, or_skip, skip, stderr, stdout};
use super::{assert_root_untouched, can_have_a_view, document, outcomes, package, rehearse};

/// A package whose apply is this script.
fn applying(script: &str) -> Node {
    Node::new().step("a.sh", script)
}

#[track_caller]
fn output_of(document: &Value) -> String {
    let output = document["stages"][0]["output"].as_str();
    output.unwrap_or_else(|| panic!("{document}")).to_owned()
}

#[test]
fn programs_that_reach_the_machine_are_replaced_and_their_calls_listed_with_the_step() {
    or_skip!(can_have_a_view());
    let script = "#!/bin/sh\nset -eu\nsystemctl enable --now a.service\nmodprobe nvidia 'a b'\n\
                  sysctl -w kernel.hostname=x\nmine --flag || echo \"mine $?\"\n";
    let node = applying(script).step("b.sh", "#!/bin/sh\nreboot now\n");
    let (document, output) = document(&["--no-cut", "--stand-in", "mine=3"], &node.path("copy"));
    assert_eq!(output.status.code(), Some(0), "{document}");
    let calls = document["stand_ins"].as_array().unwrap();
    let calls: Vec<String> = calls
        .iter()
        .filter(|call| call["pass"] == "first")
        .map(|call| {
            let arguments: Vec<&str> = call["arguments"]
                .as_array()
                .unwrap()
                .iter()
                .map(|argument| argument.as_str().unwrap())
                .collect();
            let word = |key: &str| call[key].as_str().unwrap().to_owned();
            format!(
                "{} {}: {} {}",
                word("mode"),
                word("step"),
                word("program"),
                arguments.join("|")
            )
        })
        .collect();
    assert_eq!(
        calls,
        [
            "apply a.sh: systemctl enable|--now|a.service",
            "apply a.sh: modprobe nvidia|a b",
            "apply a.sh: sysctl -w|kernel.hostname=x",
            "apply a.sh: mine --flag",
            "apply b.sh: reboot now",
        ]
    );
    assert_eq!(document["operator"]["services"], json!(["a.service"]));
    assert_eq!(document["operator"]["reboot"], true);
    let output = rehearse(&["--no-cut"], &node.path("copy"))
        .output()
        .unwrap();
    // Without a stand-in there is no such program.
    assert_says(
        &stdout(&output),
        &[
            "\nCalls of programs that are replaced\n  systemctl enable --now a.service  apply \
             a.sh (first)\n  modprobe nvidia 'a b'  apply a.sh (first)\n",
            "\nFor the operator\n  a reboot is asked for\n  services touched: a.service\n",
        ],
    );
}

#[test]
fn an_interrupt_is_recorded_and_its_reboot_is_played() {
    or_skip!(can_have_a_view());
    let interrupt = r#"{"type":"node_restart"}"#;
    let (document, output) = document(&["--interrupt", interrupt], &package("good"));
    assert_eq!(output.status.code(), Some(0), "{document}");
    let outcomes = outcomes(&document);
    let of_interrupt: Vec<&String> = outcomes
        .iter()
        .filter(|outcome| outcome.contains("/interrupt"))
        .collect();
    assert_eq!(
        of_interrupt,
        [
            "first/interrupt rebooted",
            "first/interrupt succeeded",
            "again/interrupt succeeded",
            "forced/interrupt succeeded",
            "anew/interrupt rebooted",
            "anew/interrupt succeeded",
        ]
    );
    let reboots: Vec<&Value> = document["stand_ins"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|call| call["program"] == "reboot")
        .collect();
    assert_eq!(
        reboots,
        [&json!({
            "program": "reboot", "arguments": [], "mode": "interrupt", "step": null,
            "pass": "first",
        })]
    );
    assert_eq!(document["operator"]["reboot"], true);

    // As in the custom resource.
    let interrupt = r#"{"type":"service","services":["a","b"]}"#;
    let arguments = ["--no-cut", "--interrupt", interrupt];
    let output = rehearse(&arguments, &package("good")).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_says(
        &stdout(&output),
        &["  systemctl restart b  interrupt (no step) (first)\n"],
    );
}

#[test]
fn a_reboot_that_is_played_adds_words_to_the_kernels_command_line() {
    or_skip!(can_have_a_view());
    // The second pass comes after the reboot.
    let node = applying(
        "#!/bin/sh\n[ -e /etc/was-here ] || ! grep spare_pages=7 /proc/cmdline || exit 1\n\
         touch /etc/was-here\n",
    );
    node.script(
        "after.sh",
        "#!/bin/sh\ngrep -c ' quiet_pages spare_pages=7$' /proc/cmdline\n",
    );
    let mut config: Value = serde_json::from_str(&node.config()).unwrap();
    let mut step = config["modes"]["apply"][0].clone();
    step["path"] = json!("after.sh");
    config["modes"]["post-interrupt-check"] = json!([step]);
    node.write_config(config.to_string());
    let reboot = ["--interrupt", r#"{"type":"reboot"}"#];
    let words = ["--cmdline", " quiet_pages spare_pages=7"];
    let copy = node.path("copy");
    let (document_of, _) = document(&[reboot, words].concat(), &copy);
    let outcomes_of = outcomes(&document_of);
    for pass in ["first", "anew"] {
        let expected = format!("{pass}/post-interrupt-check succeeded");
        assert!(outcomes_of.contains(&expected), "{document_of}");
    }

    // What helps is said where it fails.
    let help = "--cmdline plays what a reboot adds to /proc/cmdline";
    let output = rehearse(&reboot, &copy).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_says(&stdout(&output), &["✗ post-interrupt-check", help]);
    let failing = applying("#!/bin/sh\nfalse\n");
    let output = rehearse(&[], &failing.path("copy")).output().unwrap();
    assert_says(&stdout(&output), &["✗ apply"]);
    assert!(!stdout(&output).contains(help));
}

#[test]
fn an_interrupt_that_fails_fails() {
    or_skip!(can_have_a_view());
    let arguments = [
        "--interrupt",
        r#"{"type":"node_restart"}"#,
        "--stand-in",
        "reboot=1",
    ];
    let (document, output) = document(&arguments, &package("good"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        outcomes(&document).last().unwrap(),
        "first/interrupt failed"
    );
}

#[test]
fn findings_that_are_meant_can_be_allowed() {
    or_skip!(can_have_a_view());
    for (name, allowed, other, key) in [
        ("leaves-files", "leftovers", "changes", "left_behind"),
        ("not-idempotent", "changes", "leftovers", "not_idempotent"),
    ] {
        let name = package(name);
        let (document, output) = document(&["--no-cut", "--allow", allowed], &name);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(document["ok"], true);
        // They are told all the same.
        assert_ne!(document[key], json!([]));
        let output = rehearse(&["--no-cut", "--allow", other], &name).output();
        assert_eq!(output.unwrap().status.code(), Some(1));
        let output = rehearse(&["--no-cut", "--allow", "leftovers,changes"], &name).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_says(&stdout(&output), &[" (allowed)\n"]);
    }
}

#[test]
fn the_package_gets_its_variables_and_the_operator_s_win() {
    or_skip!(can_have_a_view());
    let node = applying(
        "#!/bin/sh\necho \"role $ROLE order $SKYHOOK_NODE_ORDER dir $SKYHOOK_DIR\"\n\
         echo \"id $SKYHOOK_RESOURCE_ID\"\nenv | cut -d= -f1 | sort | tr '\\n' ' '\nexit 1\n",
    );
    let arguments = ["--env", "ROLE=training=x", "--env", "SKYHOOK_NODE_ORDER=7"];
    let mut command = rehearse(&["--output", "json"], &node.path("copy"));
    let output = command.args(arguments).env("SECRET", "x").output().unwrap();
    let said = output_of(&serde_json::from_slice(&output.stdout).unwrap());
    assert_says(
        &said,
        &[
            "role training=x order 0 dir /var/lib/skyhook/rehearse/pkg-1.2.3-0-1\n",
            "id rehearse-0-1_pkg_1.2.3\n",
            " PATH ",
        ],
    );
    assert!(!said.contains("SECRET"), "{said}");
}

#[test]
fn config_maps_and_metadata_lie_beside_the_package() {
    or_skip!(can_have_a_view());
    let dir = TempDir::new().unwrap();
    for (file, text) in [
        ("config/settings.conf", "colour = blue"),
        ("meta/labels.json", r#"{"a":"b"}"#),
        ("meta/packages.json", "{}"),
    ] {
        let file = dir.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let node = applying(
        "#!/bin/sh\ncd \"$SKYHOOK_DIR\"\ncat configmaps/settings.conf; echo\n\
         cat node-metadata/labels.json; echo\nls node-metadata configmaps\nexit 1\n",
    )
    .set("expected_config_files", json!(["settings.conf"]));
    // What the image has there is hidden.
    fs::create_dir(node.path("copy/configmaps")).unwrap();
    fs::write(node.path("copy/configmaps/of_the_image"), "").unwrap();
    let (config, meta) = (dir.path().join("config"), dir.path().join("meta"));
    let arguments = [
        "--configmaps",
        config.to_str().unwrap(),
        "--metadata",
        meta.to_str().unwrap(),
    ];
    let (document_of, _) = document(&arguments, &node.path("copy"));
    let said = output_of(&document_of);
    assert_says(
        &said,
        &["colour = blue\n", "{\"a\":\"b\"}\n", "packages.json"],
    );
    assert!(!said.contains("of_the_image"), "{said}");
    fs::remove_file(node.path("copy/configmaps/of_the_image")).unwrap();
    // Without the option the agent says what it misses, as on a node.
    let (document, _) = document(&[], &node.path("copy"));
    assert_says(
        &output_of(&document),
        &["settings.conf: expected this file, which is not there"],
    );
}

#[test]
fn keep_leaves_what_the_package_wrote_and_the_logs() {
    or_skip!(can_have_a_view());
    let dir = TempDir::new().unwrap();
    let keep = dir.path().join("kept");
    let output = rehearse(
        &["--no-cut", "--keep", keep.to_str().unwrap()],
        &package("not-idempotent"),
    )
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let mut found = Vec::new();
    for file in super::support::files(&keep) {
        let file = file.to_str().unwrap().to_owned();
        if file.ends_with("etc/rehearse-appended") {
            assert_eq!(fs::read_to_string(&file).unwrap(), "one more\none more\n");
            found.push("file");
        }
        if file.contains("var/log/skyhook/rehearse/not-idempotent/1.0.0/append.sh-20") {
            found.push("log");
        }
    }
    assert!(
        found.contains(&"file") && found.contains(&"log"),
        "{found:?}"
    );
    assert_root_untouched();
}

#[test]
fn changes_of_texts_are_shown_as_diffs() {
    or_skip!(can_have_a_view());
    let root = TempDir::new().unwrap();
    super::support::fill_root(root.path());
    for dir in ["etc", "var/lib", "var/log"] {
        fs::create_dir_all(root.path().join(dir)).unwrap();
    }
    fs::write(root.path().join("etc/a.conf"), "one\ntwo\n").unwrap();
    let node = applying("#!/bin/sh\necho three >> /etc/a.conf\n");
    let arguments = [
        "--no-cut",
        "--diff",
        "--allow",
        "changes",
        "--root",
        root.path().to_str().unwrap(),
    ];
    let (document, _) = document(&arguments, &node.path("copy"));
    let change = &document["changes"][0];
    assert_eq!(change["path"], "/etc/a.conf", "{document}");
    assert_eq!(change["kind"], "changed");
    assert_eq!(change["content"], true);
    assert_eq!(change["diff"], "@@ -1,2 +1,3 @@\n one\n two\n+three\n");
    let output = rehearse(&arguments, &node.path("copy")).output().unwrap();
    assert_says(
        &stdout(&output),
        &[
            "    ~ /etc/a.conf  content\n        @@ -1,2 +1,3 @@\n         one\n         two\n        +three\n",
        ],
    );
    assert_eq!(
        fs::read_to_string(root.path().join("etc/a.conf")).unwrap(),
        "one\ntwo\n"
    );
}

#[test]
fn a_package_that_cannot_be_used_is_refused_before_there_is_a_view() {
    let node = Node::one_step();
    node.write_config("{\"schema_version\": \"v1\"}");
    let output = rehearse(&[], &node.path("copy")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    assert_says(&stderr(&output), &["copy/config.json: ", "package_name"]);

    let node = Node::one_step().set("package_version", json!("1_2"));
    let line = agent_line(&rehearse(&[], &node.path("copy")).output().unwrap(), 1);
    assert_says(&line, &["package_version: expected "]);
}

#[test]
fn the_package_has_the_name_that_the_custom_resource_gives_it() {
    or_skip!(can_have_a_view());
    let node = applying("#!/bin/sh\necho \"$SKYHOOK_RESOURCE_ID $SKYHOOK_DIR\"\nexit 1\n")
        .set("package_name", json!("a_b"));
    for (arguments, name, note) in [
        (
            &[][..],
            "a-b",
            Some(
                "the package has the name a-b in the custom resource, as a name has no _ there: \
                 --name gives another",
            ),
        ),
        (&["--name", "other"], "other", None),
    ] {
        let (document, _) = document(arguments, &node.path("copy"));
        let ids = format!("rehearse-0-1_{name}_1.2.3 /var/lib/skyhook/rehearse/{name}-1.2.3-0-1\n");
        assert_says(&output_of(&document), &[&ids]);
        assert_eq!(document["package"], "a_b");
        let gaps = document["gaps"].as_array().unwrap();
        let noted = gaps.iter().any(|gap| Some(gap.as_str().unwrap()) == note);
        assert_eq!(noted, note.is_some(), "{gaps:?}");
    }
}

#[test]
fn an_upgrade_that_is_not_rehearsed_is_noted() {
    or_skip!(can_have_a_view());
    let new = package("forgetful-upgrade");
    let old = package("old/forgetful-upgrade");
    let said = |arguments: &[&str]| {
        let (document, _) = document(arguments, &new);
        document["gaps"]
            .to_string()
            .contains("upgrade was not rehearsed")
    };
    assert!(said(&["--no-cut"]));
    assert!(!said(&["--no-cut", "--from", old.to_str().unwrap()]));
}

#[test]
fn steps_after_an_interrupt_without_one_are_noted() {
    or_skip!(can_have_a_view());
    let note = "post-interrupt runs here without an interrupt, and on a node only after one";
    let said = |document: &Value| document["gaps"].to_string().contains(note);
    let (document_of, _) = document(&["--no-cut"], &package("good"));
    let outcomes = outcomes(&document_of);
    let runs = |outcomes: &[String]| {
        let mut outcomes = outcomes.iter();
        outcomes.any(|outcome| outcome.starts_with("first/post-interrupt"))
    };
    assert_eq!(said(&document_of), runs(&outcomes));
    let interrupt = r#"{"type":"reboot"}"#;
    let (document_of, _) = document(&["--no-cut", "--interrupt", interrupt], &package("good"));
    assert!(!said(&document_of));
}

#[test]
fn wrong_usage_ends_with_2_before_anything_runs() {
    let good = package("good");
    let good = good.to_str().unwrap();
    let old = package("old/forgetful-upgrade");
    for (arguments, expected) in [
        (
            &["/no/such/package"][..],
            "/no/such/package: expected the directory",
        ),
        (
            &["--root", "/no/such/root", good],
            "--root /no/such/root: expected a directory",
        ),
        (
            &["--configmaps", "/no/such", good],
            "--configmaps /no/such: expected a directory",
        ),
        (
            &["--metadata", "/etc/passwd", good],
            "--metadata /etc/passwd: expected a directory",
        ),
        (
            &["--interrupt", "reboot", good],
            "expected an interrupt's JSON",
        ),
        (
            &["--interrupt", "{\"type\":\"dance\"}", good],
            r#"expected such as {"type":"reboot"} or "#,
        ),
        (
            &["--cmdline", "quiet", good],
            "--cmdline: expected --interrupt '{\"type\":\"reboot\"}', too",
        ),
        (
            &["--cmdline", " ", good],
            "expected words without control characters",
        ),
        (&["--env", "NODE_ROLE", good], "expected NAME=VALUE"),
        (
            &["--stand-in", "/bin/a", good],
            "expected the name of a program",
        ),
        (
            &["--stand-in", "a=256", good],
            "expected an exit code, 0 to 255",
        ),
        (
            &["--real", "ls", good],
            "expected a program that is replaced: systemctl",
        ),
        (&["--allow", "everything", good], "leftovers"),
        (
            &["--name", "a_b", good],
            "expected a name of the custom resource: 2 to 43",
        ),
        (&["--timeout", "soon", good], "90s, 5m"),
        (&["--shell", good], "--shell: expected a terminal"),
        (
            &["--keep", "/etc", good],
            "--keep /etc: expected an empty directory",
        ),
        (&["/etc"], "/etc: expected the directory of a package"),
        (
            &["--from", good, good],
            "--from: expected a package_version before 1.0.0, got 1.0.0",
        ),
        (
            &["--shell", "--output", "json", good],
            "--shell: expected --output human",
        ),
        (
            &["--from", old.to_str().unwrap(), good],
            "--from: expected a version of the package good, got the package forgetful-upgrade",
        ),
    ] {
        let mut command = super::support::agent();
        command.arg("rehearse").args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert_says(&stderr(&output), &[expected]);
    }
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_the_rehearsal() {
    let output = rehearse(&["--junit", "/no/such/dir/report.xml"], &package("good")).output();
    let line = agent_line(&output.unwrap(), 1);
    assert_says(&line, &["cannot write /no/such/dir/report.xml"]);
}

/// Root of a user namespace owns nothing of the machine's. The view gives it the
/// directories.
#[test]
fn an_ordinary_user_rehearses_on_the_machine_s_own_root() {
    or_skip!(can_have_a_view());
    if super::support::is_root() {
        skip!(Skip::NotPossible("it is a test for an ordinary user"));
    }
    let arguments = ["--no-cut", "--root", "/"];
    let (document, output) = document(&arguments, &package("good"));
    assert_eq!(output.status.code(), Some(0), "{document}");
    assert_eq!(document["changes"][0]["path"], "/etc/rehearse-good.conf");
    assert!(!std::path::Path::new("/etc/rehearse-good.conf").exists());
}

/// Programs write a line of stderr in pieces, and the agent writes to stdout meanwhile.
#[test]
fn lines_of_both_streams_stay_whole_in_the_output_of_a_failure() {
    or_skip!(can_have_a_view());
    let node = applying(
        "#!/bin/sh\nprintf 'one ' >&2\nsleep 0.2\necho two\nsleep 0.2\necho three >&2\nexit 1\n",
    );
    let (document, _) = document(&["--no-cut"], &node.path("copy"));
    let said = output_of(&document);
    assert!(said.lines().any(|line| line.ends_with(" two")), "{said}");
    let err = said.lines().find(|line| line.contains("one"));
    assert!(err.unwrap().ends_with(" one three"), "{said}");
    assert_eq!(document["left_behind"], Value::Null);
}

#[test]
fn a_program_that_a_step_installs_is_replaced_in_the_steps_after_it() {
    or_skip!(can_have_a_view());
    // No Debian has it. The real one fails.
    let name = "grub2-mkconfig";
    let install = format!(
        "#!/bin/sh\nset -e\ncd /usr/bin\ntest \"$(command -v {name})\" && exit\n\
         echo 'exit 9' >.new\nchmod 755 .new\nmv .new {name}\n"
    );
    let node = applying(&install).step("b.sh", &format!("#!/bin/sh\n{name} -o x\n"));
    node.script("u.sh", &format!("#!/bin/sh\nrm -f /usr/bin/{name}\n"));
    node.script("v.sh", &format!("#!/bin/sh\n! command -v {name}\n"));
    let mut config: Value = serde_json::from_str(&node.config()).unwrap();
    for (mode, path) in [("uninstall", "u.sh"), ("uninstall-check", "v.sh")] {
        let mut step = config["modes"]["apply"][0].clone();
        step["name"] = json!(path);
        step["path"] = json!(path);
        config["modes"][mode] = json!([step]);
    }
    node.write_config(config.to_string());
    // Also in the life in which stages are cut off.
    let (document, output) = document(&[], &node.path("copy"));
    assert_eq!(output.status.code(), Some(0), "{document}");
    let changes = document["changes"].as_array().unwrap().iter();
    let changes: Vec<String> = changes
        .map(|change| format!("{} {} {}", change["path"], change["kind"], change["pass"]))
        .collect();
    let path = format!("\"/usr/bin/{name}\"");
    assert_eq!(
        changes,
        [
            format!("{path} \"added\" \"first\""),
            format!("{path} \"removed\" \"uninstall\""),
        ]
    );
    assert_eq!(document["stand_ins"][0]["program"], name);
    assert_eq!(document["left_behind"], json!([]));
}
