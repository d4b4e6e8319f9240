//! Standard output, and whether it takes colour.

use std::io::{self, IsTerminal as _, Write};

/// Standard output, written line by line.
pub(super) fn stdout() -> impl Write {
    io::stdout().lock()
}

/// Colours only for a terminal whose user has not said no (<https://no-color.org>).
pub(super) fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Where text is wrapped: as wide as the terminal is, within what can be read; that of a page where there is none.
pub(super) fn columns() -> usize {
    const PAGE: usize = 100;
    rustix::termios::tcgetwinsize(io::stdout())
        .map_or(PAGE, |size| usize::from(size.ws_col).clamp(40, PAGE + 60))
}

/// Colours of answers (ECMA-48 SGR), chosen to be told apart on dark and bright ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Good,
    Warning,
    Bad,
    Faint,
}

/// `text` in a colour if colours are wanted.
pub(super) fn coloured(text: &str, colour: Colour, wanted: bool) -> String {
    let code = match colour {
        Colour::Good => 32,
        Colour::Warning => 33,
        Colour::Bad => 31,
        Colour::Faint => 2,
    };
    if wanted { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
