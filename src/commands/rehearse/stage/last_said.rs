//! The last of what a stage said, for a person to read if it fails.

use std::mem;

use super::streams::Stream;

/// The most bytes that are kept.
const MOST_SAID: usize = 16 * 1024;

/// What the last step said, or the agent if there was none.
#[derive(Debug, Default)]
pub(super) struct LastSaid {
    said: Vec<u8>,
    /// The line of each stream that has not ended: stdout's and stderr's.
    unfinished: [Vec<u8>; 2],
}

impl LastSaid {
    /// Adds what was said. Programs write a line of stderr in pieces.
    pub(super) fn add(&mut self, stream: Stream, bytes: &[u8]) {
        let [out, err] = &mut self.unfinished;
        let unfinished = match stream {
            Stream::Stdout => out,
            Stream::Stderr => err,
        };
        unfinished.extend_from_slice(bytes);
        let ended = unfinished.iter().rposition(|byte| *byte == b'\n');
        if let Some(end) = ended {
            self.said.extend(unfinished.drain(..=end));
        } else if unfinished.len() > MOST_SAID {
            self.said.append(unfinished);
        }
        if self.said.len() > 2 * MOST_SAID {
            self.said.drain(..self.said.len() - MOST_SAID);
        }
    }

    /// Takes all, with the lines that nothing ends any more.
    pub(super) fn take(&mut self) -> Vec<u8> {
        for unfinished in &mut self.unfinished {
            if !unfinished.is_empty() {
                self.said.append(unfinished);
                self.said.push(b'\n');
            }
        }
        mem::take(&mut self.said)
    }
}
