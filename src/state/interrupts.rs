//! The flags of interrupts: which of their commands have begun, and when.

use super::State;
use crate::error::Error;

impl State<'_> {
    /// Sets an interrupt's flag: it runs, or has run. The content is the time in
    /// seconds since the epoch.
    ///
    /// # Errors
    /// If it cannot be written. It is not set then, or it is set and not durable.
    pub fn set_interrupted(&self, flag: &str) -> Result<(), Error> {
        self.write(flag, &self.epoch())
    }

    /// Sets the same flag if it is not set yet, and tells if it was this call that set
    /// it. Of all agents, one alone gets `true`.
    ///
    /// # Errors
    /// As [`set_interrupted`](Self::set_interrupted).
    pub fn claim_interrupt(&self, flag: &str) -> Result<bool, Error> {
        self.create(flag, &self.epoch())
    }

    /// The time in seconds since the epoch, as Python prints a float: always with a
    /// fraction, if only `.0`.
    fn epoch(&self) -> String {
        let epoch = self.clock.utc() - time::OffsetDateTime::UNIX_EPOCH;
        format!("{:?}", epoch.as_seconds_f64())
    }
}
