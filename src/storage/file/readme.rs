//! READ-ME-FIRST: a text file that explains the directory to people who find it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::storage::file::directory::write_durably;

pub(super) const README: &str = "READ-ME-FIRST";
const HEADER_MAGIC: &[u8] = b"\x89CLK\r\n\x1a\n";

/// Writer of the explanation.
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

    /// Writes the explanation with a vault id, unless the file already has the same text.
    pub(super) fn update(&self, vault: Option<VaultId>) {
        let text = text(vault);
        let current = fs::read(self.directory.join(README)).unwrap_or_default();
        if current != text.as_bytes() {
            // No record depends on the explanation, and the next opening tries again.
            let _best_effort = write_durably(&self.directory, README, text.as_bytes());
        }
    }
}

pub(super) type VaultId = [u8; 16];

/// Returns the vault id in a vault header.
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
        "chartlock storage, layout 2, record format 1
vault id: {vault}

This directory contains encrypted health records. The Rust crate chartlock wrote
them. To read them, you need a credential of the vault: a passphrase, a key file,
or another credential that was added to it. No credential is stored here. Without
one, nobody can recover the records, including the authors of the crate.

To open the records, use the crate:

    let storage = chartlock::FileStorage::open(\"this directory\")?;
    let vault = chartlock::Vault::open(storage, &credential)?;

Do not edit, rename or delete any file here, even if it looks unused.

To make a backup while a program uses the directory, let the program call
FileStorage::backup. A plain copy of a directory in use can be damaged. To copy the
directory with other tools, first close every program that uses it. Then copy
all files together.

vault.db        the records, in an SQLite database
vault.db-wal    the newest records, which are not yet in vault.db; never delete it
vault.db-shm    an index of vault.db-wal, while a program uses the directory
segments/       large records, in parts
marker          shows that the storage is complete
lock            locked by the program that uses the directory
reserve         space that is given up when the disk is full

If a file is missing or damaged, chartlock refuses to open the directory and
changes nothing. Bring the file back or restore a backup. Otherwise,
FileStorage::salvage copies what is still readable into another storage.
The documentation of the crate describes the files (storage::directory).
"
    )
}
