//! Report: the recipients to whom a patient's records were disclosed.

use std::fmt;

use serde::Serialize;

use crate::audit::entry::{AuditEntry, EntryPosition};
use crate::audit::time::{TimeRange, Timestamp};
use crate::audit::unreadable::{self, UnreadableParts};
use crate::audit::{AuditTrail, display};
use crate::error::{Error, Result};
use crate::id::{Purpose, Subject};
use crate::journal::{AccessOutcome, Operation};

/// The rule that the report follows.
const RULE: &str = "45 CFR 164.528";
/// How far back an accounting goes: 45 CFR 164.528(a)(1).
const YEARS: i64 = 6;
/// What the report cannot decide or know.
const NOT_DECIDED: [&str; 4] = [
    "disclosures that the app made and did not record as such",
    "copies made below the vault: archives, backups, exports of the storage",
    "exceptions that no purpose of use tells: to the individual, by authorization, incident to a permitted use, to persons involved in care, limited data sets (164.528(a)(1)(ii) to (ix)); leave them out by hand",
    "whether an agency's statement suspends the right to see a disclosure to it (164.528(a)(2))",
];

/// An accounting of disclosures in the six years before it was asked for (45 CFR 164.528).
///
/// Disclosures that were recorded for treatment, payment or health care operations are exempt
/// (164.528(a)(1)(i)): they are counted, and left out of the list. Every other purpose is listed,
/// those that this release does not know too. `Debug` shows no names.
///
/// ```
/// # use chartlock::{Subject, audit::AuditTrail};
/// # fn show(trail: &AuditTrail) -> Result<(), chartlock::Error> {
/// let report = trail.disclosures(&Subject::patient("MRN-1042")?)?;
/// for one in &report.disclosures {
///     println!("{}: {} received {} ({})", one.at, one.recipient, one.description, one.why);
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
    /// When it was asked for.
    pub made: Timestamp,
    /// The window: six years up to the request.
    pub between: TimeRange,
    /// What must be accounted for, in the order of time.
    pub disclosures: Vec<Disclosure>,
    /// What was left out as exempt.
    pub excluded: ExcludedCounts,
    /// What could not be read; with a gap, disclosures may be missing here.
    pub unreadable: UnreadableParts,
    /// What the report cannot decide or know.
    pub not_decided: Vec<&'static str>,
}

/// How many disclosures were left out of an accounting as exempt, by 45 CFR 164.528(a)(1)(i).
///
/// ```
/// # use chartlock::audit::ExcludedCounts;
/// assert_eq!(ExcludedCounts::default().treatment, 0);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExcludedCounts {
    /// For treatment: purposes `TREAT`, `ETREAT` and `COC`.
    pub treatment: u64,
    /// For payment: `HPAYMT`.
    pub payment: u64,
    /// For health care operations: `HOPERAT`, `PATADMIN`, `HQUALIMP` and `HSYSADMIN`.
    pub operations: u64,
}

/// One disclosure, with what 45 CFR 164.528(b)(2) asks for.
///
/// ```
/// # use chartlock::audit::Disclosure;
/// # fn show(one: &Disclosure) {
/// println!("{} to {}: {}", one.at, one.recipient, one.description);
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Disclosure {
    /// When.
    pub at: Timestamp,
    /// Who received it, as it was recorded.
    pub recipient: String,
    /// What was disclosed, as it was recorded.
    pub description: String,
    /// The consent under which the access policy permitted it, if it named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
    /// Why, in words.
    pub why: String,
    /// The code of the purpose.
    pub purpose: Box<str>,
    /// Who disclosed it.
    pub actor: Box<str>,
    /// For which organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation: Option<Box<str>>,
    /// The record, if it was one: its name if it can be known, else its tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Where the entry stands in the journal.
    pub position: EntryPosition,
}

impl AuditTrail {
    /// The accounting of a subject's disclosures in the six years before now.
    ///
    /// # Errors
    /// Those of [`AuditTrail::entries`].
    pub fn disclosures(&self, subject: &Subject) -> Result<DisclosureReport> {
        let made = Timestamp::from_millis(self.source.now());
        let between = TimeRange::from(made.years_before(YEARS)..);
        self.ask(Some(subject), "accounting of disclosures")?;
        let entries = self.walk(self.names_with(subject)?, between)?;
        let mut disclosures = Vec::new();
        let mut excluded = ExcludedCounts::default();
        let unreadable = unreadable::read(entries, |entry| {
            let is_one =
                entry.operation == Operation::Disclose && entry.outcome == AccessOutcome::Done;
            if !is_one || !entry.is_about(subject) {
                return;
            }
            match excluded.count(&entry.purpose) {
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
            unreadable,
            not_decided: NOT_DECIDED.to_vec(),
        })
    }
}

impl ExcludedCounts {
    /// Where a purpose is counted, if it is exempt.
    fn count(&mut self, purpose: &str) -> Option<&mut u64> {
        match display::purpose_of(purpose)? {
            Purpose::Treatment | Purpose::EmergencyTreatment | Purpose::CareCoordination => {
                Some(&mut self.treatment)
            }
            Purpose::Payment => Some(&mut self.payment),
            Purpose::Operations
            | Purpose::PatientAdministration
            | Purpose::QualityImprovement
            | Purpose::SystemAdministration => Some(&mut self.operations),
            // Who breaks the glass may have done it for treatment; better listed than left out.
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

/// # Errors
/// [`Error::InvalidMetadata`] for a recipient that is empty, longer than 255 bytes or has control
/// characters, or a description that is empty or longer than 1,024 bytes.
pub(crate) fn check(recipient: &str, description: &str) -> Result<()> {
    let is_named = (1..=255).contains(&recipient.len()) && !recipient.chars().any(char::is_control);
    let is_described = (1..=1024).contains(&description.len());
    (is_named && is_described)
        .then_some(())
        .ok_or(Error::InvalidMetadata)
}

/// How a disclosure stands in the note of its entry: the recipient, a tab and a consent where there is
/// one, a line break, the description.
pub(crate) fn note(recipient: &str, consent: &str, description: &str) -> String {
    let tab = if consent.is_empty() { "" } else { "\t" };
    format!("{recipient}{tab}{consent}\n{description}")
}

/// A note's parts.
pub(super) struct Noted<'n> {
    pub(super) recipient: &'n str,
    pub(super) consent: Option<&'n str>,
    pub(super) description: &'n str,
}

impl<'n> Noted<'n> {
    pub(super) fn of(entry: &'n AuditEntry) -> Self {
        let note = entry.note.as_deref().unwrap_or_default();
        let (first, description) = note.split_once('\n').unwrap_or((note, ""));
        let (recipient, consent) = first.split_once('\t').unwrap_or((first, ""));
        Self {
            recipient,
            consent: consent.strip_prefix("consent "),
            description,
        }
    }
}

impl From<AuditEntry> for Disclosure {
    fn from(entry: AuditEntry) -> Self {
        let noted = Noted::of(&entry);
        Self {
            at: entry.at,
            recipient: noted.recipient.into(),
            description: noted.description.into(),
            consent: noted.consent.map(Into::into),
            why: display::purpose(&entry.purpose).into(),
            purpose: entry.purpose,
            actor: entry.actor,
            organisation: entry.organisation,
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
