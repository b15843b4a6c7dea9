//! What steps have written is on disk before a flag says that they have succeeded.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::strace::{Traced, can_trace, traced};
use crate::support::skip::try_out;
use crate::support::{LEAVES_A_MARK, Node, Skip, assert_says, or_skip, stderr, wrapped};

const CALLS: &str = "trace=syncfs,openat2,rename,renameat,renameat2,linkat,execve";

/// A step that is undone, so that its check says no.
const FAILS: &str = "#!/bin/sh\nexit 1\n";

/// Runs `command` with a root on a disk of its own, which is mounted where the node is.
/// The shell does `mounts` below it. Its paths are those of the node.
fn on_a_disk(node: &Node, mounts: &str, command: &Command) -> Result<Command, Skip> {
    let image = node.path("image");
    let disk = "truncate -s 24M \"$0/image\" && mkfs.ext4 -qF \"$0/image\" &&
        mkdir -p \"$0/disk\" && mount -o loop \"$0/image\" \"$0/disk\"";
    let shell = |script: &str| {
        let words = ["unshare", "--mount", "/bin/sh", "-ec", script];
        let at = node.dir.path().to_str().unwrap();
        wrapped(&[&words[..], &[at]].concat(), command)
    };
    let tried = try_out(
        &mut shell(&format!("{disk} && umount \"$0/disk\"")),
        "this user may not mount a disk",
    );
    let _ = fs::remove_file(image);
    tried?;
    Ok(shell(&format!(
        "{disk}\n cp -a \"$0/copy\" \"$0/disk\"\n cd \"$0/disk\"\n {mounts}\n \
         PATH=$PATH:/usr/sbin:/sbin\n \"$@\""
    )))
}

/// `MODE NODE/disk /copy`.
fn run(node: &Node, mode: &str) -> Command {
    let disk = node.path("disk");
    let mut command = node.agent(&[mode, disk.to_str().unwrap(), "/copy"]);
    command
        .env("SKYHOOK_ROOT_DIR", "/state")
        .env("SKYHOOK_AGENT_WRITE_LOGS", "false")
        .env("SKYHOOK_AGENT_SYNC", "true");
    command
}

fn trace(command: &Command) -> Traced {
    traced(&["-f", "-e", CALLS], command).unwrap()
}

/// The lines of the trace that end a sync of the file system at this path, and those that
/// give a file this name.
fn positions(run: &Traced, node: &Node, at: &str, name: &str) -> (Vec<usize>, Vec<usize>) {
    let mount = format!("<{}{at}>)", node.path("disk").display());
    let find = |is_it: &dyn Fn(&str) -> bool| {
        let lines = run.trace.iter().enumerate();
        lines
            .filter(|(_, line)| is_it(line))
            .map(|(i, _)| i)
            .collect()
    };
    let names_it = |line: &str| {
        (line.contains("rename") || line.contains("linkat("))
            && line.contains(&format!(", \"{name}"))
    };
    (
        find(&|line| line.contains("syncfs(") && line.contains(&mount) && line.ends_with("= 0")),
        find(&names_it),
    )
}

#[test]
fn a_step_s_work_is_on_disk_before_its_flag_its_mark_and_its_history() {
    or_skip!(can_trace());
    let node = Node::one_step();
    for (mode, name, syncs) in [
        ("apply", "a.sh_", 1),
        ("apply-check", "apply-check_ALL_CHECKED", 1),
        ("apply-check", "pkg.json", 1),
        // Without steps, what an earlier run has checked.
        ("uninstall-check", "pkg.json", 1),
    ] {
        // The steps run in the root: they need none of its programs.
        let mut command = or_skip!(on_a_disk(&node, "", &run(&node, mode)));
        if mode != "uninstall-check" {
            let fill = "cp -L --parents /bin/sh $(ldd /bin/sh | grep -o '/[^ ]*') .";
            command = on_a_disk(&node, fill, &run(&node, mode)).unwrap();
        }
        let traced = trace(&command);
        assert_eq!(traced.output.status.code(), Some(0), "{:?}", traced.output);
        let (synced, named) = positions(&traced, &node, "", name);
        assert_eq!(synced.len(), syncs, "{mode}: {:#?}", traced.trace);
        assert!(synced[0] < named[0], "{mode}: {:#?}", traced.trace);
        let (_, started) = positions(&traced, &node, "", "START");
        assert!(started[0] < synced[0], "{mode}: {:#?}", traced.trace);

        command.env("SKYHOOK_AGENT_SYNC", "false");
        let traced = trace(&command);
        assert!(positions(&traced, &node, "", name).0.is_empty());
    }
}

#[test]
fn every_local_file_system_below_the_root_is_synced_and_none_that_hangs() {
    or_skip!(can_trace());
    if !std::path::Path::new("/dev/fuse").exists() {
        crate::support::skip!(Skip::NotPossible("no /dev/fuse"));
    }
    let node = Node::one_step();
    // No process answers what the kernel asks of this FUSE mount: every look at it hangs.
    let mounts = "cp -L --parents /bin/sh $(ldd /bin/sh | grep -o '/[^ ]*') .
         mkdir boot hangs twice state\n \
        for name in boot twice; do\n \
            truncate -s 8M ../$name; mkfs.ext4 -qF ../$name; mount -o loop ../$name $name; done\n \
        mkdir boot/inner; mount --bind twice boot/inner\n \
        exec 9<>/dev/fuse\n \
        mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 none hangs";
    let command = or_skip!(on_a_disk(&node, mounts, &run(&node, "apply-check")));
    let since = Instant::now();
    let traced = trace(&wrapped(&["timeout", "-s", "KILL", "60"], &command));
    assert!(since.elapsed() < Duration::from_secs(50), "it hangs");
    assert_eq!(traced.output.status.code(), Some(0), "{:?}", traced.output);
    for at in ["", "/boot", "/twice"] {
        let (synced, _) = positions(&traced, &node, at, "pkg.json");
        assert_eq!(synced.len(), 1, "{at}: {:#?}", traced.trace);
    }
    let syncs = traced.trace.iter().filter(|line| line.contains("syncfs("));
    assert_eq!(syncs.count(), 3, "each device once: {:#?}", traced.trace);
    let looks_at_it = |line: &&String| line.contains("openat") && line.contains("\"hangs");
    assert_eq!(traced.trace.iter().find(looks_at_it), None);
}

#[test]
fn a_sync_that_fails_sets_no_flag_and_names_the_file_system() {
    or_skip!(can_trace());
    let node = Node::new().step("a.sh", LEAVES_A_MARK);
    let inject = ["-f", "-e", "trace=syncfs", "-e", "inject=syncfs:error=EIO"];
    let mut command = node.run("apply");
    command.env("SKYHOOK_AGENT_SYNC", "true");
    let run = or_skip!(traced(&inject, &command));
    if run.injected() == 0 {
        crate::support::skip!(Skip::NotPossible("the root's file system needs no sync"));
    }
    assert_eq!(run.output.status.code(), Some(1));
    assert_says(
        &stderr(&run.output),
        &["skyhook-agent: cannot sync the file system at /: Input/output error"],
    );
    assert!(node.has_run("a.sh") && !node.flag("a.sh").exists());

    // A check that has failed says nothing that a power cut could make untrue.
    let node = Node::one_step();
    node.script("a_check.sh", FAILS);
    let mut command = node.run("apply-check");
    command.env("SKYHOOK_AGENT_SYNC", "true");
    let run = traced(&inject, &command).unwrap();
    assert_eq!(run.injected(), 0);
    assert_eq!(node.text("state/flags/check_results"), "a_check.sh True");
}
