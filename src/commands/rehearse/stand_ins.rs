//! The programs that would reach through the view to the machine, and so are replaced in
//! it.

use crate::view::StandIn;

/// Programs that are replaced unless the command line says otherwise: they talk to the
/// kernel, to services of the machine or to the cluster. What would only write files is
/// real, except what builds boot images, which takes minutes.
pub const NAMES: &[&str] = &[
    "systemctl",
    "service",
    "initctl",
    "systemd-run",
    "hostnamectl",
    "timedatectl",
    "loginctl",
    "udevadm",
    "reboot",
    "shutdown",
    "poweroff",
    "halt",
    "telinit",
    "kexec",
    "modprobe",
    "rmmod",
    "insmod",
    "sysctl",
    "swapon",
    "swapoff",
    "update-grub",
    "grub-mkconfig",
    "grub2-mkconfig",
    "update-initramfs",
    "dracut",
    "kubectl",
    "nvidia-smi",
];

/// The programs that bring the machine down.
pub(super) const REBOOTS: &[&str] = &["reboot", "shutdown", "poweroff", "halt"];

/// All that are replaced: those of `NAMES` except `reals`, and `more`, which also give
/// others of the same name another exit code.
#[must_use]
pub fn table(more: &[StandIn], reals: &[String]) -> Vec<StandIn> {
    let is_named = |name: &str| more.iter().any(|one| one.name == name);
    let is_real = |name: &str| reals.iter().any(|real| real == name);
    let usual = NAMES
        .iter()
        .filter(|name| !is_named(name) && !is_real(name))
        .map(|name| StandIn {
            name: (*name).to_owned(),
            exit: 0,
        });
    usual.chain(more.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_can_be_added_changed_and_left_out() {
        let stand_in = |name: &str, exit| StandIn {
            name: name.to_owned(),
            exit,
        };
        let more = [stand_in("lspci", 3), stand_in("reboot", 1)];
        let table = table(&more, &["kubectl".to_owned()]);
        assert_eq!(table.len(), NAMES.len() - 2 + 2);
        assert!(table.contains(&stand_in("lspci", 3)));
        assert!(table.contains(&stand_in("reboot", 1)));
        assert!(!table.iter().any(|one| one.name == "kubectl"));
    }
}
