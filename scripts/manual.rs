//! Writes the man pages and shell completions of a release into a directory, from the
//! one definition of the command line: `cargo run --example manual -- DIR`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{env, fs};

use clap::Command;
use clap::builder::StyledStr;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

const PROGRAM: &str = env!("CARGO_PKG_NAME");

fn main() -> io::Result<()> {
    let dir = env::args_os().nth(1).map(PathBuf::from).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "expected a directory to write to",
        )
    })?;
    let mut command = shown(&skyhook_agent::cli::command());
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut command.clone(), PROGRAM, &dir)?;
    }
    command = command.disable_help_subcommand(true);
    // Gives the subcommands their full names.
    command.build();
    write_page(&command, &dir)?;
    for subcommand in command.get_subcommands() {
        write_page(subcommand, &dir)?;
    }
    Ok(())
}

/// The command without what its help does not show: completions would offer that.
fn shown(command: &Command) -> Command {
    let text = |text: Option<&StyledStr>| text.cloned().unwrap_or_default();
    Command::new(PROGRAM)
        .version(env!("CARGO_PKG_VERSION"))
        .about(text(command.get_about()))
        .override_usage(text(command.get_overridden_usage()))
        .after_long_help(text(command.get_after_long_help()))
        .args(command.get_arguments().cloned())
        .subcommands(
            command
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set())
                .cloned(),
        )
}

fn write_page(command: &Command, dir: &Path) -> io::Result<()> {
    let release = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(release);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    match command.get_overridden_usage() {
        Some(usage) => write_as_it_is(&mut page, "SYNOPSIS", &aligned(usage))?,
        None => man.render_synopsis_section(&mut page)?,
    }
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let notes = command.get_after_long_help().map(ToString::to_string);
    for (title, text) in sections(&notes.unwrap_or_default()) {
        write_as_it_is(&mut page, &title.to_uppercase(), &text)?;
    }
    fs::write(dir.join(man.get_filename()), page)
}

/// A usage without the columns that `Usage: ` takes in the help.
fn aligned(usage: &StyledStr) -> String {
    let form = |indent| format!("\n{indent}{PROGRAM}");
    usage.to_string().replace(&form("       "), &form(""))
}

/// The sections of a text: each begins with a line that is not indented and ends in a
/// colon.
fn sections(text: &str) -> Vec<(&str, String)> {
    let mut sections: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        match line.strip_suffix(':') {
            Some(title) if !line.starts_with(' ') => sections.push((title, String::new())),
            _ => {
                if let Some((_, text)) = sections.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
    }
    sections
}

/// Writes a section whose lines and columns stay as they are.
fn write_as_it_is(page: &mut impl Write, title: &str, text: &str) -> io::Result<()> {
    let mut roff = Roff::default();
    roff.control("SH", [title]).control("nf", []);
    for line in text.trim_end().lines() {
        roff.text(match line.strip_prefix(PROGRAM) {
            Some(rest) => [bold(PROGRAM), roman(rest)],
            None => [roman(line), roman("")],
        });
    }
    roff.control("fi", []);
    roff.to_writer(page)
}
