//! A scripted stand-in for `skyhook-agent chroot-exec`. Tests inject its path.
//!
//! It is started like the real one, but takes the control file's `cmd` as a
//! script: each string is one instruction, a word and the rest of the string. A
//! program's path in front is passed over. Where the control file's env has
//! `FAKE=cmd`, `cmd` is no script but written to stdout, as JSON.
//!
//! | instruction | does |
//! |---|---|
//! | `out TEXT`, `err TEXT` | writes TEXT to that stream, in one write |
//! | `out64 BASE64`, `err64 BASE64` | the same with any bytes |
//! | `pages` | makes both pipes one page large, for `taken` |
//! | `wide` | makes both pipes 1 MiB large |
//! | `packets` | puts both pipes into packet mode: a read brings one write, or a page of it |
//! | `taken` | waits until the reader has taken all that was written |
//! | `mib N` | writes N MiB of 64-byte lines to each stream, taking turns |
//! | `control` | writes the control file as it is to stdout |
//! | `hold FIFO` | leaves a process behind that keeps both pipes until FIFO's writer closes |
//! | `babble` | leaves a process behind that writes to stdout until it cannot |
//! | `tell FIFO` | writes its process id to FIFO: a sign to the test |
//! | `await FIFO` | waits until FIFO's writer closes |
//! | `close-out` | closes stdout |
//! | `exit N`, `kill N` | ends with code N, or by signal N |

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Command, Stdio, exit};
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["chroot-exec", control_file, _chroot_dir] => {
            let control = std::fs::read_to_string(control_file)?;
            // As the real one does: it has started.
            File::open(control_file)?.set_modified(SystemTime::UNIX_EPOCH)?;
            play(&control)
        }
        ["hold", fifo] => wait_for_close(fifo),
        ["babble"] => loop {
            io::stdout().write_all(b"babble\n")?;
        },
        _ => panic!("unexpected arguments: {arguments:?}"),
    }
}

fn play(control: &str) -> io::Result<()> {
    let json: serde_json::Value = serde_json::from_str(control)?;
    let script = json["cmd"].as_array().expect("cmd is a list");
    if json["env"]["FAKE"] == "cmd" {
        return write(io::stdout().as_fd(), json["cmd"].to_string().as_bytes());
    }
    for line in script
        .iter()
        .map(|line| line.as_str().expect("cmd has strings"))
    {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "out" => write(io::stdout().as_fd(), rest.as_bytes())?,
            "err" => write(io::stderr().as_fd(), rest.as_bytes())?,
            "out64" => write(io::stdout().as_fd(), &decode(rest))?,
            "err64" => write(io::stderr().as_fd(), &decode(rest))?,
            "pages" => resize_pipes(4096)?,
            "wide" => resize_pipes(1 << 20)?,
            "packets" => {
                for fd in [io::stdout().as_fd(), io::stderr().as_fd()] {
                    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_DIRECT))?;
                }
            }
            "taken" => {
                for fd in [io::stdout().as_fd(), io::stderr().as_fd()] {
                    // A pipe of one page is writable only when it is empty.
                    poll(
                        &mut [PollFd::new(fd, PollFlags::POLLOUT)],
                        PollTimeout::NONE,
                    )?;
                }
            }
            "mib" => write_mib(rest.parse().expect("a number"))?,
            "control" => write(io::stdout().as_fd(), control.as_bytes())?,
            "hold" | "babble" => leave_behind(word, rest)?,
            "tell" => {
                let mut fifo = OpenOptions::new().write(true).open(rest)?;
                write!(fifo, "{}", std::process::id())?;
            }
            "await" => wait_for_close(rest)?,
            "close-out" => nix::unistd::close(1)?,
            "exit" => exit(rest.parse().expect("a number")),
            "kill" => {
                let signal: i32 = rest.parse().expect("a number");
                kill(Pid::this(), Signal::try_from(signal)?)?;
            }
            _ if word.starts_with('/') => {}
            _ => panic!("unexpected instruction: {line}"),
        }
    }
    Ok(())
}

fn write(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        bytes = &bytes[nix::unistd::write(fd, bytes)?..];
    }
    Ok(())
}

fn resize_pipes(size: i32) -> io::Result<()> {
    for fd in [io::stdout().as_fd(), io::stderr().as_fd()] {
        fcntl(fd, FcntlArg::F_SETPIPE_SZ(size))?;
    }
    Ok(())
}

fn decode(base64: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(base64).expect("base64")
}

/// Lines that count up, so that a lost, doubled or moved one shows.
fn write_mib(mib: usize) -> io::Result<()> {
    let lines_per_mib = (1 << 20) / 64;
    let block = 256;
    for first in (0..mib * lines_per_mib).step_by(block) {
        for (name, fd) in [("out", io::stdout().as_fd()), ("err", io::stderr().as_fd())] {
            let lines: String = (first..first + block)
                .map(|n| format!("{name} {n:059}\n"))
                .collect();
            write(fd, lines.as_bytes())?;
        }
    }
    Ok(())
}

fn leave_behind(word: &str, fifo: &str) -> io::Result<()> {
    let mut command = Command::new("/proc/self/exe");
    match word {
        "babble" => command.arg("babble"),
        _ => command.args(["hold", fifo]),
    };
    command.stdin(Stdio::null()).spawn()?;
    Ok(())
}

fn wait_for_close(fifo: &str) -> io::Result<()> {
    File::open(fifo)?.read_to_end(&mut Vec::new())?;
    Ok(())
}
