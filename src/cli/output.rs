//! What commands say on standard output and standard error. A reader that has heard enough, such as `head`, is no failure
//! and nothing to tell of: what is being done is done to its end, and only the words are lost.

use std::fmt;
use std::io::{self, Write as _};

use anyhow::Context as _;

/// Prints a line that is written as for `format!`, as [`print`] does.
macro_rules! print_line {
    ($($word:tt)*) => {
        $crate::cli::output::print(format_args!("{}\n", format_args!($($word)*)))
    };
}
pub(super) use print_line;

/// Prints on standard output.
///
/// # Errors
/// It cannot be written, for another reason than that nobody reads on.
pub(super) fn print(text: impl fmt::Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("it cannot be printed"),
    }
}

/// Prints on standard error. Whoever closed that has the exit code.
pub(super) fn tell(text: impl fmt::Display) {
    let _ = write!(io::stderr(), "{text}");
}
