//! Disks that are full or read-only, and files that are something else.

use std::fs;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::node::{LEAVES_A_MARK, Node, marking, with_mounts};
use crate::support::{assert_says, skipped, stderr, stdout};

#[test]
fn a_log_folder_that_cannot_be_made_costs_the_log_alone() {
    let node = Node::new().step("a.sh", LEAVES_A_MARK);
    fs::write(node.path("log"), "in the way").unwrap();
    let output = node.run("apply").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_says(&stdout(&output), &["SUCEEDED: a.sh \n"]);
    assert_says(&stderr(&output), &["a.sh runs without a log file"]);
    assert!(node.flag("a.sh").exists());
}

#[test]
fn a_log_folder_that_is_read_only_costs_the_log_alone() {
    let node = Node::new().step("a.sh", LEAVES_A_MARK);
    fs::create_dir(node.path("log")).unwrap();
    let script = "mount -t tmpfs -o ro none \"$0\" && exec \"$@\"";
    let Some(mut command) = with_mounts(script, &node.path("log"), &node.run("apply")) else {
        let name = "a_log_folder_that_is_read_only_costs_the_log_alone";
        return skipped(name, "may not mount");
    };
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_says(&stdout(&output), &["SUCEEDED: a.sh \n"]);
    assert_says(
        &stderr(&output),
        &["Read-only file system", "a.sh runs without a log file"],
    );
    assert!(node.flag("a.sh").exists());
}

#[test]
fn a_full_disk_for_the_state_fails_the_run_and_sets_no_flag() {
    let node = Node::new()
        .step("a.sh", LEAVES_A_MARK)
        .step("b.sh", LEAVES_A_MARK);
    fs::create_dir(node.path("state")).unwrap();
    let script = "mount -t tmpfs -o size=64k none \"$0\" || exit 98
        head -c 100k /dev/zero > \"$0/fill\"
        \"$@\"; code=$?
        find \"$0\" -type f | sort
        exit $code";
    let Some(mut command) = with_mounts(script, &node.path("state"), &node.run("apply")) else {
        let name = "a_full_disk_for_the_state_fails_the_run_and_sets_no_flag";
        return skipped(name, "may not mount");
    };
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let flag = node.flag("a.sh");
    let refusal = format!(
        "skyhook-agent: cannot write /{}: No space left",
        flag.display()
    );
    // An absolute path below `/` has one slash.
    assert_says(&stderr(&output), &[&refusal.replace("//", "/")]);
    let left = stdout(&output);
    let state = node.path("state");
    let state = state.display();
    assert!(
        left.ends_with(&format!("{state}/fill\n{state}/flags/START\n")),
        "{left}"
    );
    // Without its flag it will run again; what follows it waits for that.
    assert!(node.has_run("a.sh") && !node.has_run("b.sh"));
}

/// An agent that opens it waits for a writer that never comes.
#[test]
fn a_fifo_in_a_file_s_place_is_refused() {
    let node = marking();
    let config = node.text("copy/config.json");
    for file in ["copy/config.json", "state/history/pkg.json"] {
        let path = node.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let output = node.run("apply-check").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_says(
            &stderr(&output),
            &["skyhook-agent: cannot read ", file, "expected a file"],
        );
        fs::remove_file(&path).unwrap();
        fs::write(node.path("copy/config.json"), &config).unwrap();
    }
}
