//! The page that tells whoever finds the directory what it is.

use std::fs;
use std::path::{Path, PathBuf};

use crate::storage::file::directory::write_durably;

/// File name of the page.
pub(super) const README: &str = "READ-ME-FIRST";
const HEADER_MAGIC: &[u8] = b"\x89CLK\r\n\x1a\n";

/// Keeps the page up to date.
#[derive(Debug)]
pub(super) struct Readme {
    directory: PathBuf,
}

impl Readme {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Writes the page unless it says this already.
    pub(super) fn update(&self, vault: Option<VaultId>) {
        let text = text(vault);
        let standing = fs::read(self.directory.join(README)).unwrap_or_default();
        if standing != text.as_bytes() {
            // No record depends on it, and the next opening tries again.
            let _best_effort = write_durably(&self.directory, README, text.as_bytes());
        }
    }
}

pub(super) type VaultId = [u8; 16];

/// The vault id in a vault header.
pub(super) fn vault_id(header: &[u8]) -> Option<VaultId> {
    header
        .strip_prefix(HEADER_MAGIC)?
        .get(4..20)?
        .try_into()
        .ok()
}

fn text(vault: Option<VaultId>) -> String {
    let vault = match vault {
        Some(id) => id.iter().map(|byte| format!("{byte:02x}")).collect(),
        None => "none yet".to_owned(),
    };
    format!(
        "chartlock storage, layout 1, record format 1
vault id: {vault}

This directory holds encrypted health records, written by the Rust crate
chartlock. Nothing in it can be read without a credential of the vault: a
passphrase, a key file, or whatever else was enrolled. None of these is kept
here. Without one, nobody can recover the records, the crate's authors included.

To open it, use the crate:

    let storage = chartlock::FileStorage::open(\"this directory\")?;
    let vault = chartlock::Vault::open(storage, &credential)?;

Do not edit, rename or delete anything in here, not even what looks unused.
Do not copy it while a program has it open: close every program that uses it
first, or let the crate write an archive (chartlock::storage::archive).

engine/   the records, in tables and a journal of the storage engine
values/   the vault header, patient entries and content segments
lock      held by the program that has the storage open
"
    )
}
