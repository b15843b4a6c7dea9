//! `skyhook-agent` as a user runs it: the real binary, real packages, its output,
//! logs and exit codes.

mod support;

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;
use support::{
    Package, after, agent, assert_says, fill_root, full_device, is_root, log_in, names, stderr,
    stdout, unstamp,
};
use tempfile::TempDir;

/// A step that shows that it ran: a file `ran` in the package.
const LEAVES_A_MARK: &str = "#!/bin/sh\n: > \"$SKYHOOK_DIR/ran\"\n";

/// One step that leaves a mark.
fn marking() -> Package {
    Package::new().step("mark.sh", LEAVES_A_MARK)
}

/// No step has run and nothing has been created.
#[track_caller]
fn assert_untouched(package: &Package) {
    assert_eq!(names(package.dir.path()), ["copy"]);
    assert_eq!(names(&package.copy_dir()), ["config.json", "skyhook_dir"]);
}

/// The agent's one line where it runs nothing.
#[track_caller]
fn refusal(output: &Output, code: i32) -> String {
    let line = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert_eq!(stdout(output), "", "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with("skyhook-agent: "), "{line}");
    line
}

/// The stdout of an agent that succeeded and complained of nothing.
#[track_caller]
fn printed(output: &Output) -> String {
    assert_eq!(stderr(output), "");
    assert_eq!(output.status.code(), Some(0));
    stdout(output)
}

/// The same without stamps.
#[track_caller]
fn said(output: &Output) -> String {
    unstamp("[out]", &printed(output))
}

// The sample package.

/// The sample package without its pauses, its logs to go to `logs` beside it.
fn sample() -> (TempDir, Command) {
    let dir = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-R")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tune-node"))
        .arg(dir.path())
        .status();
    assert!(copied.unwrap().success());
    let config = dir.path().join("tune-node/config.json");
    let hurried = fs::read_to_string(&config).unwrap().replace("0.4", "0");
    fs::write(config, hurried).unwrap();

    let mut command = agent();
    command
        .args(["run-step", "--log-dir", "logs", "tune-node"])
        .current_dir(dir.path())
        .env_remove("NODE_ROLE");
    (dir, command)
}

#[test]
fn the_sample_package_is_logged_as_it_is_shown() {
    let (dir, mut command) = sample();
    let output = command.env("NODE_ROLE", "training").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (stdout, stderr) = (stdout(&output), stderr(&output));

    assert!(stdout.lines().all(|line| line.starts_with("[out]")));
    assert!(stderr.lines().all(|line| line.starts_with("[err]")));
    let logs = dir.path().join("logs/tune-node/1.0.0");
    let [survey, role, warm_up] =
        ["survey.sh", "role.sh", "warm_up.sh"].map(|step| log_in(&logs, step, ".log"));
    assert_eq!(
        stdout,
        format!(
            "{survey}SUCEEDED: survey.sh \n\
             {role}SUCEEDED: role.sh --role training\n\
             {warm_up}SUCEEDED: warm_up.sh 5\n"
        )
    );
    assert_eq!(stderr, log_in(&logs, "survey.sh", ".log.err"));
    assert_eq!(log_in(&logs, "role.sh", ".log.err"), "");
    assert_eq!(names(&logs).len(), 6);

    assert_eq!(
        unstamp("[out]", &warm_up),
        "GPU 0   41 °C\nGPU 1   44 °C\nGPU 2   47 °C\nGPU 3   50 °C\nGPU 4   53 °C\n\
         settling ··· ✓\n"
    );
    assert_says(&unstamp("[err]", &stderr), &["⚠ this is a sample"]);
}

#[test]
fn the_sample_package_s_checks_succeed() {
    let (_dir, mut command) = sample();
    command.args(["--mode", "apply-check"]);
    let said = said(&command.env("NODE_ROLE", "inference").output().unwrap());
    let verdicts = said.lines().filter(|line| line.starts_with("SUCEEDED: "));
    assert_eq!(verdicts.count(), 3, "{said}");
}

#[test]
fn the_sample_package_stops_at_a_variable_that_is_missing() {
    let (dir, mut command) = sample();
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stdout = stdout(&output);
    assert!(
        stdout.ends_with(
            " SUCEEDED: survey.sh \n\
             role.sh: Expected environment variable did not exist: NODE_ROLE\n"
        ),
        "{stdout}"
    );
    assert_eq!(names(&dir.path().join("logs/tune-node/1.0.0")).len(), 2);
}

