//! What a person or a script sees: lines, JSON, tables, colours, progress, and errors with their exit codes.
//!
//! Results go to standard output, everything else (notes, progress, errors, logs) to standard error. A reader that
//! closes the pipe ends the command quietly.

mod exit;
mod failure;
mod live;
mod progress;
mod table;
mod text;

pub(crate) use exit::{EXIT_CODES, Exit};
pub(crate) use failure::{Failure, without_code};
pub(crate) use live::Live;
pub(crate) use progress::Progress;
pub(crate) use table::{Cell, Table, Tone, paint};
pub(crate) use text::{age, bytes, clip, counted, duration, time_of_day};

use crate::config::Environment;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How this process shows things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Output {
    json: bool,
    colour: bool,
    /// Standard output is a terminal.
    terminal: bool,
    /// Standard error is a terminal.
    error_terminal: bool,
    /// Colours are used on standard error.
    error_colour: bool,
}

impl Output {
    /// Looks at the terminal and the environment.
    #[must_use]
    pub(crate) fn new(json: bool, choice: ColorChoice, environment: &Environment) -> Self {
        let terminal = io::stdout().is_terminal();
        let error_terminal = io::stderr().is_terminal();
        Self {
            json,
            colour: colour(choice, terminal, environment),
            terminal,
            error_terminal,
            error_colour: colour(choice, error_terminal, environment),
        }
    }

    /// Whether results are JSON.
    #[must_use]
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether colours are used on standard output.
    #[must_use]
    pub(crate) fn is_coloured(&self) -> bool {
        self.colour
    }

    /// Whether standard output is a terminal.
    #[must_use]
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes a line to standard output.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        write_to(&mut io::stdout().lock(), text.as_ref())
    }

    /// Writes a JSON document to standard output: one line for scripts, indented on a terminal.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text =
            if self.terminal { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        self.line(
            text.map_err(|error| Failure::internal(format!("result cannot be written as JSON: {error}")))?,
        )
    }

    /// Writes a table to standard output.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn table(&self, table: &Table) -> Result<(), Failure> {
        self.line(table.render(self.colour, self.terminal))
    }

    /// Tells a person something beside the result, on standard error; scripts (JSON) are not told.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.json {
            // Nobody reads standard error: there is no one to tell it to.
            let _ = write_to(&mut io::stderr().lock(), text.as_ref());
        }
    }

    /// A progress display on standard error, visible only on a terminal and without `--json`.
    #[must_use]
    pub(crate) fn progress(&self) -> Progress {
        Progress::new(!self.json && self.error_terminal, self.colour)
    }

    /// A block of lines on standard error that is drawn again in its place, visible as progress is.
    #[must_use]
    pub(crate) fn live(&self) -> Live {
        Live::new(!self.json && self.error_terminal, self.error_colour)
    }

    /// Reports a failure on standard error and gives the exit code.
    ///
    /// `error: <message> (<code>)`, or with `--json` one line `{"error": {"code", "message", ...}}`.
    #[must_use]
    pub(crate) fn fail(&self, failure: &Failure) -> ExitCode {
        if let Some(text) = failure.render(self.json) {
            let _ = write_to(&mut io::stderr().lock(), &text);
        }
        failure.exit().into()
    }
}

fn colour(choice: ColorChoice, terminal: bool, environment: &Environment) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            terminal && environment.get("NO_COLOR").is_none() && environment.get("TERM") != Some("dumb")
        }
    }
}

/// Writes a line and flushes it.
fn write_to(writer: &mut impl Write, text: &str) -> Result<(), Failure> {
    let written = writer
        .write_all(text.as_bytes())
        .and_then(|()| writer.write_all(b"\n"))
        .and_then(|()| writer.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::internal(format!("result cannot be written: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is_one() {
        let closed = write_to(&mut Broken(io::ErrorKind::BrokenPipe), "x").unwrap_err();
        assert_eq!((closed.exit(), closed.render(false)), (Exit::Ok, None));
        let full = write_to(&mut Broken(io::ErrorKind::StorageFull), "x").unwrap_err();
        assert_eq!(full.exit(), Exit::Failed);
    }

    #[test]
    fn colours_need_a_terminal_and_yield_to_no_color() {
        let plain = Environment::default();
        let no_color = Environment::of([("NO_COLOR", "1")]);
        assert!(colour(ColorChoice::Auto, true, &plain));
        assert!(!colour(ColorChoice::Auto, false, &plain));
        assert!(!colour(ColorChoice::Auto, true, &no_color));
        assert!(!colour(ColorChoice::Auto, true, &Environment::of([("TERM", "dumb")])));
        assert!(colour(ColorChoice::Always, false, &no_color));
        assert!(!colour(ColorChoice::Never, true, &plain));
    }
}
