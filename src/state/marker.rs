//! Reading the name of a step's flag back: which step it is of, and which arguments.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::python;

/// The name of a step's flag, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlagName {
    /// The step's path, as far as the file system keeps it: without `.` and without
    /// doubled slashes.
    pub step: String,
    /// What the flag was made of.
    pub marker: Marker,
}

/// What a flag was made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Marker {
    /// These values.
    Values {
        /// The arguments of the step.
        arguments: Vec<String>,
        /// The codes that meant success.
        returncodes: Vec<i64>,
    },
    /// Values that the name does not have: it has a hash of them.
    Hash,
}

impl FlagName {
    /// Reads the path of a flag below `flags/{package}/{version}`; `None` if that is no
    /// flag of a step.
    ///
    /// The marker is what follows the last `_`: base64 has none, but a step's path may.
    /// Its slashes are those of base64. The file system would make one of two in a row,
    /// but there are never two: they would be twelve bits of 1, and UTF-8 has at most ten.
    #[must_use]
    pub fn parse(path: &str) -> Option<FlagName> {
        let (step, marker) = path.rsplit_once('_')?;
        let name = step.rsplit('/').next().unwrap_or_default();
        if matches!(name, "" | "." | "..") {
            return None;
        }
        Some(FlagName {
            step: step.to_owned(),
            marker: Marker::parse(marker)?,
        })
    }
}

impl Marker {
    fn parse(marker: &str) -> Option<Marker> {
        if let Some(hash) = marker.strip_prefix("sha256-") {
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            return (hash.len() == 64 && hash.bytes().all(is_digit)).then_some(Marker::Hash);
        }
        let text = String::from_utf8(BASE64_STANDARD.decode(marker).ok()?).ok()?;
        let (arguments, rest) = python::read_strings(&text)?;
        let (returncodes, rest) = python::read_integers(rest.strip_prefix('_')?)?;
        rest.is_empty().then_some(Marker::Values {
            arguments,
            returncodes,
        })
    }
}

/// Writes a step's path as the path of a flag has it: without `.` and without doubled
/// slashes.
#[must_use]
pub fn plain_path(step: &str) -> String {
    let names = step.split('/').filter(|name| !matches!(*name, "" | "."));
    names.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(step: &str, text: &str) -> String {
        format!("{step}_{}", BASE64_STANDARD.encode(text))
    }

    #[test]
    fn a_step_may_have_underscores_and_directories_and_a_marker_slashes() {
        let text = "['???', '~~~', 'ÿÿÿ']_[0, -15]";
        for step in [
            "a.sh",
            "a_b/c_d.sh",
            "a_",
            "_",
            "x/W11fWzBd_a",
            "a_sha256-0",
        ] {
            let name = flag(step, text);
            assert!(name.strip_prefix(step).unwrap().contains('/'), "{name}");
            let marker = Marker::Values {
                arguments: ["???", "~~~", "ÿÿÿ"].map(str::to_owned).to_vec(),
                returncodes: vec![0, -15],
            };
            let step = step.to_owned();
            assert_eq!(FlagName::parse(&name), Some(FlagName { step, marker }));
        }
    }

    #[test]
    fn a_hash_has_no_values() {
        let hash = "0123456789abcdef".repeat(4);
        let name = FlagName::parse(&format!("steps/a_b.sh_sha256-{hash}")).unwrap();
        assert_eq!((&*name.step, name.marker), ("steps/a_b.sh", Marker::Hash));
        for bad in [&hash[1..], &hash.to_uppercase(), ""] {
            assert_eq!(FlagName::parse(&format!("a.sh_sha256-{bad}")), None);
        }
    }

    #[test]
    fn other_names_are_no_flags() {
        for name in [
            "",
            "a.sh",
            "a.sh_",
            "_W11fWzBd",
            "a/_W11fWzBd",
            "a/.._W11fWzBd",
            "a.sh_W11fWzB",
            "a.sh_W11fWzBd=",
            "a.sh_W11fWzBe",
            "a.sh_W11fWzBd\n",
            "a.sh_W11fWzBd/x",
        ] {
            assert_eq!(FlagName::parse(name), None, "{name}");
        }
        for text in [
            "[]",
            "[]_",
            "[]_[0] ",
            "[0]_[0]",
            "[]_['0']",
            "['a',]_[0]",
            "()_[0]",
        ] {
            assert_eq!(FlagName::parse(&flag("a.sh", text)), None, "{text}");
        }
    }
}
