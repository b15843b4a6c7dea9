//! `chroot-exec CONTROL_FILE CHROOT_DIR` (contract §3): the real binary becomes
//! a step, or says in one line why it cannot.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use serde_json::json;
use support::chroot_exec::ChrootExec;
use support::{
    LEAVES_A_MARK, Skip, agent, assert_says, fill_root, is_root, names, set_mode, skip, stderr,
    stdout_of_success, write_script,
};

#[test]
fn the_child_becomes_the_step_in_the_copy_dir() {
    let child = ChrootExec::script("#!/bin/sh\npwd -P\necho \"$@\" $$\n");
    let cmd = json!([child.path("step"), "a  b", "", "c"]);
    let child = child.with("cmd", cmd);
    let process = child.command().stdout(Stdio::piped()).spawn().unwrap();
    let pid = process.id();
    let dir = child.dir.path().canonicalize().unwrap();
    assert_eq!(
        stdout_of_success(&process.wait_with_output().unwrap()),
        format!("{}\na  b  c {pid}\n", dir.display())
    );
}

#[test]
fn the_step_s_argument_0_is_its_program_as_written_in_cmd() {
    let child = ChrootExec::new(&["cat", "/proc/self/cmdline"]);
    assert_eq!(child.succeed(), "cat\0/proc/self/cmdline\0");
}

#[test]
fn stdin_is_inherited() {
    let child = ChrootExec::new(&["cat"]);
    let mut process = child
        .command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(b"words").unwrap();
    assert_eq!(
        stdout_of_success(&process.wait_with_output().unwrap()),
        "words"
    );
}

#[test]
fn exit_codes_are_those_of_the_step() {
    for code in [0, 1, 42, 255] {
        let output = ChrootExec::script(&format!("#!/bin/sh\nexit {code}\n")).run();
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn a_signal_that_ends_the_step_ends_the_child() {
    for (name, number) in [("TERM", 15), ("KILL", 9), ("PIPE", 13)] {
        let output = ChrootExec::script(&format!("#!/bin/sh\nkill -{name} $$\n")).run();
        assert_eq!(output.status.signal(), Some(number));
        assert_eq!(stderr(&output), "");
    }
}

// The root.

#[test]
fn the_step_runs_inside_the_root() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can chroot"));
    }
    let root = tempfile::tempdir().unwrap();
    fill_root(root.path());
    fs::create_dir(root.path().join("package")).unwrap();
    let step = root.path().join("package/step");
    write_script(&step, "#!/bin/sh\npwd -P\necho *\ncd ..\npwd -P\necho *\n");
    set_mode(&step, 0o644);

    let child = ChrootExec::new(&["/package/step"])
        .with("no_chmod", false)
        .with("copy_dir", "/package");
    assert_eq!(
        stdout_of_success(&child.command_in(root.path()).output().unwrap()),
        format!("/package\nstep\n/\n{}\n", names(root.path()).join(" "))
    );
}

#[test]
fn a_program_is_looked_up_inside_the_root() {
    if !is_root() {
        skip!(Skip::NotPossible("only root can chroot"));
    }
    let root = tempfile::tempdir().unwrap();
    fill_root(root.path());
    write_script(&root.path().join("tool"), "#!/bin/sh\necho \"$0\"\n");
    let child = ChrootExec::new(&["tool"])
        .with("env", json!({ "PATH": "/bin:/" }))
        .with("copy_dir", "/");
    let output = child.command_in(root.path()).output().unwrap();
    assert_eq!(stdout_of_success(&output), "/tool\n");
}

#[test]
fn an_ordinary_user_cannot_change_the_root_and_is_told_so() {
    if is_root() {
        skip!(Skip::NotPossible("root may chroot"));
    }
    let child = ChrootExec::script(LEAVES_A_MARK);
    let line = child.refusal(child.command_in("/usr"));
    assert_says(
        &line,
        &["cannot change the root to /usr: ", "not permitted"],
    );
}

