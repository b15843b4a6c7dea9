//! The agent as the operator runs it: command lines, flags, the package and its
//! files on the host.

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use serde_json::json;
use support::node::{
    LEAVES_A_MARK, Node, RESOURCE_ID, assert_succeeds, assert_untouched, behind_banner, data,
    files, marking, with_mounts,
};
use support::{after, assert_says, fill_root, golden, names, skipped, stderr, stdout};

// The command line.

#[test]
fn wrong_arguments_are_2_with_the_usage_and_touch_nothing() {
    let node = marking();
    let copy = node.path("copy");
    let copy = copy.as_os_str();
    let word = OsStr::new;
    for arguments in [
        &[word("apply")][..],
        &[word("apply"), word("copy")],
        &[word("apply"), word("/"), word("copy")],
        &[word("apply"), word("/"), word("")],
        &[word("apply"), word("/"), copy, word("x"), word("y")],
        &[word("interrupt")],
        &[word("interrupt"), copy],
        &[word("interrupt"), word("/"), word("copy"), word("ew==")],
        &[word("interrupt"), word("/"), copy, word("ew=="), word("x")],
        &[word("apply"), word("/"), OsStr::from_bytes(b"/\xff")],
        &[OsStr::from_bytes(b"\xff"), word("/"), copy],
    ] {
        let output = node.agent(&[]).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert_says(&stderr(&output), &["error: ", "Usage: skyhook-agent"]);
        assert_untouched(&node);
    }
}

#[test]
fn an_unusable_resource_id_is_2_and_touches_nothing_not_even_resolv_conf() {
    let node = marking();
    for id in ["", "pkg_1.2.3", "a_b_c_d"] {
        let mut command = node.in_own_root("apply");
        command.env("SKYHOOK_RESOURCE_ID", id);
        let output = command.env_remove("COPY_RESOLV").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{id}");
        assert_eq!(stdout(&output), "");
        let got = format!("got {id:?}");
        assert_says(&stderr(&output), &["SKYHOOK_RESOURCE_ID: expected ", &got]);
        assert_untouched(&node);
    }
}

#[test]
fn an_unknown_mode_is_warned_about_and_nothing_else_is_done() {
    let node = marking();
    let output = node.run("bogus").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(behind_banner(&output), "");
    let warning = stderr(&output);
    assert_says(&warning, &["skyhook-agent: ", "bogus", "apply-check"]);
    assert_eq!(warning.lines().count(), 1, "{warning}");
    assert_untouched(&node);
}

/// The agent where `/root` is `node`'s folder; `None` where nobody may mount.
fn legacy(node: &Node, arguments: &[&str]) -> Option<Command> {
    let mut agent = node.agent(arguments);
    agent
        .env_remove("SKYHOOK_ROOT_DIR")
        .env_remove("SKYHOOK_LOG_DIR");
    let script = "mount --bind \"$0\" /root && exec \"$@\"";
    with_mounts(script, node.dir.path(), &agent)
}

#[test]
fn the_legacy_forms_take_slash_root_for_the_root_mount() {
    const NAME: &str = "the_legacy_forms_take_slash_root_for_the_root_mount";
    let node = marking();
    let no_op = data(&json!({ "type": "no_op" }));
    let (Some(mut apply), Some(mut interrupt)) = (
        legacy(&node, &["apply", "/copy"]),
        legacy(&node, &["interrupt", "/copy", &no_op]),
    ) else {
        return skipped(NAME, "may not mount");
    };
    fill_root(node.dir.path());
    let output = apply.output().unwrap();
    assert_succeeds(&output);
    assert_says(&stdout(&output), &["root_mount: /root\n", "SUCEEDED: a.sh"]);
    assert!(node.has_run("a.sh"));
    assert!(
        node.path("etc/skyhook/flags/pkg/1.2.3/a.sh_W11fWzBd")
            .exists()
    );
    assert!(node.path("var/log/skyhook/pkg/1.2.3").is_dir());

    assert_succeeds(&interrupt.output().unwrap());
    let flags = node.path("etc/skyhook/interrupts/flags").join(RESOURCE_ID);
    assert_eq!(names(&flags), ["no_op.complete"]);
}

// Flags.

#[test]
fn a_flag_of_the_reference_s_name_skips_the_step() {
    let cases = golden("flag_paths.json");
    assert!(cases.len() > 30, "{}", cases.len());
    for case in cases {
        let path = case["path"].as_str().unwrap();
        let over = json!({ "arguments": case["arguments"], "returncodes": case["returncodes"] });
        let node = Node::new()
            .step_with(path, LEAVES_A_MARK, &over)
            .set("package_name", case["package"].clone())
            .set("package_version", case["version"].clone());
        let flag = case["flag_path"].as_str().unwrap();
        let flag = node.path(&flag.replace("/root/etc/skyhook", "state"));
        fs::create_dir_all(flag.parent().unwrap()).unwrap();
        File::create(&flag).unwrap();
        let output = node.run("apply").output().unwrap();
        assert_succeeds(&output);
        assert_eq!(
            behind_banner(&output),
            // The root mount, and the path below it.
            format!("Skipping {path} because /{} exists.\n", flag.display()),
            "{case}"
        );
        assert!(!node.has_run(path), "{case}");
    }
}