// Which steps run, and what they come to.

#[test]
fn the_first_step_that_fails_is_the_last() {
    let package = Package::new()
        .step("a.sh", "#!/bin/sh\necho a\n")
        .step("b.sh", "#!/bin/sh\nexit 3\n")
        .step("c.sh", LEAVES_A_MARK);
    let output = package.run_step().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        unstamp("[out]", &stdout(&output)),
        "a\nSUCEEDED: a.sh \nFAILED: b.sh  3\n"
    );
    assert_eq!(stderr(&output), "");
    assert!(!package.copy_dir().join("ran").exists());
}

#[test]
fn steps_asked_for_by_name_run_in_the_config_s_order() {
    let package = ["a.sh", "b.sh", "c.sh"]
        .into_iter()
        .fold(Package::new(), |package, path| {
            package.step(path, "#!/bin/sh\n")
        });
    let mut command = package.run_step();
    let output = command.args(["--step", "c", "--step", "a"]).output();
    assert_eq!(said(&output.unwrap()), "SUCEEDED: a.sh \nSUCEEDED: c.sh \n");
}

#[test]
fn an_unknown_step_is_refused_with_those_that_exist() {
    let package = marking().step("other.sh", LEAVES_A_MARK);
    let mut command = package.run_step();
    let output = command.args(["--step", "mark", "--step", "no"]).output();
    assert_says(
        &refusal(&output.unwrap(), 2),
        &["--step no: ", "apply", "config.json", "mark, other"],
    );

    let mut command = package.run_step();
    let output = command
        .args(["--mode", "upgrade", "--step", "mark"])
        .output();
    assert_says(
        &refusal(&output.unwrap(), 2),
        &["--step mark: ", "upgrade", "config.json", "none"],
    );
    assert_untouched(&package);
}

