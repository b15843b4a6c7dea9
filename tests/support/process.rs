//! Starts the real binary, and shells and tools around it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::unistd::Pid;

use super::skip::{Skip, try_out};

/// The real binary, without any of the agent's variables, and without a file for the
/// reason of a failure: the tests may run in a container that has one.
pub fn agent() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skyhook-agent"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SKYHOOK_") {
            command.env_remove(name);
        }
    }
    command.env("SKYHOOK_AGENT_TERMINATION_LOG", "");
    command
}

/// Puts these words in front of `command`, which keeps its environment.
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

/// Has a shell do `prelude` before it executes `command`.
pub fn with_prelude(prelude: &str, command: &Command) -> Command {
    let script = format!("{prelude}; exec \"$@\"");
    wrapped(&["/bin/sh", "-c", &script, "sh"], command)
}

/// Has a shell do `script` in `dir`, with the real binary in its PATH.
pub fn shell(dir: &Path, script: &str) -> Command {
    let agent = agent();
    let bin = Path::new(agent.get_program()).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut shell = wrapped(&["/bin/sh", "-c", script], &agent);
    shell
        .env("PATH", format!("{}:{path}", bin.display()))
        .current_dir(dir);
    shell
}

/// Has a shell do `script` in a mount namespace of its own. The script has `at` as
/// `$0` and `command` as `"$@"`.
pub fn in_mount_namespace(script: &str, at: &Path, command: &Command) -> Result<Command, Skip> {
    let shell = |script| {
        let words = ["unshare", "--mount", "/bin/sh", "-c", script];
        wrapped(&[&words[..], &[at.to_str().unwrap()]].concat(), command)
    };
    try_out(
        &mut shell("mount -t tmpfs none \"$0\""),
        "this user may not mount",
    )?;
    Ok(shell(script))
}

/// Fills `root` with what a script needs as its root: /bin/sh and its libraries.
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

/// A child's process id, to send it signals.
pub fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A device on which every write fails with ENOSPC.
pub fn full_device() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

/// The writing end of a pipe without a reader.
pub fn pipe_without_reader() -> Stdio {
    let (_, writer) = io::pipe().unwrap();
    writer.into()
}
