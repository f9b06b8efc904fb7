//! Journal keys of a keyring: they open pages and seal new ones.

use crate::crypto::{AuthorityKey, CipherSuite, JournalKey, VaultId};
use crate::error::Result;
use crate::journal::{Authority, ClosedPages, FormerPageKeys, PageKeys, Sealer};
use crate::keys::keyring::Keyring;
use crate::storage::Storage;

/// Passes the keys of a keyring that open journal pages to `with`.
pub(crate) fn with_page_keys<T>(
    vault: &VaultId,
    keyring: &Keyring,
    closed_pages: Option<&ClosedPages>,
    with: impl FnOnce(&PageKeys<'_>) -> T,
) -> T {
    let key = |number| Some(&keyring.journal_key(number)?.key);
    let authority = |number| Some(&keyring.authority_key(number)?.key);
    with(&PageKeys {
        vault: *vault,
        key: &key,
        authority: Some(&authority),
        closed_pages,
    })
}

/// Reads the pages under closed keys that the closings of a keyring cover.
pub(crate) fn read_closed_pages(
    vault: &VaultId,
    keyring: &Keyring,
    storage: &dyn Storage,
) -> Result<ClosedPages> {
    let closed = keyring.closed_journal_keys().collect();
    let heads = keyring.closed_heads().copied().collect();
    with_page_keys(vault, keyring, None, |keys| {
        ClosedPages::read(storage, keys, closed, heads)
    })
}

/// Returns a sealer for journal pages under the active keys of a keyring.
pub fn sealer(suite: CipherSuite, vault: &VaultId, keyring: &Keyring) -> Sealer {
    let active = keyring.active_journal_key();
    let authority = keyring.active_authority_key();
    Sealer {
        suite,
        vault: *vault,
        number: active.number,
        key: JournalKey::from_bytes(active.key.expose()),
        authority: Some(Authority {
            number: authority.number,
            key: AuthorityKey::from_bytes(authority.key.expose()),
        }),
        former: FormerPageKeys {
            journal: (keyring.former_journal_keys())
                .map(|former| (former.number, JournalKey::from_bytes(former.key.expose())))
                .collect(),
            authority: (keyring.former_authority_keys())
                .map(|former| (former.number, AuthorityKey::from_bytes(former.key.expose())))
                .collect(),
        },
    }
}