#[test]
fn an_unknown_mode_is_refused_with_those_that_exist() {
    let package = marking();
    let mut command = package.run_step();
    let output = command.args(["--mode", "aply"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_says(
        &stderr(&output),
        &["'aply'", "--mode", "apply, apply-check", "uninstall-check"],
    );
    assert_untouched(&package);
}

#[test]
fn a_mode_without_steps_is_noticed_and_succeeds() {
    let package = marking();
    let mut command = package.run_step();
    let output = command.args(["--mode", "config"]).output().unwrap();
    assert_says(
        &refusal(&output, 0),
        &["config.json: no steps for mode config"],
    );
    assert_untouched(&package);
}

#[test]
fn a_step_that_a_signal_ends_failed_with_its_number_negated() {
    for (signal, code) in [("TERM", "-15"), ("KILL", "-9")] {
        let package = Package::new().step("kill.sh", &format!("#!/bin/sh\nkill -{signal} $$\n"));
        let output = package.run_step().output().unwrap();
        assert_eq!(stdout(&output), format!("FAILED: kill.sh  {code}\n"));
        assert_eq!(stderr(&output), "");
        assert_eq!(output.status.code(), Some(1));
    }
    let script = "#!/bin/sh\necho words\nkill -TERM $$\n";
    let output = Package::new().step("kill.sh", script).run_step().output();
    let stdout = stdout(&output.unwrap());
    assert!(stdout.ends_with(" FAILED: kill.sh  -15\n"), "{stdout}");
    assert_eq!(unstamp("[out]", &stdout), "words\nFAILED: kill.sh  -15\n");
}

#[test]
fn a_code_among_the_returncodes_succeeds() {
    for (end, codes) in [("exit 42", json!([0, 42])), ("kill -TERM $$", json!([-15]))] {
        let package = Package::new().step_with(
            "a.sh",
            &format!("#!/bin/sh\n{end}\n"),
            json!({ "returncodes": codes, "arguments": ["x", "y z"] }),
        );
        let output = package.run_step().output().unwrap();
        assert_eq!(said(&output), "SUCEEDED: a.sh x y z\n");
    }
}

#[test]
fn a_step_that_cannot_start_failed_with_1_and_says_why_on_its_stderr() {
    for (package, why) in [
        (Package::new().step("a.sh", "echo no shell\n"), "#!"),
        (
            Package::new().step("a.sh", "#!/no/such/sh\n"),
            "interpreter",
        ),
    ] {
        let output = package.run_step().output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stdout(&output), "FAILED: a.sh  1\n");
        let said = stderr(&output);
        assert_eq!(said, package.log("a.sh", ".log.err"));
        let line = unstamp("[err]", &said);
        assert_eq!(line.lines().count(), 1, "{line}");
        assert_says(
            &line,
            &["skyhook-agent: cannot ", "skyhook_dir/a.sh: ", why],
        );
    }
}

#[test]
fn an_ignored_sigchld_costs_no_exit_code() {
    let package = Package::new().step("a.sh", "#!/bin/sh\nexit 3\n");
    // Not by a trap: some shells never ignore this one.
    let ignoring = "exec env --ignore-signal=CHLD \"$@\"";
    let output = after(ignoring, &package.run_step()).output().unwrap();
    assert_eq!(stdout(&output), "FAILED: a.sh  3\n");
    assert_eq!(stderr(&output), "");
}

// The environment.

#[test]
fn a_variable_that_cannot_be_used_is_refused_before_anything_runs() {
    for (name, values) in [
        ("SKYHOOK_AGENT_BUFFER_LIMIT", ["abc", "0", "-5", ""]),
        ("SKYHOOK_AGENT_DRAIN_TIMEOUT", ["soon", "NaN", "-1", ""]),
    ] {
        for value in values {
            let package = marking();
            let output = package.run_step().env(name, value).output().unwrap();
            assert_says(
                &refusal(&output, 2),
                &[&format!("{name}: expected "), &format!("got {value:?}")],
            );
            assert_untouched(&package);
        }
    }
}

#[test]
fn the_buffer_limit_cuts_reads() {
    let package = Package::new().step("a.sh", "#!/bin/sh\nprintf 'é'\n");
    let mut command = package.run_step();
    command.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
    assert_eq!(said(&command.output().unwrap()), "éSUCEEDED: a.sh \n");
    let cut = command.env("SKYHOOK_AGENT_BUFFER_LIMIT", "1").output();
    assert_eq!(said(&cut.unwrap()), "\u{fffd}\u{fffd}SUCEEDED: a.sh \n");
}

#[test]
fn the_drain_timeout_ends_the_wait_for_what_a_step_left_behind() {
    let package = Package::new().step_with(
        "a.sh",
        "#!/bin/sh\nexec 3< \"$1\"\necho words\ncat <&3 &\n",
        json!({ "arguments": ["env:FIFO"] }),
    );
    let fifo = package.dir.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let both = OpenOptions::new().read(true).write(true).open(&fifo);

    let mut command = package.run_step();
    command.env("SKYHOOK_AGENT_DRAIN_TIMEOUT", "0");
    command.env("FIFO", &fifo);
    let run = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut run = run.unwrap();
    let mut notice = String::new();
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    stderr.read_line(&mut notice).unwrap();
    // Only now does the one left behind end.
    drop(both.unwrap());
    assert_says(&notice, &["a.sh has ended", "lost"]);
    let output = run.wait_with_output().unwrap();
    assert_eq!(
        unstamp("[out]", &stdout(&output)),
        format!("words\nSUCEEDED: a.sh {}\n", fifo.display())
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn without_write_logs_there_is_no_file_and_no_folder() {
    let package = Package::new().step("a.sh", "#!/bin/sh\necho words\n");
    let mut command = package.run_step();
    command.env("SKYHOOK_AGENT_WRITE_LOGS", "false");
    assert_eq!(said(&command.output().unwrap()), "words\nSUCEEDED: a.sh \n");
    assert_untouched(&package);
}

#[test]
fn the_log_dir_variable_is_the_default_of_the_option() {
    let package = Package::new().step("steps/a.sh", "#!/bin/sh\necho words\n");
    let mut command = agent();
    command.arg("run-step").arg(package.copy_dir());
    command.env("SKYHOOK_LOG_DIR", package.logs());
    said(&command.output().unwrap());
    let log = package.logs().join("pkg/1.2.3/steps");
    assert_eq!(unstamp("[out]", &log_in(&log, "a.sh", ".log")), "words\n");
    assert_eq!(log_in(&log, "a.sh", ".log.err"), "");
}

#[test]
fn a_variable_that_is_not_utf_8_cannot_be_an_argument() {
    let over = json!({ "arguments": ["env:RAW"] });
    let package = Package::new().step_with("mark.sh", LEAVES_A_MARK, over);
    let mut command = package.run_step();
    let output = command.env("RAW", OsStr::from_bytes(b"\xff")).output();
    let output = output.unwrap();
    assert_eq!(
        stdout(&output),
        "mark.sh: Expected environment variable to be UTF-8: RAW\n"
    );
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(1));
    assert_untouched(&package);
}

// The package's folder and its config.json.

#[test]
fn a_relative_copy_dir_is_made_absolute() {
    let package = Package::new().step(
        "a.sh",
        "#!/bin/sh\necho \"$SKYHOOK_DIR\"\necho \"$STEP_ROOT\"\npwd -P\n",
    );
    let mut command = agent();
    command.args(["run-step", "--log-dir", "logs", "copy"]);
    let output = command.current_dir(package.dir.path()).output().unwrap();
    let copy = package.copy_dir().canonicalize().unwrap();
    let copy = copy.display();
    let expected = format!("{copy}\n{copy}/skyhook_dir\n{copy}\n");
    assert_eq!(said(&output), format!("{expected}SUCEEDED: a.sh \n"));
    assert_eq!(unstamp("[out]", &package.log("a.sh", ".log")), expected);

    // A shell's completion leaves a slash behind.
    let mut command = agent();
    command.args(["run-step", "--log-dir", "logs2", "copy/"]);
    let output = command.current_dir(package.dir.path()).output().unwrap();
    assert_eq!(said(&output), format!("{expected}SUCEEDED: a.sh \n"));
}

#[test]
fn a_package_that_is_not_there_is_named() {
    let package = Package::new();
    let line = refusal(&package.run_step().output().unwrap(), 1);
    assert_says(&line, &["/copy/config.json: No such file"]);
    assert!(names(package.dir.path()).is_empty());

    let package = marking();
    let config = package.copy_dir().join("config.json");
    fs::remove_file(config).unwrap();
    let line = refusal(&package.run_step().output().unwrap(), 1);
    assert_says(&line, &["/copy/config.json: No such file"]);
    assert_eq!(names(package.dir.path()), ["copy"]);
}

#[test]
fn a_config_that_cannot_be_used_is_refused_by_place() {
    let package = marking();
    let file = package.copy_dir().join("config.json");
    let config = fs::read_to_string(&file).unwrap();
    for (find, replace, place) in [
        (&*config, "", "line 1 column 0"),
        (":", "", "expected JSON: expected `:` at line 1 column"),
        ("v1", "v2", "schema_version: expected"),
        ("pkg", "../pkg", "package_name: expected"),
        ("1.2.3", "..", "package_version: expected"),
        (
            "\"mark.sh\"",
            "\"../../mark.sh\"",
            "modes.apply[0].path: expected",
        ),
        (
            "\"mark.sh\"",
            "\"no.sh\"",
            "modes.apply[0].path: expected a file inside skyhook_dir, which has no \"no.sh\"",
        ),
    ] {
        let unusable = config.replace(find, replace);
        assert_ne!(unusable, config);
        fs::write(&file, unusable).unwrap();
        let line = refusal(&package.run_step().output().unwrap(), 1);
        assert_says(&line, &["/copy/config.json: ", place]);
        assert_untouched(&package);
    }
}

#[test]
fn all_that_is_wrong_with_a_config_is_said_at_once() {
    let package = marking();
    let file = package.copy_dir().join("config.json");
    let config = fs::read_to_string(&file).unwrap();
    let config = config.replace("1.2.3", "1.2");
    fs::write(&file, config.replacen("\"on_host\"", "\"on_hots\"", 1)).unwrap();
    let output = package.run_step().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_says(
        &stderr(&output),
        &[
            "/copy/config.json: package_version: expected a semantic version",
            "modes.apply[0].on_host: expected a value, got none",
            "modes.apply[0].on_hots: unknown key, expected one of name, ",
        ],
    );
    assert_untouched(&package);
}

#[test]
fn a_step_without_a_check_is_warned_of_and_runs() {
    let package = Package::new().step("a.sh", "#!/bin/sh\n");
    let file = package.copy_dir().join("config.json");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config.replace("a_check.sh", "a.sh")).unwrap();
    let output = package.run_step().output().unwrap();
    assert_eq!(stdout(&output), "SUCEEDED: a.sh \n");
    assert_eq!(
        stderr(&output),
        "skyhook-agent: a_check.sh doesn't exist. \
         Checks ensure that all tasks in the step will complete.\n"
    );
}

#[test]
fn a_copy_dir_that_is_not_utf_8_is_refused() {
    let copy_dir = OsStr::from_bytes(b"/tmp/\xff");
    let output = agent().arg("run-step").arg(copy_dir).output().unwrap();
    assert_says(&refusal(&output, 2), &["COPY_DIR: expected UTF-8"]);
}

#[test]
fn steps_run_and_are_logged_inside_another_root() {
    if !is_root() {
        return support::skipped(
            "steps_run_and_are_logged_inside_another_root",
            "only root can chroot",
        );
    }
    let package = Package::new().step("a.sh", "#!/bin/sh\necho $SKYHOOK_DIR\npwd -P\n");
    let root = package.dir.path();
    fill_root(root);
    let run_step = |copy_dir: &str| {
        let mut command = agent();
        command.args(["run-step", copy_dir, "--chroot"]).arg(root);
        command
    };
    let output = run_step("/copy").output().unwrap();
    assert_eq!(said(&output), "/copy\n/copy\nSUCEEDED: a.sh \n");
    let logs = root.join("var/log/skyhook/pkg/1.2.3");
    let log = log_in(&logs, "a.sh", ".log");
    assert_eq!(stdout(&output), format!("{log}SUCEEDED: a.sh \n"));

    // A link of the host leads where it would on the host, never out of it.
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), root.join("out")).unwrap();
    symlink("/copy/logs", root.join("in")).unwrap();
    let output = run_step("/copy").env("SKYHOOK_LOG_DIR", "/out").output();
    assert_says(&stderr(&output.unwrap()), &["runs without a log file"]);
    assert_eq!(names(outside.path()), [""; 0]);
    fs::create_dir(root.join("copy/logs")).unwrap();
    let output = run_step("/copy").env("SKYHOOK_LOG_DIR", "/in").output();
    said(&output.unwrap());
    assert_eq!(names(&root.join("copy/logs")), ["pkg"]);

    // A relative COPY_DIR is one from that root's top.
    let output = run_step("copy").env("SKYHOOK_LOG_DIR", "/logs").output();
    assert_eq!(said(&output.unwrap()), "/copy\n/copy\nSUCEEDED: a.sh \n");
    assert_eq!(
        unstamp("[out]", &package.log("a.sh", ".log")),
        "/copy\n/copy\n"
    );
}

