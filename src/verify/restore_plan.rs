//! Plan of a restore: the findings to accept, and the erasures and expunges to repeat.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::crypto::{ChartId, RecordTag};
use crate::error::Result;
use crate::id::{RecordId, Subject};
use crate::journal::checkpoint::Checkpoint;
use crate::journal::{PageId, WriterId};
use crate::vault::Vault;
use crate::vault::joined_header::JoinedHeader;
use crate::verify::header_plan::{HeaderPlan, PlannedHeader};
use crate::verify::later_header::LaterHeader;
use crate::verify::report::{VerifyReport, hex, maybe_hex, subject};

/// Kind of change that an accepted restore repeats.
///
/// ```
/// # use chartlock::verify::RestoreItemKind;
/// assert_ne!(RestoreItemKind::Erase, RestoreItemKind::Expunge);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RestoreItemKind {
    /// The subject is erased again, if its chart is still this one.
    Erase,
    /// The record is expunged again.
    Expunge,
}

/// Journal page that a plan names, for example because it proves an item.
///
/// ```
/// # use chartlock::verify::PageProof;
/// # fn show(proof: &PageProof) {
/// println!("page {} of a chain", proof.page);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct PageProof {
    /// Writer of the chain.
    #[serde(serialize_with = "hex")]
    pub writer: WriterId,
    /// Sequence number of the page.
    pub page: u64,
}

impl From<PageId> for PageProof {
    fn from(page: PageId) -> Self {
        Self {
            writer: page.writer,
            page: page.sequence,
        }
    }
}

/// Erasure or expunge that the restore undid, and that accepting the restore repeats.
///
/// `Debug` reveals no identity. The serialized form includes the subject and the record's name, if
/// known.
///
/// ```
/// # use chartlock::verify::RestorePlan;
/// # fn show(plan: &RestorePlan) {
/// for item in plan.items.iter().filter(|item| item.contested) {
///     println!("written since the restore: {:?}", item.kind);
/// }
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct RestoreItem {
    /// The change to repeat.
    pub kind: RestoreItemKind,
    /// The chart that was erased, or that contains the record.
    #[serde(serialize_with = "hex")]
    pub chart: ChartId,
    /// The tag of the expunged record in the storage; `None` for an erasure.
    #[serde(serialize_with = "maybe_hex")]
    pub record: Option<RecordTag>,
    /// The version up to which the journal records the expunge; `None` for an erasure.
    pub until: Option<u64>,
    /// The subject, if its patient entry opens.
    #[serde(serialize_with = "subject")]
    pub subject: Option<Subject>,
    /// The record's name, if one of its versions opens. Without a name the record is not expunged.
    pub name: Option<Box<str>>,
    /// The journal page that records the erasure or expunge.
    pub proof: PageProof,
    /// `true` if the chart or record has a version that was written after the restore, or that the
    /// journal does not prove to be older than the erasure or expunge. Accepting the restore repeats a
    /// contested erasure only if the caller names it in [`RestorePlan::with_contested`], and never
    /// repeats a contested expunge.
    pub contested: bool,
    /// `true` if an accepted restore left the item out. Such an item is also repeated only if the caller
    /// names it.
    pub left_out: bool,
    /// `true` if only pages under former keys record the erasure or expunge, and the later header does
    /// not prove that they were written before these keys were closed. A person who kept the keys could
    /// have forged them. Such an item is also repeated only if the caller names it.
    pub unproven: bool,
}

/// Findings that an accepted restore accepts, and erasures and expunges that it repeats.
/// [`Session::plan_restore`](crate::Session::plan_restore) makes it and changes nothing.
///
/// ```
/// # use chartlock::{*, access::Reason};
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
/// let plan = session.plan_restore(None, None)?;
/// assert!(plan.findings.is_clean() && plan.items.is_empty());
/// session.accept_restore(&plan, Reason::new("disk failure on ward 3")?)?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RestorePlan {
    /// Differences between the storage and the journal. Findings on objects that open are accepted.
    pub findings: VerifyReport,
    /// Erasures and expunges that the restore undid.
    pub items: Vec<RestoreItem>,
    /// Keys and slots that the restore put back.
    pub header: HeaderPlan,
    #[serde(skip)]
    pub(super) later: Option<LaterHeader>,
    /// `true` if the slots of the later header replace the stored ones.
    pub(super) takes_later_slots: bool,
    /// Contested and unproven items that the caller named.
    named: BTreeSet<RestoreItem>,
    /// Items that the caller left out.
    left_out: BTreeSet<RestoreItem>,
    #[serde(serialize_with = "checkpoint")]
    pub(super) checkpoint: Option<Checkpoint>,
}

