//! Reading stamps back from a log, as bytes: a log of a gigabyte has ten million.

use std::fmt;

/// The shape of a time in a log: `d` stands for a digit. The reference leaves the
/// fraction out if it is zero.
const SHAPE: &[u8; Stamp::LEN] = b"dddd-dd-ddTdd:dd:dd.dddddd";
const WHOLE_SECONDS: usize = "dddd-dd-ddTdd:dd:dd".len();

/// The time of a stamp, as text with six digits of a fraction. A stamp is not checked to
/// be a day of the calendar. The order of stamps is that of their bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp([u8; Stamp::LEN]);

impl Stamp {
    /// The length of the text.
    pub const LEN: usize = "2026-05-02T21:51:23.456789".len();

    /// Comes before every other stamp, or is equal to it.
    pub const EARLIEST: Stamp = Stamp(*b"0000-00-00T00:00:00.000000");

    /// Reads the form that [`Iso8601`](super::Iso8601) writes, or the same without the
    /// fraction; `None` for every other.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Stamp> {
        if text.len() == Stamp::LEN || text.len() == WHOLE_SECONDS {
            Stamp::of(text)
        } else {
            None
        }
    }

    /// Takes as much of the shape as `text` has.
    fn of(text: &[u8]) -> Option<Stamp> {
        let fits = text
            .iter()
            .zip(SHAPE)
            .fold(true, |fits, (byte, shape)| fits & is_of(*byte, *shape));
        let Stamp(mut stamp) = Stamp::EARLIEST;
        stamp.get_mut(..text.len())?.copy_from_slice(text);
        fits.then_some(Stamp(stamp))
    }

    /// The text: `2026-05-02T21:51:23.456789`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // It is ASCII alone.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The day: `2026-05-02`.
    #[must_use]
    pub fn date(&self) -> &str {
        self.as_str().get(..10).unwrap_or_default()
    }

    /// Tells if both are of one day.
    #[must_use]
    pub fn is_same_day(&self, other: &Stamp) -> bool {
        self.0.get(..10) == other.0.get(..10)
    }

    /// The text, as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The time of day: `21:51:23.456789`.
    #[must_use]
    pub fn time(&self) -> &str {
        self.as_str().get(11..).unwrap_or_default()
    }
}

fn is_of(byte: u8, shape: u8) -> bool {
    if shape == b'd' {
        byte.is_ascii_digit()
    } else {
        byte == shape
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What some bytes of a log begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// A prefix of this length: label, time and space.
    Found(Stamp, usize),
    /// The beginning of one, and the bytes end there. They may be none.
    Cut,
    /// Something else.
    Missing,
}

impl Prefix {
    /// The most bytes of a prefix.
    pub const LONGEST: usize = "[out]".len() + Stamp::LEN + " ".len();

    /// Looks for a prefix with this label, of [`Stamper`](super::Stamper) or of the
    /// reference.
    #[must_use]
    pub fn of(label: &[u8], bytes: &[u8]) -> Prefix {
        let Some(rest) = bytes.strip_prefix(label) else {
            return if label.starts_with(bytes) {
                Prefix::Cut
            } else {
                Prefix::Missing
            };
        };
        for len in [Stamp::LEN, WHOLE_SECONDS] {
            if rest.get(len) == Some(&b' ')
                && let Some(stamp) = rest.get(..len).and_then(Stamp::of)
            {
                return Prefix::Found(stamp, label.len() + len + 1);
            }
        }
        if rest.len() <= Stamp::LEN && Stamp::of(rest).is_some() {
            Prefix::Cut
        } else {
            Prefix::Missing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_its_label_a_time_with_or_without_a_fraction_and_a_space() {
        for (text, time) in [
            ("2026-05-02T21:51:23.456789", "2026-05-02T21:51:23.456789"),
            ("2026-05-02T21:51:23", "2026-05-02T21:51:23.000000"),
        ] {
            let bytes = format!("[out]{text} text");
            let stamp = Stamp::parse(text.as_bytes()).unwrap();
            assert_eq!(stamp.as_str(), time);
            let found = Prefix::of(b"[out]", bytes.as_bytes());
            assert_eq!(found, Prefix::Found(stamp, bytes.len() - "text".len()));
            assert_eq!(Prefix::of(b"[err]", bytes.as_bytes()), Prefix::Missing);
        }
    }

    #[test]
    fn a_beginning_of_a_prefix_is_cut_and_other_text_is_none() {
        let whole = b"[err]2026-05-02T21:51:23.456789 ";
        for len in 0..whole.len() {
            assert_eq!(Prefix::of(b"[err]", &whole[..len]), Prefix::Cut, "{len}");
        }
        for text in [
            "x",
            "[err] ",
            "[err]2026-05-02 ",
            "[err]2026-05-02T21:51:23.45 ",
            "[err]2026-05-02T21:51:23.4567890",
            "[err]2026-05-02T21:51:23,456789 ",
            "[err]2026-05-02T21:51:23\t",
        ] {
            assert_eq!(
                Prefix::of(b"[err]", text.as_bytes()),
                Prefix::Missing,
                "{text}"
            );
        }
    }
}
