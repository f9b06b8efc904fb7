//! Background work of a vault on a thread of the app.

use crate::vault::Vault;

impl Vault {
    /// Runs the background work that is due: writes journal entries of reads that wait, wipes cached keys
    /// that are 60 seconds old, and finds journal chains to pin.
    ///
    /// By default a thread of the vault does this. A process with many vaults, such as one for each
    /// tenant, can open them with
    /// [`VaultOptions::upkeep_by_app`](crate::VaultOptions::upkeep_by_app), and call this method for each
    /// of them from one thread, at least twice a second. If nothing is due, a call takes less than a
    /// microsecond. It blocks while the storage does, so a storage that stalls delays the others.
    ///
    /// A late call delays only what [`Journaling::Grouped`](crate::Journaling::Grouped) promises: the
    /// entries of reads become durable later, at the latest with the next operation after one second. And
    /// cached keys stay in memory longer, although none is used after 60 seconds.
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
