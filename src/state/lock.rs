//! One agent for each package at a time (contract §10): the others wait.
//!
//! A lock is a file in the state's directory that its owner alone can open, since a user who
//! can open a file can lock it. The kernel holds the lock, so it ends with the agent,
//! however that ends. The agent removes the file when it has finished. A file that an agent
//! which was killed has left is used again.

use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::layout::{Layout, Lock};
use crate::error::Error;
use crate::host::{FileLocks, Holder, LockFile, Root, own_namespace};
use crate::stamp::{Clock, Iso8601};
use crate::system::cancel::Cancellation;

/// The time that an agent waits before it says so.
pub const NOTICE_AFTER: Duration = Duration::from_secs(10);

/// The time between the first two looks. Each later one is twice as long, up to
/// [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The number of times that the state's directory may vanish at the wrong moment. Other agents can
/// remove it only while it is empty.
const MOST_VANISHED: u32 = 100;

/// A lock that this agent holds. Dropping it releases it, and leaves no file.
#[derive(Debug)]
pub struct Held<'r> {
    file: LockFile,
    root: &'r Root,
    /// The state's directory and those above it, as far as this lock has created them.
    created: Vec<PathBuf>,
}

/// Tells who wants a lock, and how.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The task of this agent: a mode, or `interrupt`. Others that wait show it.
    pub task: &'a str,
    /// The clock for what others show.
    pub clock: &'a dyn Clock,
    /// The signals that end the wait.
    pub cancellation: &'a Cancellation,
    /// The time to wait before `on_wait` is called; usually [`NOTICE_AFTER`].
    pub notice_after: Duration,
}

/// Takes a lock of the layout's package, and waits for it as long as another agent holds
/// it. Looks again at least every 100 ms, and never waits in the kernel for the lock.
///
/// Calls `on_wait` once with what is known of the holder, if the wait takes long. Returns
/// `None` if that breaks, or if the run is cancelled during the wait.
///
/// # Errors
/// If the lock file cannot be created or locked.
pub fn take<'r>(
    root: &'r Root,
    layout: Layout<'_>,
    lock: Lock,
    request: Request<'_>,
    mut on_wait: impl FnMut(&str) -> ControlFlow<()>,
) -> Result<Option<Held<'r>>, Error> {
    let name = layout.lock_name(lock);
    let path = format!("{}/{name}", layout.root_dir);
    let refused = |error| Error::io("lock", root.host_path(Path::new(&path)), error);
    let (mut pause, mut vanished) = (FIRST_PAUSE, 0);
    let mut notice_at = Some(Instant::now() + request.notice_after);
    let (mut opened, mut created) = (None, Vec::new());
    loop {
        let mut file = match opened.take() {
            Some(file) => file,
            None => match open(root, layout.root_dir, OsStr::new(&name), &mut created) {
                // The agent that has created the directory has found nothing to do.
                Err(Error::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && vanished < MOST_VANISHED =>
                {
                    vanished += 1;
                    continue;
                }
                file => file?,
            },
        };
        let is_locked = file.try_lock().map_err(refused)?;
        // Without its name, its holder has finished, or another file has replaced it.
        if file.has_its_name().map_err(refused)? {
            if is_locked {
                // Only others need it: a full disk is no reason not to run.
                let _ = file.write_note(&note(request));
                return Ok(Some(Held {
                    file,
                    root,
                    created,
                }));
            }
            if notice_at.is_some_and(|at| at <= Instant::now()) {
                notice_at = None;
                let holder = file.read_note().unwrap_or_default();
                let holder = describe(&holder, own_namespace().as_deref());
                if on_wait(&holder).is_break() {
                    return Ok(None);
                }
            }
            opened = Some(file);
        }
        if request.cancellation.wait(pause) {
            return Ok(None);
        }
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Opens the lock file, in the state's directory, which is created if it is missing.
/// Notes the directories that were missing.
fn open(
    root: &Root,
    root_dir: &str,
    name: &OsStr,
    created: &mut Vec<PathBuf>,
) -> Result<LockFile, Error> {
    let path = Path::new(root_dir);
    if created.is_empty() {
        for above in path.ancestors() {
            if root.exists(above)? {
                break;
            }
            created.push(above.to_owned());
        }
    }
    let dir = root.create_durable_dir_all(path)?;
    dir.open_lock_file(name)
        .map_err(|error| Error::io("lock", root.host_path(&path.join(name)), error))
}

/// The note that a holder writes into its lock file, for agents that wait.
fn note(request: Request<'_>) -> String {
    let utc = request.clock.utc();
    let since = Iso8601(time::PrimitiveDateTime::new(utc.date(), utc.time()));
    let pid = std::process::id();
    let namespace = own_namespace().unwrap_or_default();
    format!("{} {pid} {since}+00:00 {namespace}\n", request.task)
}

/// Says for people who the holder of a lock is.
fn describe(note: &str, own_namespace: Option<&str>) -> String {
    let Some(note) = Note::parse(note) else {
        return "an agent that has not said who it is".to_owned();
    };
    // Only root can write the note. Even so it must not reach the terminal as it is.
    let [task, pid, since] =
        [note.task, note.pid, note.since].map(|word| word.escape_debug().to_string());
    let is_here = own_namespace.is_some() && note.namespace == own_namespace;
    let place = if is_here { "" } else { " of another container" };
    format!("the agent of {task}, process {pid}{place}, since {since}")
}

/// What a holder has written into its lock file.
#[derive(Clone, Copy)]
struct Note<'n> {
    task: &'n str,
    pid: &'n str,
    since: &'n str,
    namespace: Option<&'n str>,
}

impl<'n> Note<'n> {
    fn parse(note: &'n str) -> Option<Note<'n>> {
        let mut words = note.split_whitespace();
        Some(Note {
            task: words.next()?,
            pid: words.next()?,
            since: words.next()?,
            namespace: words.next(),
        })
    }
}

/// A run of a package, as its lock shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The path of the lock, inside the root.
    pub lock: String,
    /// The process that holds it.
    pub pid: u32,
    /// Its task: a mode, or `interrupt`; `None` if that is not known.
    pub task: Option<String>,
    /// The time at which it got the lock: UTC, ISO-8601.
    pub since: Option<String>,
}

/// What can be told of a lock without touching it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// There is no such file: no agent runs.
    Missing,
    /// A run holds it.
    Held(Run),
    /// No process holds it: an agent that was killed has left the file.
    LeftOver,
    /// Processes that cannot be seen from here may hold it.
    Unknown,
}