impl RestorePlan {
    /// Adds an item to those that are repeated although it is contested or unproven, or was left out by an
    /// earlier restore. What was written to a contested chart since the restore is destroyed, too.
    ///
    /// A contested expunge is refused with [`Error::RecordRewritten`](crate::Error::RecordRewritten) when
    /// the plan is accepted, because it would also destroy the versions that were written since. Leave it
    /// out, and call [`Session::expunge`](crate::Session::expunge) if that is meant.
    ///
    /// Changes nothing if the plan does not contain the item.
    #[must_use]
    pub fn with_contested(mut self, item: &RestoreItem) -> Self {
        self.named.extend(self.planned(item));
        self.left_out.remove(item);
        self
    }

    /// Leaves an item out: its data stays readable. The journal and later verifications list it.
    ///
    /// Changes nothing if the plan does not contain the item.
    #[must_use]
    pub fn without(mut self, item: &RestoreItem) -> Self {
        self.left_out.extend(self.planned(item));
        self.named.remove(item);
        self
    }

    /// Replaces the slots of the stored header by those of the later one, so that credentials which were
    /// removed since the backup stay removed. Only credentials of the later header open the vault then.
    /// Other processes must open it again.
    ///
    /// Changes nothing if accepting the plan writes no header.
    #[must_use]
    pub fn with_later_slots(mut self) -> Self {
        if self.header.writes_header {
            self.takes_later_slots = true;
            self.header.root_rotation_due = false;
        }
        self
    }

    fn planned(&self, item: &RestoreItem) -> Option<RestoreItem> {
        self.items.contains(item).then(|| item.clone())
    }

    /// Returns `true` if accepting this plan repeats the item.
    pub fn repeats(&self, item: &RestoreItem) -> bool {
        match item.contested || item.unproven || item.left_out {
            true => self.named.contains(item),
            false => self.items.contains(item) && !self.left_out.contains(item),
        }
    }
}

impl Vault {
    /// Makes the plan of a restore. Writes only journal entries. Also returns the header that accepting
    /// the plan writes, if any.
    pub(crate) fn plan_restore(
        &self,
        checkpoint: Option<&Checkpoint>,
        later: Option<&LaterHeader>,
    ) -> Result<(RestorePlan, Option<JoinedHeader>)> {
        // Write the waiting entries, so that the new header can name their page, and so that announced
        // changes of this process are settled in every plan alike.
        self.core.journal.flush()?;
        let PlannedHeader {
            plan,
            joined,
            proof,
        } = self.plan_header(later)?;
        let mut verification = self.verification();
        verification.checkpoint = checkpoint.copied();
        verification.planned_header = joined.as_ref().map(|joined| Arc::clone(&joined.open));
        while verification.step()? {}
        let candidates = verification.candidates()?;
        let items = verification.items(candidates, proof.as_ref())?;
        let plan = RestorePlan {
            findings: verification.report,
            items,
            header: plan,
            later: later.cloned(),
            takes_later_slots: false,
            named: BTreeSet::new(),
            left_out: BTreeSet::new(),
            checkpoint: checkpoint.copied(),
        };
        Ok((plan, joined))
    }
}

impl RestoreItem {
    /// Returns the id of the record to expunge, if both its subject and its name are known.
    pub fn id(&self) -> Option<RecordId> {
        RecordId::stored(self.subject.clone()?, self.name.as_ref()?).ok()
    }
}

impl fmt::Debug for RestoreItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind, contested, ..
        } = self;
        write!(f, "RestoreItem({kind:?}, contested: {contested}, ..)")
    }
}

fn checkpoint<S: Serializer>(
    checkpoint: &Option<Checkpoint>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    checkpoint
        .as_ref()
        .map(Checkpoint::to_string)
        .serialize(serializer)
}
