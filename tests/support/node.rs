//! A node as the agent finds it: a package on it, and folders for state, logs and
//! data that are a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{agent, names, stderr, stdout, write_script};

/// What the agent is told that it runs for.
pub const RESOURCE_ID: &str = "scr-1234-1_pkg_1.2.3";

/// A step that leaves a mark when it has finished: see [`Node::has_run`].
pub const LEAVES_A_MARK: &str = "#!/bin/sh\n: > \"$0.ran\"\n";

/// The package `pkg` 1.2.3 and whatever else lies on the node, below one folder.
pub struct Node {
    pub dir: TempDir,
    config: Value,
}

impl Node {
    /// A package without steps yet, which is not valid.
    pub fn new() -> Node {
        let node = Node {
            dir: tempfile::tempdir().unwrap(),
            config: json!({
                "schema_version": "v1", "package_name": "pkg", "package_version": "1.2.3",
                "expected_config_files": [], "modes": { "apply": [], "apply-check": [] },
            }),
        };
        fs::create_dir_all(node.path("copy/skyhook_dir")).unwrap();
        node
    }

    /// Adds a step for apply, and a check of it that succeeds: `a_check.sh` for
    /// `a.sh`.
    pub fn step(self, path: &str, script: &str) -> Node {
        self.step_with(path, script, &json!({}))
    }

    /// The same; the fields of `over` replace those of a plain step.
    pub fn step_with(mut self, path: &str, script: &str, over: &Value) -> Node {
        let check = format!("{}_check.sh", path.trim_end_matches(".sh"));
        self.script(path, script);
        self.script(&check, "#!/bin/sh\n");
        let mut step = json!({
            "name": "s", "path": path, "arguments": [], "returncodes": [0],
            "on_host": true, "idempotence": false, "upgrade_step": false,
        });
        let modes = &mut self.config["modes"];
        let mut check_step = step.clone();
        check_step["path"] = check.into();
        modes["apply-check"]
            .as_array_mut()
            .unwrap()
            .push(check_step);
        for (key, value) in over.as_object().unwrap() {
            step[key] = value.clone();
        }
        modes["apply"].as_array_mut().unwrap().push(step);
        self.set("schema_version", "v1".into())
    }

    /// Gives a field of config.json another value.
    pub fn set(mut self, field: &str, value: Value) -> Node {
        self.config[field] = value;
        fs::write(self.path("copy/config.json"), self.config.to_string()).unwrap();
        self
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

    /// What lies at `name` below the node's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The agent with these arguments. Its state is in `state`, its logs are in
    /// `log`.
    pub fn agent(&self, arguments: &[&str]) -> Command {
        let mut command = agent();
        let path = std::env::var("PATH").unwrap();
        command
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("COPY_RESOLV", "false")
            .env("SKYHOOK_RESOURCE_ID", RESOURCE_ID)
            .env("SKYHOOK_ROOT_DIR", self.path("state"))
            .env("SKYHOOK_LOG_DIR", self.path("log"))
            .env("SKYHOOK_DATA_DIR", self.path("data"));
        command
    }

    /// `MODE / COPY_DIR`.
    pub fn run(&self, mode: &str) -> Command {
        self.agent(&[mode, "/", self.path("copy").to_str().unwrap()])
    }

    /// `interrupt / COPY_DIR DATA`.
    pub fn interrupt(&self, interrupt: &Value) -> Command {
        let mut command = self.run("interrupt");
        command.arg(data(interrupt));
        command
    }

    /// The same with the node's folder as root mount, and the default folders for
    /// state and logs.
    pub fn in_own_root(&self, mode: &str) -> Command {
        let mut command = self.agent(&[mode, self.dir.path().to_str().unwrap(), "/copy"]);
        command
            .env_remove("SKYHOOK_ROOT_DIR")
            .env_remove("SKYHOOK_LOG_DIR");
        command
    }

    /// The flag of a step without arguments that may only return 0.
    pub fn flag(&self, step: &str) -> PathBuf {
        self.path(&format!("state/flags/pkg/1.2.3/{step}_W11fWzBd"))
    }

    /// The flag of an interrupt's command, as in `node_restart_0`.
    pub fn interrupt_flag(&self, command: &str) -> PathBuf {
        self.path(&format!(
            "state/interrupts/flags/{RESOURCE_ID}/{command}.complete"
        ))
    }

    /// Whether a step that [leaves a mark](LEAVES_A_MARK) has finished.
    pub fn has_run(&self, step: &str) -> bool {
        self.path(&format!("copy/skyhook_dir/{step}.ran")).exists()
    }
}

/// `command` behind these words.
pub fn wrapped(words: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(words[0]);
    wrapped
        .args(&words[1..])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

/// `command` behind a shell that does `script` where its mounts are nobody else's;
/// in there `$0` is `at` and `"$@"` the command. `None` where nobody may mount.
pub fn with_mounts(script: &str, at: &Path, command: &Command) -> Option<Command> {
    let shell = |script| {
        let words = ["unshare", "--mount", "/bin/sh", "-c", script];
        wrapped(&[&words[..], &[at.to_str().unwrap()]].concat(), command)
    };
    let may = shell("mount -t tmpfs none \"$0\"").output();
    let may = may.is_ok_and(|output| output.status.success());
    may.then(|| shell(script))
}

/// A package of one step, `a.sh`, which leaves a mark.
pub fn marking() -> Node {
    Node::new().step("a.sh", LEAVES_A_MARK)
}

/// No step has run, and there is no state and no log.
#[track_caller]
pub fn assert_untouched(node: &Node) {
    assert_eq!(names(node.dir.path()), ["copy"]);
    assert!(!node.has_run("a.sh"));
}

#[track_caller]
pub fn assert_succeeds(output: &Output) {
    assert_eq!(stderr(output), "");
    assert_eq!(output.status.code(), Some(0), "{}", stdout(output));
}

/// What stands for an interrupt on the command line.
pub fn data(interrupt: &Value) -> String {
    BASE64_STANDARD.encode(interrupt.to_string())
}

/// A run's stdout behind the banner, which must be there.
#[track_caller]
pub fn behind_banner(output: &Output) -> String {
    let stdout = stdout(output);
    let rule = format!("{}\n", "-".repeat(20));
    let banner = stdout
        .strip_prefix(&rule)
        .and_then(|rest| rest.split_once(&rule));
    let (_, rest) = banner.unwrap_or_else(|| panic!("expected a banner: {output:?}"));
    rest.to_owned()
}

/// Every file below a folder, sorted; none where the folder is not there.
pub fn files(below: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(below).into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(self::files(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}
