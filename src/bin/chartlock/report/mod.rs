//! `report`: reports from the journal, as text, JSON or a page to print.

mod access_page;
mod activity_page;
mod disclosure_page;
mod exposure_page;
mod html;
mod page;

use chartlock::audit::{AuditTrail, Auditor, Exposed};
use chartlock::{Actor, Purpose};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::arguments::{OutputArguments, ReadArguments};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::open::{open_storage, with_readable_vault};
use super::output;
use super::output_file;
use super::subject::SubjectArguments;
use super::time_range::TimeArguments;
use page::Page;

#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// Report accesses to one subject's records, including denied ones.
    Access {
        #[command(flatten)]
        report: ReportArguments,
        #[command(flatten)]
        subject: SubjectArguments,
        #[command(flatten)]
        time: TimeArguments,
    },
    /// Report disclosures of one subject's records. Covers the last six years (45 CFR 164.528).
    Disclosures {
        #[command(flatten)]
        report: ReportArguments,
        #[command(flatten)]
        subject: SubjectArguments,
    },
    /// Report the records that a lost credential or key exposed.
    Exposure {
        #[command(flatten)]
        report: ReportArguments,
        #[command(flatten)]
        exposed: ExposedArguments,
        #[command(flatten)]
        time: TimeArguments,
    },
    /// Report the operations of one actor.
    Activity {
        #[command(flatten)]
        report: ReportArguments,
        /// The actor, by the name that the app uses.
        #[arg(value_name = "ACTOR")]
        of: String,
        #[command(flatten)]
        time: TimeArguments,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    #[command(flatten)]
    read: ReadArguments,
    #[command(flatten)]
    output: OutputArguments,
    /// Make one HTML page to read and print, without scripts and external resources.
    #[arg(long, conflicts_with = "json")]
    html: bool,
    /// Open with an auditor's credential, which opens only the journal.
    #[arg(long, conflicts_with = "spool")]
    auditor: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ExposedArguments {
    /// Id of the slot whose credential was lost.
    #[arg(long, value_name = "ID")]
    slot: Option<u16>,
    /// Number of the master key that was lost.
    #[arg(long, value_name = "NUMBER")]
    master_key: Option<u32>,
}

impl ExposedArguments {
    fn exposed(&self) -> Result<Exposed, Failure> {
        match (self.slot, self.master_key) {
            (Some(id), _) => Ok(Exposed::Slot(id)),
            (None, Some(number)) => Ok(Exposed::MasterKey(number)),
            (None, None) => Err(Failure::usage(
                "nothing exposed was named",
                "pass --slot or --master-key; `chartlock status` shows both",
            )),
        }
    }
}

pub(crate) fn run(command: &ReportCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        ReportCommand::Access {
            report,
            subject,
            time,
        } => {
            let (subject, range) = (subject.subject()?, time.range()?);
            report.make(
                context,
                |trail| Ok(trail.accesses(&subject, range)?),
                access_page::page,
            )
        }
        ReportCommand::Disclosures { report, subject } => {
            let subject = subject.subject()?;
            report.make(
                context,
                |trail| Ok(trail.disclosures(&subject)?),
                disclosure_page::page,
            )
        }
        ReportCommand::Exposure {
            report,
            exposed,
            time,
        } => {
            let (exposed, range) = (exposed.exposed()?, time.range()?);
            report.make(
                context,
                |trail| Ok(trail.exposure(&exposed, range)?),
                exposure_page::page,
            )
        }
        ReportCommand::Activity { report, of, time } => {
            let (actor, range) = (Actor::new(of)?, time.range()?);
            let activity = |trail: AuditTrail| {
                // An auditor's trail cannot resolve all subjects.
                let trail = if report.auditor {
                    trail
                } else {
                    trail.resolve_all()?
                };
                Ok(trail.activity(&actor, range)?)
            };
            report.make(context, activity, activity_page::page)
        }
    }
}

impl ReportArguments {
    /// Obtains a report, and prints or writes it. Returns `Findings` if parts of the journal are unreadable.
    fn make<R: Serialize>(
        &self,
        context: &Context,
        obtain: impl FnOnce(AuditTrail) -> Result<R, Failure>,
        page: impl FnOnce(&R) -> Page,
    ) -> Result<Exit, Failure> {
        let out = (self.output.output.as_deref())
            .map(|path| {
                let vault = &self.read.vault.directory;
                output_file::OutputFile::create(path, vault, self.output.force)
            })
            .transpose()?;
        let report = self.obtain(context, obtain)?;
        let page = page(&report);
        let bytes = match (context.json, self.html) {
            (true, _) => output::json(&report)?,
            (false, true) => html::render(&page, context.actor.name()).into_bytes(),
            (false, false) => page.text().into_bytes(),
        };
        match out {
            Some(out) => {
                out.publish_with(&bytes)?;
                let document = serde_json::json!({ "written": true });
                let text = output::Text::new("report written")
                    .note("next: the report names persons, so protect it like the records");
                output::print(context.json, &document, text)?;
            }
            None => output::print_bytes(&bytes)?,
        }
        Ok(if page.is_whole {
            Exit::Success
        } else {
            Exit::Findings
        })
    }

    fn obtain<R>(
        &self,
        context: &Context,
        obtain: impl FnOnce(AuditTrail) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        if !self.auditor {
            return with_readable_vault(&self.read, context, |open| {
                obtain(open.session(context, Purpose::Operations).audit()?)
            });
        }
        let storage = open_storage(&self.read.vault)?;
        let secret = self.read.vault.credential.read()?;
        let purpose = context.purpose(Purpose::Operations);
        let actor = context.actor.clone();
        let auditor =
            secret.with(|credential| Auditor::open(storage, credential, actor, purpose))?;
        obtain(auditor.trail())
    }
}
