//! Exit codes in the form of the contract (§2): the code of a child that exited, or
//! `-signum` for one that a signal killed.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Gives the code of a finished child: 0–255, or `-signum` (SIGTERM → -15).
#[must_use]
pub fn code(status: ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => -signal,
        // Only a stopped or continued child has neither, and those are not waited for.
        (None, None) => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_pass_and_signals_are_negated() {
        assert_eq!(code(ExitStatus::from_raw(0)), 0);
        assert_eq!(code(ExitStatus::from_raw(255 << 8)), 255);
        assert_eq!(code(ExitStatus::from_raw(15)), -15);
        assert_eq!(code(ExitStatus::from_raw(9 | 0x80)), -9, "with a core dump");
        assert_eq!(code(ExitStatus::from_raw(64)), -64, "a real-time signal");
    }
}
