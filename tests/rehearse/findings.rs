//! Each package is told what is wrong with it, and nothing else, in each form.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::{Skip, assert_says, or_skip, skip, stderr, stdout};
use super::{assert_root_untouched, can_have_a_view, document, outcomes, package, rehearse};

/// The findings of a document.
fn findings(document: &Value) -> Value {
    let keys = [
        "not_idempotent",
        "forgotten_by_upgrade",
        "not_restartable",
        "left_behind",
    ];
    let found = keys
        .iter()
        .filter(|key| {
            document[*key]
                .as_array()
                .is_some_and(|found| !found.is_empty())
        })
        .map(|key| ((*key).to_owned(), document[*key].clone()));
    Value::Object(found.collect())
}

/// Rehearses a package in all forms. It ends with this code, and these lines are in them.
#[track_caller]
fn assert_told(
    arguments: &[&str],
    name: &str,
    expected: &Value,
    human: &[&str],
    markdown: &[&str],
    junit: &[&str],
) -> Value {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("report.xml");
    let junit_option = ["--junit", file.to_str().unwrap()];
    let is_good = *expected == json!({});
    let code = Some(i32::from(!is_good));

    let (document, output) = document(&[arguments, &junit_option].concat(), &package(name));
    assert_eq!(output.status.code(), code, "{output:?}");
    assert_eq!(stderr(&output), "");
    assert_eq!(findings(&document), *expected, "{document}");
    assert_eq!(document["ok"], is_good);
    assert_eq!(document["schema"], 1);
    let xml = std::fs::read_to_string(&file).unwrap();
    assert_says(&xml, junit);
    assert_eq!(xml.contains("<failure"), !is_good, "{xml}");

    let output = rehearse(arguments, &package(name)).output().unwrap();
    assert_eq!(output.status.code(), code, "{output:?}");
    assert_says(&stdout(&output), human);

    let arguments = [arguments, &["--output", "markdown"]].concat();
    let output = rehearse(&arguments, &package(name)).output().unwrap();
    assert_eq!(output.status.code(), code, "{output:?}");
    assert_says(&stdout(&output), markdown);
    assert_root_untouched();
    document
}

#[test]
fn a_good_package_passes() {
    or_skip!(can_have_a_view());
    let document = assert_told(
        &[],
        "good",
        &json!({}),
        &[
            "▶ rehearse good 1.0.0 in a view of /",
            "\n\nFirst pass\n  ✓ apply ",
            "\n    + /etc/rehearse-good.conf\n",
            "\nUninstall\n  ✓ uninstall ",
            "\n✓ every stage succeeded; a second pass changes nothing; uninstall leaves nothing \
             behind; each of 3 steps that were cut off can be started anew in ",
        ],
        &[
            "## ✅ Rehearsal of `good 1.0.0`\n",
            "| first | apply | ✅ |",
        ],
        &[
            "<testcase classname=\"first.apply\" name=\"apply.sh\"",
            "name=\"uninstall leaves nothing behind\" time=\"0.000\"/>",
        ],
    );
    let mut expected = Vec::new();
    for pass in ["first", "again", "forced"] {
        for mode in [
            "apply",
            "apply-check",
            "config",
            "config-check",
            "post-interrupt-check",
        ] {
            expected.push(format!("{pass}/{mode} succeeded"));
        }
    }
    for mode in ["uninstall", "uninstall-check"] {
        expected.push(format!("uninstall/{mode} succeeded"));
    }
    let outcomes = outcomes(&document);
    let (whole, cut) = outcomes.split_at(expected.len());
    assert_eq!(whole, expected);
    // Checks change nothing: they are not cut off.
    assert_eq!(
        cut,
        [
            "cut/apply cut",
            "anew/apply succeeded",
            "anew/apply-check succeeded",
            "cut/config cut",
            "anew/config succeeded",
            "anew/config-check succeeded",
            "anew/post-interrupt-check succeeded",
            "cut/uninstall cut",
            "anew/uninstall succeeded",
            "anew/uninstall-check succeeded",
        ]
    );
    let apply = &document["stages"][5]["steps"][0];
    assert_eq!(apply["outcome"], "skipped");
    // By stage and step.
    let change = &document["changes"][0];
    assert_eq!(change["path"], "/etc/rehearse-good.conf");
    assert_eq!(change["kind"], "added");
    assert_eq!(change["mode"], "apply");
    assert_eq!(change["step"], "apply.sh");
    // Once: the second pass found the file as it should be.
    assert_eq!(
        document["stand_ins"],
        json!([{
            "program": "systemctl", "arguments": ["restart", "good.service"],
            "mode": "apply", "step": "apply.sh", "pass": "first",
        }])
    );
    assert_eq!(document["operator"]["services"], json!(["good.service"]));
    assert_eq!(document["operator"]["reboot"], false);
}

#[test]
fn a_package_that_is_not_idempotent_is_told_the_step_and_the_file() {
    or_skip!(can_have_a_view());
    assert_told(
        &[],
        "not-idempotent",
        &json!({ "not_idempotent": [{
            "path": "/etc/rehearse-appended", "mode": "apply", "step": "append.sh",
            "pass": "forced", "kind": "changed",
        }] }),
        &[
            "\nNot idempotent: a second pass changes\n  apply append.sh: ~ \
             /etc/rehearse-appended (forced)\n  = note: a node runs a step again if",
            "\n✗ every stage succeeded; changed by a second pass: 1; the one step",
        ],
        &[
            "## ❌ Rehearsal of `not-idempotent 1.0.0`\n",
            "### Not idempotent: a second pass changes\n\n- `apply append.sh: ~ \
             /etc/rehearse-appended (forced)`\n",
        ],
        &[
            "name=\"a second pass changes nothing\" time=\"0.000\"><failure type=\"failure\" message=\"Not \
             idempotent: a second pass changes\">Not idempotent: a second pass changes\napply append.sh: ~ /etc/rehearse-appended \
             (forced)\nnote: ",
        ],
    );
}

