//! The support that the tests share: a [`Node`] to run the real binary on, a
//! [`Fixture`] to run the library's tee and steps with the fake chroot-exec, and the
//! tools for both.

// Each test file uses its part of this.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    unused_macros
)]
// Years and the like fit. The test harness does not capture what is written to
// stderr itself.
#![allow(clippy::cast_possible_truncation, clippy::explicit_write)]

pub mod chroot_exec;
pub mod clock;
pub mod files;
pub mod golden;
pub mod node;
pub mod process;
pub mod running;
pub mod seccomp;
pub mod skip;
pub mod status;
pub mod text;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use skyhook_agent::exec::ExecContext;
use skyhook_agent::exec::step::{Verdict, run_step};
use skyhook_agent::exec::tee::{self, End, Logs, Runner};
use skyhook_agent::host::Root;
use skyhook_agent::output::log_file::LogDir;
use skyhook_agent::output::{Console, Sink};
use skyhook_agent::package::{Idempotence, Step};
use skyhook_agent::reactor;
use skyhook_agent::stamp::{Clock, SystemClock};
use skyhook_agent::system::cancel::Cancellation;
use tempfile::TempDir;

pub use clock::{TestClock, parse_time};
pub use files::{files, log_in, names, set_mode, write_script};
pub use golden::golden;
pub use node::{LEAVES_A_MARK, Node, WAITS, interrupt_data};
pub use process::{
    agent, fill_root, full_device, in_mount_namespace, is_root, pipe_without_reader, shell,
    with_prelude, wrapped,
};
pub use running::Running;
pub use skip::Skip;
pub(crate) use skip::{or_skip, skip};
pub use text::{
    after_banner, agent_line, assert_says, assert_succeeds, stderr, stdout, stdout_of_success,
    steps_and_agent_stderr, unstamp, unstamped_success,
};

/// The scripted stand-in for `skyhook-agent chroot-exec`.
pub fn fake_chroot_exec() -> PathBuf {
    let fake = Path::new(env!("CARGO_BIN_EXE_skyhook-agent"))
        .with_file_name("examples")
        .join("fake-chroot-exec");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/fake_chroot_exec.rs");
    let built = |path| {
        fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    assert!(
        built(&fake) > built(&source),
        "missing or old: cargo build --examples"
    );
    fake
}

/// A folder with the parent's stdout and stderr as files in it, and commands run
/// through the fake chroot-exec.
pub struct Fixture {
    pub dir: TempDir,
    pub console: Console,
    pub clock: Box<dyn Clock>,
    pub options: reactor::Options,
    pub env: BTreeMap<String, String>,
    pub write_cmds: bool,
    pub write_logs: bool,
    pub chroot_exec: PathBuf,
    pub temp_dir: PathBuf,
}

/// What a command left behind: its code and every sink's content.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub log: String,
    pub err_log: String,
}

/// Cancels the runs of the thread that it was made in. That thread has to be there
/// still.
#[derive(Clone, Copy)]
pub struct Canceller(Pthread);

impl Canceller {
    const SIGNAL: Signal = Signal::SIGUSR1;

    pub fn cancel(self) {
        pthread_kill(self.0, Canceller::SIGNAL).unwrap();
    }
}

