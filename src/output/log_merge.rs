//! Merges logs by the time of each line.
//!
//! Promises that lines of one log stay in their order, also if the clock went back, and
//! that of lines with one time those of the log which was added first come first. Memory
//! and descriptors are bounded: of many logs, some are closed until it is their turn.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::rc::Rc;

use super::log_reader::{Found, Line, LineEnd, LogReader, Place};
use super::runs::Run;
use crate::error::Error;
use crate::host::Root;
use crate::reactor::Stream;
use crate::stamp::Stamp;

/// The most logs that are open at a time. Each has a buffer of 128 KiB.
const MOST_OPEN: usize = 64;

/// The logs of some runs.
#[derive(Debug)]
pub struct Merge<'r> {
    root: &'r Root,
    logs: Vec<Log>,
    /// The logs that have a line to give, except `current`; the line that is due first on
    /// top.
    due: BinaryHeap<Reverse<(Stamp, usize)>>,
    /// The log whose line was given last.
    current: Option<usize>,
    open: usize,
}

/// One of the logs.
#[derive(Debug)]
pub struct Log {
    /// The run.
    pub run: Rc<Run>,
    /// The stream of the run.
    pub stream: Stream,
    /// The time of its line that was found last; before that, of the start of the run.
    time: Stamp,
    /// It has a line to give.
    has_line: bool,
    is_final: bool,
    /// Another file has its name: what it still has to give is the last.
    is_replaced: bool,
    /// Device and number of its file.
    id: Option<(u64, u64)>,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    Open(Box<LogReader<File>>),
    /// Closed, to be opened again at this place.
    Parked {
        place: Place,
        /// There is text after the place, as far as is known.
        has_rest: bool,
    },
    Ended,
}

/// A line, and the log that has it.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'m> {
    /// The log's run.
    pub run: &'m Rc<Run>,
    /// The log's stream.
    pub stream: Stream,
    /// The line's place among others: its time; if that is not known, the time of the line
    /// before it in the log, or of the start of the run.
    pub due: Stamp,
    /// The line.
    pub line: Line<'m>,
}

/// What a look at logs that are still written to has found.
#[derive(Debug)]
pub enum Finding {
    /// The log at this path is shorter than before: it is read from its start again.
    Truncated(PathBuf),
    /// Another file has the name of the log of this stream.
    Replaced(Rc<Run>, Stream),
    /// A log cannot be read further.
    Failed(Error),
}

impl<'r> Merge<'r> {
    /// No logs yet.
    #[must_use]
    pub fn new(root: &'r Root) -> Merge<'r> {
        Merge {
            root,
            logs: Vec::new(),
            due: BinaryHeap::new(),
            current: None,
            open: 0,
        }
    }

    /// Adds the log of one stream of a run that started at the local time `start`. A log
    /// that is missing has no lines. Of one that `is_final`, the end is the end.
    ///
    /// # Errors
    /// If the log cannot be read. It has no lines then.
    pub fn add(
        &mut self,
        run: &Rc<Run>,
        stream: Stream,
        start: Stamp,
        is_final: bool,
    ) -> Result<(), Error> {
        self.add_from(Place::default(), run, stream, start, is_final)
    }

    fn add_from(
        &mut self,
        place: Place,
        run: &Rc<Run>,
        stream: Stream,
        start: Stamp,
        is_final: bool,
    ) -> Result<(), Error> {
        self.logs.push(Log {
            run: Rc::clone(run),
            stream,
            time: start,
            has_line: false,
            is_final,
            is_replaced: false,
            id: None,
            reading: Reading::Parked {
                place,
                has_rest: false,
            },
        });
        self.find_next(self.logs.len() - 1)
    }

    /// Gives the line that is due next; `None` if no log has a line to give.
    ///
    /// # Errors
    /// If a log cannot be read further. The other logs go on: call it again.
    pub fn next_line(&mut self) -> Result<Option<Entry<'_>>, Error> {
        self.advance()?;
        Ok(self.current.and_then(|at| self.entry(at)))
    }

    fn advance(&mut self) -> Result<(), Error> {
        if let Some(at) = self.current.take() {
            let is_piece = self.pass(at);
            let found = self.find(at)?;
            if let Some(due) = found {
                // The rest of a line is not torn off.
                let is_first = self.due.peek().is_none_or(|Reverse(top)| (due, at) <= *top);
                if is_piece || is_first {
                    self.current = Some(at);
                    return Ok(());
                }
                self.due.push(Reverse((due, at)));
            }
        }
        while let Some(Reverse((_, at))) = self.due.pop() {
            // It may have been closed since.
            if self.find(at)?.is_some() {
                self.current = Some(at);
                break;
            }
        }
        Ok(())
    }

