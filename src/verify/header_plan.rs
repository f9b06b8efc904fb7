//! Part of a restore's plan that concerns the header: the keys and slots that the restore put back, and
//! the header that accepting writes.

use std::sync::Arc;

use serde::Serialize;

use crate::crypto::Digest;
use crate::error::{Error, Result};
use crate::journal::{self, ChainHead};
use crate::keys::SlotInfo;
use crate::storage::Storage;
use crate::vault::Vault;
use crate::vault::joined_header::JoinedHeader;
use crate::vault::uncovered_heads::UncoveredHeads;
use crate::verify::closing_proof::ClosingProof;
use crate::verify::later_header::LaterHeader;
use crate::verify::restore_plan::PageProof;

/// Header that a restore put back, compared with the later header that it replaced.
///
/// Without a later header, everything in the stored header counts as put back, because nothing shows the
/// opposite. No page under newer journal keys opens then, and the restore cannot repeat what such pages
/// record.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
/// let plan = session.plan_restore(None, None)?;
/// assert_eq!(plan.header.later_generation, None);
/// assert_eq!(plan.header.slots_back, vault.slots()?);
/// assert!(plan.header.root_rotation_due);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HeaderPlan {
    /// Generation of the stored header.
    pub generation: u64,
    /// Generation of the later header; `None` if the plan has none.
    pub later_generation: Option<u64>,
    /// `true` if accepting the restore writes a header with the journal keys of both headers.
    pub writes_header: bool,
    /// Slots that are in use again: those of the stored header that the later one does not contain,
    /// byte for byte.
    pub slots_back: Vec<SlotInfo>,
    /// Auditors' slots of the stored header that accepting the restore removes, because they contain a
    /// former journal key. The auditors' slots of the later header replace them.
    pub slots_dropped: Vec<SlotInfo>,
    /// Numbers of the master keys that are in use again: those of the stored header that the later one
    /// does not contain.
    pub master_keys_back: Vec<u32>,
    /// Pages that a closing of former keys names, and that the restore lost.
    pub heads_lost: Vec<PageProof>,
    /// Pages that the new header names instead. They, and all pages that they name, count as written
    /// before the keys were closed, although nothing proves it.
    pub heads_named: Vec<PageProof>,
    /// `true` if slots of the backup's time open the vault after the restore is accepted, so that
    /// credentials removed since are valid again. Call
    /// [`Vault::rotate_root_key`](crate::Vault::rotate_root_key) with the credentials that are to stay,
    /// and then [`Vault::rotate_master_key`](crate::Vault::rotate_master_key).
    pub root_rotation_due: bool,
}

/// The header under which a plan reads the journal, and the header that accepting the plan writes.
pub(super) struct PlannedHeader {
    pub(super) plan: HeaderPlan,
    /// `None` if there is no later header, or if it contains nothing newer.
    pub(super) joined: Option<JoinedHeader>,
    /// The closings of the later header.
    pub(super) proof: Option<ClosingProof>,
}

impl Vault {
    /// Compares the stored header with the later one, and joins both in memory.
    pub(super) fn plan_header(&self, later: Option<&LaterHeader>) -> Result<PlannedHeader> {
        let Some(later) = later else {
            let header = self.header_to_verify()?;
            let masters = header.keyring.masters();
            return Ok(PlannedHeader {
                plan: HeaderPlan {
                    generation: header.header.generation(),
                    slots_back: header.keyring.with_slot_names(header.header.slots())?,
                    master_keys_back: masters.map(|master| master.number).collect(),
                    root_rotation_due: true,
                    ..HeaderPlan::default()
                },
                joined: None,
                proof: None,
            });
        };
        let before = self.reload_header()?;
        let mut joined = JoinedHeader::new(&before, later.header(), later.keyring())?;
        let masters = before.keyring.masters().map(|master| master.number);
        let slots_back = before.header.slots_missing_in(later.header());
        let slots_back = before.keyring.with_slot_names(slots_back)?;
        let mut plan = HeaderPlan {
            generation: before.header.generation(),
            later_generation: Some(later.header().generation()),
            writes_header: joined.is_some(),
            root_rotation_due: slots_back.iter().any(|slot| !slot.journal_only),
            slots_back,
            master_keys_back: masters
                .filter(|number| later.keyring().master(*number).is_none())
                .collect(),
            ..HeaderPlan::default()
        };
        let storage = &*self.core.store.storage;
        if let Some(joined) = &mut joined {
            let dropped = before.header.slots_missing_in(joined.slots());
            plan.slots_dropped = before.keyring.with_slot_names(dropped)?;
            name_heads(storage, joined, later, &mut plan)?;
        }
        Ok(PlannedHeader {
            plan,
            joined,
            proof: Some(ClosingProof::read(later, storage)?),
        })
    }
}

/// Replaces the heads of closings that the restore lost by those that are stored.
///
/// Without this step, a head that no storage contains any more would leave all pages under closed keys
/// unproven for ever.
fn name_heads(
    storage: &dyn Storage,
    joined: &mut JoinedHeader,
    later: &LaterHeader,
    plan: &mut HeaderPlan,
) -> Result<()> {
    let is_incomplete = joined.open.read_closed_pages(storage)?.is_incomplete();
    let is_unproven = later.believes_unproven || is_incomplete;
    let keyring = &joined.open.keyring;
    let (numbers, lost): (Vec<_>, _) = match is_unproven {
        true => (
            keyring.closed_journal_keys().collect(),
            lost_heads(storage, joined)?,
        ),
        false => (joined.unclosed.clone(), Vec::new()),
    };
    if numbers.is_empty() {
        return Ok(());
    }
    let found = UncoveredHeads::read(storage, &joined.open, None, &numbers)?.heads;
    let known: Vec<Digest> = keyring.closed_heads().map(|head| head.digest).collect();
    let new: Vec<_> = found
        .into_iter()
        .filter(|head| !known.contains(&head.digest))
        .collect();
    plan.heads_lost = lost.iter().map(|head| head.page.into()).collect();
    plan.heads_named = new.iter().map(|head| head.page.into()).collect();
    let open = Arc::get_mut(&mut joined.open).ok_or(Error::Contended)?;
    open.keyring
        .replace_closed_heads(|head| lost.contains(head), &new);
    Ok(())
}

/// Returns the heads of closings that are not stored.
fn lost_heads(storage: &dyn Storage, joined: &JoinedHeader) -> Result<Vec<ChainHead>> {
    let mut lost = Vec::new();
    for head in joined.open.keyring.closed_heads() {
        if journal::digest_of(storage, &head.page)? != Some(head.digest) {
            lost.push(*head);
        }
    }
    Ok(lost)
}
