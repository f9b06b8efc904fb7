//! Lists of the objects with a prefix.
//!
//! Guarantees: a page has only keys with the prefix, above the lower bound, in ascending order. An answer
//! that is not a list is an error, never an empty list. Must not know: the meaning of keys.

use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};

use super::bucket::{Bucket, revision};
use super::object_names::Listed;
use super::request_failure::RequestFailure;
use crate::storage::Revision;

/// Maximum number of keys that S3 returns in one page.
pub(super) const PAGE_KEYS_MAX: usize = 1000;
/// Maximum number of empty pages that a list skips. S3 returns empty pages where a bucket keeps deleted
/// objects.
const EMPTY_PAGES_MAX: usize = 10_000;

/// Flag of a list that the library does not return: `true` if more objects follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Truncation(bool);

impl Truncation {
    /// Reads the answer to a list request.
    ///
    /// # Errors
    /// [`RequestFailure::Malformed`] if the answer is not a whole list. The library would read any other XML document
    /// as an empty list.
    pub(super) fn of(body: &[u8]) -> Result<Self, RequestFailure> {
        let body = std::str::from_utf8(body).map_err(|_| RequestFailure::Malformed)?;
        let is_list = body.contains("<ListBucketResult");
        let is_whole = body.trim_end().ends_with("</ListBucketResult>");
        let says = |truncated| body.contains(&format!("<IsTruncated>{truncated}</IsTruncated>"));
        match (is_list && is_whole, says(true), says(false)) {
            (true, truncated, whole) if truncated != whole => Ok(Self(truncated)),
            _ => Err(RequestFailure::Malformed),
        }
    }
}

/// An object in a list.
pub(super) struct ListedObject {
    pub(super) key: Vec<u8>,
    pub(super) size: u64,
    pub(super) revision: Revision,
}

/// A page of a list. A page without objects is the last page.
#[derive(Default)]
pub(super) struct ListPage {
    pub(super) objects: Vec<ListedObject>,
    pub(super) more: bool,
}

impl Bucket {
    /// Lists objects with a prefix of the key whose names are above `after`.
    pub(super) async fn list(
        &self,
        prefix: &[u8],
        after: Option<String>,
        limit: usize,
    ) -> Result<ListPage, RequestFailure> {
        let prefix = self.names.name(prefix);
        let mut options = PaginatedListOptions {
            offset: after.clone(),
            max_keys: Some(limit.clamp(1, PAGE_KEYS_MAX)),
            ..PaginatedListOptions::default()
        };
        for _ in 0..EMPTY_PAGES_MAX {
            let answer = self.answer(&prefix, &options).await?;
            let token = answer.page_token.clone();
            let page = self.page(answer, &prefix, after.as_deref())?;
            match token {
                Some(token) if page.more && page.objects.is_empty() => {
                    if options.page_token.as_ref() == Some(&token) {
                        return Err(RequestFailure::Malformed);
                    }
                    options.page_token = Some(token);
                    // A server may refuse a lower bound together with a token.
                    options.offset = None;
                }
                None if page.more && page.objects.is_empty() => {
                    return Err(RequestFailure::Malformed);
                }
                _ => return Ok(page),
            }
        }
        Err(RequestFailure::Malformed)
    }

    async fn answer(
        &self,
        prefix: &str,
        options: &PaginatedListOptions,
    ) -> Result<PaginatedListResult, RequestFailure> {
        let list = || async {
            let answer = self.store.list_paginated(Some(prefix), options.clone());
            Ok(answer.await?)
        };
        self.repeated(RequestFailure::is_passing, list).await
    }

    fn page(
        &self,
        answer: PaginatedListResult,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ListPage, RequestFailure> {
        let truncation = answer.result.extensions.get::<Truncation>().copied();
        let mut page = ListPage {
            objects: Vec::with_capacity(answer.result.objects.len()),
            more: truncation.ok_or(RequestFailure::Malformed)?.0 || answer.page_token.is_some(),
        };
        let mut last = after.unwrap_or_default().to_owned();
        for object in answer.result.objects {
            let name = object.location.as_ref();
            let key = match self.names.listed(name) {
                Listed::Key(key) => key,
                Listed::Other => continue,
                Listed::Foreign => return Err(RequestFailure::Foreign),
            };
            if name <= last.as_str() || !name.starts_with(prefix) {
                return Err(RequestFailure::Malformed);
            }
            name.clone_into(&mut last);
            page.objects.push(ListedObject {
                key,
                size: object.size,
                revision: revision(object.e_tag.as_deref())?,
            });
        }
        Ok(page)
    }
}