    fn entry(&self, at: usize) -> Option<Entry<'_>> {
        let log = self.logs.get(at)?;
        let Reading::Open(reader) = &log.reading else {
            return None;
        };
        Some(Entry {
            run: &log.run,
            stream: log.stream,
            due: log.time,
            line: reader.line()?,
        })
    }

    /// Goes past the line of a log, and tells if it was a piece.
    fn pass(&mut self, at: usize) -> bool {
        let Some(Log {
            reading: Reading::Open(reader),
            ..
        }) = self.logs.get_mut(at)
        else {
            return false;
        };
        let is_piece = reader.line().is_some_and(|line| line.end == LineEnd::Piece);
        reader.pass();
        is_piece
    }

    /// Finds the next line of a log that has had none to give.
    fn find_next(&mut self, at: usize) -> Result<(), Error> {
        if let Some(due) = self.find(at)? {
            self.due.push(Reverse((due, at)));
        }
        Ok(())
    }

    /// Finds the line of a log, and the time at which it is due.
    fn find(&mut self, at: usize) -> Result<Option<Stamp>, Error> {
        let loaded = self.load(at);
        let Some(log) = self.logs.get_mut(at) else {
            return Ok(None);
        };
        log.has_line = false;
        loaded?;
        let Reading::Open(reader) = &mut log.reading else {
            return Ok(None);
        };
        match reader.find() {
            Ok(Found::Line) => {
                log.has_line = true;
                let time = reader.line().and_then(|line| line.time);
                log.time = time.unwrap_or(log.time);
                Ok(Some(log.time))
            }
            Ok(Found::Nothing) => Ok(None),
            Ok(Found::End) => {
                // It may go on all the same.
                log.reading = Reading::parked(reader);
                self.open -= 1;
                Ok(None)
            }
            Err(error) => {
                let path = self.root.host_path(&log.path());
                log.reading = Reading::Ended;
                self.open -= 1;
                Err(Error::io("read", path, error))
            }
        }
    }

    /// Opens a log that is closed. That it is gone is an error only if some of it is lost.
    fn load(&mut self, at: usize) -> Result<(), Error> {
        let Some(log) = self.logs.get_mut(at) else {
            return Ok(());
        };
        let Reading::Parked { place, has_rest } = log.reading else {
            return Ok(());
        };
        log.reading = Reading::Ended;
        let path = || self.root.host_path(&log.run.path(log.stream));
        let lost = |how| {
            let why = format!("{how} before all of it was read");
            Error::io("read", path(), io::Error::other(why))
        };
        let Some(file) = log.run.open(self.root, log.stream)? else {
            if has_rest {
                return Err(lost("it was removed"));
            }
            // It may come.
            log.reading = Reading::Parked { place, has_rest };
            return Ok(());
        };
        let metadata = file
            .metadata()
            .map_err(|error| Error::io("look at", path(), error))?;
        let id = (metadata.dev(), metadata.ino());
        if log.id.is_some_and(|known| known != id) {
            return if has_rest {
                Err(lost("another file replaced it"))
            } else {
                Ok(())
            };
        }
        log.id = Some(id);
        (&file)
            .seek(SeekFrom::Start(place.offset))
            .map_err(|error| Error::io("read", path(), error))?;
        let label = match log.stream {
            Stream::Stdout => "[out]",
            Stream::Stderr => "[err]",
        };
        let reader = LogReader::new(file, label, place, log.is_final);
        log.reading = Reading::Open(Box::new(reader));
        self.open += 1;
        if self.open > MOST_OPEN {
            self.park_another(at);
        }
        Ok(())
    }

    /// Closes the log that is not needed for the longest time, except the one at `at`. One
    /// that was replaced could not be opened again: it comes last.
    fn park_another(&mut self, at: usize) {
        let others = self.logs.iter_mut().enumerate();
        let last = others
            .filter(|(other, log)| *other != at && matches!(log.reading, Reading::Open(_)))
            .max_by_key(|(_, log)| (!log.is_replaced, !log.has_line, log.time));
        if let Some((_, log)) = last
            && let Reading::Open(reader) = &log.reading
        {
            log.reading = Reading::parked(reader);
            self.open -= 1;
        }
    }
}

