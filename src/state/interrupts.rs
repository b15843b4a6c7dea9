//! The flags of interrupts: which of their commands have begun, and when, and in which
//! boot of the node a reboot was asked for.

use std::path::Path;

use super::State;
use crate::error::Error;

/// The kernel's name for this boot of the node. A container sees the node's.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Tells if a text is a boot id: a UUID.
#[must_use]
pub fn is_boot_id(text: &str) -> bool {
    text.len() == 36 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// Tells if a reboot that was asked for in the boot `asked_in` is still to come in the
/// boot `boot_id`. Without a boot id it is: one reboot too many is better than none.
#[must_use]
pub fn is_reboot_pending(asked_in: &str, boot_id: &str) -> bool {
    asked_in == boot_id || !is_boot_id(asked_in)
}

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

    /// Notes the boot of the node in which a reboot is asked for.
    ///
    /// # Errors
    /// If it cannot be written. There may be a note then, and it may not be durable.
    pub fn set_boot(&self, file: &str, boot_id: &str) -> Result<(), Error> {
        self.write(file, boot_id)
    }

    /// Reads such a note; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn boot(&self, file: &str) -> Result<Option<String>, Error> {
        if !self.is_set(file)? {
            return Ok(None);
        }
        let content = self.root.read(Path::new(file))?;
        Ok(Some(String::from_utf8_lossy(&content).trim().to_owned()))
    }
}
