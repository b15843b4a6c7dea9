//! The agent's own standard output and standard error.

use super::Sink;

/// The agent's own two streams. The agent's lines and the steps' output go through
/// it, and nothing is buffered, so that neither overtakes the other.
#[derive(Debug)]
pub struct Console {
    /// The agent's standard output.
    pub stdout: Sink,
    /// The agent's standard error.
    pub stderr: Sink,
}

impl Console {
    /// Takes the process's own standard output and standard error.
    #[must_use]
    pub fn process() -> Console {
        Console {
            stdout: Sink::stdout(),
            stderr: Sink::stderr(),
        }
    }

    /// Writes `line` and a newline to stdout, unstamped.
    pub fn print(&mut self, line: &str) {
        if let Some(notice) = self.stdout.write(format!("{line}\n").as_bytes()) {
            self.notice(&notice);
        }
    }

    /// Says on stderr how much stdout has lost. To be called last of all.
    pub fn report_loss(&mut self) {
        if let Some(loss) = self.stdout.loss() {
            self.notice(&loss);
        }
    }

    /// Writes one line of the agent's own to stderr: `skyhook-agent: {notice}`.
    /// Control characters, which a path may hold, are escaped, so that it stays one
    /// line.
    pub fn notice(&mut self, notice: &str) {
        let mut line = String::from("skyhook-agent: ");
        for c in notice.chars() {
            if c.is_control() {
                line.extend(c.escape_default());
            } else {
                line.push(c);
            }
        }
        line.push('\n');
        // If stderr fails too, there is nowhere left to report it.
        let _ = self.stderr.write(line.as_bytes());
    }
}
