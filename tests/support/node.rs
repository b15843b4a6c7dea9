//! A node as the agent finds it: a package on it, and directories for state, logs,
//! commands and data that belong to one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::files::{files, log_in, names, write_script};
use super::process::{agent, in_mount_namespace};
use super::skip::Skip;

/// The value of SKYHOOK_RESOURCE_ID.
pub const RESOURCE_ID: &str = "scr-1234-1_pkg_1.2.3";

/// A script that leaves a mark when it has finished: see [`Node::has_run`].
pub const LEAVES_A_MARK: &str = "#!/bin/sh\n: > \"$0.ran\"\n";

/// A script that says that it is ready, waits for a line on stdin, and repeats it.
pub const WAITS: &str = "#!/bin/sh\necho ready\nread -r word\necho \"last $word\"\n";

/// The end of a flag's name: the marker of a step without arguments that may only
/// return 0, which is `[]_[0]` in base64.
pub const PLAIN_MARKER: &str = "_W11fWzBd";

/// The package `pkg` 1.2.3 and everything else on the node, below one directory:
///
/// | name | what it is |
/// |---|---|
/// | `copy` | the package, COPY_DIR |
/// | `bin` | commands on the PATH of the runs |
/// | `state`, `log` | SKYHOOK_ROOT_DIR, SKYHOOK_LOG_DIR |
/// | `data` | SKYHOOK_DATA_DIR |
/// | `tmp` | TMPDIR, if the test [asks for it](Node::with_temp_dir) |
pub struct Node {
    pub dir: TempDir,
    config: Value,
    has_temp_dir: bool,
}

impl Node {
    /// A package without steps, and so without a config.json.
    pub fn new() -> Node {
        Node::with_config(json!({
            "schema_version": "v1", "package_name": "pkg", "package_version": "1.2.3",
            "expected_config_files": [], "modes": { "apply": [], "apply-check": [] },
        }))
    }

    fn with_config(config: Value) -> Node {
        let temp_dir = std::env::temp_dir().canonicalize().unwrap();
        let dir = TempDir::new_in(temp_dir).unwrap();
        let node = Node {
            dir,
            config,
            has_temp_dir: false,
        };
        fs::create_dir_all(node.path("copy/skyhook_dir")).unwrap();
        node
    }

    /// A package with this config.json, and without the files that it names.
    pub fn from_config(config: Value) -> Node {
        let node = Node::with_config(config);
        node.write_config(node.config.to_string());
        node
    }

    /// A package with one step, `a.sh`, which [leaves a mark](LEAVES_A_MARK).
    pub fn one_step() -> Node {
        Node::new().step("a.sh", LEAVES_A_MARK)
    }

    /// Adds a step for apply, and a check of it that succeeds: `a_check.sh` for
    /// `a.sh`.
    pub fn step(self, path: &str, script: &str) -> Node {
        self.step_with(path, script, &json!({}))
    }

    /// The same; the fields of `over` replace those of a plain step, whose name is its
    /// path without `.sh`.
    pub fn step_with(mut self, path: &str, script: &str, over: &Value) -> Node {
        let stem = path.trim_end_matches(".sh");
        let check = format!("{stem}_check.sh");
        self.script(path, script);
        self.script(&check, "#!/bin/sh\n");
        let mut step = json!({
            "name": step_name(stem), "path": path, "arguments": [], "returncodes": [0],
            "on_host": true, "idempotence": false, "upgrade_step": false,
        });
        let mut check_step = step.clone();
        check_step["path"] = check.into();
        for (key, value) in over.as_object().unwrap() {
            step[key] = value.clone();
        }
        for (mode, step) in [("apply", step), ("apply-check", check_step)] {
            let steps = self.config["modes"][mode].as_array_mut();
            steps.unwrap().push(step);
        }
        self.write_config(self.config.to_string());
        self
    }

    /// Gives a field of config.json another value.
    pub fn set(mut self, field: &str, value: Value) -> Node {
        self.config[field] = value;
        self.write_config(self.config.to_string());
        self
    }

