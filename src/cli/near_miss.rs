//! Finds the name that a mistyped word was meant to be.

/// Finds the name in `known` that `word` nearly is.
///
/// A typo must be told from the name of a mode that an operator to come may have: that
/// one ends with exit code 0, a typo is refused. So the measure is strict. Upper case
/// and `_` count as lower case and `-`. Each part between two `-` may then differ by
/// one edit: a letter too many, missing, wrong, or swapped with its neighbour. If both
/// parts have eight letters or more and begin with the same, it may be two edits.
/// `reapply`, `install`, `reinstall`, `downgrade`, `configure` and `pre-interrupt` are
/// no typos by this measure. By clap's own, a Jaro similarity of more than 0.7, most of
/// them would be.
pub(super) fn near_miss<'k>(
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let plain = word.to_lowercase().replace('_', "-");
    known
        .into_iter()
        .filter(|name| is_near(&plain, name))
        .min_by_key(|name| strsim::osa_distance(&plain, name))
}

fn is_near(word: &str, name: &str) -> bool {
    // Also if it is the `-` that is missing.
    if strsim::osa_distance(word, name) <= 1 {
        return true;
    }
    let (words, names) = (word.split('-'), name.split('-'));
    words.clone().count() == names.clone().count()
        && words
            .zip(names)
            .all(|(word, name)| is_near_part(word, name))
}

fn is_near_part(word: &str, name: &str) -> bool {
    let are_long = word.len() >= 8 && name.len() >= 8;
    let most = if are_long && word.chars().next() == name.chars().next() {
        2
    } else {
        1
    };
    strsim::osa_distance(word, name) <= most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Mode;

    fn known() -> impl Iterator<Item = &'static str> {
        let commands = [
            "run-step",
            "chroot-exec",
            "help",
            "validate",
            "status",
            "logs",
            "new",
        ];
        Mode::ALL.map(Mode::name).into_iter().chain(commands)
    }

    #[test]
    fn a_typo_has_its_name() {
        for (typo, name) in [
            ("aply", "apply"),
            ("appply", "apply"),
            ("aplpy", "apply"),
            ("Apply", "apply"),
            ("aply-check", "apply-check"),
            ("apply_check", "apply-check"),
            ("apply-chekc", "apply-check"),
            ("applycheck", "apply-check"),
            ("APPLY-CHECKS", "apply-check"),
            ("confg", "config"),
            ("upgarde", "upgrade"),
            ("unistall", "uninstall"),
            ("intterupt", "interrupt"),
            ("interupts", "interrupt"),
            ("post-interupt", "post-interrupt"),
            ("post_interupt_chek", "post-interrupt-check"),
            ("run-steps", "run-step"),
            ("runstep", "run-step"),
            ("valdate", "validate"),
            ("hepl", "help"),
            ("chroot_exec", "chroot-exec"),
        ] {
            assert_eq!(near_miss(typo, known()), Some(name), "{typo}");
        }
    }

    #[test]
    fn a_mode_that_an_operator_to_come_may_have_is_no_typo() {
        for word in [
            "bogus",
            "reapply",
            "pre-apply",
            "post-apply",
            "apply-all",
            "install",
            "install-check",
            "reinstall",
            "uninstall-all",
            "downgrade",
            "downgrade-check",
            "configure",
            "reconfigure",
            "config-interrupt",
            "pre-interrupt",
            "pre-interrupt-check",
            "interrupt-check",
            "rollback",
            "verify",
            "check",
            "drain",
            "restart",
            "post-upgrade",
            "reapply-check",
            "pause",
            "resume",
            "cleanup",
            "",
        ] {
            assert_eq!(near_miss(word, known()), None, "{word}");
        }
    }
}
