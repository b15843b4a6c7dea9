//! The agent where things go wrong: signals, sudden ends, orphans, full disks,
//! other agents beside it.

mod support;

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::{Value, json};
use support::node::{LEAVES_A_MARK, Node, behind_banner, files, marking, with_mounts, wrapped};
use support::{assert_says, log_in, skipped, stderr, stdout, unstamp};

// Signals.

/// Says that it is ready, waits for a line on stdin, and has last words.
const WAITS: &str = "#!/bin/sh\necho ready\nread -r word\necho \"last $word\"\n";

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}

/// `command` in a session of its own, where no terminal has a say.
fn in_own_session(command: &Command) -> Command {
    wrapped(&["setsid"], command)
}

/// Starts a run, has `signal` sent while its first step waits, and lets the step
/// go on once the agent has said that it will end.
fn cancelled(command: &mut Command, waiting: &str, signal: impl FnOnce(Pid)) -> Output {
    let mut run = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(run.stdout.take().unwrap());
    let mut said = String::new();
    while !said.ends_with(" ready\n") {
        assert_ne!(stdout.read_line(&mut said).unwrap(), 0, "{said}");
    }
    signal(pid(&run));
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    let mut notice = String::new();
    stderr.read_line(&mut notice).unwrap();
    assert_says(&notice, &["cancelled: ", &format!("{waiting} finishes")]);

    run.stdin.take().unwrap().write_all(b"words\n").unwrap();
    stdout.read_to_string(&mut said).unwrap();
    stderr.read_to_string(&mut notice).unwrap();
    Output {
        status: run.wait().unwrap(),
        stdout: said.into(),
        stderr: notice.into(),
    }
}

#[test]
fn sigterm_lets_the_step_finish_and_keeps_its_flag() {
    let to_the_process: fn(Pid) = |pid| kill(pid, Signal::SIGTERM).unwrap();
    let to_its_group: fn(Pid) = |pid| killpg(pid, Signal::SIGTERM).unwrap();
    for signal in [to_the_process, to_its_group] {
        let node = Node::new().step("a.sh", WAITS).step("b.sh", LEAVES_A_MARK);
        let output = cancelled(&mut in_own_session(&node.run("apply")), "a.sh", signal);
        assert_eq!(output.status.code(), Some(1));
        let said = unstamp("[out]", &behind_banner(&output));
        assert_says(&said, &["ready\nlast words\nSUCEEDED: a.sh \n"]);
        assert!(!said.contains("SUCEEDED: b.sh"), "{said}");
        assert_says(&stderr(&output), &["cancelled: b.sh does not start\n"]);
        let log = log_in(&node.path("log/pkg/1.2.3"), "a.sh", ".log");
        assert_eq!(unstamp("[out]", &log), "ready\nlast words\n");
        assert_eq!(
            files(&node.path("state/flags/pkg")),
            [node.flag("a.sh")],
            "the flag of what has finished, and of nothing else"
        );
        assert!(!node.has_run("b.sh"));
    }
}

#[test]
fn sigterm_among_checks_leaves_no_results_and_no_history() {
    let node = Node::new().step("a.sh", "").step("b.sh", "");
    node.script("a_check.sh", WAITS);
    node.script("b_check.sh", LEAVES_A_MARK);
    let mut command = in_own_session(&node.run("apply-check"));
    let output = cancelled(&mut command, "a_check.sh", |pid| {
        kill(pid, Signal::SIGTERM).unwrap();
    });
    assert_eq!(output.status.code(), Some(1));
    assert_says(&stdout(&output), &["SUCEEDED: a_check.sh \n"]);
    assert!(!node.has_run("b_check.sh"));
    assert_eq!(files(&node.path("state")), [node.path("state/flags/START")]);
}

