//! `deskgate settings`, `deskgate completions` and `deskgate man`: what people, shells and `man` know of settings and commands,
//! made of the same descriptions that the program goes by.

use std::io::Write as _;

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use super::Cli;
use super::output::print;
use crate::config::reference;

/// The name that people type.
const NAME: &str = "deskgate";

/// How the settings are printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// KEY=value, as in .env.example
    Env,
    /// key = value, as in deskgate.example.toml
    Toml,
    /// Tables, as in USAGE.md
    Markdown,
}

/// Prints the reference of settings.
pub(super) fn settings(format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Env => reference::env(),
        Format::Toml => reference::toml(),
        Format::Markdown => reference::markdown(),
    };
    print(text)
}

/// Prints the completions of a shell.
pub(super) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut text);
    print(String::from_utf8_lossy(&text))
}

/// Prints the page for `man`, in roff, with one section for each command.
pub(super) fn man() -> anyhow::Result<()> {
    let mut command = Cli::command();
    command.build();
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(command.clone());
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
    {
        writeln!(
            text,
            ".SH \"{} {}\"",
            NAME.to_uppercase(),
            below.get_name().to_uppercase()
        )?;
        let about = below.get_about().map(ToString::to_string);
        writeln!(text, "{}.", about.unwrap_or_default())?;
        let page = clap_mangen::Man::new(below.clone());
        page.render_synopsis_section(&mut text)?;
        page.render_options_section(&mut text)?;
        if below.has_subcommands() {
            page.render_subcommands_section(&mut text)?;
        }
    }
    page.render_version_section(&mut text)?;
    print(String::from_utf8_lossy(&text))
}