// The control file.

#[test]
fn the_control_file_is_its_owner_s_alone_and_gone_afterwards() {
    let package = Package::new().step(
        "a.sh",
        "#!/bin/sh\nstat -c %a \"$TMPDIR\"/skyhook-agent-*.json\n",
    );
    let temp_dir = tempfile::tempdir().unwrap();
    let mut command = package.run_step();
    command.env("TMPDIR", temp_dir.path());
    let output = after("umask 000", &command).output().unwrap();
    assert_eq!(said(&output), "600\nSUCEEDED: a.sh \n");
    assert!(names(temp_dir.path()).is_empty());
}

#[test]
fn a_temporary_folder_that_is_not_there_is_named() {
    let package = marking();
    let mut command = package.run_step();
    let output = command.env("TMPDIR", "/no/such/dir").output().unwrap();
    assert_says(&refusal(&output, 1), &["cannot ", "/no/such/dir"]);
    assert!(!package.copy_dir().join("ran").exists());
}

// Logs and readers that go missing cost themselves and nothing else.

#[test]
fn a_log_folder_that_cannot_be_made_costs_the_log_alone() {
    let package = Package::new().step("a.sh", "#!/bin/sh\necho words\n");
    fs::write(package.logs(), "in the way").unwrap();
    let output = package.run_step().output().unwrap();
    assert_eq!(
        unstamp("[out]", &stdout(&output)),
        "words\nSUCEEDED: a.sh \n"
    );
    assert_eq!(output.status.code(), Some(0));
    let notices = stderr(&output);
    assert_says(
        &notices,
        &["cannot create the directory", "/logs/pkg/1.2.3"],
    );
    assert_says(&notices, &["runs without a log file"]);
    assert_eq!(fs::read(package.logs()).unwrap(), b"in the way");
}

