//! Command line, output and errors of the examples.
//!
//! Each example includes this file with `#[macro_use] mod common`.
#![allow(dead_code)] // No example uses all items.

use std::env::{self, VarError};
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::path::{self, Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Prints a line to stdout, as `println!` does, but never panics.
///
/// If the reader of a pipe has exited (`example | head`), the output is dropped and the example
/// finishes its work. `main` reports any other error after the work.
macro_rules! outln {
    () => { $crate::common::print_line(format_args!("")) };
    ($($part:tt)*) => { $crate::common::print_line(format_args!($($part)*)) };
}

/// The first error of stdout, except a closed pipe.
static OUTPUT_ERROR: Mutex<Option<io::Error>> = Mutex::new(None);

pub(crate) fn print_line(line: fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) else {
        return;
    };
    if error.kind() != ErrorKind::BrokenPipe {
        let mut first = OUTPUT_ERROR.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
    }
}

/// Error for a command line that does not match the usage.
#[derive(Debug)]
pub(crate) struct UsageError(String);

impl UsageError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// Returns the error for an option that the example does not have.
    pub(crate) fn unknown(option: &str) -> Self {
        Self(format!("unknown option {option}"))
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for UsageError {}

/// An argument of the command line.
pub(crate) enum Argument {
    /// An argument that begins with a hyphen.
    Option(String),
    Operand(PathBuf),
}

/// The arguments that the example has not read yet.
pub(crate) struct Arguments {
    rest: std::vec::IntoIter<OsString>,
    /// `true` after the argument `--`, which ends the options.
    operands_only: bool,
}

impl Arguments {
    pub(crate) fn next(&mut self) -> Result<Option<Argument>, UsageError> {
        let Some(argument) = self.rest.next() else {
            return Ok(None);
        };
        if argument.is_empty() {
            return Err(UsageError::new("an argument is empty"));
        }
        if self.operands_only || !is_option(&argument) {
            return Ok(Some(Argument::Operand(argument.into())));
        }
        if argument == "--" {
            self.operands_only = true;
            return self.next();
        }
        let option = argument.to_string_lossy().into_owned();
        Ok(Some(Argument::Option(option)))
    }

    /// Returns the value of an option, which is the next argument.
    pub(crate) fn value(&mut self, option: &str, what: &str) -> Result<OsString, UsageError> {
        let value = self.rest.next();
        let value = value.filter(|value| !value.is_empty() && !is_option(value));
        value.ok_or_else(|| UsageError::new(format!("{option} needs {what}")))
    }

    /// Reads the command line of an example that takes at most one directory.
    pub(crate) fn directory(&mut self) -> Result<Option<PathBuf>, UsageError> {
        let mut directory = None;
        while let Some(argument) = self.next()? {
            match argument {
                Argument::Option(option) => return Err(UsageError::unknown(&option)),
                Argument::Operand(path) => set_once(&mut directory, path)?,
            }
        }
        Ok(directory)
    }

    /// Reads the command line of an example that takes no arguments.
    pub(crate) fn none(&mut self) -> Result<(), UsageError> {
        match self.next()? {
            Some(Argument::Option(option)) => Err(UsageError::unknown(&option)),
            Some(Argument::Operand(_)) => Err(UsageError::new("this example takes no arguments")),
            None => Ok(()),
        }
    }
}

fn is_option(argument: &OsString) -> bool {
    argument.as_encoded_bytes().starts_with(b"-")
}

/// Returns the passphrase in an environment variable, if the variable is set.
pub(crate) fn passphrase_from(variable: &str) -> Outcome<Option<String>> {
    match env::var(variable) {
        Ok(passphrase) => Ok(Some(passphrase)),
        Err(VarError::NotPresent) => Ok(None),
        // Do not treat the variable as unset: the vault would get the public demonstration
        // passphrase.
        Err(VarError::NotUnicode(_)) => {
            Err(format!("{variable} is not UTF-8; set it to a passphrase in UTF-8").into())
        }
    }
}

/// Stores the directory argument, or fails if the command line contains two.
pub(crate) fn set_once(directory: &mut Option<PathBuf>, path: PathBuf) -> Result<(), UsageError> {
    match directory.replace(path) {
        None => Ok(()),
        Some(_) => Err(UsageError::new("too many arguments: name one directory")),
    }
}

/// Runs an example: prints its usage for `--help`, and its error otherwise.
///
/// Exit codes: 0 for success and for `--help`, 1 for an error, 2 for a command line that does not
/// match the usage. `run` reads its arguments before it creates anything.
pub(crate) fn main(usage: &str, run: impl FnOnce(&mut Arguments) -> Outcome<()>) -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let mut options = arguments.iter().take_while(|argument| *argument != "--");
    let result = if options.any(|argument| argument == "--help" || argument == "-h") {
        outln!("{usage}");
        Ok(())
    } else {
        run(&mut Arguments {
            rest: arguments.into_iter(),
            operands_only: false,
        })
    };
    let mut output_error = OUTPUT_ERROR.lock().unwrap_or_else(PoisonError::into_inner);
    let result = match (result, output_error.take()) {
        (Ok(()), Some(error)) => Err(format!("cannot write to stdout: {error}").into()),
        (result, _) => result,
    };
    // Use `writeln!`, because `eprintln!` panics if stderr is closed.
    let mut stderr = io::stderr().lock();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<UsageError>() => {
            let _ = writeln!(stderr, "error: {error}\n\n{usage}");
            ExitCode::from(2)
        }
        Err(error) => {
            let _ = writeln!(stderr, "error: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Returns the error's text, followed by each cause whose text the result does not contain yet.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}\n  caused by: {message}");
        }
        cause = error.source();
    }
    text
}

/// Returns a path next to a directory: the directory's name plus `suffix`, never inside the
/// directory.
pub(crate) fn next_to(directory: &Path, suffix: &str) -> Outcome<PathBuf> {
    // Make the path absolute, which drops a trailing slash and gives `.` a file name.
    let absolute = path::absolute(directory)?;
    let name = absolute.file_name().ok_or_else(|| {
        let directory = directory.display();
        format!("the path {directory} does not end in a name; use a path that does")
    })?;
    let mut name = name.to_owned();
    name.push(suffix);
    Ok(absolute.with_file_name(name))
}
