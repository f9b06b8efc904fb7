//! Evidence that one version of a record was sealed at a certain time.

use std::fmt;

use serde::Serialize;

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

/// What evidence says and what it does not.
const MEANS: [&str; 4] = [
    "each sealing names the SHA-256 of the stored value from its byte 96 on; of a segmented record that covers stream key and length, not the content's chunks",
    "times are those of the machine that wrote",
    "who holds the journal key and can write the storage could have made the page: a checkpoint kept elsewhere since binds it to that time",
    "a version that was encrypted again has a sealing for each time, with another digest",
];

/// That one version of a record was sealed: when, by whom, and where the journal says so.
///
/// It holds digests and places, no content. [`AuditTrail::confirm`] recomputes all of it from the
/// storage; whoever has but the bytes can use [`SealEvidence::covers`] and [`Sealing::is_page`].
/// `Debug` shows no names.
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
    /// `patient` or `practice`.
    pub kind: &'static str,
    /// The record's name.
    pub record: Box<str>,
    /// The version.
    pub version: u64,
    /// When the evidence was made.
    pub made: Timestamp,
    /// Each time that this version was sealed, the first one first.
    pub sealings: Vec<Sealing>,
    /// The digest of this version as it stood in storage then; `None` where it was not there.
    pub stored: Option<Hex<32>>,
    /// A checkpoint of the journal, if one was added: see [`SealEvidence::pinned_by`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// What could not be read; with a gap, a sealing may be missing here.
    pub unreadable: UnreadableParts,
    /// What this says and what it does not.
    pub means: Vec<&'static str>,
}

/// What of some evidence could be recomputed.
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
    /// Of each sealing, in their order.
    pub sealings: Vec<SealingCheck>,
    /// Whether what stands in storage now as this version is what the last certain sealing names.
    pub value: bool,
    /// Whether the page that the checkpoint names stands as it does; `None` without a checkpoint.
    pub checkpoint: Option<bool>,
}

impl AuditTrail {
    /// The evidence that a version was sealed. Without a sealing there is none: `sealings` is empty.
    ///
    /// # Errors
    /// Those of [`AuditTrail::entries`].
    pub fn evidence(&self, id: &RecordId, version: u64) -> Result<SealEvidence> {
        let mut names = self.names.clone();
        names.subjects.insert(id.subject().clone());
        names.records.insert(id.name().into());
        let question = format!("evidence of version {version}");
        self.ask(Some(id.subject()), &question)?;
        let entries = self.walk(names, TimeRange::default())?;
        let mut found = Vec::new();
        let unreadable = unreadable::read(entries, |entry| {
            if seals(&entry, id, version) {
                found.push(entry);
            }
        })?;
        let mut places = found.iter().rev().filter_map(address_of);
        let stored = places.next().map(|at| stored(&*self.source, &at, version));
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
            means: MEANS.to_vec(),
        })
    }

    /// Recomputes evidence from the storage as it is now.
    ///
    /// # Errors
    /// [`Error::BadCheckpoint`](crate::Error::BadCheckpoint); [`Error::Locked`](crate::Error::Locked);
    /// errors of the storage.
    pub fn confirm(&self, evidence: &SealEvidence) -> Result<Confirmation> {
        self.source.check()?;
        let checkpoint = evidence.checkpoint.as_deref().map(str::parse).transpose()?;
        let pin = checkpoint.map(|checkpoint| CheckpointAnchor::of(&*self.source, &checkpoint));
        let pin = pin.transpose()?;
        let mut sealings = Vec::new();
        let mut last = None;
        for sealing in &evidence.sealings {
            let (mut check, address) = sealing.check(&*self.source, evidence.version)?;
            if let Some(Some(pin)) = &pin {
                check.pinned = pin.covers(&*self.source, &page_of(&sealing.position))?;
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
            checkpoint: pin.map(|pin| pin.is_some()),
        })
    }
}

impl SealEvidence {
    /// With a checkpoint that was made after the sealings and kept elsewhere: with it, even who holds
    /// the journal key could not have made the pages later.
    #[must_use]
    pub fn pinned_by(mut self, checkpoint: &Checkpoint) -> Self {
        self.checkpoint = Some(checkpoint.to_string());
        self
    }

    /// The sealing that names a stored value (a whole one, as a storage keeps it), if one does.
    pub fn covers(&self, value: &[u8]) -> Option<&Sealing> {
        let version = Head::parse(value).ok()?.version;
        let digest = envelope::digest(value).ok()?;
        let mut sealings = self.sealings.iter();
        sealings.find(|sealing| version == self.version && sealing.digest.0 == digest)
    }
}

impl Confirmation {
    /// Whether there is a sealing, all of them hold, the value is the one that they name, and a
    /// checkpoint that was added does not speak against it.
    pub fn holds(&self) -> bool {
        let mut each = self.sealings.iter();
        let all = each.all(|check| check.page && check.entry && check.chain);
        all && self.value && !self.sealings.is_empty() && self.checkpoint != Some(false)
    }

    /// Whether a checkpoint shows that the first sealing is no younger than it.
    pub fn is_pinned(&self) -> bool {
        let first = self.sealings.first();
        first.is_some_and(|first| first.page && first.entry && first.pinned)
    }
}

/// Whether an entry tells that this version was written.
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

/// The digest of a version as it stands: the current one, or an earlier one. What is there need not
/// open for this.
fn stored(source: &dyn JournalSource, address: &Address, version: u64) -> Result<Option<Digest>> {
    let keys = [
        storage_keys::current(address),
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
