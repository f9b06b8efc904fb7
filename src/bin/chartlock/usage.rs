//! Errors of the command line, without the values that the operator typed.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::failure::{Exit, Failure};
use super::output::print_bytes;

/// Prints help or version, or returns the failure. A value can be a passphrase at the wrong place, so the
/// failure names only options.
pub(crate) fn failure_of(error: &clap::Error) -> Result<Exit, Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print_bytes(error.render().to_string().as_bytes())?;
            Ok(Exit::Success)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => Err(
            Failure::usage("no command was given", "run `chartlock help`"),
        ),
        kind => {
            let mut message = match kind {
                ErrorKind::UnknownArgument => "unknown argument",
                ErrorKind::InvalidSubcommand => "unknown command",
                ErrorKind::MissingRequiredArgument => "a required argument is missing",
                ErrorKind::ArgumentConflict => "these arguments cannot be used together",
                ErrorKind::InvalidUtf8 => "an argument is not UTF-8 text",
                _ => "a value is missing or not valid",
            }
            .to_owned();
            for name in options(error) {
                message.push_str(": ");
                message.push_str(&name);
            }
            Err(Failure::usage(message, next(error)))
        }
    }
}

/// Returns the names of the arguments that the error concerns.
fn options(error: &clap::Error) -> Vec<String> {
    let is_typed = matches!(
        error.kind(),
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand
    );
    let names = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) => vec![name.clone()],
        Some(ContextValue::Strings(names)) => names.clone(),
        _ => Vec::new(),
    };
    // The names of known arguments come from the definition; others come from the operator.
    let mut names = names
        .into_iter()
        .filter(|name| !is_typed || name.starts_with("--"));
    let first: Vec<_> = names.by_ref().collect();
    first
        .into_iter()
        .map(|name| name.split('=').next().unwrap_or_default().to_owned())
        .collect()
}

fn next(error: &clap::Error) -> String {
    let valid = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => values.join(", "),
        _ => return "run the command with --help; a passphrase is never an argument".to_owned(),
    };
    format!("use one of {valid}")
}
