//! Names of all records of a chart, also of retracted and expunged records, for reports from the
//! journal.
//!
//! A name is sealed with each version of its record. A retraction and an expunged marker are versions
//! too, so they keep the name. If the current version is missing or does not open, an earlier version
//! still names the record.

use std::collections::HashMap;

use crate::crypto::{Place, RecordTag};
use crate::error::{Error, Result};
use crate::format::envelope::{self, Address, Head};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::storage::{Projection, Stored};
use crate::vault::Vault;
use crate::vault::entries::CachedEntry;

/// The names of a chart's records, as far as they are known.
#[derive(Default)]
pub(crate) struct RecordNames {
    pub(crate) names: Vec<Box<str>>,
    /// Number of records whose names cannot be read.
    pub(crate) unreadable: u64,
}

/// The name of each record; `None` if no version that opens was found yet.
type Found = HashMap<RecordTag, Option<Box<str>>>;

impl Vault {
    /// Returns the names of a subject's records. Returns no names for an unknown subject.
    ///
    /// # Errors
    /// [`Error::Erased`] when the subject was erased; [`Error::Locked`], and errors of the storage.
    pub(crate) fn record_names(&self, subject: &Subject) -> Result<RecordNames> {
        let Some(mut chart) = self.chart_of(subject)? else {
            return Ok(RecordNames::default());
        };
        let mut found = Found::new();
        while !chart.has_ended() {
            for item in chart.page()? {
                let Some((record, _)) = storage_keys::record_of(&item.key) else {
                    continue;
                };
                let name = known(chart.open(item, name_of(Place::Current)))?;
                found.insert(record, name);
            }
        }
        self.add_names_of_earlier_versions(subject, &mut found)?;
        let records = found.len() as u64;
        let names: Vec<_> = found.into_values().flatten().collect();
        Ok(RecordNames {
            unreadable: records - names.len() as u64,
            names,
        })
    }

    /// Adds the names of records whose current versions did not name them.
    fn add_names_of_earlier_versions(&self, subject: &Subject, found: &mut Found) -> Result<()> {
        let cached = self.live_entry(subject)?.ok_or(Error::Erased)?;
        let chart = *cached.chart()?.id();
        let prefix = storage_keys::chart(b'h', &chart);
        self.each_page(&prefix, Projection::Keys, &mut |items| {
            for item in items {
                let Some((record, _)) = storage_keys::record_of(&item.key) else {
                    continue;
                };
                let name = found.entry(record).or_default();
                if name.is_none()
                    && let Some(stored) = self.core.store.read_damaged(&item.key)?
                {
                    let address = Address { chart, record };
                    *name = known(name_of(Place::Earlier)(self, &cached, &address, stored))?;
                }
            }
            Ok(())
        })
    }
}

/// Returns a name, or `None` for a version that does not open.
fn known(opened: Result<Option<Box<str>>>) -> Result<Option<Box<str>>> {
    match opened {
        Err(error @ (Error::Storage(_) | Error::Locked | Error::Erased)) => Err(error),
        opened => Ok(opened.unwrap_or_default()),
    }
}

/// Returns a function that opens a version in `place` and returns its record's name.
fn name_of(
    place: Place,
) -> impl Fn(&Vault, &CachedEntry, &Address, Stored) -> Result<Option<Box<str>>> {
    move |_, cached, address, stored| {
        let head = Head::parse(&stored.value)?;
        let key = cached.unwrap_data_key(&head, place)?;
        let opened = envelope::open(stored.value.into(), &head, address, None, &key)?;
        cached.check_name(address, &opened.meta.name)?;
        Ok(Some((&*opened.meta.name).into()))
    }
}
