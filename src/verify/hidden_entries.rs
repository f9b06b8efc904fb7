//! Check for patient entries that the storage returned to the check of entries, but not to the check of charts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::crypto::{ChartId, SubjectTag};
use crate::error::Result;
use crate::vault::header::OpenHeader;
use crate::verify::Verification;
use crate::verify::records::Partition;
use crate::verify::report::{EntryFinding, FindingKind};
use crate::verify::subjects::JournaledWrite;

/// Subject of a chart, with the sequence of its current patient entry.
type Owner = (SubjectTag, u64);

impl Verification {
    /// Reads the patient entries again if charts remain whose entries must open, because `check_entries`
    /// reported no finding on them. Reports each entry that still does not open; otherwise, altered records
    /// of its chart could remain undetected.
    pub(super) fn check_hidden_entries(
        &mut self,
        header: &OpenHeader,
        partition: &mut Partition,
        remaining: &mut BTreeSet<ChartId>,
    ) -> Result<()> {
        if self.owners_of(remaining).is_empty() {
            return Ok(());
        }
        self.check_charts_of_entries(header, partition, remaining)?;
        // Read the newest journal pages, because a concurrent session may have erased a chart meanwhile.
        let storage = Arc::clone(&self.storage);
        self.walk.advance(&*storage, header, &mut self.scan)?;
        for (tag, sequence) in self.owners_of(remaining).into_values() {
            self.report_entry(Some(EntryFinding {
                kind: FindingKind::Altered,
                subject: None,
                tag: Some(tag),
                entry: None,
                sequence: Some(sequence),
                stored: None,
            }));
        }
        Ok(())
    }

    /// Returns the owners of those `charts` that a current patient entry contains according to the journal.
    /// Charts of entries with findings have no owner here.
    fn owners_of(&self, charts: &BTreeSet<ChartId>) -> BTreeMap<ChartId, Owner> {
        let mut owners = BTreeMap::new();
        if charts.is_empty() {
            return owners;
        }
        for (tag, writes) in &self.scan.subjects.by_tag {
            for current in writes.current(&self.walk) {
                let JournaledWrite { chart, number, .. } = *current;
                let is_hidden = number > 0
                    && charts.contains(&chart)
                    && !self.suspect_charts.contains_key(&chart)
                    && !self.scan.subjects.is_erased(&self.walk, &chart);
                if is_hidden {
                    owners.insert(chart, (*tag, number));
                }
            }
        }
        owners
    }
}