    /// The text of config.json.
    pub fn config(&self) -> String {
        self.text("copy/config.json")
    }

    pub fn write_config(&self, text: impl AsRef<[u8]>) {
        fs::write(self.path("copy/config.json"), text).unwrap();
    }

    /// Puts a script into the package, in place of one that is there.
    pub fn script(&self, path: &str, script: &str) {
        self.executable(&format!("copy/skyhook_dir/{path}"), script);
    }

    /// Puts a command on the PATH of the runs.
    pub fn command(self, name: &str, script: &str) -> Node {
        self.executable(&format!("bin/{name}"), script);
        self
    }

    fn executable(&self, name: &str, script: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_script(&path, script);
    }

    /// Gives the runs a directory of their own for control files.
    pub fn with_temp_dir(mut self) -> Node {
        self.has_temp_dir = true;
        fs::create_dir(self.path("tmp")).unwrap();
        self
    }

    /// The names that are left in the directory for control files.
    pub fn left_in_temp_dir(&self) -> Vec<String> {
        names(&self.path("tmp"))
    }

    /// The path of `name` below the node's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    // The agent on this node, not started yet.

    /// The agent in one of the operator's forms, with these arguments.
    pub fn agent(&self, arguments: &[&str]) -> Command {
        let mut command = self.with_tmpdir(agent());
        let path = std::env::var("PATH").unwrap();
        command
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("COPY_RESOLV", "false")
            // The tests of the sync ask for it. Others must not wait for the disks of the
            // machine that they run on.
            .env("SKYHOOK_AGENT_SYNC", "false")
            // A `reboot` of a test does not reboot.
            .env("SKYHOOK_AGENT_REBOOT_TIMEOUT", "0")
            .env("SKYHOOK_RESOURCE_ID", RESOURCE_ID)
            .env("SKYHOOK_ROOT_DIR", self.path("state"))
            .env("SKYHOOK_LOG_DIR", self.path("log"))
            .env("SKYHOOK_DATA_DIR", self.path("data"));
        command
    }

    fn with_tmpdir(&self, mut command: Command) -> Command {
        if self.has_temp_dir {
            command.env("TMPDIR", self.path("tmp"));
        }
        command
    }

    /// `MODE / COPY_DIR`.
    pub fn run(&self, mode: &str) -> Command {
        self.agent(&[mode, "/", self.path("copy").to_str().unwrap()])
    }

    /// `interrupt / COPY_DIR DATA`.
    pub fn interrupt(&self, interrupt: &Value) -> Command {
        let mut command = self.run("interrupt");
        command.arg(interrupt_data(interrupt));
        command
    }

    /// `MODE ROOT_MOUNT /copy`: the node's directory is the root mount, and state and
    /// logs go to the default directories below it.
    pub fn in_own_root(&self, mode: &str) -> Command {
        let root_mount = self.dir.path().to_str().unwrap();
        self.with_default_dirs(&[mode, root_mount, "/copy"])
    }

    /// The legacy form without ROOT_MOUNT, with the node's directory mounted at /root.
    pub fn legacy(&self, arguments: &[&str]) -> Result<Command, Skip> {
        let script = "mount --bind \"$0\" /root && exec \"$@\"";
        in_mount_namespace(script, self.dir.path(), &self.with_default_dirs(arguments))
    }

    fn with_default_dirs(&self, arguments: &[&str]) -> Command {
        let mut command = self.agent(arguments);
        command
            .env_remove("SKYHOOK_ROOT_DIR")
            .env_remove("SKYHOOK_LOG_DIR");
        command
    }

    /// `run-step --log-dir LOG_DIR COPY_DIR`.
    pub fn run_step(&self) -> Command {
        let mut command = self.with_tmpdir(agent());
        command.arg("run-step").arg("--log-dir");
        command.arg(self.path("log")).arg(self.path("copy"));
        command
    }

