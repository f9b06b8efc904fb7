//! Statement of a report on the authority of its journal pages.

use std::fmt;

use serde::Serialize;

use crate::audit::AuditTrail;

/// States whether a report checked that a vault wrote the journal pages that it shows.
///
/// Every auditor has the journal key, so an auditor can forge a page in the name of a vault. Only an
/// open vault has the authority keys that reveal such a page. In a vault's reports, a forged page is a
/// fault. An auditor's reports cannot check authority, and show the entries of forged pages.
///
/// ```
/// # use chartlock::{*, audit::PageAuthority};
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let session = vault.session(Actor::new("privacy.office")?, Purpose::Operations);
/// assert_eq!(session.audit()?.authority(), PageAuthority::Checked);
/// assert_eq!(PageAuthority::NotChecked.to_string(), "authority not checked");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PageAuthority {
    /// The report shows only entries of pages that a vault wrote, and of auditors' own pages.
    Checked,
    /// The report was made without authority keys, through an auditor's slot.
    NotChecked,
}

impl fmt::Display for PageAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checked => "authority checked",
            Self::NotChecked => "authority not checked",
        })
    }
}

impl AuditTrail {
    /// Returns whether the entries and reports of this trail are checked for forged pages. Each
    /// report contains the same statement.
    pub fn authority(&self) -> PageAuthority {
        match self.source.page_keys().keyring() {
            Some(_) => PageAuthority::Checked,
            None => PageAuthority::NotChecked,
        }
    }
}
