//! Background work of a vault on a thread of the app.

use crate::vault::Vault;

impl Vault {
    /// Runs the background work that is due: writes waiting journal entries of reads, wipes cached keys
    /// after 60 seconds, and finds journal chains to pin.
    ///
    /// By default, a thread of the vault runs this work. A process with many vaults, such as a vault for
    /// each tenant, can open them with
    /// [`VaultOptions::upkeep_by_app`](crate::VaultOptions::upkeep_by_app). One thread of the app then calls
    /// this method for each vault, at least twice a second. A call blocks while the storage blocks, so a storage that stalls delays the other vaults.
    ///
    /// A late call delays only the durability that [`Journaling::Grouped`](crate::Journaling::Grouped)
    /// promises. Journal entries of reads become durable later, at the latest with the next operation after
    /// one second. Cached keys also stay in memory longer, but no key is used after 60 seconds.
    ///
    /// A failure raises [`SecurityEvent::JournalFailing`](crate::access::SecurityEvent::JournalFailing), and
    /// the next call tries again.
    ///
    /// ```
    /// # use chartlock::*;
    /// use std::time::Duration;
    /// # let tenants = ["north", "south"];
    /// let mut vaults = Vec::new();
    /// for _ in tenants {
    ///     let key = keys::KeyFile::random()?; // each tenant has its own
    ///     let options = VaultOptions::new().upkeep_by_app();
    ///     vaults.push(options.create(MemoryStorage::new(), &key)?);
    /// }
    /// // One thread, for as long as the process runs:
    /// # for _ in 0..1 {
    /// vaults.iter().for_each(Vault::run_upkeep);
    /// std::thread::sleep(Duration::from_millis(500));
    /// # }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn run_upkeep(&self) {
        self.core.journal.run_due();
    }
}
