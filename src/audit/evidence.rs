//! Evidence that a version of a record was sealed at a certain time.

use std::fmt;

use serde::Serialize;

use crate::audit::authority::PageAuthority;
use crate::audit::checkpoint_anchor::CheckpointAnchor;
use crate::audit::entry::AuditEntry;
use crate::audit::hex::Hex;
use crate::audit::journal_source::JournalSource;
use crate::audit::sealing::{Sealing, SealingCheck, address, page_of};
use crate::audit::time::{TimeRange, Timestamp};
use crate::audit::unreadable::{self, UnreadableParts};
use crate::audit::{AuditTrail, resolve};
use crate::crypto::Digest;
use crate::error::Result;
use crate::format::envelope::{self, Address, Head};
use crate::format::storage_keys;
use crate::id::RecordId;
use crate::journal::checkpoint::Checkpoint;

/// Statements about what evidence proves and what it does not prove.
const MEANS: [&str; 4] = [
    "each sealing names the SHA-256 digest of the stored value from byte 96 on; for a segmented record the digest covers the stream key and the length, not the content's chunks",
    "times are from the clock of the machine that wrote the entry",
    "a person who opened the vault and can write the storage could have forged the page, and where an auditor made the evidence, every holder of the journal key could; a checkpoint kept elsewhere proves that the page existed when the checkpoint was made",
    "a version that was re-encrypted has one sealing for each encryption, each with its own digest",
];

/// Evidence that a version of a record was sealed: the time, the actor and the journal entry.
///
/// The evidence contains digests and journal positions, but no content. [`AuditTrail::confirm`]
/// checks the evidence against the storage. A verifier who has only the stored bytes can use
/// [`SealEvidence::covers`] and [`Sealing::is_page`]. `Debug` shows no names.
///
/// ```
/// # use chartlock::{RecordId, audit::AuditTrail};
/// # fn show(trail: &AuditTrail) -> Result<(), chartlock::Error> {
/// let id = RecordId::patient("MRN-1042", "AllergyIntolerance/1")?;
/// let evidence = trail.evidence(&id, 1)?;
/// for sealing in &evidence.sealings {
///     println!("{} by {}: {}", sealing.at, sealing.actor, sealing.digest);
/// }
/// assert!(trail.confirm(&evidence)?.holds());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SealEvidence {
    /// The subject's identifier.
    pub subject: Box<str>,
    /// The kind of the subject: `patient` or `organization`.
    pub kind: &'static str,
    /// The record's name.
    pub record: Box<str>,
    /// The version number.
    pub version: u64,
    /// The time at which the evidence was created.
    pub made: Timestamp,
    /// All sealings of this version, from the oldest to the newest.
    pub sealings: Vec<Sealing>,
    /// The digest of the version that was stored when the evidence was created; `None` if the
    /// version was not stored.
    pub stored: Option<Hex<32>>,
    /// The checkpoint added with [`SealEvidence::pinned_by`], if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// The parts of the journal that could not be read. If there are any, the evidence may lack
    /// sealings.
    pub unreadable: UnreadableParts,
    /// The number of journal pages that the report did not open, because they are about other
    /// subjects. Each such page was checked to be as a holder of the journal key wrote it.
    /// [`Vault::verify`](crate::Vault::verify) opens all pages.
    pub pages_passed_over: u64,
    /// States whether the report checked that a vault wrote the pages that it shows.
    pub authority: PageAuthority,
    /// Statements about what the evidence proves and what it does not prove.
    pub means: Vec<&'static str>,
}

/// The result of checking evidence against the storage.
///
/// ```
/// # use chartlock::audit::Confirmation;
/// # fn show(confirmation: &Confirmation) {
/// assert!(confirmation.holds());
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Confirmation {
    /// The result for each sealing, in the order of the evidence.
    pub sealings: Vec<SealingCheck>,
    /// `true` if the stored version has the digest that the last settled sealing records.
    pub value: bool,
    /// `true` if the stored page matches the checkpoint; `None` without a checkpoint.
    pub checkpoint: Option<bool>,
}

impl AuditTrail {
    /// Collects the evidence that a version was sealed. If the journal records no sealing of the
    /// version, `sealings` is empty.
    ///
    /// # Errors
    /// The errors of [`AuditTrail::entries`].
    pub fn evidence(&self, id: &RecordId, version: u64) -> Result<SealEvidence> {
        let mut names = self.names.clone();
        names.subjects.insert(id.subject().clone());
        names.records.insert(id.name().into());
        let question = format!("evidence of version {version}");
        self.ask(Some(id.subject()), &question)?;
        let entries = self.walk_about(id.subject(), names, TimeRange::default())?;
        let mut found = Vec::new();
        let (unreadable, pages_passed_over) = unreadable::read_counting(entries, |entry| {
            if seals(&entry, id, version) {
                found.push(entry);
            }
        })?;
        let address = found.iter().rev().find_map(address_of);
        let stored = address.map(|address| stored(&*self.source, &address, version));
        let sealings = found.iter().map(|entry| Sealing::new(&*self.source, entry));
        Ok(SealEvidence {
            subject: id.subject().identifier().into(),
            kind: resolve::kind(id.subject().kind()),
            record: id.name().into(),
            version,
            made: Timestamp::from_millis(self.source.now()),
            sealings: sealings
                .filter_map(Result::transpose)
                .collect::<Result<_>>()?,
            stored: stored.transpose()?.flatten().map(Hex),
            checkpoint: None,
            unreadable,
            pages_passed_over,
            authority: self.authority(),
            means: MEANS.to_vec(),
        })
    }

