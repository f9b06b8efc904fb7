//! The filter of a journal page: keyed 2-byte values of the page's subjects, in the clear part of the
//! page.
//!
//! A report about one subject derives the subject's value and passes over pages whose filter lacks it,
//! without opening them. The commitment of the page binds the filter, so a person who only writes the
//! storage cannot hide a page from such a report.

use std::collections::BTreeSet;

use crate::crypto::{JournalKey, Salt, SubjectTag, filter_padding, filter_value};
use crate::error::{Error, Result};
use crate::format::codec::{take, take_slice};
use crate::format::sealed;
use crate::journal::Operation;
use crate::journal::page::Page;

/// Number of values in the shortest filter.
const VALUES_MIN: usize = 4;
/// Number of values in the longest filter.
const VALUES_MAX: usize = 4096;
/// The count of a filter that lists no values: the page may be about any subject.
const ANY_SUBJECT: u16 = 0xffff;
/// Number of bytes of the count.
const COUNT: usize = 2;

/// The tag that stands for all subjects, on pages that every report must open.
pub const ALL_SUBJECTS: SubjectTag = [0; 16];

/// The filter of a stored page.
pub(super) struct PageFilter<'a> {
    /// The stored bytes, with the count.
    pub(super) bytes: &'a [u8],
    /// Salt of the page.
    salt: &'a Salt,
    /// Values of 2 bytes, strictly ascending; `None` if the page may be about any subject.
    values: Option<&'a [[u8; 2]]>,
}

impl<'a> PageFilter<'a> {
    /// Parses the filter of a page's value.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a value that ends early, a count that no writer uses, and values that
    /// do not strictly ascend.
    pub(super) fn parse(value: &'a [u8]) -> Result<Self> {
        let (salt, after) = sealed::salt_and_rest(value)?;
        let mut rest = after;
        let count = u16::from_le_bytes(*take(&mut rest)?);
        if count == ANY_SUBJECT {
            let bytes = after.get(..COUNT).ok_or(Error::Malformed)?;
            return Ok(Self {
                bytes,
                salt,
                values: None,
            });
        }
        let count = usize::from(count);
        if !count.is_power_of_two() || !(VALUES_MIN..=VALUES_MAX).contains(&count) {
            return Err(Error::Malformed);
        }
        let (values, _) = take_slice(&mut rest, 2 * count, 2 * count)?.as_chunks();
        if !values.is_sorted_by(|left, right| number(left) < number(right)) {
            return Err(Error::Malformed);
        }
        Ok(Self {
            bytes: after.get(..COUNT + 2 * count).ok_or(Error::Malformed)?,
            salt,
            values: Some(values),
        })
    }

    /// Returns `true` if the page may be about the subject, or concerns all subjects. The answer counts
    /// only for a page whose commitment fits. `key` is the page's journal key.
    pub(super) fn may_concern(&self, key: &JournalKey, subject: &SubjectTag) -> Result<bool> {
        Ok(self.contains(key, subject)? || self.contains(key, &ALL_SUBJECTS)?)
    }

    fn contains(&self, key: &JournalKey, subject: &SubjectTag) -> Result<bool> {
        let Some(values) = self.values else {
            return Ok(true);
        };
        let value = filter_value(key, self.salt, subject)?;
        Ok(values.binary_search_by_key(&value, number).is_ok())
    }

    /// Returns `true` if the filter contains the value of each subject of the page.
    pub(super) fn is_complete(&self, key: &JournalKey, page: &Page) -> Result<bool> {
        for subject in page.filtered_subjects() {
            if !self.contains(key, &subject)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn number(value: &[u8; 2]) -> u16 {
    u16::from_le_bytes(*value)
}

/// The filter of a page that is to be sealed.
pub(super) struct FilterDraft {
    subjects: BTreeSet<SubjectTag>,
}

impl FilterDraft {
    pub(super) fn new(page: &Page) -> Self {
        Self {
            subjects: page.filtered_subjects(),
        }
    }

    /// Returns the number of values: the number of subjects, rounded up to a power of two. `None` if
    /// there are too many subjects to list.
    fn values(&self) -> Option<usize> {
        let values = self.subjects.len().next_power_of_two().max(VALUES_MIN);
        (values <= VALUES_MAX).then_some(values)
    }

    /// Returns the length of the filter in bytes, which does not depend on the salt.
    pub(super) fn length(&self) -> usize {
        COUNT + 2 * self.values().unwrap_or_default()
    }

    /// Writes the filter to `bytes`, which have its length.
    pub(super) fn write(&self, key: &JournalKey, salt: &Salt, bytes: &mut [u8]) -> Result<()> {
        let Some(count) = self.values() else {
            bytes.copy_from_slice(&ANY_SUBJECT.to_le_bytes());
            return Ok(());
        };
        let values = self.subjects.iter();
        let values = values.map(|subject| filter_value(key, salt, subject));
        let mut values: BTreeSet<u16> = values.collect::<Result<_>>()?;
        let mut block = 0;
        while values.len() < count {
            let padding = filter_padding(key, salt, block)?;
            let missing = count - values.len();
            // A value that is there already is skipped; then another block is needed.
            values.extend(padding.into_iter().take(missing));
            block += 1;
        }
        let listed = u16::try_from(count).map_err(|_| Error::TooLarge)?;
        let each = std::iter::once(listed).chain(values);
        for (target, value) in bytes.chunks_exact_mut(2).zip(each) {
            target.copy_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }
}

impl Page {
    /// Returns the tags whose values the page's filter contains. A page that every report must open
    /// has the tag of all subjects: a page with heads of other chains, a list of all subjects, or an
    /// accepted restore.
    fn filtered_subjects(&self) -> BTreeSet<SubjectTag> {
        let concerns_all = !self.seen.is_empty()
            || self.entries.iter().any(|entry| {
                matches!(
                    entry.operation,
                    Operation::ListSubjects | Operation::AcceptRestore
                )
            });
        let subjects = self.subjects.iter().map(|subject| subject.tag);
        subjects
            .chain(concerns_all.then_some(ALL_SUBJECTS))
            .collect()
    }
}