#[test]
fn a_package_that_leaves_files_is_told_which() {
    or_skip!(can_have_a_view());
    assert_told(
        &[],
        "leaves-files",
        &json!({ "left_behind": ["/etc/rehearse-leaves", "/etc/rehearse-leaves/forgotten"] }),
        &[
            "\nLeft behind after uninstall\n  + /etc/rehearse-leaves (apply apply.sh)\n  + \
             /etc/rehearse-leaves/forgotten (apply apply.sh)\n",
        ],
        &["### Left behind after uninstall\n\n- `+ /etc/rehearse-leaves (apply apply.sh)`\n"],
        &[
            "<failure type=\"failure\" message=\"Left behind after uninstall\">Left behind after uninstall\n+ /etc/rehearse-leaves (apply",
        ],
    );
}

#[test]
fn a_package_whose_upgrade_forgets_something_is_told_what() {
    or_skip!(can_have_a_view());
    let old = package("old/forgetful-upgrade");
    let document = assert_told(
        &["--from", old.to_str().unwrap()],
        "forgetful-upgrade",
        &json!({ "forgotten_by_upgrade": [{
            "path": "/etc/rehearse-upgraded.extra", "mode": "apply", "step": "apply.sh",
            "pass": "again", "kind": "added",
        }] }),
        &[
            "\nVersion 1.0.0\n  ✓ apply ",
            "\nUpgrade to version 2.0.0\n  ✓ upgrade ",
            "\nThe upgrade forgot what apply of this version does\n  apply apply.sh: + \
             /etc/rehearse-upgraded.extra (again)\n",
        ],
        &["## ❌ Rehearsal of `forgetful-upgrade 2.0.0`, upgraded from `1.0.0`\n"],
        &[
            "<failure type=\"failure\" message=\"The upgrade forgot what apply of this version does\">",
        ],
    );
    assert_eq!(document["from"], "1.0.0");
    let outcomes = outcomes(&document);
    assert_eq!(
        &outcomes[..4],
        [
            "old/apply succeeded",
            "old/apply-check succeeded",
            "first/upgrade succeeded",
            "first/upgrade-check succeeded"
        ]
    );
}

#[test]
fn a_package_that_cannot_be_begun_twice_is_told_the_step() {
    or_skip!(can_have_a_view());
    let document = assert_told(
        &[],
        "not-restartable",
        &json!({ "not_restartable": [{ "mode": "apply", "step": "apply.sh" }] }),
        &[
            "\nEach stage cut off, and started anew\n  ╌ apply ",
            "apply.sh (cut off)\n  ✗ apply ",
            "\nNot restartable: fails after it was cut off\n  apply apply.sh\n",
        ],
        &["### Not restartable: fails after it was cut off\n\n- `apply apply.sh`\n"],
        &[
            "<failure type=\"failure\" message=\"Not restartable: fails after it was cut off\">Not restartable: fails after it was cut off\napply apply.sh\n",
        ],
    );
    let outcomes = outcomes(&document);
    assert_eq!(
        &outcomes[outcomes.len() - 2..],
        ["cut/apply cut", "anew/apply failed"]
    );
}

#[test]
fn a_stage_that_fails_ends_the_life_and_shows_what_was_said() {
    or_skip!(can_have_a_view());
    let node = super::support::Node::new()
        .step("a.sh", "#!/bin/sh\necho fine\n")
        .step(
            "b.sh",
            "#!/bin/sh\necho about to fail\necho oops >&2\nexit 7\n",
        );
    let copy = node.path("copy");
    let (document, output) = document(&[], &copy);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(outcomes(&document), ["first/apply failed"]);
    let stage = &document["stages"][0];
    assert_eq!(stage["steps"][1]["code"], 7);
    let said = stage["output"].as_str().unwrap();
    assert_says(said, &["about to fail\n", "oops\n", "FAILED: b.sh  7\n"]);
    assert!(!said.contains("fine"), "{said}");
    let log = stage["log"].as_str().unwrap();
    assert_says(log, &["/var/log/skyhook/rehearse/pkg/1.2.3/b.sh-20"]);
    let output = rehearse(&[], &copy).output().unwrap();
    assert_says(
        &stdout(&output),
        &[
            "a.sh, b.sh (exit code 7)\n",
            " about to fail\n",
            "log in the view: /var/log/skyhook/rehearse/pkg/1.2.3/b.sh-20",
            "\n✗ 1 stage failed in ",
        ],
    );
}

/// The sample that the README begins with.
#[test]
fn the_sample_package_is_rehearsed_in_a_few_seconds() {
    or_skip!(can_have_a_view());
    if !super::support::is_root() {
        skip!(Skip::NotPossible(
            "the sample wants the tools of a whole machine"
        ));
    }
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tune-node");
    let since = std::time::Instant::now();
    let (document, output) = document(&["--env", "NODE_ROLE=training"], &sample);
    assert_eq!(output.status.code(), Some(0), "{document}");
    // Its pauses alone take 3.6 seconds. The machine may be a busy one.
    assert!(since.elapsed().as_secs() < 30, "{:?}", since.elapsed());
}