    /// Checks evidence against the current storage.
    ///
    /// # Errors
    /// [`Error::BadCheckpoint`](crate::Error::BadCheckpoint) if the checkpoint's text is malformed;
    /// [`Error::Locked`](crate::Error::Locked) if the vault is locked; errors of the storage.
    pub fn confirm(&self, evidence: &SealEvidence) -> Result<Confirmation> {
        self.source.check()?;
        let checkpoint = evidence.checkpoint.as_deref().map(str::parse).transpose()?;
        let anchor = checkpoint.map(|checkpoint| CheckpointAnchor::of(&*self.source, &checkpoint));
        let mut anchor = anchor.transpose()?;
        let mut sealings = Vec::new();
        let mut last = None;
        for sealing in &evidence.sealings {
            let (mut check, address) = sealing.check(&*self.source, evidence.version)?;
            if let Some(Some(anchor)) = &mut anchor {
                check.pinned = anchor.covers(&*self.source, &page_of(&sealing.position))?;
            }
            sealings.push(check);
            if sealing.settled && check.entry {
                last = address.map(|address| (address, sealing.digest));
            }
        }
        let value = match last {
            Some((address, digest)) => {
                stored(&*self.source, &address, evidence.version)? == Some(digest.0)
            }
            None => false,
        };
        Ok(Confirmation {
            sealings,
            value,
            checkpoint: anchor.map(|anchor| anchor.is_some()),
        })
    }
}

impl SealEvidence {
    /// Adds a checkpoint that was created after the sealings and kept outside the storage.
    ///
    /// The checkpoint proves that the pages were not forged later, not even by an attacker who
    /// holds the journal key.
    #[must_use]
    pub fn pinned_by(mut self, checkpoint: &Checkpoint) -> Self {
        self.checkpoint = Some(checkpoint.to_string());
        self
    }

    /// Returns the sealing that records a stored value, if there is such a sealing. `value` is the
    /// whole object, as stored.
    pub fn covers(&self, value: &[u8]) -> Option<&Sealing> {
        let version = Head::parse(value).ok()?.version;
        let digest = envelope::digest(value).ok()?;
        let mut sealings = self.sealings.iter();
        sealings.find(|sealing| version == self.version && sealing.digest.0 == digest)
    }
}

impl Confirmation {
    /// Returns `true` if the evidence has at least one sealing, and all sealings, the stored value
    /// and any checkpoint were confirmed.
    pub fn holds(&self) -> bool {
        let mut checks = self.sealings.iter();
        let all_confirmed = checks.all(|check| check.page && check.entry && check.chain);
        all_confirmed && self.value && !self.sealings.is_empty() && self.checkpoint != Some(false)
    }

    /// Returns `true` if the checkpoint proves that the first sealing is older than the checkpoint.
    pub fn is_pinned(&self) -> bool {
        let first = self.sealings.first();
        first.is_some_and(|first| first.page && first.entry && first.pinned)
    }
}

/// Returns `true` if the entry records a sealing of this version.
fn seals(entry: &AuditEntry, id: &RecordId, version: u64) -> bool {
    let record = entry.record.as_ref();
    entry.digest.is_some()
        && entry.version == Some(version)
        && entry.is_about(id.subject())
        && record.is_some_and(|record| record.name.as_deref() == Some(id.name()))
}

fn address_of(entry: &AuditEntry) -> Option<Address> {
    let chart = entry.subject.as_ref()?.chart?;
    let record = entry.record.as_ref()?.stored?;
    Some(address(chart.0, record.0))
}

/// Computes the digest of a stored version, current or earlier, without decrypting the value.
fn stored(source: &dyn JournalSource, address: &Address, version: u64) -> Result<Option<Digest>> {
    let keys = [
        storage_keys::current(address).to_vec(),
        storage_keys::earlier(address, version),
    ];
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let values = source.storage().read(&keys)?.into_iter().flatten();
    let mut of_version = values
        .filter(|stored| Head::parse(&stored.value).is_ok_and(|head| head.version == version));
    let digest = of_version
        .next()
        .map(|stored| envelope::digest(&stored.value));
    Ok(digest.and_then(Result::ok))
}

impl fmt::Debug for SealEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealEvidence({} sealings, ..)", self.sealings.len())
    }
}
