//! Starts the real binary, and shells and tools around it.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Child, Command};

use nix::unistd::Pid;

/// The real binary, without any of the agent's variables.
pub fn agent() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skyhook-agent"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SKYHOOK_") {
            command.env_remove(name);
        }
    }
    command
}

/// `command`, started by a shell that first does `prelude`.
pub fn after(prelude: &str, command: &Command) -> Command {
    let mut sh = Command::new("/bin/sh");
    sh.args(["-c", &format!("{prelude}; exec \"$@\""), "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => sh.env(name, value),
            None => sh.env_remove(name),
        };
    }
    sh
}

/// Fills `root` with what a script needs as its root: /bin/sh and what it loads.
pub fn fill_root(root: &Path) {
    let copied = Command::new("/bin/sh")
        .args([
            "-c",
            "cp -L --parents /bin/sh $(ldd /bin/sh | grep -o '/[^ ]*') \"$0\"",
        ])
        .arg(root)
        .status();
    assert!(copied.unwrap().success());
}

/// A child's process id, to signal it by.
pub fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub fn full_device() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}
