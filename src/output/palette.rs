//! The colours of what is shown to a person.

use std::io::Stdout;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// The styles, named by what they mean. Use: `{style}text{style:#}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    /// What failed, or cannot be used.
    pub bad: Style,
    /// What succeeded.
    pub good: Style,
    /// What a person should look at.
    pub warning: Style,
    /// What explains something else.
    pub note: Style,
    /// What stands out: names, headings.
    pub strong: Style,
    /// What matters less: times, places.
    pub dim: Style,
}

impl Palette {
    /// No style at all.
    pub const PLAIN: Palette = Palette {
        bad: Style::new(),
        good: Style::new(),
        warning: Style::new(),
        note: Style::new(),
        strong: Style::new(),
        dim: Style::new(),
    };

    /// The palette for stdout. With [`ColorChoice::Auto`] the terminal and the
    /// environment (`NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE`, `TERM`) decide on colours.
    #[must_use]
    pub fn of(color: ColorChoice, stdout: &Stdout) -> Palette {
        let choice = match color {
            ColorChoice::Auto => AutoStream::choice(stdout),
            decided => decided,
        };
        match choice {
            ColorChoice::Never => Palette::PLAIN,
            _ => Palette::COLORED,
        }
    }

    /// The 16 colours that each terminal has, as its owner has set them.
    pub const COLORED: Palette = Palette {
        bad: AnsiColor::Red.on_default().bold(),
        good: AnsiColor::Green.on_default(),
        warning: AnsiColor::Yellow.on_default().bold(),
        note: AnsiColor::Cyan.on_default(),
        strong: Style::new().bold(),
        dim: Style::new().dimmed(),
    };
}
