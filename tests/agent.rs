//! The agent in the operator's forms: the command line, flags, and the package's
//! files on the host.

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use serde_json::json;
use support::node::RESOURCE_ID;
use support::{
    LEAVES_A_MARK, Node, after_banner, agent, assert_says, assert_succeeds, files, fill_root,
    golden, in_mount_namespace, interrupt_data, names, or_skip, stderr, stdout, with_prelude,
};

// The command line.

#[test]
fn wrong_arguments_end_with_2_and_the_usage_and_touch_nothing() {
    let node = Node::one_step();
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
        node.assert_untouched();
    }
}

#[test]
fn an_unusable_resource_id_ends_with_2_and_touches_nothing_not_even_resolv_conf() {
    let node = Node::one_step();
    for id in ["", "pkg_1.2.3", "a_b_c_d"] {
        let mut command = node.in_own_root("apply");
        command.env("SKYHOOK_RESOURCE_ID", id);
        let output = command.env_remove("COPY_RESOLV").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{id}");
        assert_eq!(stdout(&output), "");
        let got = format!("got {id:?}");
        assert_says(&stderr(&output), &["SKYHOOK_RESOURCE_ID: expected ", &got]);
        node.assert_untouched();
    }
}

/// Not even the root mount has to be there.
#[test]
fn an_unknown_mode_is_warned_about_and_nothing_is_touched_not_even_resolv_conf() {
    let node = Node::one_step();
    let mut commands = [
        node.run("bogus"),
        node.in_own_root("bogus"),
        node.agent(&["bogus", "/no/such/root", "/copy"]),
    ];
    for command in &mut commands {
        let output = command.env_remove("COPY_RESOLV").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(after_banner(&output), "");
        let warning = stderr(&output);
        assert_says(&warning, &["skyhook-agent: ", "bogus", "apply-check"]);
        assert_eq!(warning.lines().count(), 1, "{warning}");
        node.assert_untouched();
    }
}

/// Before anything else, on stderr, where it does not change what the reference prints.
#[test]
fn the_first_line_on_stderr_says_which_agent_runs_what() {
    let node = Node::one_step();
    let no_op = json!({ "type": "no_op" });
    for (mut command, mode) in [
        (node.run("apply"), "apply"),
        (node.run("uninstall-check"), "uninstall-check"),
        (node.run("bogus"), "bogus"),
        (node.interrupt(&no_op), "interrupt"),
        (node.agent(&["apply", "/no/such/root", "/copy"]), "apply"),
    ] {
        let output = command.output().unwrap();
        let version = agent().arg("--version").output().unwrap();
        let version = stdout(&version).trim().to_owned();
        let raw = String::from_utf8(output.stderr).unwrap();
        let first = raw.lines().next().unwrap_or_default();
        assert_eq!(first, format!("{version}: {mode} pkg 1.2.3"));
    }
    // Not of other commands.
    let output = node.run_step().output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn the_legacy_forms_have_slash_root_as_root_mount() {
    let node = Node::one_step();
    let no_op = interrupt_data(&json!({ "type": "no_op" }));
    let mut apply = or_skip!(node.legacy(&["apply", "/copy"]));
    let mut interrupt = or_skip!(node.legacy(&["interrupt", "/copy", &no_op]));
    fill_root(node.dir.path());
    let output = apply.output().unwrap();
    assert_succeeds(&output);
    assert_says(&stdout(&output), &["root_mount: /root\n", "SUCEEDED: a.sh"]);
    assert!(node.has_run("a.sh"));
    assert!(node.flag_below("etc/skyhook", "a.sh").exists());
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
            after_banner(&output),
            // The root mount `/`, followed by the path.
            format!("Skipping {path} because /{} exists.\n", flag.display()),
            "{case}"
        );
        assert!(!node.has_run(path), "{case}");
    }
}