impl Fixture {
    pub fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let sink = |name: &str| {
            let path = dir.path().join(name);
            Sink::file(Path::new(name), File::create(path).unwrap())
        };
        Fixture {
            console: Console::new(sink("stdout"), sink("stderr")),
            clock: Box::new(SystemClock::default()),
            options: reactor::Options::default(),
            env: BTreeMap::new(),
            write_cmds: false,
            write_logs: true,
            chroot_exec: fake_chroot_exec(),
            temp_dir: dir.path().to_owned(),
            dir,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.path(name)).unwrap_or_default()).unwrap()
    }

    /// A named pipe, by which a script and its test wait for each other.
    pub fn fifo(&self, name: &str) -> String {
        let path = self.path(name);
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Keeps a named pipe open until something is said on stderr: a file, which can
    /// only be looked at again and again.
    pub fn release_when_noticed(&self, fifo: &str) -> JoinHandle<()> {
        let (fifo, stderr) = (fifo.to_owned(), self.path("stderr"));
        std::thread::spawn(move || {
            let writer = OpenOptions::new().write(true).open(fifo).unwrap();
            while fs::read_to_string(&stderr).unwrap().is_empty() {
                std::thread::sleep(Duration::from_millis(10));
            }
            drop(writer);
        })
    }

    /// A cancellation of the commands to come, by a signal to this thread alone.
    pub fn canceller(&mut self) -> Canceller {
        let cancellation = Cancellation::on_signals(&[Canceller::SIGNAL]).unwrap();
        self.options.cancellation = Some(Rc::new(cancellation));
        Canceller(pthread_self())
    }

    /// A script of the fake chroot-exec, to be started without a runner.
    pub fn command(&self, script: &[&str]) -> Command {
        let control = self.path("control");
        let json = serde_json::json!({ "cmd": script, "env": {} });
        fs::write(&control, json.to_string()).unwrap();
        let mut command = Command::new(fake_chroot_exec());
        command.arg("chroot-exec").arg(control).arg("local");
        command
    }

    pub fn runner(&mut self) -> Runner<'_> {
        Runner::new(
            &mut self.console,
            &*self.clock,
            self.chroot_exec.clone(),
            vec![self.temp_dir.clone()],
            self.options.clone(),
        )
    }

    /// Runs a script of the fake chroot-exec through tee, its logs in `log` and
    /// `log.err`.
    pub fn tee(&mut self, script: &[&str]) -> Ran {
        let logs = if self.write_logs {
            let file = |name: &str| {
                let path = self.path(name);
                Sink::file(&path, File::create(&path).unwrap())
            };
            Logs {
                stdout: file("log"),
                stderr: file("log.err"),
            }
        } else {
            Logs::none()
        };
        self.tee_into(script, logs)
    }

    pub fn tee_into(&mut self, script: &[&str], logs: Logs) -> Ran {
        let cmd: Vec<String> = script.iter().map(|line| (*line).to_owned()).collect();
        let env = self.env.clone();
        let write_cmds = self.write_cmds;
        let command = tee::Command {
            chroot_dir: OsStr::new("local"),
            cmd: &cmd,
            copy_dir: "/copy",
            env: &env,
            no_chmod: false,
            write_cmds,
        };
        let end = self.runner().tee(&command, logs).unwrap();
        assert_eq!(end, End::Ran { code: end.code() });
        Ran {
            code: end.code(),
            stdout: self.text("stdout"),
            stderr: self.text("stderr"),
            log: self.text("log"),
            err_log: self.text("log.err"),
        }
    }
}

/// A step whose arguments are a script of the fake chroot-exec.
pub fn step(path: &str, arguments: &[&str]) -> Step {
    Step {
        name: "s".to_owned(),
        path: path.to_owned(),
        arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        returncodes: vec![0],
        on_host: true,
        idempotence: Idempotence::Auto,
        upgrade_step: false,
        env: BTreeMap::new(),
        requires_interrupt: false,
    }
}

/// Says that a step runs in this root, with its logs in `log_dir`.
pub fn step_context<'a>(log_dir: Option<&'a LogDir<'a>>) -> ExecContext<'a> {
    ExecContext {
        chroot_dir: OsStr::new("local"),
        copy_dir: "/copy",
        log_dir,
    }
}

/// Runs one step, with its logs in the directory `log_dir`.
pub fn run_step_in(fixture: &mut Fixture, step: &Step, log_dir: Option<&Path>) -> Verdict {
    let root = Root::open(Path::new("/")).unwrap();
    let log_dir = log_dir.map(|path| LogDir::new(&root, path.to_owned()));
    let context = step_context(log_dir.as_ref());
    run_step(step, context, |_| None, &mut fixture.runner()).unwrap()
}