/// Much more than a pipe holds: while some other test starts a process, that one
/// has a copy of our reading end, and only a full pipe waits until it is gone.
fn chatty(redirect: &str) -> Package {
    let script = format!("#!/bin/sh\nyes words | head -n 40000 {redirect}\n");
    Package::new().step("a.sh", &script)
}

/// The writing end of a pipe without a reader.
fn no_reader() -> Stdio {
    let (_, writer) = io::pipe().unwrap();
    writer.into()
}

#[test]
fn without_a_reader_of_stdout_the_step_finishes_with_its_log_complete() {
    let package = chatty("");
    let mut command = package.run_step();
    let run = command.stdout(no_reader()).stderr(Stdio::piped()).spawn();
    let output = run.unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let log = unstamp("[out]", &package.log("a.sh", ".log"));
    assert!(log == "words\n".repeat(40_000), "{} bytes", log.len());
    let notices = stderr(&output);
    assert_says(&notices, &["cannot write to stdout: Broken pipe"]);
    assert_says(&notices, &["bytes lost on stdout"]);
    assert!(!notices.contains("panicked"), "{notices}");
}

#[test]
fn without_a_reader_of_stderr_the_step_finishes_with_its_log_complete() {
    let package = chatty(">&2");
    let mut command = package.run_step();
    let run = command.stderr(no_reader()).stdout(Stdio::piped()).spawn();
    let output = run.unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), "SUCEEDED: a.sh \n");
    let log = unstamp("[err]", &package.log("a.sh", ".log.err"));
    assert!(log == "words\n".repeat(40_000), "{} bytes", log.len());
}

