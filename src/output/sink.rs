//! One place that bytes go: the parent's stdout or stderr, a log file, nowhere.
//!
//! A sink promises that what it took is written whole and in order. It fails
//! once: from then on it takes bytes and counts them as lost, and everything
//! around it goes on (contract §10).

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// One place that bytes go. Owns its descriptor; dropping it closes a file.
#[derive(Debug)]
pub struct Sink {
    name: Cow<'static, str>,
    target: Target,
    lost: u64,
}

#[derive(Debug)]
enum Target {
    Stdout(io::Stdout),
    Stderr(io::Stderr),
    File(File),
    Nowhere,
    /// Was one of the others until a write failed.
    Failed,
}

impl Sink {
    /// The process's standard output.
    #[must_use]
    pub fn stdout() -> Sink {
        Sink::new("stdout", Target::Stdout(io::stdout()))
    }

    /// The process's standard error.
    #[must_use]
    pub fn stderr() -> Sink {
        Sink::new("stderr", Target::Stderr(io::stderr()))
    }

    /// An open file (or pipe, or terminal), called `path` in notices.
    #[must_use]
    pub fn file(path: &Path, file: File) -> Sink {
        Sink::new(path.display().to_string(), Target::File(file))
    }

    /// Takes everything and keeps nothing.
    #[must_use]
    pub fn nowhere() -> Sink {
        Sink::new("nowhere", Target::Nowhere)
    }

    fn new(name: impl Into<Cow<'static, str>>, target: Target) -> Sink {
        Sink {
            name: name.into(),
            target,
            lost: 0,
        }
    }

    /// Reports the loss when no more is to come; `None` if there is none.
    #[must_use]
    pub fn loss(&self) -> Option<String> {
        (self.lost > 0).then(|| format!("{} bytes lost on {}", self.lost, self.name))
    }

    /// Writes all of `bytes`, waiting as long as the other side needs.
    ///
    /// If the sink fails, it is dropped: the rest of `bytes` and all later bytes count as [lost](Self::loss), and this one call returns the notice to
    /// give. No other call returns anything.
    #[must_use = "the notice says what was lost, and is given once"]
    pub fn write(&mut self, bytes: &[u8]) -> Option<String> {
        let written = match &self.target {
            Target::Stdout(stdout) => write_all(stdout.as_fd(), bytes),
            Target::Stderr(stderr) => write_all(stderr.as_fd(), bytes),
            Target::File(file) => write_all(file.as_fd(), bytes),
            Target::Nowhere => Ok(()),
            Target::Failed => {
                self.lost += bytes.len() as u64;
                return None;
            }
        };
        let (left, error) = written.err()?;
        self.target = Target::Failed;
        self.lost += left as u64;
        Some(format!(
            "cannot write to {}: {}; nothing more goes there, everything else goes on",
            self.name,
            io::Error::from(error)
        ))
    }
}

/// Writes all of `bytes`, or says how many were left at which error.
fn write_all(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), (usize, Errno)> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::unistd::write(fd, rest) {
            Ok(0) => return Err((rest.len(), Errno::EIO)),
            Ok(written) => rest = rest.get(written..).unwrap_or(b""),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => wait_until_writable(fd).map_err(|error| (rest.len(), error))?,
            Err(error) => return Err((rest.len(), error)),
        }
    }
    Ok(())
}

/// Waits for a descriptor that another process, which shares it, has made non-blocking. It
/// is never made blocking again: that would surprise them in turn.
fn wait_until_writable(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    loop {
        match poll(
            &mut [PollFd::new(fd, PollFlags::POLLOUT)],
            PollTimeout::NONE,
        ) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
            // Also when the reader has left: the next write says so.
            Ok(_) => return Ok(()),
        }
    }
}
