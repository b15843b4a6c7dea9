//! Shows lines: for people, as JSON, or as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::PathBuf;
use std::rc::Rc;

use super::{Form, Grep, Options};
use crate::error::Error;
use crate::output::log_merge::Entry;
use crate::output::log_reader::LineEnd;
use crate::output::runs::Run;
use crate::output::{Palette, Printer};
use crate::reactor::Stream;
use crate::stamp::Stamp;
use crate::text;

/// What stands in place of a time that is not known: as wide as one.
const NO_TIME: &str = "               ";

/// Shows the lines that are asked for.
pub(super) struct Show {
    form: Form,
    grep: Option<Grep>,
    since: Option<Stamp>,
    palette: Palette,
    labels: Labels,
    /// The directories of logs that have the runs. With several, each custom resource has
    /// one, and two can have the same package.
    log_dirs: BTreeSet<PathBuf>,
    /// The line that was shown last: its time has the day that was said.
    newest: Option<Stamp>,
    /// What the lines of the newest run of each stream have in common.
    heads: [Option<Head>; 2],
    /// Of each label, the run whose headline was shown last.
    introduced: BTreeMap<String, Rc<Run>>,
    buffer: Vec<u8>,
}

/// What is said of a line's run in front of each line, since there are several.
#[derive(Clone, Copy, Debug, Default)]
struct Labels {
    packages: bool,
    versions: bool,
    steps: bool,
    width: usize,
}

/// What the lines of a stream of a run have in common.
struct Head {
    run: Rc<Run>,
    /// In front of the time, and between time and text.
    styled: (String, String),
    /// What is between time and text in JSON.
    json: Vec<u8>,
}

impl Show {
    pub(super) fn new(options: &Options, since: Option<Stamp>, palette: Palette) -> Show {
        Show {
            form: options.form,
            grep: options.grep.clone(),
            since,
            palette,
            labels: Labels::default(),
            log_dirs: BTreeSet::new(),
            newest: None,
            heads: [None, None],
            introduced: BTreeMap::new(),
            buffer: Vec::new(),
        }
    }

    /// Prepares for lines of these runs.
    pub(super) fn expect(&mut self, runs: &[&Run]) {
        let packages: BTreeSet<&str> = runs.iter().map(|run| &*run.package).collect();
        let versions: BTreeSet<(&str, &str)> = runs
            .iter()
            .map(|run| (&*run.package, &*run.version))
            .collect();
        let steps: BTreeSet<(&str, &str)> =
            runs.iter().map(|run| (&*run.package, &*run.step)).collect();
        self.labels.packages |= packages.len() > 1;
        self.labels.versions |= versions.len() > packages.len();
        self.labels.steps |= steps.len() > packages.len();
        self.widen(runs);
    }

    /// Prepares for lines of runs to come: of any package, of any step.
    pub(super) fn expect_others(&mut self, packages: bool, steps: bool) {
        self.labels.packages |= packages;
        self.labels.steps |= steps;
    }

    /// Makes room for what is said of these runs.
    pub(super) fn widen(&mut self, runs: &[&Run]) {
        let dirs = runs.iter().map(|run| run.log_dir().to_owned());
        self.log_dirs.extend(dirs);
        let labels = runs.iter().map(|run| self.labels.of(run).chars().count());
        self.labels.width = labels.max().unwrap_or_default().max(self.labels.width);
    }

    /// Shows a line, if it is one that is asked for.
    pub(super) fn entry(&mut self, entry: &Entry<'_>, printer: &mut Printer) -> Result<(), Error> {
        let line = &entry.line;
        if self.since.is_some_and(|since| entry.due < since) {
            return Ok(());
        }
        let is_dangling = line.end == LineEnd::Dangling;
        if let Some(grep) = &self.grep
            && (is_dangling || !grep.matches(line.text))
        {
            return Ok(());
        }
        match self.form {
            Form::Raw => printer.bytes(line.raw),
            _ if is_dangling => Ok(()),
            Form::Json => self.json(entry, printer),
            Form::Human => self.human(entry, printer),
        }
    }

    fn human(&mut self, entry: &Entry<'_>, printer: &mut Printer) -> Result<(), Error> {
        let dim = self.palette.dim;
        if self
            .newest
            .is_none_or(|newest| !newest.is_same_day(&entry.due))
        {
            printer.line(format_args!("{dim}-- {} --{dim:#}", entry.due.date()))?;
        }
        self.newest = Some(entry.due);
        if self.is_new(entry) {
            self.introduce(entry.run, printer)?;
            self.set_head(entry);
        }
        let Some(head) = self.heads.get(index(entry.stream)).and_then(Option::as_ref) else {
            return Ok(());
        };
        self.buffer.clear();
        self.buffer.extend_from_slice(head.styled.0.as_bytes());
        let time = entry.line.time.as_ref().map_or(NO_TIME, Stamp::time);
        self.buffer.extend_from_slice(time.as_bytes());
        self.buffer.extend_from_slice(head.styled.1.as_bytes());
        text::add_line(entry.line.text, &mut self.buffer);
        self.buffer.push(b'\n');
        printer.bytes(&self.buffer)
    }

