//! Finds the processes that can still write to a pipe. An operator needs them
//! when a step has exited and its output has not ended (contract §10).

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process that can still write to a step's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipeWriter {
    /// Its process id, as this process's /proc has it.
    pub pid: u32,
    /// Its short name (/proc/PID/comm).
    pub name: String,
}

impl fmt::Display for PipeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pid, self.name)
    }
}

/// The processes that have one of the pipes `inodes` open for writing, by
/// process id.
///
/// Only those that /proc shows to this process, which may be none: it hides the
/// descriptors of other users' processes from an ordinary user, and processes
/// outside the pid namespace from everyone.
#[must_use]
pub fn of_pipes(inodes: &[u64]) -> Vec<PipeWriter> {
    let links: Vec<String> = inodes.iter().map(|i| format!("pipe:[{i}]")).collect();
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut writers: Vec<PipeWriter> = processes
        .flatten()
        .filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            writes_to_one(&process.path(), &links).then(|| PipeWriter {
                pid,
                name: name_of(&process.path()),
            })
        })
        .collect();
    writers.sort_by_key(|writer| writer.pid);
    writers
}

fn writes_to_one(process: &Path, links: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        let Ok(target) = fs::read_link(descriptor.path()) else {
            return false;
        };
        // The link's own mode tells how the descriptor was opened; readers, this
        // process among them, do not hold the pipe open.
        links.iter().any(|link| target.as_os_str() == link.as_str())
            && fs::symlink_metadata(descriptor.path()).is_ok_and(|link| link.mode() & 0o200 != 0)
    })
}

fn name_of(process: &Path) -> String {
    match fs::read(process.join("comm")) {
        Ok(name) => String::from_utf8_lossy(&name).trim_end().to_owned(),
        Err(_) => "?".to_owned(),
    }
}
