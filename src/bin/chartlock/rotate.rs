//! `rotate`: rotations of keys, and re-encryption.

use chartlock::report::ReencryptionReport;
use clap::{Args, Subcommand};
use serde_json::json;

use super::arguments::VaultArguments;
use super::context::Context;
use super::credential::{Secret, with_all};
use super::credential_arguments::KeepArguments;
use super::failure::{Exit, Failure};
use super::open::with_vault;
use super::output::{self, Text};
use super::subject::SubjectArguments;

#[derive(Debug, Subcommand)]
pub(crate) enum RotateCommand {
    /// Rotate the master key: rewrites the patient entries, but no record. Run it yearly.
    Master(VaultArguments),
    /// Rotate the root key, when a person leaves or a credential leaks. The credential that opens the vault stays.
    /// Slots of passphrases get the default cost.
    Root(RotateSlotsArguments),
    /// Rotate the journal keys, when an auditor leaves.
    Journal(RotateSlotsArguments),
    /// Rotate the patient keys of one subject.
    Subject(RotateSubjectArguments),
    /// Encrypt all content again, or that of one subject, after an incident in which keys and storage were copied.
    Reencrypt {
        #[command(flatten)]
        vault: VaultArguments,
        /// Only this subject. `-` reads the identifier from standard input.
        #[arg(long, value_name = "IDENTIFIER")]
        subject: Option<String>,
        /// The subject is an organization.
        #[arg(long, requires = "subject")]
        organization: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RotateSlotsArguments {
    #[command(flatten)]
    vault: VaultArguments,
    #[command(flatten)]
    slots: KeepArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RotateSubjectArguments {
    #[command(flatten)]
    vault: VaultArguments,
    #[command(flatten)]
    subject: SubjectArguments,
}

/// Note after a rotation that makes earlier recovery kits stale.
const NEW_KIT: &str = "next: export a new recovery kit with `chartlock kit create`";

pub(crate) fn run(command: &RotateCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        RotateCommand::Master(vault) => master(vault, context),
        RotateCommand::Root(arguments) => root(arguments, context),
        RotateCommand::Journal(arguments) => journal(arguments, context),
        RotateCommand::Subject(arguments) => {
            let subject = arguments.subject.subject()?;
            with_vault(&arguments.vault, context, |open| {
                context.confirm("The rotation destroys the former keys of the subject.")?;
                renewed(&open.vault.rotate_subject_key(&subject)?, context)
            })
        }
        RotateCommand::Reencrypt {
            vault,
            subject,
            organization,
        } => {
            let arguments = subject
                .clone()
                .map(|text| SubjectArguments::new(text, *organization));
            let subject = arguments.map(|arguments| arguments.subject()).transpose()?;
            with_vault(vault, context, |open| {
                context
                    .confirm("The re-encryption rewrites content and destroys the former keys.")?;
                let report = match &subject {
                    Some(subject) => open.vault.reencrypt_subject(subject),
                    None => open.vault.reencrypt(),
                };
                renewed(&report?, context)
            })
        }
    }
}

fn master(arguments: &VaultArguments, context: &Context) -> Result<Exit, Failure> {
    with_vault(arguments, context, |open| {
        context.confirm(
            "The rotation destroys the former master keys and makes recovery kits stale.",
        )?;
        let report = open.vault.rotate_master_key()?;
        context.progress.finish();
        let is_whole = report.entries_blocking == 0;
        let text = Text::new(if is_whole {
            "master key rotated"
        } else {
            "master key NOT destroyed"
        })
        .line("patient entries sealed again", report.entries_resealed)
        .line("master keys destroyed", report.master_keys_destroyed)
        .line("patient entries that do not open", report.entries_blocking)
        .line(
            "bytes of the former header may remain",
            report.purge_deferred,
        )
        .note_if(!is_whole, "next: run `chartlock verify`, then rotate again")
        .note(NEW_KIT);
        output::print(context.json, &json!({ "rotation": report }), text)?;
        Ok(if is_whole {
            Exit::Success
        } else {
            Exit::Findings
        })
    })
}

fn root(arguments: &RotateSlotsArguments, context: &Context) -> Result<Exit, Failure> {
    let keep = arguments.slots.read()?;
    with_vault(&arguments.vault, context, |open| {
        context.confirm("The rotation drops slots and makes recovery kits stale.")?;
        let drop = &arguments.slots.drop;
        // A descriptor can be read once only, so use the credential that opened the vault.
        let keep: Vec<&Secret> = keep.iter().chain([&open.secret]).collect();
        let report = with_all(&keep, |keep| open.vault.rotate_root_key(keep, drop))?;
        context.progress.finish();
        let text = Text::new("root key rotated")
            .line("slots kept", report.slots_kept)
            .line("auditors' slots kept", report.auditor_slots_kept)
            .line("slots dropped", report.slots_dropped)
            .line("bytes of the former header may remain", report.purge_deferred)
            .note_if(
                report.journal_pages.is_none(),
                "next: the former journal keys are not closed yet; open the vault again",
            )
            .note("next: run `chartlock rotate master`, because the former header may have been copied")
            .note(NEW_KIT);
        output::print(context.json, &json!({ "rotation": report }), text)?;
        Ok(Exit::Success)
    })
}

fn journal(arguments: &RotateSlotsArguments, context: &Context) -> Result<Exit, Failure> {
    let keep = arguments.slots.read()?;
    with_vault(&arguments.vault, context, |open| {
        context.confirm("The rotation drops auditors' slots and makes recovery kits stale.")?;
        let drop = &arguments.slots.drop;
        let keep: Vec<&Secret> = keep.iter().collect();
        let report = with_all(&keep, |keep| open.vault.rotate_journal_keys(keep, drop))?;
        context.progress.finish();
        let text = Text::new("journal keys rotated")
            .line("auditors' slots kept", report.slots_kept)
            .line("auditors' slots dropped", report.slots_dropped)
            .line(
                "bytes of the former header may remain",
                report.purge_deferred,
            )
            .note_if(
                report.pages.is_none(),
                "next: the former keys are not closed yet; open the vault again",
            )
            .note(NEW_KIT);
        output::print(context.json, &json!({ "rotation": report }), text)?;
        Ok(Exit::Success)
    })
}

fn renewed(report: &ReencryptionReport, context: &Context) -> Result<Exit, Failure> {
    context.progress.finish();
    let left = report.blocking + report.unreadable_entries + report.contended;
    let text = Text::new(if left == 0 {
        "keys renewed"
    } else {
        "keys renewed IN PART"
    })
    .line("subjects", report.subjects)
    .line("versions wrapped again", report.rewrapped)
    .line("versions encrypted again", report.reencrypted)
    .line("bytes encrypted again", report.bytes)
    .line("patient keys destroyed", report.patient_keys_destroyed)
    .line("versions that do not open", report.blocking)
    .line(
        "patient entries that do not open",
        report.unreadable_entries,
    )
    .line("subjects to repeat", report.contended)
    .note_if(
        left > 0,
        "next: run `chartlock verify`, then run the command again",
    );
    output::print(context.json, &json!({ "rotation": report }), text)?;
    Ok(if left == 0 {
        Exit::Success
    } else {
        Exit::Findings
    })
}
