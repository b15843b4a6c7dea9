//! The folder for control files: missing, full, read-only. No step can start
//! then; one line says why, and nothing is half done.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::json;

use crate::support::node::{LEAVES_A_MARK, Node, files, with_mounts};
use crate::support::{after, assert_says, is_root, names, set_mode, skipped, stderr};

struct Case {
    node: Node,
    temp_dir: PathBuf,
}

impl Case {
    fn new() -> Case {
        let node = Node::new()
            .step("a.sh", LEAVES_A_MARK)
            .command("reboot", LEAVES_A_MARK);
        let temp_dir = node.path("tmp");
        fs::create_dir(&temp_dir).unwrap();
        Case { node, temp_dir }
    }

    /// An apply and an interrupt; both need a control file.
    fn commands(&self) -> [Command; 2] {
        let interrupt = self.node.interrupt(&json!({ "type": "node_restart" }));
        [self.node.run("apply"), interrupt].map(|mut command| {
            command.env("TMPDIR", &self.temp_dir);
            command
        })
    }

    #[track_caller]
    fn assert_refused(&self, output: &Output, why: &str) {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let line = stderr(output);
        assert_eq!(line.lines().count(), 1, "{line}");
        let folder = self.temp_dir.display();
        let expected = format!("skyhook-agent: cannot write a control file in {folder}: {why}");
        assert_says(&line, &[&expected]);
        assert!(!self.node.has_run("a.sh") && !self.node.path("bin/reboot.ran").exists());
        // No step has succeeded, and the interrupt may be tried again.
        for flag in files(&self.node.path("state")) {
            assert!(flag.ends_with("flags/START"), "{flag:?}");
        }
    }
}

#[test]
fn a_missing_temporary_folder_starts_nothing_and_is_said() {
    let case = Case::new();
    fs::remove_dir(&case.temp_dir).unwrap();
    for mut command in case.commands() {
        case.assert_refused(&command.output().unwrap(), "No such file or directory");
        assert!(!case.temp_dir.exists());
    }
}

#[test]
fn a_full_temporary_folder_starts_nothing_and_is_said() {
    let case = Case::new();
    let script = "mount -t tmpfs -o size=64k none \"$0\" || exit 98
        head -c 100k /dev/zero > \"$0/fill\" 2> /dev/null
        \"$@\"; code=$?
        [ \"$(ls \"$0\")\" = fill ] || exit 97
        exit $code";
    for command in case.commands() {
        let Some(mut command) = with_mounts(script, &case.temp_dir, &command) else {
            let name = "a_full_temporary_folder_starts_nothing_and_is_said";
            return skipped(name, "may not mount");
        };
        case.assert_refused(&command.output().unwrap(), "No space left on device");
    }
}

/// As full for an ordinary user, too.
#[test]
fn a_temporary_folder_that_takes_no_byte_starts_nothing_and_is_said() {
    let case = Case::new();
    for command in case.commands() {
        // The state that comes before it is empty but for an interrupt's flag.
        let mut command = after("ulimit -f 0", &command);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let line = stderr(&output);
        assert_eq!(line.lines().count(), 1, "{line}");
        assert_says(&line, &["skyhook-agent: cannot write ", "File too large"]);
        assert!(names(&case.temp_dir).is_empty());
        assert!(!case.node.has_run("a.sh") && !case.node.path("bin/reboot.ran").exists());
        for flag in files(&case.node.path("state")) {
            assert!(flag.ends_with("flags/START"), "{flag:?}");
        }
    }
}

#[test]
fn a_read_only_temporary_folder_starts_nothing_and_is_said() {
    let case = Case::new();
    if is_root() {
        for command in case.commands() {
            let script = "mount -t tmpfs -o ro none \"$0\" && exec \"$@\"";
            let Some(mut command) = with_mounts(script, &case.temp_dir, &command) else {
                let name = "a_read_only_temporary_folder_starts_nothing_and_is_said";
                return skipped(name, "may not mount");
            };
            case.assert_refused(&command.output().unwrap(), "Read-only file system");
        }
        return;
    }
    set_mode(&case.temp_dir, 0o500);
    for mut command in case.commands() {
        case.assert_refused(&command.output().unwrap(), "Permission denied");
    }
}