    /// Both commands that run the steps of apply.
    pub fn apply_both_ways(&self) -> [Command; 2] {
        [self.run("apply"), self.run_step()]
    }

    // The files that runs leave on this node.

    /// Where the logs of `pkg` 1.2.3 go.
    pub fn package_logs(&self) -> PathBuf {
        self.path("log/pkg/1.2.3")
    }

    /// The content of the only log of a step; `ending` is `.log` or `.log.err`.
    #[track_caller]
    pub fn log(&self, step: &str, ending: &str) -> String {
        let logs = self.package_logs();
        match step.rsplit_once('/') {
            Some((dir, name)) => log_in(&logs.join(dir), name, ending),
            None => log_in(&logs, step, ending),
        }
    }

    /// The flag of a step without arguments that may only return 0.
    pub fn flag(&self, step: &str) -> PathBuf {
        self.flag_below("state", step)
    }

    /// The same with another directory for the state.
    pub fn flag_below(&self, state: &str, step: &str) -> PathBuf {
        self.path(&format!("{state}/flags/pkg/1.2.3/{step}{PLAIN_MARKER}"))
    }

    /// The flag of an interrupt's command, such as `node_restart_0`.
    pub fn interrupt_flag(&self, command: &str) -> PathBuf {
        self.path(&format!(
            "state/interrupts/flags/{RESOURCE_ID}/{command}.complete"
        ))
    }

    /// The note of the boot in which a reboot was asked for.
    pub fn boot_note(&self) -> PathBuf {
        self.interrupt_flag("node_restart_0").with_extension("boot")
    }

    /// Makes a reboot that was asked for one of another boot: the node has rebooted.
    #[track_caller]
    pub fn has_rebooted(&self) {
        let note = self.boot_note();
        assert_eq!(fs::read_to_string(&note).unwrap(), boot_id());
        fs::write(note, OTHER_BOOT).unwrap();
    }

    /// Whether a step that [leaves a mark](LEAVES_A_MARK) has finished.
    pub fn has_run(&self, step: &str) -> bool {
        self.path(&format!("copy/skyhook_dir/{step}.ran")).exists()
    }

    /// Whether a command that [leaves a mark](LEAVES_A_MARK) has finished.
    pub fn command_has_run(&self, command: &str) -> bool {
        self.path(&format!("bin/{command}.ran")).exists()
    }

    /// Forgets that a step has finished.
    pub fn remove_mark(&self, step: &str) {
        fs::remove_file(self.path(&format!("copy/skyhook_dir/{step}.ran"))).unwrap();
    }

    /// Asserts that no run has created anything: there is only the package.
    #[track_caller]
    pub fn assert_untouched(&self) {
        assert_eq!(names(self.dir.path()), ["copy"]);
        let mut package = names(&self.path("copy"));
        package.retain(|name| name != "configmaps");
        assert_eq!(package, ["config.json", "skyhook_dir"]);
        self.assert_no_mark();
    }

    /// Asserts that no step and no command has finished, and that the state is empty
    /// except for the flag that a run sets before its first step.
    #[track_caller]
    pub fn assert_nothing_done(&self) {
        self.assert_no_mark();
        let start = self.path("state/flags/START");
        for file in files(&self.path("state")) {
            assert_eq!(file, start);
        }
    }

    #[track_caller]
    fn assert_no_mark(&self) {
        for file in files(self.dir.path()) {
            let is_mark = file.extension().is_some_and(|end| end == "ran");
            assert!(!is_mark, "{file:?}");
        }
    }
}

/// The id of a boot that is not this one.
pub const OTHER_BOOT: &str = "00000000-0000-4000-8000-000000000000";

/// The id of this boot of the machine.
pub fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.unwrap().trim().to_owned()
}

/// A name with the characters that a step's name may have.
fn step_name(text: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.replace(|c| !is_allowed(c), "-")
}

/// The base64 that asks for an interrupt on the command line.
pub fn interrupt_data(interrupt: &Value) -> String {
    BASE64_STANDARD.encode(interrupt.to_string())
}
