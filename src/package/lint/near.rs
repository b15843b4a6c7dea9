//! Finds the name that a mistyped one was meant to be.

/// Finds the name that is nearest, if one is near. Case counts for nothing, and `-` and
/// `_` are one.
#[must_use]
pub fn near<'k>(word: &str, names: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let word = plain(word);
    // One slip for each four letters.
    let most = (word.chars().count() / 4).clamp(1, 3);
    let distances = names
        .into_iter()
        .map(|name| (strsim::osa_distance(&word, &plain(name)), name));
    let near = distances.filter(|(distance, _)| *distance <= most);
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_word_is_not() {
        let names = ["returncodes", "env", "on_host", "idempotence"];
        for (word, name) in [
            ("returncode", Some("returncodes")),
            ("returnCodes", Some("returncodes")),
            ("on-host", Some("on_host")),
            ("idempotent", Some("idempotence")),
            ("evn", Some("env")),
            ("description", None),
            ("", None),
        ] {
            assert_eq!(near(word, names), name, "{word}");
        }
    }
}
