//! Header that joins the keys of a restored header and of the later header that the restore replaced.
//!
//! ```text
//! [ put j: heads beyond 64 Absent ]* ; [ put v (keys of both headers) Unchanged ; put j under the later keys Absent ]
//! delay, unless the storage is transactional ; keys that are still closing are closed as after a rotation
//! ```
//! The page beside the header is sealed under the later keys, which are active from then on. Under the
//! restored keys, the page would be late at once. If only the first pages are stored, no header contains
//! their key, and the next attempt writes them again. If only the page beside the header is stored, it
//! announces a header that was perhaps written.

use std::sync::Arc;

use crate::crypto::{RootKey, VaultId};
use crate::error::{Error, Result};
use crate::journal::{AccessOutcome, Act, Operation, PINS_MAX, Target, Writer};
use crate::keys::header::Header;
use crate::keys::keyring::Keyring;
use crate::vault::Vault;
use crate::vault::header::{HeaderChange, HeaderWriter, OpenHeader};
use crate::vault::open::GENERATIONS_SKIPPED;
use crate::vault::page_keys::sealer;

/// First generation that counts as damaged. No vault reaches it, and a generation above it could leave no
/// room for later changes of the header.
pub(super) const FIRST_IMPOSSIBLE_GENERATION: u64 = 1 << 63;

/// Header that joins the keys of two headers, before it is written.
pub(crate) struct JoinedHeader {
    /// The restored header with its root key, and the joined keyring.
    pub(crate) open: Arc<OpenHeader>,
    /// Generation of the header to write.
    pub(crate) generation: u64,
    /// The restored slots that open the vault, and the auditors' slots of the later header.
    slots: Header,
    /// Numbers of the former journal keys whose closings have no heads yet.
    pub(crate) unclosed: Vec<u32>,
}

impl JoinedHeader {
    /// Joins a restored header with a later one. Returns `None` if the later header contains nothing
    /// newer, which is so after it was joined.
    ///
    /// The later master keys and name keys are left out: all patient entries that the restore put back
    /// are sealed under restored keys, and those under later keys are lost with the later storage.
    ///
    /// # Errors
    /// [`Error::ForeignHeader`] for a header of another vault; [`Error::CounterExhausted`] if no
    /// generation below 2^63 is left above both headers.
    pub(crate) fn new(before: &OpenHeader, later: &Header, keys: &Keyring) -> Result<Option<Self>> {
        let header = &before.header;
        if (later.vault(), later.suite()) != (header.vault(), header.suite()) {
            return Err(Error::ForeignHeader);
        }
        let mut keyring = before.keyring_to_change()?;
        let unclosed = keyring.join(keys)?;
        keyring.add_slot_names(keys)?;
        let is_newer = match before.keyring.has_same_journal_keys(&keyring) {
            // A header with former keys only is older, whatever generation it claims.
            true => {
                keys.has_same_journal_keys(&keyring) && later.generation() > header.generation()
            }
            false => true,
        };
        if !is_newer {
            return Ok(None);
        }
        let generation = later.generation().max(header.generation());
        let generation = generation.checked_add(GENERATIONS_SKIPPED);
        let generation = generation.filter(|generation| *generation < FIRST_IMPOSSIBLE_GENERATION);
        let generation = generation.ok_or(Error::CounterExhausted)?;
        let mut slots = header.clone();
        // The restored auditors' slots contain a former journal key, unless the keys are the same.
        if active(&keyring) != active(&before.keyring) {
            slots.take_auditor_slots(later);
        }
        Ok(Some(Self {
            open: Arc::new(OpenHeader {
                header: header.clone(),
                root: Arc::clone(&before.root),
                keyring,
                revision: before.revision.clone(),
            }),
            generation,
            slots,
            unclosed,
        }))
    }

    /// Returns the slots of the header to write.
    pub(crate) fn slots(&self) -> &Header {
        &self.slots
    }

    fn vault(&self) -> &VaultId {
        self.open.header.vault()
    }
}

fn active(keyring: &Keyring) -> u32 {
    keyring.active_journal_key().number
}

fn copy(root: &RootKey) -> Result<RootKey> {
    RootKey::try_with(|out| {
        out.copy_from_slice(root.expose());
        Ok(())
    })
}

impl Vault {
    /// Replaces the stored header by a joined one. `later` replaces its slots, with their labels, and its
    /// root key.
    ///
    /// # Errors
    /// [`Error::PlanOutdated`] if another header is stored than the one that was joined.
    pub(crate) fn write_joined_header(
        &self,
        act: &Act,
        mut joined: JoinedHeader,
        later: Option<(&Header, &RootKey, &Keyring)>,
    ) -> Result<()> {
        let act = act.to(Operation::MakeWritable);
        let storage = Arc::clone(&self.core.store.storage);
        let sealer = sealer(
            joined.open.header.suite(),
            joined.vault(),
            &joined.open.keyring,
        );
        let writer = Writer::new(storage, sealer);
        // The verification of the plan, which shared the header, has ended.
        let open = Arc::get_mut(&mut joined.open).ok_or(Error::Contended)?;
        open.keyring.bound_closed_heads(|heads| {
            let moment = self.core.journal.moment();
            let draft = act.draft(moment.now, Target::Vault, AccessOutcome::Done);
            let pinned = heads.chunks(PINS_MAX);
            let pinned = pinned.map(|heads| {
                writer.send_page(std::slice::from_ref(&draft), heads.to_vec(), moment)
            });
            pinned.last().unwrap_or(Err(Error::NoSuchKey))
        })?;
        let slots = later.map_or(&joined.slots, |(slots, ..)| slots);
        if let Some((.., keyring)) = later {
            open.keyring.replace_slot_names(keyring)?;
        }
        open.keyring.keep_slot_names(&slots.slots())?;
        let by = match self.core.journal.writer() {
            Some(_) => HeaderWriter::Other(&writer),
            None => HeaderWriter::Own,
        };
        let written = self.change_header_by(&act, by, |before| {
            if before.revision != joined.open.revision {
                return Err(Error::PlanOutdated);
            }
            let root = later.map_or(&*joined.open.root, |(_, root, _)| root);
            let keyring = &joined.open.keyring;
            Ok(HeaderChange {
                value: slots.sealed_with(root, keyring, joined.generation)?,
                new_root: later.map(|(_, root, _)| copy(root)).transpose()?,
                // The restored slots must not stay readable once they are replaced.
                destroying: later.is_some(),
                keys: Vec::new(),
            })
        });
        // The announced entry of the header states what may have happened, if it cannot be settled.
        let _ = writer.close(self.core.journal.moment());
        written?;
        // Elsewhere, other processes write pages under the restored keys until they read the header.
        self.wait_key_removal_delay()?;
        self.close_journal_keys().map(drop)
    }
}
