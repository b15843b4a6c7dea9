//! The programs that would reach through the view to the machine, and so are replaced in
//! it.

use crate::view::{Presence, StandIn};

/// Programs that are replaced unless the command line says otherwise: they talk to the
/// kernel, to services of the machine or to the cluster. What would only write files is
/// real, except what builds boot images, which takes minutes.
///
/// These are on every node, also if the root is that of a container image or a minimal
/// system, which is made without an init system and a kernel. So steps rely on them.
const OF_EACH_NODE: &[&str] = &[
    "systemctl",
    "systemd-run",
    "hostnamectl",
    "timedatectl",
    "loginctl",
    "udevadm",
    "reboot",
    "shutdown",
    "poweroff",
    "halt",
    "modprobe",
    "rmmod",
    "insmod",
    "sysctl",
    "swapon",
    "swapoff",
];

/// These differ from node to node, and a step may look for them to tell nodes apart: by the
/// distribution, the boot loader, the driver. They are there if the root has them, or if a
/// step installs them.
const OF_SOME_NODES: &[&str] = &[
    "service",
    "initctl",
    "telinit",
    "kexec",
    "update-grub",
    "grub-mkconfig",
    "grub2-mkconfig",
    "update-initramfs",
    "dracut",
    "kubectl",
    "nvidia-smi",
];

/// The names of all of them.
pub fn names() -> impl Iterator<Item = &'static str> {
    OF_EACH_NODE.iter().chain(OF_SOME_NODES).copied()
}

/// The programs that bring the machine down.
pub(super) const REBOOTS: &[&str] = &["reboot", "shutdown", "poweroff", "halt"];

/// All that are replaced: the usual ones except `reals`, and `more`, which also give others
/// of the same name another exit code.
#[must_use]
pub fn table(more: &[StandIn], reals: &[String]) -> Vec<StandIn> {
    let is_named = |name: &str| more.iter().any(|one| one.name == name);
    let is_real = |name: &str| reals.iter().any(|real| real == name);
    let usual = names()
        .filter(|name| !is_named(name) && !is_real(name))
        .map(|name| StandIn {
            name: name.to_owned(),
            exit: 0,
            presence: match OF_EACH_NODE.contains(&name) {
                true => Presence::Always,
                false => Presence::IfInstalled,
            },
        });
    // The last of those with the same name counts, as with other options.
    let is_last = |(at, one): &(usize, &StandIn)| {
        let mut later = more.iter().skip(at + 1);
        later.all(|other| other.name != one.name)
    };
    let more = more.iter().enumerate().filter(is_last);
    usual.chain(more.map(|(_, one)| one.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_can_be_added_changed_and_left_out() {
        let stand_in = |name: &str, exit| StandIn {
            name: name.to_owned(),
            exit,
            presence: Presence::Always,
        };
        let more = [
            stand_in("lspci", 2),
            stand_in("reboot", 1),
            stand_in("lspci", 3),
        ];
        let table = table(&more, &["kubectl".to_owned()]);
        assert_eq!(table.len(), names().count() - 2 + 2);
        assert!(table.contains(&stand_in("lspci", 3)));
        assert!(table.contains(&stand_in("reboot", 1)));
        assert!(!table.iter().any(|one| one.name == "kubectl"));
        let presence = |name| {
            table
                .iter()
                .find(|one| one.name == name)
                .map(|one| one.presence)
        };
        assert_eq!(presence("systemctl"), Some(Presence::Always));
        assert_eq!(presence("dracut"), Some(Presence::IfInstalled));
    }
}