#[test]
fn overlay_always_run_step_runs_steps_that_have_a_flag() {
    let node = Node::one_step();
    let mut command = node.run("apply");
    assert_succeeds(&command.output().unwrap());
    node.remove_mark("a.sh");
    let output = command.env("OVERLAY_ALWAYS_RUN_STEP", "true").output();
    let output = output.unwrap();
    assert_succeeds(&output);
    assert_eq!(
        after_banner(&output),
        format!(
            "WARNING: /{} exists for a.sh but OVERLAY_ALWAYS_RUN_STEP flag is set so running \
             anyway.\napply a.sh [] [0] Idempotence.Auto True\nSUCEEDED: a.sh \n",
            node.flag("a.sh").display()
        )
    );
    assert!(node.has_run("a.sh"));
}

#[test]
fn a_step_with_idempotence_disabled_runs_although_it_has_a_flag() {
    let idempotent = json!({ "idempotence": true });
    let node = Node::new().step_with("a.sh", LEAVES_A_MARK, &idempotent);
    let mut command = node.run("apply");
    assert_succeeds(&command.output().unwrap());
    let flag = fs::read_to_string(node.flag("a.sh")).unwrap();
    assert!(flag.ends_with("\nstep_always_runs: True"), "{flag}");
    node.remove_mark("a.sh");
    let output = command.output().unwrap();
    assert_succeeds(&output);
    assert_eq!(
        after_banner(&output),
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

// The package, and its files on the host.

#[test]
fn a_missing_config_file_ends_the_run_before_its_first_step() {
    let node = Node::one_step().set(
        "expected_config_files",
        json!(["there.conf", "missing.conf"]),
    );
    fs::create_dir(node.path("copy/configmaps")).unwrap();
    fs::write(node.path("copy/configmaps/there.conf"), "").unwrap();
    let mut command = node.run("apply");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(after_banner(&output), "");
    assert_says(
        &stderr(&output),
        &["/copy/configmaps", "missing.conf: expected "],
    );
    node.assert_untouched();

    fs::write(node.path("copy/configmaps/missing.conf"), "").unwrap();
    assert_succeeds(&command.output().unwrap());
}

#[test]
fn an_uninstall_expects_no_config_file() {
    let node = Node::one_step().set("expected_config_files", json!(["missing.conf"]));
    let output = node.run("uninstall").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_says(&stderr(&output), &["no steps for mode uninstall"]);
    assert_eq!(files(&node.path("state")), [node.path("state/flags/START")]);
}

#[test]
fn root_dir_is_copied_over_the_host_except_for_an_uninstall() {
    let node = Node::one_step();
    fs::create_dir_all(node.path("copy/root_dir/etc/new")).unwrap();
    fs::write(node.path("copy/root_dir/etc/file"), "package's").unwrap();
    fs::write(node.path("copy/root_dir/etc/new/file"), "new").unwrap();
    fs::create_dir(node.path("etc")).unwrap();
    fs::write(node.path("etc/file"), "host's").unwrap();
    fs::write(node.path("etc/other"), "host's").unwrap();

    // A mode without steps needs no chroot, and so no privilege.
    for (mode, is_copied) in [
        ("uninstall", false),
        ("uninstall-check", false),
        ("config", true),
    ] {
        let output = node.in_own_root(mode).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{mode}: {}", stderr(&output));
        let file = if is_copied { "package's" } else { "host's" };
        assert_eq!(node.text("etc/file"), file, "{mode}");
        assert_eq!(node.path("etc/new/file").exists(), is_copied, "{mode}");
        assert_eq!(node.text("etc/other"), "host's");
    }
}

#[test]
fn a_missing_copy_dir_is_copied_from_the_data_dir() {
    let node = Node::one_step();
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
fn the_container_s_node_files_are_copied_over_the_package() {
    let node = Node::one_step();
    fs::rename(node.path("copy"), node.path("data")).unwrap();
    let script = "mount -t tmpfs none /etc && cd /etc || exit 98
        mkdir -p nvidia-bootstrap/node-files/configmaps
        echo node > nvidia-bootstrap/node-files/configmaps/file
        exec \"$@\"";
    let mut command = or_skip!(in_mount_namespace(
        script,
        node.dir.path(),
        &node.run("apply")
    ));
    assert_succeeds(&command.output().unwrap());
    assert!(node.has_run("a.sh"));
    assert_eq!(node.text("copy/configmaps/file"), "node\n");
}

/// An earlier start was killed while it copied the package, and left a part of it
/// under another name.
#[test]
fn a_partial_copy_of_the_package_is_not_used() {
    let node = Node::one_step();
    fs::rename(node.path("copy"), node.path("data")).unwrap();
    fs::create_dir(node.path("copy.partial")).unwrap();
    fs::write(node.path("copy.partial/config.json"), "{").unwrap();
    // The path may end with a slash.
    let copy_dir = format!("{}/", node.path("copy").display());
    let output = node.agent(&["apply", "/", &copy_dir]).output().unwrap();
    assert_succeeds(&output);
    assert!(node.has_run("a.sh"));
    assert!(!node.path("copy.partial").exists());
}

#[test]
fn an_interrupt_copies_a_missing_package_too() {
    let node = Node::one_step();
    fs::rename(node.path("copy"), node.path("data")).unwrap();
    let no_op = json!({ "type": "no_op" });
    assert_succeeds(&node.interrupt(&no_op).output().unwrap());
    assert!(node.path("copy/config.json").exists());
}

/// As in the reference: a package that is installed again must run its steps, even if
/// it has no steps for its uninstall.
#[test]
fn a_check_without_steps_still_keeps_the_history() {
    let node = Node::one_step();
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

/// Its flags of that time would make it skip every step, and report success.
#[test]
fn an_older_version_that_is_installed_again_runs_its_steps() {
    let mut node = Node::one_step();
    for version in ["1.0.0", "2.0.0"] {
        node = node.set("package_version", version.into());
        for mode in ["apply", "apply-check"] {
            assert_succeeds(&node.run(mode).output().unwrap());
        }
    }
    let output = node.run("uninstall-check").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let flags = ["START", "apply-check_ALL_CHECKED", "check_results"];
    assert_eq!(names(&node.path("state/flags")), flags);

    node.remove_mark("a.sh");
    let node = node.set("package_version", "1.0.0".into());
    assert_succeeds(&node.run("apply").output().unwrap());
    assert!(node.has_run("a.sh"));
}

#[test]
fn a_package_neither_in_copy_dir_nor_in_data_dir_is_an_error() {
    let node = Node::new();
    fs::remove_dir_all(node.path("copy")).unwrap();
    let output = node.run("apply").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let (copy, data) = (node.path("copy"), node.path("data"));
    assert_eq!(
        stderr(&output).lines().last().unwrap(),
        format!(
            "skyhook-agent: {}: COPY_DIR is not on the host, and it cannot be copied from \
             SKYHOOK_DATA_DIR, which is {data}: cannot open the directory {data}: No such file or \
             directory (os error 2)",
            copy.display(),
            data = data.display()
        )
    );
    assert_eq!(names(node.dir.path()), [""; 0]);
}

// Privacy.

#[test]
fn the_value_of_an_env_argument_is_in_the_verdict_but_in_no_file() {
    let arguments = json!({ "arguments": ["env:PASSWORD"] });
    let node = Node::new()
        .step_with("a.sh", LEAVES_A_MARK, &arguments)
        .with_temp_dir();
    let output = node.run("apply").env("PASSWORD", "s3cret").output();
    let output = output.unwrap();
    assert_succeeds(&output);
    assert_eq!(
        after_banner(&output),
        "apply a.sh ['env:PASSWORD'] [0] Idempotence.Auto True\nSUCEEDED: a.sh s3cret\n"
    );
    for file in files(node.dir.path()) {
        let text = String::from_utf8(fs::read(&file).unwrap()).unwrap();
        assert!(!text.contains("s3cret"), "{file:?}");
    }
}

#[test]
fn files_of_a_run_are_as_private_as_the_umask_says() {
    for (umask, mode) in [("077", 0o600), ("022", 0o644), ("002", 0o664)] {
        let node = Node::one_step();
        for run in ["apply", "apply-check"] {
            let output = with_prelude(&format!("umask {umask}"), &node.run(run)).output();
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
