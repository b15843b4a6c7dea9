//! Errors. Each is one line that names the thing and what was expected.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// An error of the agent. Its `Display` is one line for an operator.
#[derive(Debug)]
pub enum Error {
    /// An environment variable with a value that cannot be used (contract §5).
    Setting {
        /// The variable's name.
        name: &'static str,
        /// The value it has.
        value: String,
        /// The values that it can have.
        expected: &'static str,
    },
    /// The command line names something that does not exist.
    Usage(String),
    /// A package that cannot be used: its config.json, or a path in it.
    Package {
        /// The file at fault.
        file: PathBuf,
        /// Every problem in it, with its place.
        problems: Vec<String>,
    },
    /// A control file that chroot-exec cannot use (contract §3).
    ControlFile {
        /// The file.
        file: PathBuf,
        /// The problem, and what was expected.
        problem: String,
    },
    /// The step's program could not be started.
    Exec {
        /// The program, as the control file has it.
        program: String,
        /// The reason.
        problem: String,
    },
    /// A command was started, and its end is not known.
    Lost {
        /// The program.
        program: String,
        /// The reason.
        source: io::Error,
    },
    /// The agent's own signals could not be set up.
    Signals(io::Error),
    /// The node does not have what was asked for.
    NotThere(String),
    /// Another agent works on the package.
    InUse {
        /// The package.
        package: String,
        /// What is known of that agent.
        holder: String,
    },
    /// A signal ended the command before it was done.
    Cancelled,
    /// The reader of a command's answer wants no more of it, as `head` does.
    ReaderLeft,
    /// The system refused something.
    Io {
        /// The action, as in "cannot {doing} {path}".
        doing: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    /// Names what was done to which path when the system refused it: reads as
    /// "cannot {doing} {path}: {source}".
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Error {
        Error::Io {
            doing,
            path: path.into(),
            source: source.into(),
        }
    }

    /// Tells if a file or directory, or one on the way to it, does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// The exit code of the process: 2 for wrong usage, 1 for a failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Setting { .. } | Error::Usage(_) => 2,
            _ => 1,
        }
    }

    /// The lines for an operator: one for each problem of a package, each with the
    /// file, so that they can be read and searched one by one; otherwise the line of
    /// `Display`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Error::Package { file, problems } => problems
                .iter()
                .map(|problem| format!("{}: {problem}", file.display()))
                .collect(),
            _ => vec![self.to_string()],
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Setting {
                name,
                value,
                expected,
            } => write!(f, "{name}: expected {expected}, got {value:?}"),
            Error::Usage(problem) | Error::NotThere(problem) => f.write_str(problem),
            Error::Package { file, problems } => {
                write!(f, "{}: {}", file.display(), problems.join("; "))
            }
            Error::ControlFile { file, problem } => write!(f, "{}: {problem}", file.display()),
            Error::Exec { program, problem } => write!(f, "cannot run {program}: {problem}"),
            Error::Lost { program, source } => {
                write!(
                    f,
                    "{program} was started, but how it went is lost: {source}"
                )
            }
            Error::InUse { package, holder } => {
                write!(
                    f,
                    "package {package} is in use by {holder}: try again when that has ended"
                )
            }
            Error::Cancelled => f.write_str("cancelled by a signal"),
            Error::ReaderLeft => f.write_str("stdout has no reader any more"),
            Error::Signals(source) => write!(f, "cannot watch for signals: {source}"),
            Error::Io {
                doing,
                path,
                source,
            } => write!(f, "cannot {doing} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } | Error::Lost { source, .. } | Error::Signals(source) => {
                Some(source)
            }
            _ => None,
        }
    }
}
