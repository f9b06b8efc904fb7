//! `rotate`: rotations of keys, and re-encryption.

use chartlock::report::ReencryptionReport;
use clap::{Args, Subcommand};
use serde_json::json;

use super::arguments::VaultArguments;
use super::context::Context;
use super::credential::{Secret, with_all};
use super::credential_arguments::KeepArguments;
use super::failure::{Exit, Failure};
use super::open::{OpenVault, with_vault};
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
    /// Re-encrypt all content, or that of one subject, after an incident in which keys and storage were copied.
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

/// Note after a rotation whose former journal keys still sign pages.
const CLOSE: &str = "next: run `chartlock status`, which closes the former journal keys";

/// Note after a rotation that could not overwrite the destroyed keys on the medium.
const PURGE: &str = "next: end backups and runs with --spool, then run `chartlock status`, because wrapped former keys \
    may be on the disk until then";

/// Note after a rotation that met writes which were never acknowledged.
const ORPHANS: &str = "next: run `chartlock verify`, because unfinished writes used a destroyed key; the app never \
    confirmed them";

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
                print_report(&open.vault.rotate_subject_key(&subject)?, context)
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
                print_report(&report?, context)
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
            "former master keys NOT destroyed"
        })
        .line("patient entries resealed", report.entries_resealed)
        .line("master keys destroyed", report.master_keys_destroyed)
        .line("patient entries that do not open", report.entries_blocking)
        .line(
            "bytes of the former header may remain",
            report.purge_deferred,
        )
        .line(
            "patient entries of unfinished writes",
            report.entries_orphaned,
        )
        .note_if(!is_whole, "next: run `chartlock verify`, then rotate again")
        .note_if(report.entries_orphaned > 0, ORPHANS)
        .note_if(report.purge_deferred, PURGE)
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
        let drop = &arguments.slots.drop;
        require_own_slot_stays(open, drop)?;
        context.confirm(
            "The rotation drops slots, gives passphrase slots the default cost, and makes recovery kits stale.",
        )?;
        // A file descriptor can be read only once, so use the credential that opened the vault.
        let keep: Vec<&Secret> = keep.iter().chain([&open.secret]).collect();
        let report = with_all(&keep, |keep| open.vault.rotate_root_key(keep, drop))?;
        context.progress.finish();
        let text = Text::new("root key rotated")
            .line("slots kept", report.slots_kept)
            .line("auditors' slots kept", report.auditor_slots_kept)
            .line("slots dropped", report.slots_dropped)
            .line("bytes of the former header may remain", report.purge_deferred)
            .note("slots of passphrases have the default cost now")
            .note_if(report.journal_pages.is_none(), CLOSE)
            .note_if(report.purge_deferred, PURGE)
            .note("next: run `chartlock rotate master`, because the former header may have been copied")
            .note(NEW_KIT);
        output::print(context.json, &json!({ "rotation": report }), text)?;
        Ok(exit_of_closing(report.journal_pages))
    })
}

/// Refuses to drop the slot of the credential that opened the vault, which always stays.
fn require_own_slot_stays(open: &OpenVault, drop: &[u16]) -> Result<(), Failure> {
    if drop.is_empty() {
        return Ok(());
    }
    let own = (open.secret).with(|credential| open.vault.try_credential(credential))?;
    match drop.contains(&own.id) {
        true => Err(Failure::new(
            Exit::Refused,
            "--drop names the slot of the credential that opened the vault, which stays",
            "open the vault with the credential of another slot that stays, then drop this slot",
        )),
        false => Ok(()),
    }
}

/// Returns `Incomplete` if the former journal keys are not closed yet.
fn exit_of_closing(pages: Option<u64>) -> Exit {
    match pages {
        Some(_) => Exit::Success,
        None => Exit::Incomplete,
    }
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
            .note_if(report.pages.is_none(), CLOSE)
            .note_if(report.purge_deferred, PURGE)
            .note(NEW_KIT);
        output::print(context.json, &json!({ "rotation": report }), text)?;
        Ok(exit_of_closing(report.pages))
    })
}

fn print_report(report: &ReencryptionReport, context: &Context) -> Result<Exit, Failure> {
    context.progress.finish();
    let left = report.blocking + report.unreadable_entries + report.contended;
    let text = Text::new(if left == 0 {
        "patient keys rotated"
    } else {
        "patient keys rotated IN PART"
    })
    .line("subjects", report.subjects)
    .line("versions rewrapped", report.rewrapped)
    .line("versions re-encrypted", report.reencrypted)
    .line("bytes re-encrypted", report.bytes)
    .line("patient keys destroyed", report.patient_keys_destroyed)
    .line("versions that do not open", report.blocking)
    .line(
        "patient entries that do not open",
        report.unreadable_entries,
    )
    .line(
        "subjects skipped because of other rotations",
        report.contended,
    )
    .line("versions of unfinished writes", report.orphaned)
    .line(
        "bytes of former patient entries may remain",
        report.purge_deferred,
    )
    .note_if(report.orphaned > 0, ORPHANS)
    .note_if(report.purge_deferred, PURGE)
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
