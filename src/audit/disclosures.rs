//! Accounting of disclosures: the recipients to whom a subject's records were disclosed.

use std::fmt;

use serde::Serialize;

use crate::audit::authority::PageAuthority;
use crate::audit::entry::{AuditEntry, EntryPosition};
use crate::audit::time::{TimeRange, Timestamp};
use crate::audit::unreadable::{self, UnreadableParts};
use crate::audit::{AuditTrail, display};
use crate::error::{InputField, Result};
use crate::id::bounds::{check_length, check_text};
use crate::id::{Purpose, Subject};
use crate::journal::{AccessOutcome, Operation};

const RULE: &str = "45 CFR 164.528";
/// The number of years that an accounting covers, from 45 CFR 164.528(a)(1).
const YEARS: i64 = 6;
/// Descriptions of questions that the report cannot decide.
const NOT_DECIDED: [&str; 4] = [
    "disclosures that the app made but did not record as disclosures",
    "copies made below the vault: archives, backups, exports of the storage",
    "exceptions that the purpose of use does not show: to the individual, by authorization, incident to a permitted use, to persons involved in care, limited data sets (164.528(a)(1)(ii) to (ix)); remove them by hand",
    "whether an agency's statement suspends the right to see a disclosure to that agency (164.528(a)(2))",
];

/// An accounting of disclosures in the six years before the request (45 CFR 164.528).
///
/// Disclosures recorded for treatment, payment or health care operations are exempt
/// (164.528(a)(1)(i)): the report counts them but does not list them. The report lists disclosures
/// for every other purpose, including purposes that this release does not define. `Debug` shows no
/// names.
///
/// ```
/// # use chartlock::{Subject, audit::AuditTrail};
/// # fn show(trail: &AuditTrail) -> Result<(), chartlock::Error> {
/// let report = trail.disclosures(&Subject::patient("MRN-1042")?)?;
/// for entry in &report.disclosures {
///     println!("{}: {} received {} ({})", entry.at, entry.recipient, entry.description, entry.why);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DisclosureReport {
    /// The subject's identifier.
    pub subject: Box<str>,
    /// The rule that the report follows.
    pub rule: &'static str,
    /// The time at which the accounting was requested.
    pub made: Timestamp,
    /// The time range of the accounting: the six years before the request.
    pub between: TimeRange,
    /// The disclosures to account for, in time order.
    pub disclosures: Vec<Disclosure>,
    /// The numbers of exempt disclosures, which the report does not list.
    pub excluded: ExcludedCounts,
    /// The number of the subject's stored records whose names could not be read. The report shows
    /// disclosures of them by tag.
    pub unnamed_records: u64,
    /// The parts of the journal that could not be read. If there are any, the report may lack
    /// disclosures.
    pub unreadable: UnreadableParts,
    /// The number of journal pages that the report did not open, because they are about other
    /// subjects. Each such page was checked to be as a holder of the journal key wrote it.
    /// [`Vault::verify`](crate::Vault::verify) opens all pages.
    pub pages_passed_over: u64,
    /// States whether the report checked that a vault wrote the pages that it shows.
    pub authority: PageAuthority,
    /// Descriptions of questions that the report cannot decide.
    pub not_decided: Vec<&'static str>,
}

/// The numbers of disclosures that an accounting omits as exempt, under 45 CFR 164.528(a)(1)(i).
///
/// ```
/// # use chartlock::audit::ExcludedCounts;
/// assert_eq!(ExcludedCounts::default().treatment, 0);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExcludedCounts {
    /// Disclosures for treatment: purposes `TREAT`, `ETREAT` and `COC`.
    pub treatment: u64,
    /// Disclosures for payment: purpose `HPAYMT`.
    pub payment: u64,
    /// Disclosures for health care operations: purposes `HOPERAT`, `PATADMIN`, `HQUALIMP` and
    /// `HSYSADMIN`.
    pub operations: u64,
}

/// A disclosure, with the details that 45 CFR 164.528(b)(2) requires.
///
/// ```
/// # use chartlock::audit::Disclosure;
/// # fn show(disclosure: &Disclosure) {
/// let Disclosure { at, recipient, description, .. } = disclosure;
/// println!("{at} to {recipient}: {description}");
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Disclosure {
    /// The time of the disclosure.
    pub at: Timestamp,
    /// A time that the disclosure cannot precede, if the clock was behind; see
    /// [`AuditEntry::not_before`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The recipient, as the app recorded it.
    pub recipient: String,
    /// The description of the disclosed information, as the app recorded it.
    pub description: String,
    /// The consent under which the access policy permitted the disclosure, if the policy returned a
    /// consent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<Box<str>>,
    /// The display text of the purpose.
    pub why: String,
    /// The purpose code (HL7 v3 PurposeOfUse).
    pub purpose: Box<str>,
    /// The actor who made the disclosure.
    pub actor: Box<str>,
    /// The organization on whose behalf the actor acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<Box<str>>,
    /// The record, if a single record was disclosed: by name if the trail resolves it, otherwise by
    /// tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The position of the entry in the journal.
    pub position: EntryPosition,
}

