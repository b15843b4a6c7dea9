//! Steps as a person likes to watch them. Pure: reads in, bytes for a terminal out, and
//! the time is given.

mod line;

use std::fmt::Write;
use std::time::Duration;

use time::PrimitiveDateTime;

use super::Palette;
use crate::reactor::Stream;
use line::Line;
pub(crate) use line::{clean, fit};

/// The view of a run: a heading for each step, its lines with their times, its result.
///
/// On a terminal the last line is live: it shows what of a line has come, and is drawn
/// again when more comes. So a progress that a step draws with `\r` stays one line, and
/// lines of the other stream come above it.
#[derive(Debug)]
pub struct View {
    palette: Palette,
    /// The columns of the terminal, if lines can be drawn again.
    live_width: Option<usize>,
    stdout: Line,
    stderr: Line,
    /// The stream whose unfinished line is the newest.
    newest: Stream,
    /// The time for which the step has said nothing, if that is shown.
    silence: Option<Duration>,
    /// Tells if the live line stands on the terminal.
    is_drawn: bool,
    /// Tells if the live line is not as it stands there.
    is_changed: bool,
    out: String,
}

/// The place of a heading's step among all.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its number, from 1.
    pub number: usize,
    /// The number of all.
    pub of: usize,
}

const ERASE_LINE: &str = "\r\u{1b}[K";

/// Spaces in place of a time.
const NO_TIME: &str = "        ";

impl View {
    /// Shows nothing yet. With a width, the last line is live.
    #[must_use]
    pub fn new(palette: Palette, live_width: Option<usize>) -> View {
        View {
            palette,
            live_width,
            stdout: Line::default(),
            stderr: Line::default(),
            newest: Stream::Stdout,
            silence: None,
            is_drawn: false,
            is_changed: false,
            out: String::new(),
        }
    }

    /// Begins a step: its name, what it runs, and its place in the run. The texts may be
    /// shown as they are.
    pub fn heading(&mut self, name: &str, command: &str, mode: &str, place: Place) {
        let Palette { strong, dim, .. } = self.palette;
        let Place { number, of } = place;
        self.line(&format!(
            "{strong}▶ {name}{strong:#}  {command}  {dim}{mode} {number}/{of}{dim:#}"
        ));
    }

    /// Takes what one read of a stream brought.
    pub fn read(&mut self, stream: Stream, bytes: &[u8], at: PrimitiveDateTime) {
        self.silence = None;
        self.is_changed = true;
        self.newest = stream;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (mut rest, is_ended) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            loop {
                rest = self.unfinished(stream).add(rest, at);
                if rest.is_empty() {
                    break;
                }
                self.finish_line(stream);
            }
            if is_ended {
                self.finish_line(stream);
            }
        }
    }

    /// Says that the step has said nothing for this long.
    pub fn silent(&mut self, time: Duration) {
        if self.live_width.is_some() {
            self.silence = Some(time);
            self.is_changed = true;
        } else {
            let dim = self.palette.dim;
            let time = seconds(time);
            self.line(&format!("{dim}{NO_TIME} … {time}{dim:#}"));
        }
    }

    /// Ends a step that succeeded.
    pub fn succeeded(&mut self, name: &str, time: Duration) {
        self.finish_lines();
        let good = self.palette.good;
        let time = seconds(time);
        self.line(&format!("{good}✓ {name}{good:#} {time}"));
    }

    /// Ends a step that failed, and says how, and after what time if it ran.
    pub fn failed(&mut self, name: &str, how: &str, time: Option<Duration>) {
        self.finish_lines();
        let bad = self.palette.bad;
        let time = time.map(|time| format!(" after {}", seconds(time)));
        let time = time.unwrap_or_default();
        self.line(&format!("{bad}✗ {name}{bad:#} {how}{time}"));
    }

    /// Ends the run.
    pub fn summary(&mut self, is_good: bool, totals: &str, time: Duration) {
        let style = match is_good {
            true => self.palette.good,
            false => self.palette.bad,
        };
        let mark = if is_good { '✓' } else { '✗' };
        let time = seconds(time);
        self.line("");
        self.line(&format!("{style}{mark} {totals}{style:#} in {time}"));
    }

    /// Adds a line that explains what came before.
    pub fn note(&mut self, note: &str) {
        let dim = self.palette.dim;
        self.line(&format!("{dim}  {note}{dim:#}"));
    }

    /// Makes room for a line that does not go through the view.
    pub fn make_room(&mut self) {
        if self.is_drawn {
            self.is_drawn = false;
            self.is_changed = true;
            self.out.push_str(ERASE_LINE);
        }
    }

    /// Gives what is to be written now to `write`, with the live line as it is.
    pub fn draw<T>(&mut self, write: impl FnOnce(&[u8]) -> T) -> T {
        if let Some(width) = self.live_width
            && self.is_changed
        {
            self.make_room();
            self.is_changed = false;
            let live = self.live_line(width);
            self.is_drawn = !live.is_empty();
            self.out.push_str(&live);
        }
        self.take(write)
    }

    /// Gives what is to be written now to `write`, and draws no live line.
    pub fn take<T>(&mut self, write: impl FnOnce(&[u8]) -> T) -> T {
        let written = write(self.out.as_bytes());
        self.out.clear();
        written
    }

    fn live_line(&self, width: usize) -> String {
        let (first, second) = match self.newest {
            Stream::Stdout => (Stream::Stdout, Stream::Stderr),
            Stream::Stderr => (Stream::Stderr, Stream::Stdout),
        };
        let line = |stream| match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        let shown = [first, second].into_iter().find(|s| !line(*s).is_empty());
        let dim = self.palette.dim;
        let silence = self.silence.map(|time| format!(" … {}", seconds(time)));
        let silence = silence.unwrap_or_default();
        // A line as wide as the terminal would begin another one.
        let room = width.saturating_sub(NO_TIME.len() + " │ ".chars().count() + silence.len() + 1);
        match shown {
            Some(stream) => {
                let text = line(stream).text();
                let text = self.with_time(stream, line(stream).at, &fit(&text, room));
                format!("{text}{dim}{silence}{dim:#}")
            }
            None if silence.is_empty() => String::new(),
            None => format!("{dim}{NO_TIME}{silence}{dim:#}"),
        }
    }

    fn unfinished(&mut self, stream: Stream) -> &mut Line {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Shows the unfinished line of a stream as a whole one.
    fn finish_line(&mut self, stream: Stream) {
        let line = self.unfinished(stream);
        let (text, at) = (line.text(), line.at);
        line.clear();
        let shown = self.with_time(stream, at, &text);
        self.line(&shown);
    }

    fn finish_lines(&mut self) {
        self.silence = None;
        self.is_changed = true;
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.unfinished(stream).is_empty() {
                self.finish_line(stream);
            }
        }
    }

    fn with_time(&self, stream: Stream, at: Option<PrimitiveDateTime>, text: &str) -> String {
        let Palette { dim, warning, .. } = self.palette;
        let time = at.map_or_else(
            || NO_TIME.to_owned(),
            |at| {
                let (hour, minute, second) = at.as_hms();
                format!("{hour:02}:{minute:02}:{second:02}")
            },
        );
        match stream {
            Stream::Stdout => format!("{dim}{time} │{dim:#} {text}"),
            Stream::Stderr => format!("{dim}{time}{dim:#} {warning}!{warning:#} {text}"),
        }
    }

    fn line(&mut self, line: &str) {
        self.make_room();
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{line}");
    }
}