#[test]
fn what_stdout_lost_is_said_once_at_the_end() {
    let mut package = Package::new();
    for step in ["a.sh", "b.sh", "c.sh"] {
        package = package.step(step, "#!/bin/sh\necho hello\n");
    }
    let mut command = package.run_step();
    let output = command.stdout(full_device()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let notices = stderr(&output);
    assert_eq!(notices.matches("cannot write to stdout: ").count(), 1);
    assert_eq!(notices.matches(" bytes lost on stdout\n").count(), 1);
    assert_eq!(notices.lines().count(), 2, "{notices}");
}

/// The kernel's answer to a file past its limit is a signal that kills.
#[test]
fn a_limit_of_file_size_costs_the_log_alone() {
    let package = Package::new().step(
        "a.sh",
        "#!/bin/sh\nyes words | head -n 4000\necho done >&2\n",
    );
    // In blocks of 512 bytes.
    let output = after("ulimit -f 8", &package.run_step()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = stdout(&output);
    let expected = format!("{}SUCEEDED: a.sh \n", "words\n".repeat(4000));
    assert!(
        unstamp("[out]", &shown) == expected,
        "{} bytes",
        shown.len()
    );
    let notices = stderr(&output);
    assert_says(
        &notices,
        &["a.sh-", ".log: File too large", " bytes lost on "],
    );
    assert_says(&unstamp("[err]", &notices), &["done\n"]);
}

#[test]
fn a_notice_is_one_line_whatever_is_in_it() {
    let output = marking().run_step().args(["--step", "a\nb"]).output();
    assert_says(&refusal(&output.unwrap(), 2), &["--step a\\nb: expected"]);
}

// Help.

#[test]
fn help_teaches_commands_variables_and_exit_codes() {
    for argument in ["-h", "--help"] {
        let help = printed(&agent().arg(argument).output().unwrap());
        assert_says(&help, &["run-step", "Environment:", "Exit codes:"]);
        assert!(!help.contains("chroot-exec"), "{help}");

        let help = printed(&agent().args(["run-step", argument]).output().unwrap());
        assert_says(
            &help,
            &["--mode", "--step", "--chroot", "--log-dir", "COPY_DIR"],
        );
        assert_says(&help, &["Exit codes:", "apply-check"]);
        for variable in [
            "SKYHOOK_AGENT_BUFFER_LIMIT",
            "SKYHOOK_AGENT_DRAIN_TIMEOUT",
            "SKYHOOK_AGENT_WRITE_LOGS",
            "SKYHOOK_LOG_DIR",
        ] {
            assert_says(&help, &[variable]);
        }
    }
}

#[test]
fn the_version_is_that_of_the_crate() {
    let output = agent().arg("--version").output().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(printed(&output), format!("skyhook-agent {version}\n"));
}

#[test]
fn wrong_usage_is_2_with_the_usage_on_stderr() {
    for arguments in [
        &[][..],
        &["run-step"],
        &["run-steps", "copy"],
        &["run-step", "copy", "--no-such-option"],
        &["run-step", ""],
        &["chroot-exec", "control.json"],
    ] {
        let output = agent().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "");
        assert_says(&stderr(&output), &["--help"]);
    }
}

#[test]
fn help_without_a_reader_is_no_reason_to_panic() {
    let mut command = agent();
    let run = command
        .arg("--help")
        .stdout(no_reader())
        .stderr(Stdio::piped())
        .spawn();
    let output = run.unwrap().wait_with_output().unwrap();
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}