/// `/` is the root already, so that nothing changes and no privilege is needed.
#[test]
fn the_chroot_dir_slash_needs_no_privilege() {
    let child = ChrootExec::script("#!/bin/sh\necho here\n");
    assert_eq!(
        stdout_of_success(&child.command_in("/").output().unwrap()),
        "here\n"
    );
}

#[test]
fn a_root_that_is_not_there_is_named() {
    let child = ChrootExec::script(LEAVES_A_MARK);
    let line = child.refusal(child.command_in("/no/such/root"));
    assert_says(&line, &["/no/such/root: No such file"]);
}

// The control file.

#[test]
fn a_copy_dir_that_is_not_absolute_is_refused() {
    let sound = ChrootExec::script(LEAVES_A_MARK);
    sound.succeed();
    assert!(sound.has_run(), "the step leaves no mark");

    for copy_dir in [json!("."), json!("steps"), json!(""), json!(null)] {
        let child = ChrootExec::script(LEAVES_A_MARK).with("copy_dir", copy_dir);
        let line = child.refusal(child.command());
        assert_says(
            &line,
            &["control.json: copy_dir: expected an absolute path"],
        );
    }
    let mut child = ChrootExec::script(LEAVES_A_MARK);
    child.control.as_object_mut().unwrap().remove("copy_dir");
    let line = child.refusal(child.command());
    assert_says(
        &line,
        &["control.json: copy_dir: expected an absolute path"],
    );
}

#[test]
fn a_copy_dir_that_cannot_be_entered_is_refused() {
    for copy_dir in ["/no/such/dir", "/dev/null"] {
        let child = ChrootExec::script(LEAVES_A_MARK).with("copy_dir", copy_dir);
        let line = child.refusal(child.command());
        assert_says(&line, &["cannot enter ", copy_dir]);
    }
}

#[test]
fn a_file_that_is_not_a_control_file_is_refused() {
    let child = ChrootExec::script(LEAVES_A_MARK);
    let sound = child.control.to_string();
    let cut = &sound[..sound.len() - 1];
    for control in [
        "",
        "{}",
        "[]",
        "\u{0}",
        cut,
        r#"{"cmd": "sh", "copy_dir": "/"}"#,
    ] {
        let line = child.refusal(child.command_of(control, "local"));
        assert_says(&line, &["control.json: expected a control file's JSON: "]);
    }
}

#[test]
fn a_control_file_that_is_not_there_is_named() {
    let child = ChrootExec::new(&[]);
    let mut command = agent();
    command.args(["chroot-exec", "/no/such/control.json", "local"]);
    let line = child.refusal(command);
    assert_says(
        &line,
        &["cannot read", "/no/such/control.json: No such file"],
    );
}

#[test]
fn a_command_without_a_program_is_refused() {
    let child = ChrootExec::new(&[]);
    let line = child.refusal(child.command());
    assert_says(&line, &["control.json: cmd: expected a program"]);
}

#[test]
fn a_nul_byte_in_any_field_is_refused() {
    let child = ChrootExec::script(LEAVES_A_MARK);
    for (key, value) in [
        ("cmd", json!(["a\0"])),
        ("cmd", json!([child.path("step"), "a\0b"])),
        ("env", json!({ "A": "\0" })),
        ("env", json!({ "A\0": "" })),
        ("copy_dir", json!("/\0")),
    ] {
        let mut control = child.control.clone();
        control[key] = value;
        let line = child.refusal(child.command_of(&control.to_string(), "local"));
        assert_says(
            &line,
            &[&format!("control.json: {key}: expected no NUL byte")],
        );
    }
}

// The program.

