//! The operator's tool, `chartlock`. The manual is `manual.md`, which the module `operator_tool` of the library
//! shows.
//!
//! Uses only the public interface of the library. Each command group has one file; `failure.rs` has the exit
//! codes, `arguments.rs` the command line.
#![forbid(unsafe_code)]

mod arguments;
mod backup;
mod completions;
mod context;
mod credential;
mod credential_arguments;
mod export;
mod failure;
mod finding_text;
mod health;
mod init;
mod journal;
mod kit;
mod login;
mod next_step;
mod open;
mod output;
mod output_file;
mod progress;
mod purpose;
mod report;
mod restore;
mod rotate;
mod salvage;
mod slots;
mod status;
mod subject;
mod time_range;
mod usage;
mod verify;
mod visible;

use std::env;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Cli, Command};
use context::Context;
use failure::{Exit, Failure};
use output::Text;

fn main() -> ExitCode {
    let (as_json, result) = match Cli::try_parse() {
        Ok(cli) => (cli.common.json, run(&cli)),
        Err(error) => (
            env::args_os().any(|argument| argument == "--json"),
            usage::failure_of(&error),
        ),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print(as_json);
            failure.exit.into()
        }
    }
}

fn run(cli: &Cli) -> Result<Exit, Failure> {
    let context = &Context::new(&cli.common)?;
    if cli.common.purpose.is_some() {
        purpose::require_use(&cli.command)?;
    }
    match &cli.command {
        Command::Init(arguments) => init::run(arguments, context),
        Command::KeyFile { path } => {
            credential::create_key_file(path)?;
            let text =
                Text::new("key file created").note("next: keep a copy of it away from the storage");
            output::print(context.json, &serde_json::json!({ "created": true }), text)?;
            Ok(Exit::Success)
        }
        Command::Status(arguments) => status::run(arguments, context),
        Command::Verify(arguments) => verify::run(arguments, context),
        Command::Checkpoint { vault, output } => verify::run_checkpoint(vault, output, context),
        Command::Backup(arguments) => backup::run(arguments, context),
        Command::Restore(command) => restore::run(command, context),
        Command::Salvage(arguments) => salvage::run(arguments, context),
        Command::Rotate(command) => rotate::run(command, context),
        Command::Slots(command) => slots::run(command, context),
        Command::Kit(command) => kit::run(command, context),
        Command::Journal(command) => journal::run(command, context),
        Command::Health(arguments) => health::run(arguments, context),
        Command::Report(command) => report::run(command, context),
        Command::Export(command) => export::run(command, context),
        Command::Completions(arguments) => completions::run(arguments),
        Command::Man => completions::run_man(),
    }
}
