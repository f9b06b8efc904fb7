//! `completions` and `man`, from the definition of the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::arguments::Cli;
use super::failure::{Exit, Failure};
use super::output::print_bytes;

#[derive(Debug, Args)]
pub(crate) struct CompletionArguments {
    /// Shell to print the completions for.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(arguments: &CompletionArguments) -> Result<Exit, Failure> {
    let mut out = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "chartlock", &mut out);
    print_bytes(&out)?;
    Ok(Exit::Success)
}

pub(crate) fn run_man() -> Result<Exit, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut out = Vec::new();
    pages(&command, &mut out).map_err(|_| {
        Failure::new(
            Exit::Storage,
            "the manual page could not be made",
            "run `chartlock help`",
        )
    })?;
    print_bytes(&out)?;
    Ok(Exit::Success)
}

/// Writes the page of a command, then those of its subcommands.
fn pages(command: &clap::Command, out: &mut Vec<u8>) -> std::io::Result<()> {
    clap_mangen::Man::new(command.clone()).render(out)?;
    (command.get_subcommands())
        .filter(|subcommand| subcommand.get_name() != "help")
        .try_for_each(|subcommand| pages(subcommand, out))
}