#[test]
fn overlay_always_run_step_runs_what_has_a_flag() {
    let node = marking();
    let mut command = node.run("apply");
    command.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
    assert_succeeds(&command.output().unwrap());
    fs::remove_file(node.path("copy/skyhook_dir/a.sh.ran")).unwrap();
    let output = command.env("OVERLAY_ALWAYS_RUN_STEP", "true").output();
    let output = output.unwrap();
    assert_succeeds(&output);
    assert_eq!(
        behind_banner(&output),
        format!(
            "WARNING: /{} exists for a.sh but OVERLAY_ALWAYS_RUN_STEP flag is set so running \
             anyway.\napply a.sh [] [0] Idempotence.Auto True\nSUCEEDED: a.sh \n",
            node.flag("a.sh").display()
        )
    );
    assert!(node.has_run("a.sh"));
}

#[test]
fn a_step_with_idempotence_runs_although_it_has_a_flag() {
    let idempotent = json!({ "idempotence": true });
    let node = Node::new().step_with("a.sh", LEAVES_A_MARK, &idempotent);
    let mut command = node.run("apply");
    command.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
    assert_succeeds(&command.output().unwrap());
    let flag = fs::read_to_string(node.flag("a.sh")).unwrap();
    assert!(flag.ends_with("\nstep_always_runs: True"), "{flag}");
    fs::remove_file(node.path("copy/skyhook_dir/a.sh.ran")).unwrap();
    let output = command.output().unwrap();
    assert_succeeds(&output);
    assert_eq!(
        behind_banner(&output),
        "Flag exists but idempotence is Idempotence.Disabled so running step.\n\
         apply a.sh [] [0] Idempotence.Disabled True\nSUCEEDED: a.sh \n"
    );
    assert!(node.has_run("a.sh"));
}

#[test]
fn a_step_that_fails_sets_no_flag_and_ends_the_run() {
    let node = Node::new()
        .step("a.sh", "#!/bin/sh\nexit 3\n")
        .step("b.sh", LEAVES_A_MARK);
    let output = node.run("apply").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_says(&stdout(&output), &["FAILED: a.sh  3\n"]);
    assert_eq!(files(&node.path("state")), [node.path("state/flags/START")]);
    assert!(!node.has_run("b.sh"));
}

// The package and its files.

#[test]
fn an_expected_config_file_that_is_missing_ends_the_run_before_its_start() {
    let node = marking().set(
        "expected_config_files",
        json!(["there.conf", "missing.conf"]),
    );
    fs::create_dir(node.path("copy/configmaps")).unwrap();
    fs::write(node.path("copy/configmaps/there.conf"), "").unwrap();
    let mut command = node.run("apply");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(behind_banner(&output), "");
    assert_says(
        &stderr(&output),
        &["/copy/configmaps", "missing.conf: expected "],
    );
    assert_untouched(&node);

    fs::write(node.path("copy/configmaps/missing.conf"), "").unwrap();
    assert_succeeds(&command.output().unwrap());
}

#[test]
fn an_uninstall_expects_no_config_file() {
    let node = marking().set("expected_config_files", json!(["missing.conf"]));
    let output = node.run("uninstall").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_says(&stderr(&output), &["no steps for mode uninstall"]);
    assert_eq!(files(&node.path("state")), [node.path("state/flags/START")]);
}

#[test]
fn root_dir_is_laid_over_the_host_but_not_for_an_uninstall() {
    let node = marking();
    fs::create_dir_all(node.path("copy/root_dir/etc/new")).unwrap();
    fs::write(node.path("copy/root_dir/etc/file"), "package's").unwrap();
    fs::write(node.path("copy/root_dir/etc/new/file"), "new").unwrap();
    fs::create_dir(node.path("etc")).unwrap();
    fs::write(node.path("etc/file"), "host's").unwrap();
    fs::write(node.path("etc/other"), "host's").unwrap();

    // A mode without steps needs no chroot, and so no privilege.
    for (mode, laid) in [
        ("uninstall", false),
        ("uninstall-check", false),
        ("config", true),
    ] {
        let output = node.in_own_root(mode).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{mode}: {}", stderr(&output));
        let file = if laid { "package's" } else { "host's" };
        assert_eq!(node.text("etc/file"), file, "{mode}");
        assert_eq!(node.path("etc/new/file").exists(), laid, "{mode}");
        assert_eq!(node.text("etc/other"), "host's");
    }
}

