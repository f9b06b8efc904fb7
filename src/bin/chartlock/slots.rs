//! `slots`: the credentials of the vault.

use chartlock::audit::Timestamp;
use chartlock::keys::{Labelled, SlotInfo, SlotLabel};
use clap::{Args, Subcommand};
use serde_json::json;

use super::arguments::VaultArguments;
use super::context::Context;
use super::credential_arguments::OtherCredentialArguments;
use super::failure::{Exit, Failure};
use super::open::with_vault;
use super::output::{self, Text};

#[derive(Debug, Subcommand)]
pub(crate) enum SlotsCommand {
    /// List the slots.
    List(VaultArguments),
    /// Add a slot, so that another credential also opens the vault.
    Add {
        #[command(flatten)]
        slot: SlotArguments,
        /// The credential opens only the journal, for an auditor.
        #[arg(long)]
        auditor: bool,
    },
    /// Replace the credential of a slot. Its holder keeps access to old copies of the header.
    Replace {
        #[command(flatten)]
        slot: SlotArguments,
        /// Id of the slot.
        #[arg(long, value_name = "ID")]
        id: u16,
    },
    /// Remove a slot. Its holder keeps access to old copies of the header.
    Remove {
        #[command(flatten)]
        vault: VaultArguments,
        /// Id of the slot.
        #[arg(long, value_name = "ID")]
        id: u16,
    },
    /// Show which slot another credential would open, without opening anything: a drill for spare credentials.
    Try {
        #[command(flatten)]
        vault: VaultArguments,
        #[command(flatten)]
        other: OtherCredentialArguments,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SlotArguments {
    #[command(flatten)]
    vault: VaultArguments,
    #[command(flatten)]
    other: OtherCredentialArguments,
    /// Label of the slot, for example the name of the holder.
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
}

/// Note after a change of the slots.
const NEW_KIT: &str = "next: export a new recovery kit with `chartlock kit create`";

pub(crate) fn run(command: &SlotsCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        SlotsCommand::List(vault) => with_vault(vault, context, |open| {
            let slots = open.vault.slots()?;
            let mut text = Text::new(format!("{} slots", slots.len()));
            for slot in &slots {
                text.push(&slot.id.to_string(), slot_line(slot));
            }
            output::print(context.json, &json!({ "slots": slots }), text)?;
            Ok(Exit::Success)
        }),
        SlotsCommand::Add { slot, auditor } => add(slot, *auditor, context),
        SlotsCommand::Replace { slot, id } => replace(slot, *id, context),
        SlotsCommand::Remove { vault, id } => with_vault(vault, context, |open| {
            context.confirm(&format!(
                "The credential of slot {id} will not open the vault any more."
            ))?;
            open.vault.remove_slot(*id)?;
            let text = Text::new(format!("slot {id} removed"))
                .note("next: if a person left or a credential leaked, run `chartlock rotate root`")
                .note(NEW_KIT);
            output::print(context.json, &json!({ "removed": id }), text)?;
            Ok(Exit::Success)
        }),
        SlotsCommand::Try { vault, other } => with_vault(vault, context, |open| {
            let secret = other.read()?;
            let slot = secret.with(|credential| open.vault.try_credential(credential))?;
            let text = Text::new("the credential opens a slot")
                .line(&slot.id.to_string(), slot_line(&slot));
            output::print(context.json, &json!({ "slot": slot }), text)?;
            Ok(Exit::Success)
        }),
    }
}

fn add(arguments: &SlotArguments, is_auditor: bool, context: &Context) -> Result<Exit, Failure> {
    let label = arguments.label()?;
    with_vault(&arguments.vault, context, |open| {
        let secret = arguments.other.read_new()?;
        let id = secret.with(|credential| {
            let labelled = label.map(|label| Labelled::new(credential, label));
            let credential = labelled.as_ref().map_or(credential, |labelled| labelled);
            match is_auditor {
                true => open.vault.add_auditor_slot(credential),
                false => open.vault.add_slot(credential),
            }
        })?;
        let text = Text::new(format!("slot {id} added"))
            .note("next: test the credential with `chartlock slots try`")
            .note(NEW_KIT);
        output::print(context.json, &json!({ "added": id }), text)?;
        Ok(Exit::Success)
    })
}

fn replace(arguments: &SlotArguments, id: u16, context: &Context) -> Result<Exit, Failure> {
    let label = arguments.label()?;
    with_vault(&arguments.vault, context, |open| {
        let secret = arguments.other.read_new()?;
        context.confirm(&format!(
            "The present credential of slot {id} will not open the vault any more."
        ))?;
        secret.with(|credential| {
            let labelled = label.map(|label| Labelled::new(credential, label));
            let credential = labelled.as_ref().map_or(credential, |labelled| labelled);
            open.vault.replace_slot(id, credential)
        })?;
        let text = Text::new(format!("slot {id} replaced"))
            .note("next: if the former credential leaked, run `chartlock rotate root`")
            .note(NEW_KIT);
        output::print(context.json, &json!({ "replaced": id }), text)?;
        Ok(Exit::Success)
    })
}

impl SlotArguments {
    fn label(&self) -> Result<Option<SlotLabel>, Failure> {
        Ok(self.label.as_deref().map(SlotLabel::new).transpose()?)
    }
}

/// Returns the text of a slot: kind of credential, label, creation.
pub(crate) fn slot_line(slot: &SlotInfo) -> String {
    let kind = match slot.kind {
        1 => "passphrase",
        2 => "key file",
        3 => "recovery shares",
        4 => "two factors",
        5 => "PKCS#11 key",
        6 => "AWS KMS key",
        7 => "transit key",
        _ => "credential of the app",
    };
    let mut line = kind.to_owned();
    if slot.journal_only {
        line.push_str(", journal only");
    }
    if let Some(label) = slot.label() {
        line.push_str(&format!(", {label}"));
    }
    if let Some(created) = slot.created() {
        line.push_str(&format!(
            ", since {}",
            Timestamp::from_millis(created).day()
        ));
    }
    line
}
