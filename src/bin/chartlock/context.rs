//! Settings that all commands share: actor, purpose, output form, confirmation.

use std::io::{self, BufRead, IsTerminal, Write};

use chartlock::{Actor, Purpose};

use super::arguments::CommonArguments;
use super::failure::Failure;
use super::login::login_actor;
use super::output::Text;
use super::progress::Progress;
use super::purpose::purpose_of;

/// Settings of one run.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) json: bool,
    pub(crate) actor: Actor,
    pub(crate) progress: Progress,
    yes: bool,
    purpose: Option<Purpose>,
}

impl Context {
    pub(crate) fn new(common: &CommonArguments) -> Result<Self, Failure> {
        let actor = match &common.actor {
            Some(name) => Actor::new(name)?,
            None => login_actor()?,
        };
        Ok(Self {
            json: common.json,
            actor,
            progress: Progress::new(common.json),
            yes: common.yes,
            purpose: common.purpose.as_deref().map(purpose_of).transpose()?,
        })
    }

    /// Returns the purpose for the journal: the one of `--purpose`, or the default of the command.
    pub(crate) fn purpose(&self, default: Purpose) -> Purpose {
        self.purpose.unwrap_or(default)
    }

    /// Asks for confirmation on the terminal. Without a terminal, `--yes` is required.
    pub(crate) fn confirm(&self, question: &str) -> Result<(), Failure> {
        self.confirm_after(Text::default(), question)
    }

    /// Shows the text that the answer depends on, then asks for confirmation.
    pub(crate) fn confirm_after(&self, text: Text, question: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if self.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::usage(
                "this command changes or replaces data irreversibly, and cannot ask for confirmation here",
                "check the command, then run it again with --yes",
            ));
        }
        let mut answer = String::new();
        let mut err = io::stderr().lock();
        let asked =
            write!(err, "{text}{question} Type yes to continue: ").and_then(|()| err.flush());
        let read = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
        match read {
            Ok(_) if answer.trim() == "yes" => Ok(()),
            _ => Err(Failure::usage(
                "not confirmed, so nothing was changed",
                "run the command again and type yes, or pass --yes",
            )),
        }
    }
}