/// A time as a person says it: `0.2 s`, `12 s`, `3 min 5 s`, `1 h 2 min`.
pub(crate) fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use time::{Date, Time};

    use super::*;

    fn at(second: u8) -> PrimitiveDateTime {
        let time = Time::from_hms(9, 5, second).unwrap();
        PrimitiveDateTime::new(Date::MIN, time)
    }

    fn shown(view: &mut View) -> String {
        view.draw(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn a_line_has_the_time_at_which_it_was_finished() {
        let mut view = View::new(Palette::PLAIN, None);
        view.read(Stream::Stdout, b"begun", at(1));
        assert_eq!(shown(&mut view), "");
        view.read(Stream::Stderr, b"oops\n", at(2));
        view.read(Stream::Stdout, b" and done\nnext", at(3));
        view.succeeded("a", Duration::from_millis(1340));
        assert_eq!(
            shown(&mut view),
            "09:05:02 ! oops\n09:05:03 │ begun and done\n09:05:03 │ next\n✓ a 1.3 s\n"
        );
    }

    #[test]
    fn a_live_line_is_drawn_again_and_others_come_above_it() {
        let mut view = View::new(Palette::PLAIN, Some(40));
        view.read(Stream::Stdout, b"10%", at(1));
        assert_eq!(shown(&mut view), "09:05:01 │ 10%");
        assert_eq!(shown(&mut view), "");
        view.read(Stream::Stdout, b"\r20%", at(1));
        assert_eq!(shown(&mut view), "\r\u{1b}[K09:05:01 │ 20%");
        view.read(Stream::Stderr, b"slow\n", at(2));
        assert_eq!(
            shown(&mut view),
            "\r\u{1b}[K09:05:02 ! slow\n09:05:01 │ 20%"
        );
        view.read(Stream::Stdout, b"\rdone\n", at(3));
        assert_eq!(shown(&mut view), "\r\u{1b}[K09:05:03 │ done\n");
    }

    #[test]
    fn a_live_line_stays_in_the_width_of_the_terminal() {
        let mut view = View::new(Palette::PLAIN, Some(20));
        view.read(Stream::Stdout, b"0123456789", at(1));
        assert_eq!(shown(&mut view), "09:05:01 │ 01234567");
        view.read(Stream::Stdout, b"\n", at(2));
        assert_eq!(shown(&mut view), "\r\u{1b}[K09:05:02 │ 0123456789\n");
    }

    #[test]
    fn silence_is_shown_until_something_comes() {
        let mut view = View::new(Palette::PLAIN, Some(40));
        view.silent(Duration::from_secs(10));
        assert_eq!(shown(&mut view), "         … 10 s");
        view.silent(Duration::from_secs(20));
        assert_eq!(shown(&mut view), "\r\u{1b}[K         … 20 s");
        view.read(Stream::Stdout, b"a\n", at(1));
        assert_eq!(shown(&mut view), "\r\u{1b}[K09:05:01 │ a\n");

        let mut view = View::new(Palette::PLAIN, None);
        view.silent(Duration::from_secs(90));
        assert_eq!(shown(&mut view), "         … 1 min 30 s\n");
    }

    #[test]
    fn a_line_of_the_agent_finds_room() {
        let mut view = View::new(Palette::PLAIN, Some(40));
        view.read(Stream::Stdout, b"10%", at(1));
        shown(&mut view);
        view.make_room();
        let room = view.take(<[u8]>::to_vec);
        assert_eq!(room, b"\r\x1b[K");
        assert_eq!(shown(&mut view), "09:05:01 │ 10%");
    }
}
