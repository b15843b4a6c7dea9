//! A page that does not get too long: what does not fit is left out, and it says so.

use std::fmt::Write;

use crate::commands::rehearse::report::fold::thousands;
use crate::text::escape;

/// A page, as far as it is written.
pub(super) struct Page {
    text: String,
    most: usize,
}

/// An entry of a list.
pub(super) struct Item<'a> {
    /// Its line, whole.
    pub(super) line: String,
    /// The diff below it.
    pub(super) diff: Option<&'a str>,
}

/// The number of what did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) lines: usize,
    diffs: usize,
}

impl Page {
    /// Begins a page of so many bytes.
    pub(super) fn new(most: usize) -> Page {
        Page {
            text: String::new(),
            most,
        }
    }

    /// Adds what is short.
    pub(super) fn add(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Gives the text.
    pub(super) fn finish(self) -> String {
        self.text
    }

    /// Adds lines, as far as they take no more than half of what is left. So the parts after
    /// it have the other half.
    pub(super) fn items<'a>(&mut self, items: impl IntoIterator<Item = Item<'a>>) -> LeftOut {
        let end = self.text.len() + self.room();
        let mut left_out = LeftOut::default();
        for Item { line, diff } in items {
            let fits = |text: &str, more: &str| text.len() + more.len() <= end;
            if left_out.lines > 0 || !fits(&self.text, &line) {
                left_out.lines += 1;
                continue;
            }
            self.text.push_str(&line);
            let Some(diff) = diff else { continue };
            // A block is longer than its text: it need not be made.
            let may_fit = Some(diff).filter(|diff| fits(&self.text, diff));
            let shown = may_fit.map(|diff| format!("\n{}\n", block("diff", diff)));
            match shown.filter(|shown| fits(&self.text, shown)) {
                Some(shown) => self.text.push_str(&shown),
                None => left_out.diffs += 1,
            }
        }
        left_out
    }

    /// Adds lines as a list, and what of it is left out.
    pub(super) fn list<'a>(&mut self, items: impl IntoIterator<Item = Item<'a>>) {
        let LeftOut { lines, diffs } = self.items(items);
        for (number, what) in [(lines, "line"), (diffs, "diff")] {
            if number > 0 {
                let plural = if number == 1 { "" } else { "s" };
                let number = thousands(number);
                // Writing to a String cannot fail.
                let _ = writeln!(
                    self.text,
                    "- … {number} {what}{plural} left out: see `--output json`"
                );
            }
        }
    }

    /// Adds the last lines of a text as a block, as far as they take no more than half of
    /// what is left.
    pub(super) fn last_lines(&mut self, text: &str) {
        let whole = block("", text);
        if whole.len() <= self.room() {
            self.text.push_str(&whole);
            return;
        }
        let room = self.room();
        let mut from = text.len();
        for (at, _) in text.match_indices('\n').rev() {
            if block("", text.get(at + 1..).unwrap_or_default()).len() > room {
                break;
            }
            from = at + 1;
        }
        self.text.push_str("… its last lines:\n\n");
        let last = text.get(from..).unwrap_or_default();
        self.text.push_str(&block("", last));
    }

    fn room(&self) -> usize {
        self.most.saturating_sub(self.text.len()) / 2
    }
}

/// Text that nothing in it can end, as code.
pub(super) fn code(text: &str) -> String {
    let text = escape(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    // A backtick at an end, or the spaces that Markdown would take off.
    let space = match text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) {
        true => " ",
        false => "",
    };
    format!("{fence}{space}{text}{space}{fence}")
}

/// A block of lines that nothing in it can end.
fn block(language: &str, text: &str) -> String {
    let fence = "`".repeat((longest_run(text) + 1).max(3));
    let mut block = format!("{fence}{language}\n");
    for line in text.lines() {
        let line = line.replace('\t', "    ");
        block.push_str(&escape(&line));
        block.push('\n');
    }
    block + &fence + "\n"
}

fn longest_run(text: &str) -> usize {
    let runs = text.split(|c| c != '`').map(str::len);
    runs.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item<'a>(line: &str, diff: Option<&'a str>) -> Item<'a> {
        Item {
            line: line.to_owned(),
            diff,
        }
    }

    #[test]
    fn a_list_takes_half_of_what_is_left_and_says_what_is_left_out() {
        let mut page = Page::new(100);
        page.add("0123456789");
        // Four of ten bytes each fit 45.
        page.list((0..1500).map(|_| item("- 3456789\n", None)));
        assert_eq!(
            page.finish(),
            "0123456789- 3456789\n- 3456789\n- 3456789\n- 3456789\n\
             - … 1,496 lines left out: see `--output json`\n"
        );
    }

    #[test]
    fn a_diff_that_does_not_fit_is_left_out_and_its_line_is_not() {
        let mut page = Page::new(100);
        let long = "+".repeat(100);
        page.list([item("- a\n", Some(&long)), item("- b\n", Some("+c\n"))]);
        assert_eq!(
            page.finish(),
            "- a\n- b\n\n```diff\n+c\n```\n\n\
             - … 1 diff left out: see `--output json`\n"
        );
    }

    #[test]
    fn of_a_long_text_the_last_lines_are_shown() {
        let mut page = Page::new(80);
        page.last_lines("one\n");
        page.last_lines(&format!("{}\ntwo\nthree\n", "x".repeat(100)));
        assert_eq!(
            page.finish(),
            "```\none\n```\n… its last lines:\n\n```\ntwo\nthree\n```\n"
        );
    }

    #[test]
    fn nothing_in_code_can_end_it() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("`a` b`"), "`` `a` b` ``");
        assert_eq!(code(" a"), "`  a `");
        assert_eq!(code("a``b"), "```a``b```");
        assert_eq!(block("", "a\tb\n````\n"), "`````\na    b\n````\n`````\n");
    }
}
