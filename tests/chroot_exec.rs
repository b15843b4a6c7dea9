//! `chroot-exec CONTROL_FILE CHROOT_DIR` (contract §3): the real binary becomes
//! a step, or says in one line why it cannot.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use nix::sys::signal::SigSet;
use serde_json::{Value, json};
use support::{
    after, agent, assert_says, fill_root, is_root, names, set_mode, stderr, stdout, write_script,
};
use tempfile::TempDir;

/// A script that shows that it ran, wherever it did: a file `ran` beside it.
const LEAVES_A_MARK: &str = "#!/bin/sh\n: > \"${0%/*}/ran\"\n";

/// A control file in the making, and the folder its command runs in.
struct Child {
    dir: TempDir,
    control: Value,
}

impl Child {
    /// A program that is there already, to be left as it is.
    fn new(cmd: &[&str]) -> Child {
        let dir = tempfile::tempdir().unwrap();
        let control = json!({ "cmd": cmd, "no_chmod": true, "env": {}, "copy_dir": dir.path() });
        Child { dir, control }
    }

    /// A program `step` in the folder.
    fn script(script: &str) -> Child {
        let child = Child::new(&[]);
        let step = child.path("step");
        write_script(&step, script);
        child.with("cmd", json!([step])).with("no_chmod", false)
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Child {
        self.control[key] = value.into();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `chroot-exec` of `control`, whatever that is.
    fn command_of(&self, control: &str, chroot_dir: impl AsRef<OsStr>) -> Command {
        let file = self.path("control.json");
        fs::write(&file, control).unwrap();
        let mut command = agent();
        command.arg("chroot-exec").arg(file).arg(chroot_dir);
        command
    }

    fn command_in(&self, chroot_dir: impl AsRef<OsStr>) -> Command {
        self.command_of(&self.control.to_string(), chroot_dir)
    }

    fn command(&self) -> Command {
        self.command_in("local")
    }

    fn run(&self) -> Output {
        self.command().output().unwrap()
    }

    /// What the step says, having succeeded and complained of nothing.
    #[track_caller]
    fn says(&self) -> String {
        said(&self.run())
    }

    /// The one line of a child that could not become its step.
    #[track_caller]
    fn refusal(&self, mut command: Command) -> String {
        let output = command.output().unwrap();
        let line = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert_eq!(stdout(&output), "", "{line}");
        assert!(!self.path("ran").exists(), "it ran all the same: {line}");
        line
    }
}

#[track_caller]
fn said(output: &Output) -> String {
    assert_eq!(stderr(output), "");
    assert!(output.status.success(), "{:?}", output.status);
    stdout(output)
}

#[test]
fn the_child_becomes_the_step_in_the_copy_dir() {
    let child = Child::script("#!/bin/sh\npwd -P\necho \"$@\" $$\n");
    let cmd = json!([child.path("step"), "a  b", "", "c"]);
    let child = child.with("cmd", cmd);
    let process = child.command().stdout(Stdio::piped()).spawn().unwrap();
    let pid = process.id();
    let dir = child.dir.path().canonicalize().unwrap();
    assert_eq!(
        said(&process.wait_with_output().unwrap()),
        format!("{}\na  b  c {pid}\n", dir.display())
    );
}

#[test]
fn the_first_argument_is_the_program_as_it_was_asked_for() {
    let child = Child::new(&["cat", "/proc/self/cmdline"]);
    assert_eq!(child.says(), "cat\0/proc/self/cmdline\0");
}

#[test]
fn stdin_is_inherited() {
    let child = Child::new(&["cat"]);
    let mut process = child
        .command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(b"words").unwrap();
    assert_eq!(said(&process.wait_with_output().unwrap()), "words");
}

#[test]
fn exit_codes_are_the_step_s_own() {
    for code in [0, 1, 42, 255] {
        let output = Child::script(&format!("#!/bin/sh\nexit {code}\n")).run();
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn a_signal_that_ends_the_step_is_its_own() {
    for (name, number) in [("TERM", 15), ("KILL", 9), ("PIPE", 13)] {
        let output = Child::script(&format!("#!/bin/sh\nkill -{name} $$\n")).run();
        assert_eq!(output.status.signal(), Some(number));
        assert_eq!(stderr(&output), "");
    }
}

// The root.

#[test]
fn the_step_runs_inside_the_root() {
    if !is_root() {
        return support::skipped("the_step_runs_inside_the_root", "only root can chroot");
    }
    let root = tempfile::tempdir().unwrap();
    fill_root(root.path());
    fs::create_dir(root.path().join("package")).unwrap();
    let step = root.path().join("package/step");
    write_script(&step, "#!/bin/sh\npwd -P\necho *\ncd ..\npwd -P\necho *\n");
    set_mode(&step, 0o644);

    let child = Child::new(&["/package/step"])
        .with("no_chmod", false)
        .with("copy_dir", "/package");
    assert_eq!(
        said(&child.command_in(root.path()).output().unwrap()),
        format!("/package\nstep\n/\n{}\n", names(root.path()).join(" "))
    );
}

#[test]
fn a_program_is_looked_up_inside_the_root() {
    if !is_root() {
        return support::skipped(
            "a_program_is_looked_up_inside_the_root",
            "only root can chroot",
        );
    }
    let root = tempfile::tempdir().unwrap();
    fill_root(root.path());
    write_script(&root.path().join("tool"), "#!/bin/sh\necho \"$0\"\n");
    let child = Child::new(&["tool"])
        .with("env", json!({ "PATH": "/bin:/" }))
        .with("copy_dir", "/");
    let output = child.command_in(root.path()).output().unwrap();
    assert_eq!(said(&output), "/tool\n");
}

#[test]
fn an_ordinary_user_is_told_that_the_root_cannot_be_changed() {
    if is_root() {
        return support::skipped(
            "an_ordinary_user_is_told_that_the_root_cannot_be_changed",
            "root can",
        );
    }
    let child = Child::script(LEAVES_A_MARK);
    let line = child.refusal(child.command_in("/usr"));
    assert_says(
        &line,
        &["cannot change the root to /usr: ", "not permitted"],
    );
}

/// It is the one there is: nothing changes, and it takes no privilege.
#[test]
fn the_root_itself_is_for_everybody() {
    let child = Child::script("#!/bin/sh\necho here\n");
    assert_eq!(said(&child.command_in("/").output().unwrap()), "here\n");
}

#[test]
fn a_root_that_is_not_there_is_named() {
    let child = Child::script(LEAVES_A_MARK);
    let line = child.refusal(child.command_in("/no/such/root"));
    assert_says(&line, &["/no/such/root: No such file"]);
}

// The control file.

#[test]
fn a_copy_dir_that_is_not_absolute_is_refused() {
    let sound = Child::script(LEAVES_A_MARK);
    sound.says();
    assert!(sound.path("ran").exists(), "the mark shows nothing");

    for copy_dir in [json!("."), json!("steps"), json!(""), json!(null)] {
        let child = Child::script(LEAVES_A_MARK).with("copy_dir", copy_dir);
        let line = child.refusal(child.command());
        assert_says(
            &line,
            &["control.json: copy_dir: expected an absolute path"],
        );
    }
    let mut child = Child::script(LEAVES_A_MARK);
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
        let child = Child::script(LEAVES_A_MARK).with("copy_dir", copy_dir);
        let line = child.refusal(child.command());
        assert_says(&line, &["cannot enter ", copy_dir]);
    }
}

#[test]
fn what_is_no_control_file_is_refused() {
    let child = Child::script(LEAVES_A_MARK);
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
    let child = Child::new(&[]);
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
    let child = Child::new(&[]);
    let line = child.refusal(child.command());
    assert_says(&line, &["control.json: cmd: expected a program"]);
}

#[test]
fn a_nul_byte_is_refused_wherever_it_is() {
    let child = Child::script(LEAVES_A_MARK);
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

/// It would set another variable than it says.
#[test]
fn an_environment_name_with_an_equals_sign_is_refused() {
    let child = Child::script(LEAVES_A_MARK).with("env", json!({ "A=B": "c" }));
    let line = child.refusal(child.command());
    assert_says(&line, &["control.json: env: expected no = in a name"]);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    for no_chmod in [false, true] {
        let child = Child::new(&["/no/such/program"]).with("no_chmod", no_chmod);
        let line = child.refusal(child.command());
        assert_says(&line, &["/no/such/program: No such file"]);
    }
    let path = json!({ "PATH": "/bin:/no/such/dir:/dev/null" });
    let child = Child::new(&["no-such-program"]).with("env", path);
    let line = child.refusal(child.command());
    assert_says(&line, &["cannot run no-such-program: No such file"]);
}

#[test]
fn a_program_without_an_interpreter_line_is_not_handed_to_a_shell() {
    let child = Child::script(LEAVES_A_MARK.strip_prefix("#!/bin/sh\n").unwrap());
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
    let child = Child::script("#!/no/such/interpreter\n");
    let line = child.refusal(child.command());
    assert_says(&line, &["/step: No such file", "interpreter"]);
}

#[test]
fn a_folder_is_no_program() {
    for no_chmod in [false, true] {
        let child = Child::new(&[]).with("no_chmod", no_chmod);
        let folder = child.path("step");
        fs::create_dir(&folder).unwrap();
        let child = child.with("cmd", json!([folder]));
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
        let child = Child::script(LEAVES_A_MARK);
        set_mode(&child.path("step"), before);
        child.says();
        assert!(child.path("ran").exists());
        let mode = child.path("step").metadata().unwrap().mode() & 0o7777;
        assert_eq!(mode, after, "from {before:o}: {mode:o}");
    }
}

#[test]
fn a_program_that_is_executable_for_all_is_not_touched() {
    for mode in [0o755, 0o775, 0o555, 0o2755] {
        let child = Child::script(LEAVES_A_MARK);
        let step = child.path("step");
        set_mode(&step, mode);
        let before = step.metadata().unwrap();
        child.says();
        let after = step.metadata().unwrap();
        assert_eq!(after.mode() & 0o7777, mode);
        let changed = |file: &fs::Metadata| (file.ctime(), file.ctime_nsec());
        assert_eq!(changed(&after), changed(&before), "{mode:o} was set anew");
    }
}

#[test]
fn no_chmod_leaves_the_mode_alone_and_the_program_not_executable() {
    let child = Child::script(LEAVES_A_MARK).with("no_chmod", true);
    let step = child.path("step");
    set_mode(&step, 0o640);
    let line = child.refusal(child.command());
    assert_says(&line, &["/step: Permission denied", "executable"]);
    assert_eq!(step.metadata().unwrap().mode() & 0o7777, 0o640);
}

// The environment, and where it has programs looked up.

#[test]
fn the_control_file_s_environment_goes_over_the_inherited_one() {
    let child = Child::new(&["/usr/bin/env"]).with("env", json!({ "B": "control", "C": "a\nb" }));
    let mut command = child.command();
    command.env_clear().envs([("A", "agent"), ("B", "agent")]);
    command.env("RAW", OsStr::from_bytes(b"\xff"));
    let output = command.output().unwrap();
    let expected = b"A=agent\nB=control\nC=a\nb\nRAW=\xff\n".as_slice();
    assert_eq!(output.stdout, expected, "{output:?}");
}

#[test]
fn the_step_s_path_decides_where_its_program_is_looked_up() {
    let child = Child::new(&["tool"]);
    for dir in ["agent", "step"] {
        fs::create_dir(child.path(dir)).unwrap();
        write_script(
            &child.path(dir).join("tool"),
            &format!("#!/bin/sh\necho {dir}\n"),
        );
    }
    let mut inherited = child.command();
    inherited.env("PATH", child.path("agent"));
    assert_eq!(said(&inherited.output().unwrap()), "agent\n");

    let env = json!({ "PATH": child.path("step") });
    let child = child.with("env", env);
    let mut command = child.command();
    command.env("PATH", child.path("agent"));
    assert_eq!(said(&command.output().unwrap()), "step\n");
}

#[test]
fn without_a_path_the_usual_places_are_searched() {
    let child = Child::new(&["sh", "-c", "echo found"]);
    let mut command = child.command();
    command.env_remove("PATH");
    assert_eq!(said(&command.output().unwrap()), "found\n");
}

#[test]
fn an_empty_entry_of_the_path_is_the_copy_dir() {
    for path in ["", ":/no/such/dir", "/no/such/dir:", "/no/such/dir::/bin"] {
        let child = Child::script("#!/bin/sh\necho found\n")
            .with("cmd", json!(["step"]))
            .with("no_chmod", true)
            .with("env", json!({ "PATH": path }));
        assert_eq!(child.says(), "found\n", "{path:?}");
    }
}

#[test]
fn a_program_that_cannot_run_is_passed_over_for_a_later_one() {
    let child = Child::script("#!/bin/sh\necho found\n");
    fs::create_dir(child.path("first")).unwrap();
    fs::write(child.path("first/step"), "").unwrap();
    let first = child.path("first").to_str().unwrap().to_owned();
    let dir = child.dir.path().to_str().unwrap().to_owned();
    let child = child.with("cmd", json!(["step"])).with("no_chmod", true);

    let child = child.with("env", json!({ "PATH": format!("{first}:{dir}") }));
    assert_eq!(child.says(), "found\n");

    // With no later one it is the reason, not the folders without one.
    let child = child.with("env", json!({ "PATH": format!("{first}:/no/such/dir") }));
    let line = child.refusal(child.command());
    assert_says(&line, &["cannot run step: Permission denied"]);
}

// What the step must not inherit. Each test first shows that it would.

/// Runs `command` with every signal blocked and these ignored.
fn with_signals_off(command: &Command) -> Output {
    let mut command = after("trap '' HUP INT QUIT PIPE ALRM TERM USR1 USR2", command);
    let blocking = thread::spawn(move || {
        SigSet::all().thread_block().unwrap();
        command.output().unwrap()
    });
    blocking.join().unwrap()
}

/// SigBlk, SigIgn and SigCgt of a /proc/self/status.
fn masks(status: &str) -> [u64; 3] {
    ["SigBlk:", "SigIgn:", "SigCgt:"].map(|name| {
        let mut lines = status.lines();
        let mask = lines.find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap()
    })
}

#[test]
fn the_step_starts_with_no_signal_blocked_or_ignored() {
    // Not grep, which catches a signal itself.
    let mut cat = Command::new("cat");
    let inherited = said(&with_signals_off(cat.arg("/proc/self/status")));
    let [blocked, ignored, _] = masks(&inherited);
    assert!(blocked != 0 && ignored != 0, "{inherited}");

    let child = Child::new(&["cat", "/proc/self/status"]);
    let status = said(&with_signals_off(&child.command()));
    assert_eq!(masks(&status), [0, 0, 0], "{status}");
}

#[test]
fn a_writer_in_a_pipe_ends_by_sigpipe() {
    let pipe = "{ yes; echo $? >&2; } | head -n 1";
    let mut sh = Command::new("/bin/sh");
    let deaf = with_signals_off(sh.args(["-c", pipe]));
    assert!(!stderr(&deaf).ends_with("141\n"), "{deaf:?}");

    let output = with_signals_off(&Child::script(&format!("#!/bin/sh\n{pipe}\n")).command());
    assert_eq!(stdout(&output), "y\n");
    assert_eq!(stderr(&output), "141\n");
}

#[test]
fn the_step_has_no_descriptors_but_the_first_three() {
    let open_two = "exec 7</dev/null 9>/dev/null";
    let mut ls = Command::new("ls");
    let inherited = after(open_two, ls.arg("/proc/self/fd")).output().unwrap();
    assert!(said(&inherited).contains("7\n9\n"));

    let child = Child::new(&["ls", "/proc/self/fd"]);
    let output = after(open_two, &child.command()).output().unwrap();
    // 3 is the folder that ls lists.
    assert_eq!(said(&output), "0\n1\n2\n3\n");
}
