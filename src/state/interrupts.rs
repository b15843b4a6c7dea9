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
        // As Python prints a float: always with a fraction, if only `.0`.
        let epoch = self.clock.utc() - time::OffsetDateTime::UNIX_EPOCH;
        self.write(flag, &format!("{:?}", epoch.as_seconds_f64()))
    }
}