#[test]
fn a_copy_dir_that_is_missing_is_copied_from_the_data_dir() {
    let node = marking();
    fs::create_dir(node.path("copy/configmaps")).unwrap();
    fs::write(node.path("copy/configmaps/file"), "words").unwrap();
    fs::rename(node.path("copy"), node.path("data")).unwrap();
    let output = node.run("apply").output().unwrap();
    assert_succeeds(&output);
    assert!(node.has_run("a.sh"));
    assert!(!node.path("data/skyhook_dir/a.sh.ran").exists());
    assert_eq!(node.text("copy/configmaps/file"), "words");
}

#[test]
fn the_container_s_node_files_go_over_the_package_that_is_copied() {
    let node = marking();
    fs::rename(node.path("copy"), node.path("data")).unwrap();
    let script = "mount -t tmpfs none /etc && cd /etc || exit 98
        mkdir -p nvidia-bootstrap/node-files/configmaps
        echo node > nvidia-bootstrap/node-files/configmaps/file
        exec \"$@\"";
    let Some(mut command) = with_mounts(script, node.dir.path(), &node.run("apply")) else {
        let name = "the_container_s_node_files_go_over_the_package_that_is_copied";
        return skipped(name, "may not mount");
    };
    assert_succeeds(&command.output().unwrap());
    assert!(node.has_run("a.sh"));
    assert_eq!(node.text("copy/configmaps/file"), "node\n");
}

/// Killed midway, an older start left a part of the package behind, by another
/// name than the whole has.
#[test]
fn a_part_of_a_package_is_not_taken_for_the_whole() {
    let node = marking();
    fs::rename(node.path("copy"), node.path("data")).unwrap();
    fs::create_dir(node.path("copy.partial")).unwrap();
    fs::write(node.path("copy.partial/config.json"), "{").unwrap();
    // With a slash at its end, too.
    let copy_dir = format!("{}/", node.path("copy").display());
    let output = node.agent(&["apply", "/", &copy_dir]).output().unwrap();
    assert_succeeds(&output);
    assert!(node.has_run("a.sh"));
    assert!(!node.path("copy.partial").exists());
}

#[test]
fn an_interrupt_brings_the_package_too() {
    let node = marking();
    fs::rename(node.path("copy"), node.path("data")).unwrap();
    let no_op = serde_json::json!({ "type": "no_op" });
    assert_succeeds(&node.interrupt(&no_op).output().unwrap());
    assert!(node.path("copy/config.json").exists());
}

/// As in the reference: a package that is installed again must not have its steps
/// skipped because it has none for its uninstall.
#[test]
fn a_check_without_steps_still_keeps_the_history() {
    let node = marking();
    assert_succeeds(&node.run("apply").output().unwrap());
    assert!(node.flag("a.sh").exists());
    let output = node.run("uninstall-check").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_says(
        &stderr(&output),
        &["there are no steps for mode uninstall-check\n"],
    );
    assert!(!node.flag("a.sh").exists());
    assert_says(&node.text("state/history/pkg.json"), &["\"uninstalled\""]);
}

#[test]
fn a_package_that_is_nowhere_is_an_error() {
    let node = Node::new();
    fs::remove_dir_all(node.path("copy")).unwrap();
    let output = node.run("apply").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_says(&stderr(&output), &["skyhook-agent: cannot ", "/data"]);
    assert!(!node.path("state").exists());
}

// What is private.

#[test]
fn the_value_of_an_env_argument_is_in_the_verdict_and_in_no_file() {
    let arguments = json!({ "arguments": ["env:PASSWORD"] });
    let node = Node::new().step_with("a.sh", LEAVES_A_MARK, &arguments);
    let output = node.run("apply").env("PASSWORD", "s3cret").output();
    let output = output.unwrap();
    assert_succeeds(&output);
    let said = behind_banner(&output);
    assert_eq!(
        said,
        "apply a.sh ['env:PASSWORD'] [0] Idempotence.Auto True\nSUCEEDED: a.sh s3cret\n"
    );
    for file in files(node.dir.path()) {
        let text = String::from_utf8(fs::read(&file).unwrap()).unwrap();
        assert!(!text.contains("s3cret"), "{file:?}");
    }
}

#[test]
fn what_a_run_writes_is_as_private_as_the_umask() {
    for (umask, mode) in [("077", 0o600), ("022", 0o644)] {
        let node = marking();
        for run in ["apply", "apply-check"] {
            let output = after(&format!("umask {umask}"), &node.run(run)).output();
            assert_succeeds(&output.unwrap());
        }
        let written = [files(&node.path("state")), files(&node.path("log"))].concat();
        assert!(written.len() > 6, "{written:?}");
        for file in written {
            let metadata = fs::metadata(&file).unwrap();
            assert_eq!(metadata.mode() & 0o777, mode, "{file:?}");
        }
    }
}
