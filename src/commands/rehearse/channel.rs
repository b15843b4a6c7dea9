//! What a stage says to its rehearsal, and how.
//!
//! The stage is a process in the view, and its standard input is a socket of the
//! rehearsal. Each event is one line of JSON. The stage waits for a byte in answer: while
//! the rehearsal looks at the files of the view, no step runs. A step has no part in this:
//! its standard input is `/dev/null`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use super::report::StepOutcome;
use crate::commands::Observer;
use crate::error::Error;
use crate::exec::step::Verdict;
use crate::package::Step;

/// The hidden command that runs one stage in the view.
pub const STAGE: &str = "rehearse-stage";

/// The most bytes of an event. A longer one is not of the agent.
pub(super) const LONGEST: usize = 64 * 1024;

/// The byte that lets a stage go on.
pub(super) const GO_ON: &[u8] = b"\n";

/// Something that happened to the step of this path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Event {
    pub(super) event: What,
    pub(super) step: String,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<StepOutcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<i32>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// The step starts as soon as this is answered.
    Begins,
    /// It does not run: it is done already.
    Skips,
    /// It has ended.
    Ended,
}

/// The stage's end of the channel.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
}

impl Channel {
    /// Takes the channel from the standard input, and puts `/dev/null` in its place.
    ///
    /// # Errors
    /// If the standard input cannot be replaced.
    pub fn take() -> Result<Channel, Error> {
        let taken = || {
            // Closed in the steps: they cannot speak for the stage.
            let channel = io::stdin().as_fd().try_clone_to_owned()?;
            nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
            Ok(UnixStream::from(channel))
        };
        match taken() {
            Ok(stream) => Ok(Channel { stream }),
            Err(error) => Err(refused(error)),
        }
    }

    fn tell(
        &mut self,
        event: What,
        step: &Step,
        outcome: Option<StepOutcome>,
        code: Option<i32>,
    ) -> Result<(), Error> {
        let step = step.path.clone();
        self.send(&Event {
            event,
            step,
            outcome,
            code,
        })
    }

    /// Sends an event and waits until the rehearsal lets the stage go on.
    fn send(&mut self, event: &Event) -> Result<(), Error> {
        let mut line = serde_json::to_vec(event).map_err(|error| refused(error.into()))?;
        line.push(b'\n');
        let mut answer = [0];
        self.stream
            .write_all(&line)
            .and_then(|()| self.stream.read_exact(&mut answer))
            .map_err(refused)
    }
}

fn refused(error: io::Error) -> Error {
    Error::io("talk to the rehearsal on", "standard input", error)
}

impl Observer for Channel {
    fn begins(&mut self, step: &Step) -> Result<(), Error> {
        self.tell(What::Begins, step, None, None)
    }

    fn skips(&mut self, step: &Step) -> Result<(), Error> {
        self.tell(What::Skips, step, None, None)
    }

    fn ended(&mut self, step: &Step, verdict: Verdict) -> Result<(), Error> {
        let (outcome, code) = match verdict {
            Verdict::Succeeded => (StepOutcome::Succeeded, None),
            Verdict::Failed { code } => (StepOutcome::Failed, Some(code)),
            Verdict::OutOfTime => (StepOutcome::OutOfTime, None),
            Verdict::NotStarted | Verdict::NotRun | Verdict::Cancelled => {
                (StepOutcome::NotRun, None)
            }
        };
        self.tell(What::Ended, step, Some(outcome), code)
    }
}

/// Takes the events out of what a stage has sent so far.
///
/// # Errors
/// What is wrong with it: what sent that is not the agent.
pub(super) fn events(received: &mut Vec<u8>) -> Result<Vec<Event>, String> {
    let mut events = Vec::new();
    while let Some(end) = memchr::memchr(b'\n', received) {
        let line: Vec<u8> = received.drain(..=end).collect();
        let event = serde_json::from_slice(&line);
        events.push(event.map_err(|error| format!("the stage sent no event: {error}"))?);
    }
    if received.len() > LONGEST {
        return Err(format!("the stage sent more than {LONGEST} bytes at once"));
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_however_they_were_cut() {
        let event = Event {
            event: What::Ended,
            step: "a b\n.sh".to_owned(),
            outcome: Some(StepOutcome::Failed),
            code: Some(-15),
        };
        let mut bytes = serde_json::to_vec(&event).unwrap();
        bytes.push(b'\n');
        let (first, rest) = bytes.split_at(9);
        let mut received = first.to_vec();
        assert_eq!(events(&mut received).unwrap(), []);
        received.extend_from_slice(rest);
        received.extend_from_slice(&bytes);
        received.extend_from_slice(b"{\"ev");
        assert_eq!(events(&mut received).unwrap(), [event.clone(), event]);
        assert_eq!(received, b"{\"ev");
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for bytes in [
            &b"hello\n"[..],
            b"{\"event\":\"dances\",\"step\":\"a\"}\n",
            b"\n",
        ] {
            assert!(events(&mut bytes.to_vec()).is_err());
        }
        assert!(events(&mut vec![b' '; LONGEST + 1]).is_err());
    }
}