impl Reading {
    fn parked(reader: &LogReader<File>) -> Reading {
        Reading::Parked {
            place: reader.place(),
            has_rest: reader.has_text(),
        }
    }
}

// For logs that are still written to.
impl Merge<'_> {
    /// Adds a log as [`add`](Self::add) does, from the line on that it was in when it had
    /// `len` bytes. If it is shorter by now, all of it is new.
    ///
    /// # Errors
    /// As those of `add`.
    pub fn add_rest(
        &mut self,
        run: &Rc<Run>,
        stream: Stream,
        start: Stamp,
        len: u64,
    ) -> Result<(), Error> {
        let mut place = Place::default();
        if let Some(log) = run.open(self.root, stream)? {
            let refused = |error| {
                let path = self.root.host_path(&run.path(stream));
                Error::io("read", path, error)
            };
            if log.metadata().map_err(refused)?.len() >= len {
                place = Place::of_line_at(&log, len).map_err(refused)?;
            }
        }
        self.add_from(place, run, stream, start, false)
    }

    /// Looks for more in the logs that are `chosen`. If `is_final`, nothing more is written
    /// to them.
    pub fn go_on(&mut self, chosen: impl Fn(&Log) -> bool, is_final: bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        for at in self.positions(chosen) {
            self.go_on_in(at, is_final, &mut findings);
        }
        findings
    }

    /// Looks for those of the `chosen` logs whose names other files have by now. What they
    /// still have is given, and nothing more is looked for in them.
    pub fn take_leave(&mut self, chosen: impl Fn(&Log) -> bool) -> Vec<Finding> {
        let (root, mut findings) = (self.root, Vec::new());
        for at in self.positions(|log| chosen(log) && log.has_lost_its_name(root)) {
            self.go_on_in(at, true, &mut findings);
            if let Some(log) = self.logs.get_mut(at) {
                log.is_replaced = true;
                findings.push(Finding::Replaced(Rc::clone(&log.run), log.stream));
            }
        }
        findings
    }

    /// The places of the logs that are `chosen`, and can still go on.
    fn positions(&self, chosen: impl Fn(&Log) -> bool) -> Vec<usize> {
        let logs = self.logs.iter().enumerate();
        logs.filter(|(_, log)| !log.is_replaced && chosen(log))
            .map(|(at, _)| at)
            .collect()
    }

    fn go_on_in(&mut self, at: usize, is_final: bool, findings: &mut Vec<Finding>) {
        let loaded = self.load(at);
        findings.extend(loaded.err().map(Finding::Failed));
        let Some(log) = self.logs.get_mut(at) else {
            return;
        };
        log.is_final = is_final;
        if log.was_truncated() {
            findings.push(Finding::Truncated(log.path()));
        }
        if let Reading::Open(reader) = &mut log.reading {
            reader.go_on(is_final);
        }
        if !log.has_line && self.current != Some(at) {
            let found = self.find_next(at);
            findings.extend(found.err().map(Finding::Failed));
        }
    }

    /// Forgets the logs that are not `wanted` or were replaced, once no log has a line to
    /// give.
    pub fn retain(&mut self, wanted: impl Fn(&Log) -> bool) {
        if self.current.is_some() || !self.due.is_empty() {
            return;
        }
        self.logs.retain(|log| !log.is_replaced && wanted(log));
        let is_open = |log: &&Log| matches!(log.reading, Reading::Open(_));
        self.open = self.logs.iter().filter(is_open).count();
    }
}

impl Log {
    /// The path of its file, inside the root.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.run.path(self.stream)
    }

    /// Tells if another file has the log's name by now.
    fn has_lost_its_name(&self, root: &Root) -> bool {
        let file = self.run.open(root, self.stream).ok().flatten();
        let metadata = file.and_then(|file| file.metadata().ok());
        let id = metadata.map(|metadata| (metadata.dev(), metadata.ino()));
        // One that was missing until now has lost nothing.
        self.id.is_some() && id.is_some() && id != self.id
    }

    /// If the file is shorter than what was read of it, goes back to its start.
    fn was_truncated(&mut self) -> bool {
        let Reading::Open(reader) = &mut self.reading else {
            return false;
        };
        let mut file = reader.input();
        let is_shorter = file
            .metadata()
            .is_ok_and(|metadata| metadata.len() < reader.read_len());
        if !is_shorter || self.has_line || file.rewind().is_err() {
            return false;
        }
        reader.restart();
        true
    }
}
