//! Join of the journal and authority keys of two headers of one vault, of which a restore put back the
//! earlier one.

use crate::crypto::{self, AuthorityKey, JournalKey};
use crate::error::{Error, Result};
use crate::format::storage_keys::ChainHead;
use crate::keys::closing::{Closing, HEADS_MAX};
use crate::keys::keyring::Keyring;
use crate::keys::ring::{KeyState, KeyVersion, Ring};

/// A journal key, the authority key that was drawn with it, and their closing. `closing` is `None` for
/// the active keys.
#[derive(Clone, Copy)]
struct Epoch<'a> {
    journal: &'a KeyVersion<JournalKey>,
    authority: &'a KeyVersion<AuthorityKey>,
    closing: Option<&'a Closing>,
}

impl Epoch<'_> {
    fn is_same(&self, other: &Self) -> bool {
        self.journal.number == other.journal.number
            && self.authority.number == other.authority.number
            && crypto::equal(self.journal.key.expose(), other.journal.key.expose())
            && crypto::equal(self.authority.key.expose(), other.authority.key.expose())
    }
}

impl Keyring {
    /// Adds the journal keys, the authority keys and the closings of `later`, whose active keys become
    /// the active ones. Changes nothing if the keys of `later` are all former keys of this keyring.
    /// Master keys, name keys and all other rings stay.
    ///
    /// Both keyrings must begin with the same keys. The keys that only this keyring contains are placed
    /// behind those that only `later` contains, so that each former key still has one successor.
    ///
    /// Returns the numbers of the journal keys for which no closing has heads yet, although their
    /// closing is no longer open.
    ///
    /// # Errors
    /// [`Error::ForeignHeader`] if the keyrings have no first key in common, or if two different keys
    /// have the same number.
    pub fn join(&mut self, later: &Self) -> Result<Vec<u32>> {
        let (own, theirs) = (self.epochs(), later.epochs());
        let pairs = own.iter().rev().zip(theirs.iter().rev());
        let common = pairs.take_while(|(own, their)| own.is_same(their)).count();
        let (own_only, own_common) = own.split_at(own.len() - common);
        let (newer, common) = theirs.split_at(theirs.len() - common);
        if common.is_empty() {
            return Err(Error::ForeignHeader);
        }
        if newer.is_empty() && !own_only.is_empty() {
            return Ok(Vec::new());
        }
        let both = own_common.iter().zip(common);
        let both = both.map(|(own, their)| (*their, combined(own.closing, their.closing)));
        let alone = newer.iter().chain(own_only);
        let alone = alone.map(|epoch| (*epoch, epoch.closing.cloned()));
        let joined: Vec<(Epoch<'_>, Option<Closing>)> = alone.chain(both).collect();
        let unclosed = joined.iter().skip(2);
        let unclosed = unclosed.filter(|(_, closing)| is_open(closing.as_ref()));
        let unclosed = unclosed.map(|(epoch, _)| epoch.journal.number).collect();
        let epochs = joined.iter().map(|(epoch, _)| *epoch);
        let journal = epochs.clone().map(|epoch| {
            copy(
                epoch.journal,
                JournalKey::from_bytes(epoch.journal.key.expose()),
            )
        });
        let authority = epochs.map(|epoch| {
            copy(
                epoch.authority,
                AuthorityKey::from_bytes(epoch.authority.key.expose()),
            )
        });
        let (journal, authority) = (ring(journal)?, ring(authority)?);
        let closings = joined.into_iter().skip(1).zip(0..);
        let closings = closings.map(|((_, closing), index)| match closing {
            Some(Closing::Closed(heads)) => Closing::Closed(heads),
            // Only the newest former keys can still be closing.
            _ if index == 0 => Closing::Open,
            _ => Closing::Closed(Vec::new()),
        });
        let closings = closings.collect();
        (self.journal_keys, self.authority_keys) = (journal, authority);
        self.closings = closings;
        Ok(unclosed)
    }

    fn epochs(&self) -> Vec<Epoch<'_>> {
        let closings = std::iter::once(None).chain(self.closings.iter().map(Some));
        let keys = self.journal_keys.iter().zip(self.authority_keys.iter());
        let epochs = keys
            .zip(closings)
            .map(|((journal, authority), closing)| Epoch {
                journal,
                authority,
                closing,
            });
        epochs.collect()
    }

    /// Returns `true` if both keyrings have journal keys of the same numbers, in the same order.
    pub fn has_same_journal_keys(&self, other: &Self) -> bool {
        let numbers = self.journal_keys.iter().map(|key| key.number);
        numbers.eq(other.journal_keys.iter().map(|key| key.number))
    }

    /// Removes the heads that `is_lost` selects from all closings, and adds `found` to the newest
    /// closing that is not open.
    pub fn replace_closed_heads(
        &mut self,
        is_lost: impl Fn(&ChainHead) -> bool,
        found: &[ChainHead],
    ) {
        for closing in &mut self.closings {
            if let Closing::Closed(heads) = closing {
                heads.retain(|head| !is_lost(head));
            }
        }
        let known: Vec<_> = self.closed_heads().copied().collect();
        let new = found.iter().filter(|head| !known.contains(head));
        let newest = self.newest_closed();
        newest
            .into_iter()
            .for_each(|heads| heads.extend(new.clone()));
    }

    /// Replaces the heads of each closing that has more than 64 by the one head that `pin` returns.
    ///
    /// # Errors
    /// Errors of `pin`.
    pub fn bound_closed_heads(
        &mut self,
        mut pin: impl FnMut(&[ChainHead]) -> Result<ChainHead>,
    ) -> Result<()> {
        for closing in &mut self.closings {
            if let Closing::Closed(heads) = closing
                && heads.len() > HEADS_MAX
            {
                *heads = vec![pin(heads)?];
            }
        }
        Ok(())
    }
}

/// Returns the closing of keys that both keyrings contain: all heads of both. A closing that is open in
/// the later keyring stays open, because no later page could have been `Late`.
fn combined(own: Option<&Closing>, later: Option<&Closing>) -> Option<Closing> {
    match (own, later) {
        (Some(Closing::Closed(own)), Some(Closing::Closed(later))) => {
            let new = own.iter().filter(|head| !later.contains(head));
            Some(Closing::Closed(later.iter().chain(new).copied().collect()))
        }
        (own, later) => later.or(own).cloned(),
    }
}

fn is_open(closing: Option<&Closing>) -> bool {
    !matches!(closing, Some(Closing::Closed(_)))
}

fn copy<K>(of: &KeyVersion<K>, key: K) -> KeyVersion<K> {
    KeyVersion {
        number: of.number,
        state: KeyState::Inactive,
        created: of.created,
        key,
    }
}

/// Builds a ring whose first key is active.
fn ring<K>(keys: impl Iterator<Item = KeyVersion<K>>) -> Result<Ring<K>> {
    let mut keys: Vec<_> = keys.collect();
    if let Some(first) = keys.first_mut() {
        first.state = KeyState::Active;
    }
    // The same number for two different keys.
    Ring::from_stored(keys).map_err(|_| Error::ForeignHeader)
}