    /// Shows a line as JSON, schema 1: `time`, the local time at which the line was read from
    /// the step, or `null` if the log does not tell; what [`fields`] has; and `text`. A log
    /// has millions of lines, and serde is slow in a binary that is built for size.
    fn json(&mut self, entry: &Entry<'_>, printer: &mut Printer) -> Result<(), Error> {
        if self.is_new(entry) {
            self.set_head(entry);
        }
        let Some(head) = self.heads.get(index(entry.stream)).and_then(Option::as_ref) else {
            return Ok(());
        };
        let json = &mut self.buffer;
        json.clear();
        match &entry.line.time {
            Some(time) => {
                json.extend_from_slice(b"{\"time\":\"");
                json.extend_from_slice(time.as_bytes());
                json.push(b'"');
            }
            None => json.extend_from_slice(b"{\"time\":null"),
        }
        json.extend_from_slice(&head.json);
        text::add_json(entry.line.text, json);
        json.extend_from_slice(b"}\n");
        printer.bytes(json)
    }

    /// Tells if the newest line of this stream was one of another run.
    fn is_new(&self, entry: &Entry<'_>) -> bool {
        let head = self.heads.get(index(entry.stream)).and_then(Option::as_ref);
        head.is_none_or(|head| !Rc::ptr_eq(&head.run, entry.run))
    }

    /// Says which run the lines that follow are from, unless the newest headline of their
    /// label does.
    fn introduce(&mut self, run: &Rc<Run>, printer: &mut Printer) -> Result<(), Error> {
        let label = self.labels.of(run);
        let known = self.introduced.get(&label);
        if known.is_some_and(|known| Rc::ptr_eq(known, run)) {
            return Ok(());
        }
        self.introduced.insert(label, Rc::clone(run));
        // The next line of another run is looked at again.
        self.heads = [None, None];
        let dim = self.palette.dim;
        let mut of = format!("{} {} {}", run.package, run.version, run.step);
        if self.log_dirs.len() > 1 {
            of += &format!(" in {}", run.log_dir().display());
        }
        let of = text::escape(&of);
        printer.line(format_args!("{dim}-- {of}, run {} --{dim:#}", run.id()))
    }

    fn set_head(&mut self, entry: &Entry<'_>) {
        let Palette {
            dim,
            strong,
            note,
            bad,
            ..
        } = self.palette;
        let stream = match entry.stream {
            Stream::Stdout => note,
            Stream::Stderr => bad,
        };
        let label = self.labels.of(entry.run);
        let label = match self.labels.width {
            0 => String::new(),
            width => format!("{strong}{label:width$}{strong:#} "),
        };
        let name = name(entry.stream);
        let head = Head {
            run: Rc::clone(entry.run),
            styled: (
                dim.to_string(),
                format!("{dim:#} {label}{stream}{name}{stream:#} "),
            ),
            json: fields(entry),
        };
        if let Some(slot) = self.heads.get_mut(index(entry.stream)) {
            *slot = Some(head);
        }
    }
}

impl Labels {
    /// Says whose lines they are: `pkg@1.2.3 a.sh`, or as much of it as is needed.
    fn of(self, run: &Run) -> String {
        let version: &dyn Display = if self.versions { &run.version } else { &"" };
        let at = if self.versions { "@" } else { "" };
        let mut words = Vec::new();
        if self.packages {
            words.push(format!("{}{at}{version}", run.package));
        } else if self.versions {
            words.push(run.version.clone());
        }
        if self.steps {
            words.push(run.step.clone());
        }
        text::escape(&words.join(" ")).into_owned()
    }
}

/// The fields that the lines of a stream of a run have in common, from `time` to `text`:
/// - `stream`: `out` or `err`
/// - `package`, `version`
/// - `step`: the path of the step, `interrupts/{type}_{i}` for an interrupt
/// - `run`: the start of the run, in UTC, as the names of its logs have it
fn fields(entry: &Entry<'_>) -> Vec<u8> {
    let run = entry.run;
    let mut json = Vec::new();
    for (name, value) in [
        ("stream", name(entry.stream)),
        ("package", &run.package),
        ("version", &run.version),
        ("step", &run.step),
        ("run", &run.id()),
    ] {
        json.push(b',');
        text::add_json(name.as_bytes(), &mut json);
        json.push(b':');
        text::add_json(value.as_bytes(), &mut json);
    }
    json.extend_from_slice(b",\"text\":");
    json
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "out",
        Stream::Stderr => "err",
    }
}