impl AuditTrail {
    /// Reports the disclosures of a subject's records in the last six years.
    ///
    /// # Errors
    /// The errors of [`AuditTrail::entries`].
    pub fn disclosures(&self, subject: &Subject) -> Result<DisclosureReport> {
        let made = Timestamp::from_millis(self.source.now());
        let between = TimeRange::from(made.years_before(YEARS)..);
        self.ask(Some(subject), "accounting of disclosures")?;
        let (names, unnamed_records) = self.names_with(subject)?;
        let entries = self.walk_about(subject, names, between)?;
        let mut disclosures = Vec::new();
        let mut excluded = ExcludedCounts::default();
        let (unreadable, pages_passed_over) = unreadable::read_counting(entries, |entry| {
            let is_disclosure =
                entry.operation == Operation::Disclose && entry.outcome == AccessOutcome::Done;
            if !is_disclosure || !entry.is_about(subject) {
                return;
            }
            match excluded.counter(&entry.purpose) {
                Some(count) => *count += 1,
                None => disclosures.push(entry.into()),
            }
        })?;
        Ok(DisclosureReport {
            subject: subject.identifier().into(),
            rule: RULE,
            made,
            between,
            disclosures,
            excluded,
            unnamed_records,
            unreadable,
            pages_passed_over,
            authority: self.authority(),
            not_decided: NOT_DECIDED.to_vec(),
        })
    }
}

impl ExcludedCounts {
    /// Returns the counter of an exempt purpose; `None` if the purpose is not exempt.
    fn counter(&mut self, purpose: &str) -> Option<&mut u64> {
        match display::purpose_of(purpose)? {
            Purpose::Treatment | Purpose::EmergencyTreatment | Purpose::CareCoordination => {
                Some(&mut self.treatment)
            }
            Purpose::Payment => Some(&mut self.payment),
            Purpose::Operations
            | Purpose::PatientAdministration
            | Purpose::QualityImprovement
            | Purpose::SystemAdministration => Some(&mut self.operations),
            // List a disclosure under break-glass although the purpose may have been treatment,
            // because an accounting may omit only disclosures that are certainly exempt.
            Purpose::BreakTheGlass
            | Purpose::Legal
            | Purpose::PatientRequest
            | Purpose::FamilyRequest
            | Purpose::PublicHealth
            | Purpose::Research
            | Purpose::Marketing => None,
        }
    }
}

/// Checks the texts of a disclosure.
///
/// # Errors
/// [`Error::InvalidMetadata`] if `recipient` is empty, longer than 255 bytes or has control
/// characters, or if `description` is empty or longer than 1,024 bytes.
pub(crate) fn check(recipient: &str, description: &str) -> Result<()> {
    check_text(recipient, InputField::Recipient)?;
    check_length(description, InputField::Description)
}

/// Formats the note of a disclosure's journal entry: the recipient, a line break, and the
/// description. A recipient contains no line break.
pub(crate) fn note(recipient: &str, description: &str) -> String {
    format!("{recipient}\n{description}")
}

/// The parts of the note that journals a disclosure.
pub(super) struct DisclosureNote<'n> {
    pub(super) recipient: &'n str,
    pub(super) description: &'n str,
}

impl<'n> DisclosureNote<'n> {
    pub(super) fn of(entry: &'n AuditEntry) -> Self {
        let note = entry.note.as_deref().unwrap_or_default();
        let (recipient, description) = note.split_once('\n').unwrap_or((note, ""));
        Self {
            recipient,
            description,
        }
    }
}

impl From<AuditEntry> for Disclosure {
    fn from(entry: AuditEntry) -> Self {
        let note = DisclosureNote::of(&entry);
        Self {
            at: entry.at,
            not_before: entry.not_before,
            recipient: note.recipient.into(),
            description: note.description.into(),
            consent: entry.consent.clone(),
            why: display::purpose(&entry.purpose).into(),
            purpose: entry.purpose,
            actor: entry.actor,
            organization: entry.organization,
            record: entry.record.map(|record| record.to_string()),
            position: entry.position,
        }
    }
}

impl fmt::Debug for DisclosureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DisclosureReport({} listed, ..)", self.disclosures.len())
    }
}

impl fmt::Debug for Disclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disclosure({}, ..)", self.at)
    }
}