/// Looks at a lock of the layout's package. Only the kernel's word counts for a run: a
/// note may be of an agent that was killed, and its number of another process by now.
///
/// # Errors
/// If the system cannot tell if there is a lock file.
pub fn look(root: &Root, layout: Layout<'_>, lock: Lock, locks: &FileLocks) -> Result<Look, Error> {
    let path = format!("{}/{}", layout.root_dir, layout.lock_name(lock));
    if root.look(Path::new(&path))?.is_none() {
        return Ok(Look::Missing);
    }
    // Root alone can read it.
    let note = root.read(Path::new(&path)).unwrap_or_default();
    let note = String::from_utf8_lossy(&note);
    let note = Note::parse(&note);
    let namespace = note.and_then(|note| note.namespace);
    let is_here = namespace == locks.namespace();
    let is_of = |pid: u32| note.is_some_and(|note| note.pid == pid.to_string());
    let pid = match locks.holder(root, Path::new(&path), namespace) {
        Holder::NoProcess => return Ok(Look::LeftOver),
        Holder::Process(pid) => pid,
        Holder::Likely(pid) if is_here && is_of(pid) => pid,
        Holder::Likely(_) | Holder::Unknown => return Ok(Look::Unknown),
    };
    // Until the holder writes it, the note is that of an earlier one.
    let note = note.filter(|_| !is_here || is_of(pid));
    Ok(Look::Held(Run {
        lock: path,
        pid,
        task: note.map(|note| note.task.to_owned()),
        since: note.map(|note| note.since.to_owned()),
    }))
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // While the lock is held: a file that has the name later is another agent's. If it
        // cannot be removed it stays, and the next agent uses it.
        let _ = self.file.remove();
        for dir in &self.created {
            self.root.remove_empty_dir(dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_described_by_its_task_its_process_and_its_start() {
        let note = "apply 17 2026-05-02T21:51:23.000007+00:00 pid:[1]\n";
        let here = "the agent of apply, process 17, since 2026-05-02T21:51:23.000007+00:00";
        assert_eq!(describe(note, Some("pid:[1]")), here);
        let elsewhere = here.replace("17,", "17 of another container,");
        assert_eq!(describe(note, Some("pid:[2]")), elsewhere);
        assert_eq!(describe(note, None), elsewhere);
        let unknown = "an agent that has not said who it is";
        assert_eq!(describe("", Some("pid:[1]")), unknown);
        let escaped = "the agent of a\\u{1b}[2J, process 1 of another container, since x";
        assert_eq!(describe("a\u{1b}[2J 1 x", None), escaped);
    }
}