/// It would set a variable of another name.
#[test]
fn an_environment_name_with_an_equals_sign_is_refused() {
    let child = ChrootExec::script(LEAVES_A_MARK).with("env", json!({ "A=B": "c" }));
    let line = child.refusal(child.command());
    assert_says(&line, &["control.json: env: expected no = in a name"]);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    for no_chmod in [false, true] {
        let child = ChrootExec::new(&["/no/such/program"]).with("no_chmod", no_chmod);
        let line = child.refusal(child.command());
        assert_says(&line, &["/no/such/program: No such file"]);
    }
    let path = json!({ "PATH": "/bin:/no/such/dir:/dev/null" });
    let child = ChrootExec::new(&["no-such-program"]).with("env", path);
    let line = child.refusal(child.command());
    assert_says(&line, &["cannot run no-such-program: No such file"]);
}

#[test]
fn a_program_without_an_interpreter_line_is_not_handed_to_a_shell() {
    let child = ChrootExec::script(LEAVES_A_MARK.strip_prefix("#!/bin/sh\n").unwrap());
    let line = child.refusal(child.command());
    assert_says(&line, &["/step: Exec format error", "#!"]);

    let path = json!({ "PATH": child.dir.path() });
    let child = child
        .with("cmd", json!(["step"]))
        .with("no_chmod", true)
        .with("env", path);
    let line = child.refusal(child.command());
    assert_says(&line, &["step: Exec format error", "#!"]);
}

#[test]
fn a_missing_interpreter_is_not_taken_for_a_missing_program() {
    let child = ChrootExec::script("#!/no/such/interpreter\n");
    let line = child.refusal(child.command());
    assert_says(&line, &["/step: No such file", "interpreter"]);
}

#[test]
fn a_missing_program_is_not_taken_for_a_missing_interpreter() {
    for program in ["/no/such/program", "no/such/program", "no-such-program"] {
        // A directory of the tester's PATH may be one that this user may not look into.
        let child = ChrootExec::new(&[program])
            .with("no_chmod", true)
            .with("env", json!({ "PATH": "/bin:/usr/bin" }));
        let line = child.refusal(child.command());
        assert_says(&line, &[program, "No such file"]);
        assert!(!line.contains("interpreter"), "{line}");
    }
}

#[test]
fn a_directory_cannot_be_the_program() {
    for no_chmod in [false, true] {
        let child = ChrootExec::new(&[]).with("no_chmod", no_chmod);
        let dir = child.path("step");
        fs::create_dir(&dir).unwrap();
        let child = child.with("cmd", json!([dir]));
        let line = child.refusal(child.command());
        assert_says(&line, &["cannot run ", "/step: Permission denied"]);
    }
}

#[test]
fn a_program_is_made_executable_for_all_and_keeps_its_other_mode_bits() {
    for (before, after) in [
        (0o640, 0o751),
        (0o600, 0o711),
        (0o444, 0o555),
        (0o744, 0o755),
        (0o2644, 0o2755),
    ] {
        let child = ChrootExec::script(LEAVES_A_MARK);
        set_mode(&child.path("step"), before);
        child.succeed();
        assert!(child.has_run());
        let mode = child.path("step").metadata().unwrap().mode() & 0o7777;
        assert_eq!(mode, after, "from {before:o}: {mode:o}");
    }
}

#[test]
fn a_program_that_is_executable_for_all_is_not_touched() {
    for mode in [0o755, 0o775, 0o555, 0o2755] {
        let child = ChrootExec::script(LEAVES_A_MARK);
        let step = child.path("step");
        set_mode(&step, mode);
        let before = step.metadata().unwrap();
        child.succeed();
        let after = step.metadata().unwrap();
        assert_eq!(after.mode() & 0o7777, mode);
        let changed = |file: &fs::Metadata| (file.ctime(), file.ctime_nsec());
        assert_eq!(changed(&after), changed(&before), "{mode:o} was set anew");
    }
}

#[test]
fn no_chmod_leaves_the_mode_alone_and_the_program_not_executable() {
    let child = ChrootExec::script(LEAVES_A_MARK).with("no_chmod", true);
    let step = child.path("step");
    set_mode(&step, 0o640);
    let line = child.refusal(child.command());
    assert_says(&line, &["/step: Permission denied", "executable"]);
    assert_eq!(step.metadata().unwrap().mode() & 0o7777, 0o640);
}