#[test]
fn sigterm_lets_an_interrupt_s_command_finish_and_keeps_its_flag() {
    let script = format!("{WAITS}[ \"$1\" = daemon-reload ] || : > \"$0.ran\"\n");
    let node = Node::new().command("systemctl", &script);
    let restart = json!({ "type": "service_restart", "services": ["a"] });
    let mut command = in_own_session(&node.interrupt(&restart));
    let output = cancelled(&mut command, "systemctl", |pid| {
        kill(pid, Signal::SIGTERM).unwrap();
    });
    assert_eq!(output.status.code(), Some(1));
    let notice = "cancelled: interrupt service_restart_1 does not start\n";
    assert_says(&stderr(&output), &[notice]);
    assert!(node.interrupt_flag("service_restart_0").exists());
    assert!(!node.interrupt_flag("service_restart_1").exists());
    assert!(!node.path("bin/systemctl.ran").exists());
}

#[test]
fn sigterm_during_an_interrupt_s_last_command_is_1_and_keeps_its_flag() {
    let node = Node::new().command("reboot", WAITS);
    let mut command = in_own_session(&node.interrupt(&json!({ "type": "node_restart" })));
    let output = cancelled(&mut command, "reboot", |pid| {
        kill(pid, Signal::SIGTERM).unwrap();
    });
    assert_eq!(output.status.code(), Some(1));
    assert!(node.interrupt_flag("node_restart_0").exists());
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

// Sudden ends.

/// What a killed run has left behind, be it whenever: nothing torn, and no flag of
/// what has not finished.
fn assert_state_is_whole(node: &Node, killed: &str) {
    for path in files(&node.path("state")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        // What it had not put in its place yet is nobody's state.
        if name.starts_with(".skyhook-agent-") && name.ends_with(".tmp") {
            continue;
        }
        let content = fs::read_to_string(&path).unwrap();
        match name {
            "START" | "apply-check_ALL_CHECKED" => assert_eq!(content, "", "{killed}"),
            "check_results" => {
                assert_eq!(content, "a_check.sh False\nb_check.sh False", "{killed}");
            }
            "pkg.json" => {
                let history: Value = serde_json::from_str(&content).unwrap();
                assert_eq!(history["current-version"], "1.2.3", "{killed}");
            }
            _ => {
                let step = name.strip_suffix("_W11fWzBd").unwrap();
                assert!(node.has_run(step), "{killed}: {name}");
                assert!(content.starts_with("last_run: 20"), "{killed}: {content:?}");
                assert!(content.ends_with("\nstep_always_runs: False"), "{killed}");
            }
        }
    }
}

/// Runs `command` and kills it after `delay`. Returns when also the step that it
/// may have left behind has ended: everything has the same stdin.
fn kill_after(delay: Duration, mut command: Command) {
    let (mut held, holds) = io::pipe().unwrap();
    let mut run = command
        .stdin(holds)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(command);
    std::thread::sleep(delay);
    kill(pid(&run), Signal::SIGKILL).unwrap();
    run.wait().unwrap();
    held.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn kill_9_at_any_moment_leaves_whole_files_and_no_flag_too_many() {
    for millis in 0..30 {
        for mode in ["apply", "apply-check"] {
            let node = Node::new()
                .step("a.sh", LEAVES_A_MARK)
                .step("b.sh", LEAVES_A_MARK);
            let run = |mode| {
                let mut command = node.run(mode);
                command.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
                command
            };
            let killed = format!("{mode} after {millis} ms");
            kill_after(Duration::from_millis(millis), run(mode));
            assert_state_is_whole(&node, &killed);

            for mode in ["apply", "apply-check"] {
                let output = run(mode).output().unwrap();
                assert_eq!(output.status.code(), Some(0), "{killed}: {output:?}");
            }
            assert!(node.has_run("a.sh") && node.has_run("b.sh"), "{killed}");
            assert!(node.flag("a.sh").exists() && node.flag("b.sh").exists());
            assert_state_is_whole(&node, &killed);
        }
    }
}

// Durability.

/// The system calls of a run that make its files durable, and what it executes;
/// `None` where nobody may trace.
fn trace(node: &Node, command: &Command) -> Option<Vec<String>> {
    let file = node.path("trace");
    let calls = "trace=write,fsync,rename,renameat,renameat2,mkdirat,execve";
    let words = ["strace", "-f", "-y", "-s", "200", "-e", calls, "-o"];
    let words = [&words[..], &[file.to_str().unwrap()]].concat();
    let refused = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    if !refused.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let output = wrapped(&words, command).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let trace = fs::read_to_string(file).unwrap();
    Some(trace.lines().map(str::to_owned).collect())
}

/// Asserts that `file` was written whole under another name, that name's file
/// synced, renamed, and then the folder synced. Returns where that was done.
fn assert_durable(trace: &[String], file: &Path) -> usize {
    let folder = file.parent().unwrap().to_str().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let find = |from: usize, parts: &[&str]| {
        let mut rest = trace.iter().skip(from);
        let found = rest.position(|line| parts.iter().all(|part| line.contains(part)));
        from + found.unwrap_or_else(|| panic!("{parts:?} behind {from} in {trace:#?}"))
    };
    let renamed = find(0, &["rename", &format!(", \"{name}\"")]);
    let temporary = trace[renamed].split('"').nth(1).unwrap();
    let temporary = format!("<{folder}/{temporary}>");
    let synced = find(0, &["fsync(", &temporary]);
    let write = |line: &&String| line.contains("write(") && line.contains(&temporary);
    // At once, or not at all where there is nothing to write.
    let writes = usize::from(fs::metadata(file).unwrap().len() > 0);
    assert_eq!(trace[..synced].iter().filter(write).count(), writes);
    assert_eq!(trace.iter().filter(write).count(), writes, "{trace:#?}");
    assert!(synced < renamed, "{trace:#?}");
    let durable = find(renamed, &["fsync("]);
    assert_says(&trace[durable], &[&format!("<{folder}>)"), "= 0"]);
    durable
}

#[test]
fn flags_results_and_history_are_durable_before_the_run_goes_on() {
    const NAME: &str = "flags_results_and_history_are_durable_before_the_run_goes_on";
    let node = Node::new()
        .step("a.sh", LEAVES_A_MARK)
        .step("b.sh", LEAVES_A_MARK);
    let Some(apply) = trace(&node, &node.run("apply")) else {
        return skipped(NAME, "may not trace");
    };
    assert_durable(&apply, &node.path("state/flags/START"));
    let first = assert_durable(&apply, &node.flag("a.sh"));
    let second = apply
        .iter()
        .rposition(|line| line.contains("/b.sh\""))
        .unwrap();
    assert!(first < second, "{apply:#?}");
    assert_durable(&apply, &node.flag("b.sh"));

    let checked = trace(&node, &node.run("apply-check")).unwrap();
    assert_durable(&checked, &node.path("state/flags/check_results"));
    assert_durable(&checked, &node.path("state/flags/apply-check_ALL_CHECKED"));
    assert_durable(&checked, &node.path("state/history/pkg.json"));

    // And so is the way to them: each new folder's name, before anything is in it.
    for (i, line) in apply.iter().enumerate() {
        if let Some((_, made)) = line.split_once("mkdirat(") {
            let (_, above) = made.split_once('<').unwrap();
            let (above, _) = above.split_once('>').unwrap();
            assert_says(&apply[i + 1], &["fsync(", &format!("<{above}>)")]);
        }
    }
    let made = apply
        .iter()
        .filter(|line| line.contains("mkdirat("))
        .count();
    assert!(made >= 4, "{apply:#?}");
}

#[test]
fn an_interrupt_s_flag_is_durable_before_its_command_begins() {
    const NAME: &str = "an_interrupt_s_flag_is_durable_before_its_command_begins";
    let node = Node::new().command("reboot", "#!/bin/sh\n");
    let interrupt = node.interrupt(&json!({ "type": "node_restart" }));
    let Some(trace) = trace(&node, &interrupt) else {
        return skipped(NAME, "may not trace");
    };
    let durable = assert_durable(&trace, &node.interrupt_flag("node_restart_0"));
    let begins = trace.iter().position(|line| line.contains("chroot-exec"));
    assert!(durable < begins.unwrap(), "{trace:#?}");
}

// PID 1.

/// Leaves 200 processes behind that end beside it, waits until all have, and then
/// until none of them is a zombie.
const LEAVES_ORPHANS: &str = "#!/bin/sh
i=0
while [ $i -lt 200 ]; do
    i=$((i + 1))
    (sh -c 'echo >> \"$0.orphans\"' \"$0\" &)
done
tries=0
until [ \"$(wc -l < \"$0.orphans\")\" = 200 ] && ! grep -q '^[0-9]* ([^)]*) Z 1 ' /proc/[0-9]*/stat
do
    tries=$((tries + 1))
    [ $tries -lt 3000 ] || exit 99
done
exit 7
";

#[test]
fn pid_1_reaps_orphans_and_keeps_the_step_s_own_code() {
    const NAME: &str = "pid_1_reaps_orphans_and_keeps_the_step_s_own_code";
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc"];
    let may = wrapped(&unshare, &Command::new("true")).output();
    if !may.is_ok_and(|output| output.status.success()) {
        return skipped(NAME, "may not make a process namespace");
    }
    let node = Node::new().step("a.sh", LEAVES_ORPHANS);
    let output = wrapped(&unshare, &node.run("apply")).output().unwrap();
    assert_says(&stdout(&output), &["FAILED: a.sh  7\n"]);
    assert_eq!(output.status.code(), Some(1));
}

/// A step has ended, but its output has not: until then it must not stand in
/// front of the orphans, of which there may be any number.
#[test]
fn pid_1_reaps_orphans_also_while_it_waits_for_output_to_end() {
    const NAME: &str = "pid_1_reaps_orphans_also_while_it_waits_for_output_to_end";
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc"];
    let may = wrapped(&unshare, &Command::new("true")).output();
    if !may.is_ok_and(|output| output.status.success()) {
        return skipped(NAME, "may not make a process namespace");
    }
    // What it leaves behind holds the output, has orphans, and says what became of
    // them once the step itself is gone.
    let node = Node::new().step(
        "a.sh",
        "#!/bin/sh
step=$$
(
    while [ -e /proc/$step ]; do :; done
    for i in 1 2 3 4 5 6 7 8 9 10; do (true &); done
    tries=0
    while grep -q '^[0-9]* ([^)]*) Z 1 ' /proc/[0-9]*/stat; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { echo zombies; exit; }
    done
    echo none left
) &
exit 7
",
    );
    let output = wrapped(&unshare, &node.run("apply")).output().unwrap();
    assert_eq!(
        unstamp("[out]", &behind_banner(&output)).lines().last(),
        Some("FAILED: a.sh  7")
    );
    assert_says(&stdout(&output), &["none left"]);
}

// Disks.

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

// Company.

#[test]
fn agents_side_by_side_lose_nothing_of_each_other() {
    let node = Node::new().step("a.sh", LEAVES_A_MARK);
    let start = |mode: &str| {
        let mut command = node.run(mode);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    for mode in ["apply", "apply-check"] {
        let runs = [start(mode), start(mode)];
        for run in runs {
            let output = run.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
    }
    let history: Value = serde_json::from_str(&node.text("state/history/pkg.json")).unwrap();
    assert_eq!(history["history"].as_array().unwrap().len(), 2);
    assert!(node.flag("a.sh").exists());
    let leftover = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "tmp");
    assert!(!files(&node.path("state")).iter().any(leftover));
}
