//! The last lines that a command said: what a person wants to see of one that failed
//! (contract §12).

/// The most bytes that are kept of whole lines, and of a line that is not whole yet.
pub(super) const MOST_BYTES: usize = 3072;

/// The bytes of a prefix: label, time and space.
const PREFIX_LEN: usize = "[out]2026-05-02T21:51:23.456789 ".len();

/// The last lines of two streams, in the order in which they became whole.
///
/// Costs little for each call, since only the end of a large text is looked at, and
/// allocates at the first call alone.
#[derive(Debug, Default)]
pub struct LastLines {
    /// Whole lines, up to twice what is kept: the oldest go many at a time.
    whole: Vec<u8>,
    /// The beginning of the last line of each stream.
    open: [Vec<u8>; 2],
}

impl LastLines {
    /// Adds what came next in a stream.
    pub fn add(&mut self, stream: usize, bytes: &[u8]) {
        if self.whole.capacity() == 0 {
            self.whole.reserve_exact(2 * MOST_BYTES);
            self.open
                .iter_mut()
                .for_each(|open| open.reserve_exact(MOST_BYTES));
        }
        let Some(open) = self.open.get_mut(stream) else {
            return;
        };
        let mut rest = bytes;
        // Only the line that holds this byte, and those after it, can be among the last.
        if let Some(early) = bytes.len().checked_sub(MOST_BYTES)
            && let Some(newline) = bytes
                .get(..early)
                .and_then(|early| memchr::memrchr(b'\n', early))
        {
            self.whole.clear();
            open.clear();
            rest = bytes.get(newline + 1..).unwrap_or_default();
        }
        while let Some(newline) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(newline);
            extend(open, line);
            push(&mut self.whole, open);
            open.clear();
            rest = after.get(1..).unwrap_or_default();
            // The whole lines after it are one copy, unless one may have to be cut.
            if let Some(last) = memchr::memrchr(b'\n', rest).filter(|last| *last <= MOST_BYTES) {
                push(&mut self.whole, rest.get(..last).unwrap_or_default());
                rest = rest.get(last + 1..).unwrap_or_default();
            }
        }
        extend(open, rest);
    }

    /// Forgets all lines.
    pub fn clear(&mut self) {
        self.whole.clear();
        self.open.iter_mut().for_each(Vec::clear);
    }

    /// Takes the last lines out, the oldest first. Those that are not whole come last, if
    /// they hold more than a prefix.
    pub fn take(&mut self) -> Vec<String> {
        let open = self.open.iter().filter(|open| open.len() > PREFIX_LEN);
        let lines = self.whole.split_inclusive(|byte| *byte == b'\n');
        let lines = lines.chain(open.map(Vec::as_slice)).map(|line| {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            String::from_utf8_lossy(line).into_owned()
        });
        let lines = lines.collect();
        self.clear();
        lines
    }
}

/// Adds to the beginning of a line, of which no more is kept than could be shown.
fn extend(open: &mut Vec<u8>, bytes: &[u8]) {
    let room = MOST_BYTES.saturating_sub(open.len()).min(bytes.len());
    open.extend_from_slice(bytes.get(..room).unwrap_or_default());
}

/// Adds a whole line.
fn push(whole: &mut Vec<u8>, line: &[u8]) {
    if whole.len() + line.len() >= 2 * MOST_BYTES {
        let early = whole.len().saturating_sub(MOST_BYTES);
        let newline = whole
            .get(early..)
            .and_then(|late| memchr::memchr(b'\n', late));
        let end = newline.map_or(whole.len(), |newline| early + newline + 1);
        whole.drain(..end);
    }
    whole.extend_from_slice(line);
    whole.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "[out]2026-05-02T21:51:23.456789 ";

    #[test]
    fn lines_are_whole_however_they_came_and_in_the_order_of_their_ends() {
        let mut lines = LastLines::default();
        lines.add(0, format!("{PREFIX}a\n{PREFIX}b").as_bytes());
        lines.add(1, b"[err] c\n");
        lines.add(0, format!("b\n{PREFIX}").as_bytes());
        lines.add(1, format!("{PREFIX}d").as_bytes());
        let expected = ["a", "bb", "d"].map(|line| format!("{PREFIX}{line}"));
        assert_eq!(
            lines.take(),
            [&expected[0], "[err] c", &expected[1], &expected[2]],
            "without the prefix that stands alone"
        );
        assert_eq!(lines.take(), [""; 0]);
    }

    #[test]
    fn the_last_lines_are_kept_of_any_amount_and_memory_is_bounded() {
        for line_len in [1, 40, 1000, 3071, 5000] {
            for block in [1, 7, 4096, 1 << 17] {
                let text: String = (0..20_000_usize.div_ceil(line_len) + 3)
                    .map(|n| format!("{n:0line_len$}\n"))
                    .collect();
                let mut lines = LastLines::default();
                for bytes in text.as_bytes().chunks(block) {
                    lines.add(0, bytes);
                    assert!(lines.whole.len() <= 2 * MOST_BYTES);
                }
                assert_eq!(lines.whole.capacity(), 2 * MOST_BYTES);
                let taken = lines.take();
                let expected: Vec<String> = text
                    .lines()
                    .map(|line| line[..line.len().min(MOST_BYTES)].to_owned())
                    .collect();
                let last = &expected[expected.len() - taken.len()..];
                assert_eq!(taken, last, "{line_len} {block}");
                let len: usize = taken.iter().map(|line| line.len() + 1).sum();
                assert!(len + line_len >= MOST_BYTES, "{line_len} {block}: {len}");
            }
        }
    }
}
