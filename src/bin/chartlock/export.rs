//! `export`: archive of the whole vault, and FHIR AuditEvents of its journal.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use chartlock::Purpose;
use chartlock::audit::{AuditItem, Hex, fhir};
use clap::{Args, Subcommand};
use serde_json::json;

use super::arguments::{ReadArguments, VaultArguments};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::open::{with_readable_vault, with_vault};
use super::output::{self, Text};
use super::output_file::{self, OutputFile};
use super::time_range::TimeArguments;

#[derive(Debug, Subcommand)]
pub(crate) enum ExportCommand {
    /// Write the whole vault, still encrypted, into one file that `chartlock restore copy` restores.
    Archive {
        #[command(flatten)]
        vault: VaultArguments,
        #[command(flatten)]
        target: TargetArguments,
        /// Reason for the journal.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Write the journal as FHIR R4 AuditEvents, one JSON document on each line. The file is NOT encrypted.
    AuditEvents {
        #[command(flatten)]
        read: ReadArguments,
        #[command(flatten)]
        target: TargetArguments,
        #[command(flatten)]
        time: TimeArguments,
        /// Name of the reporting application.
        #[arg(long, default_value = "chartlock", value_name = "NAME")]
        application: String,
        /// Host name, IP address or URI of the application.
        #[arg(long, default_value = "localhost", value_name = "ADDRESS")]
        address: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TargetArguments {
    /// New file, which appears only when it is complete.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(command: &ExportCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        ExportCommand::Archive {
            vault,
            target,
            reason,
        } => archive(vault, target, reason, context),
        ExportCommand::AuditEvents {
            read,
            target,
            time,
            application,
            address,
        } => {
            let application = fhir::Application::new(application, address);
            audit_events(read, target, time, &application, context)
        }
    }
}

fn archive(
    vault: &VaultArguments,
    target: &TargetArguments,
    reason: &str,
    context: &Context,
) -> Result<Exit, Failure> {
    let mut out = OutputFile::create(&target.output, &vault.directory, target.force)?;
    with_vault(vault, context, |open| {
        let session = open.session(context, Purpose::SystemAdministration);
        let report = session.archive(reason, &mut out)?;
        out.publish()?;
        context.progress.finish();
        let digest = Hex(report.digest).to_string();
        let is_whole = report.unreadable == 0;
        let text = Text::new("archive written")
            .line("objects", report.objects)
            .line("bytes", report.bytes)
            .line("unreadable objects", report.unreadable)
            .line("sha256", &digest)
            .note_if(
                !is_whole,
                "next: keep earlier backups, and run `chartlock verify`",
            );
        let document = json!({ "archive": {
            "objects": report.objects,
            "bytes": report.bytes,
            "unreadable": report.unreadable,
            "sha256": digest,
        }});
        output::print(context.json, &document, text)?;
        Ok(if is_whole {
            Exit::Success
        } else {
            Exit::Findings
        })
    })
}

fn audit_events(
    read: &ReadArguments,
    target: &TargetArguments,
    time: &TimeArguments,
    application: &fhir::Application,
    context: &Context,
) -> Result<Exit, Failure> {
    let range = time.range()?;
    let out = OutputFile::create(&target.output, &read.vault.directory, target.force)?;
    with_readable_vault(read, context, |open| {
        let trail = open
            .session(context, Purpose::Operations)
            .audit()?
            .resolve_all()?;
        let mut out = BufWriter::new(out);
        let (mut events, mut faults) = (0_u64, 0_u64);
        for item in trail.entries(range)? {
            match item? {
                AuditItem::Entry(entry) => {
                    let event = fhir::audit_event(&entry, application);
                    writeln!(out, "{event}").map_err(|error| output_file::failed(&error))?;
                    events += 1;
                }
                AuditItem::Fault(_) => faults += 1,
            }
        }
        let out = out
            .into_inner()
            .map_err(|error| output_file::failed(error.error()))?;
        out.publish()?;
        let text = Text::new("audit events written")
            .line("events", events)
            .line("pages with faults", faults)
            .note("next: protect the file like the records, because it is not encrypted")
            .note_if(
                faults > 0,
                "next: run `chartlock verify`, because entries may be missing",
            );
        let document = json!({ "audit_events": { "events": events, "faults": faults } });
        output::print(context.json, &document, text)?;
        Ok(if faults == 0 {
            Exit::Success
        } else {
            Exit::Findings
        })
    })
}
