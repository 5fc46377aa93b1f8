//! `deskgate completions` and `deskgate man`: what shells and `man` know of the commands, made of the same description as
//! their help.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;

/// The name that people type.
const NAME: &str = "deskgate";

/// Prints the completions of a shell.
pub(super) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut text);
    print(&text)
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
    print(&text)
}

/// Whoever reads only the beginning of it is no failure.
fn print(text: &[u8]) -> anyhow::Result<()> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("it cannot be printed"),
    }
}
