//! What this process may do.

use std::fs;

use nix::unistd::geteuid;

/// The number of CAP_SYS_CHROOT.
const SYS_CHROOT: u32 = 18;

/// Tells if this process may change its root.
#[must_use]
pub fn may_change_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    match effective(&status) {
        Some(set) => set >> SYS_CHROOT & 1 == 1,
        // Without /proc.
        None => geteuid().is_root(),
    }
}

/// The effective capabilities that a /proc/PID/status has.
fn effective(status: &str) -> Option<u64> {
    let set = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::effective;

    #[test]
    fn the_effective_capabilities_are_read_as_a_hexadecimal_number() {
        let status = "Name:\tcat\nCapPrm:\t00\nCapEff:\t0000000000040000\n";
        assert_eq!(effective(status), Some(1 << 18));
        assert_eq!(effective("CapEff:\tno\n"), None);
        assert_eq!(effective(""), None);
    }
}
