//! The agent's own standard output and standard error.

use super::Sink;
use super::pretty::View;
use super::termination::Failures;
use crate::text;

/// The agent's own two streams. The agent's lines and the steps' output go through
/// it, and nothing is buffered, so that neither overtakes the other.
#[derive(Debug)]
pub struct Console {
    /// The agent's standard output.
    pub stdout: Sink,
    /// The agent's standard error.
    pub stderr: Sink,
    /// The failures, which are reported elsewhere too if the run fails.
    pub failures: Failures,
    /// The view of a person who watches; then stdout shows it, and no stamped output.
    pub view: Option<View>,
}

impl Console {
    /// Takes the process's own standard output and standard error.
    #[must_use]
    pub fn process() -> Console {
        Console::new(Sink::stdout(), Sink::stderr())
    }

    /// Takes these as standard output and standard error.
    #[must_use]
    pub fn new(stdout: Sink, stderr: Sink) -> Console {
        Console {
            stdout,
            stderr,
            failures: Failures::default(),
            view: None,
        }
    }

    /// Writes `line` and a newline to stdout, unstamped, for programs. Who watches the
    /// view is told in other words.
    pub fn print_unwatched(&mut self, line: &str) {
        if self.view.is_none() {
            self.print(line);
        }
    }

    /// Changes the view, if there is one, and shows it.
    pub fn show(&mut self, change: impl FnOnce(&mut View)) {
        let Some(view) = &mut self.view else {
            return;
        };
        change(view);
        let notice = view.draw(|bytes| self.stdout.write(bytes));
        notice.iter().for_each(|notice| self.notice(notice));
    }

    fn make_room(&mut self) {
        let Some(view) = &mut self.view else {
            return;
        };
        view.make_room();
        let notice = view.take(|bytes| self.stdout.write(bytes));
        // There is no more room to make then.
        notice.iter().for_each(|notice| self.notice(notice));
    }

    /// Writes `line` and a newline to stdout, unstamped.
    pub fn print(&mut self, line: &str) {
        self.make_room();
        if let Some(notice) = self.stdout.write(format!("{line}\n").as_bytes()) {
            self.notice(&notice);
        }
    }

    /// Says on stderr how much stdout has lost, and on stdout how much stderr has lost.
    /// To be called last of all.
    pub fn report_loss(&mut self) {
        if let Some(loss) = self.stdout.loss() {
            self.notice(&loss);
        }
        if let Some(loss) = self.stderr.loss() {
            // If stdout fails too, there is nowhere left to report it.
            let _ = self.stdout.write(own_line(&loss).as_bytes());
        }
    }

    /// Writes one line of the agent's own to stderr: `skyhook-agent: {notice}`.
    /// Characters that must not be shown, which a path may have, are escaped, so that it stays one
    /// line.
    pub fn notice(&mut self, notice: &str) {
        let line = own_line(notice);
        self.stderr_line(&line);
        self.failures.notices.add(0, line.as_bytes());
    }

    /// Writes the line that says which agent this is and what it was asked to do. To be
    /// called first of all (contract §12).
    pub fn introduce(&mut self, introduction: &str) {
        self.stderr_line(&format!("{}\n", text::escape(introduction)));
    }

    fn stderr_line(&mut self, line: &str) {
        self.make_room();
        // What is lost here is counted, and reported on stdout at the end.
        let _ = self.stderr.write(line.as_bytes());
    }
}

fn own_line(notice: &str) -> String {
    format!("skyhook-agent: {}\n", text::escape(notice))
}
