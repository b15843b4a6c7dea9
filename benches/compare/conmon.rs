//! Starts conmon without a container engine.
//!
//! conmon starts what it takes for a container runtime: here a script, which starts
//! the producer and writes down its process id.
//!
//! conmon has two ways out for the output. One is its log. It keeps one log file
//! only: of several `--log-path k8s-file:...` the last one counts. The other is its
//! attach socket, to which it sends every read as it came, for a client that shows
//! the output: `podman run` is such a client. A contender with a console therefore
//! consists of conmon and the least client, [`attach`].

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, socket,
};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::Result;
use crate::contenders::Job;
use crate::measure::Pipeline;
use crate::package::copy_program;
use crate::roles::{ATTACH, PRODUCE, write_all};

/// The FIFO by which the client says that it is connected.
const CONNECTED: &str = "connected";

/// conmon as it is used most: with its log alone.
pub fn with_log(job: &Job<'_>) -> Result<Pipeline> {
    Ok(Pipeline {
        producer: None,
        processes: vec![conmon(job, "")?],
    })
}

/// conmon and a client of its attach socket.
pub fn with_log_and_console(job: &Job<'_>) -> Result<Pipeline> {
    let connected = job.package.join(CONNECTED);
    if !connected.exists() {
        mkfifo(&connected, Mode::S_IRWXU)?;
    }
    // conmon sends nothing to a client that comes later.
    let wait = format!("read -r _ < '{}'\n", connected.display());
    let mut client = job.this_binary(&[ATTACH])?;
    client.arg(job.package);
    Ok(Pipeline {
        producer: None,
        processes: vec![conmon(job, &wait)?, client],
    })
}

/// conmon whose runtime does `before` first.
fn conmon(job: &Job<'_>, before: &str) -> Result<Command> {
    let producer = job.package.join("produce");
    copy_program(&std::env::current_exe()?, &producer)?;
    let runtime = job.package.join("runtime");
    let script = format!(
        "#!/bin/sh\n\
         while [ \"$1\" != --pid-file ]; do shift; done\n\
         {before}\
         '{}' {PRODUCE} {} &\n\
         printf %s $! > \"$2\"\n",
        producer.display(),
        job.output.join(" ")
    );
    fs::write(&runtime, script)?;
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755))?;
    let mut log = OsString::from("k8s-file:");
    log.push(job.log());
    let mut command = Command::new("conmon");
    command
        .args(["--sync", "--full-attach", "--no-sync-log"])
        .args(["--cid", "compare", "--cuuid", "compare"])
        .args(["--name", "compare"])
        .arg("--runtime")
        .arg(runtime)
        .arg("--bundle")
        .arg(job.package)
        .arg("--container-pidfile")
        .arg(job.package.join("pid"))
        .arg("--conmon-pidfile")
        .arg(job.package.join("conmon-pid"))
        .arg("--exit-dir")
        .arg(job.package)
        .arg("--log-path")
        .arg(log);
    Ok(command)
}

/// The role of the client: writes to its stdout what conmon sends.
pub fn attach(bundle: &str) -> Result<()> {
    let socket = connect_to(Path::new(bundle))?;
    // The runtime's script reads this, and then starts the producer.
    File::options()
        .write(true)
        .open(Path::new(bundle).join(CONNECTED))?
        .write_all(b"\n")?;
    let mut stdout = io::stdout().lock();
    // A message is one of conmon's reads, with a byte before it that says which
    // stream it is of.
    let mut buffer = vec![0; 1 << 16];
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())? {
            0 => return Ok(()),
            len => write_all(&buffer[1..len], &mut stdout)?,
        }
    }
}

/// Connects to the attach socket, once conmon listens on it.
fn connect_to(bundle: &Path) -> Result<OwnedFd> {
    let path = bundle.join("attach");
    let start = Instant::now();
    loop {
        let socket = socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        match connect(socket.as_raw_fd(), &UnixAddr::new(&path)?) {
            Ok(()) => return Ok(socket),
            Err(error) if start.elapsed() > Duration::from_secs(10) => {
                return Err(format!("{}: {error}", path.display()).into());
            }
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}
