//! Failures of recovery shares.

use crate::error::ErrorKind;

/// Reason why recovery shares could not be made, read or combined.
///
/// Returned in [`Error::Shares`](crate::Error::Shares). A share is named by its position among the given
/// shares, which is not the number printed on it, and a group by its position in the share, both from 1. No variant contains a part of a share.
///
/// ```
/// # use chartlock::{Error, keys::{Share, ShareError, Shares}};
/// let shares = Shares::split(3, 5)?;
/// let paper: Vec<_> = shares.all().iter().map(|share| share.to_text()).collect();
/// let texts = [paper[0].as_str(), &paper[3]];
/// let error = Shares::from_texts(&texts).unwrap_err();
/// assert_eq!(error, Error::Shares(ShareError::TooFew { missing: 1 }));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The threshold or the number of shares is out of bounds.
    #[error(
        "the threshold or the number of shares is out of bounds; use a threshold of at least 2, and at least as many shares, but at most 16"
    )]
    Bounds,
    /// A text is not a share of chartlock, or it has too few or too many characters.
    #[error(
        "entered share {share} is not a share of chartlock, or it has too few or too many characters; a share has 14 groups of 5 characters; compare each group with the paper"
    )]
    NotAShare {
        /// The position of the text among the given texts.
        share: usize,
    },
    /// A share contains a typing error.
    #[error("entered share {share} contains a typing error{}; compare it with the paper", in_group(.group))]
    Mistyped {
        /// The position of the share among the given shares.
        share: usize,
        /// The group that contains the error, if only one character is wrong.
        group: Option<usize>,
    },
    /// A share belongs to another set than most of the given shares.
    #[error(
        "entered share {share} belongs to another set than the other shares; compare the names of the sets, and use shares of one set"
    )]
    OtherSet {
        /// The position of the share among the given shares.
        share: usize,
    },
    /// Two of the given shares are copies of one share.
    #[error(
        "entered shares {first} and {second} are copies of the same share; use another share instead"
    )]
    Repeated {
        /// The position of the first copy among the given shares.
        first: usize,
        /// The position of the second copy.
        second: usize,
    },
    /// Fewer shares than the threshold were given.
    #[error("the set needs more shares ({missing} missing); ask other holders for their shares")]
    TooFew {
        /// The number of shares that are missing.
        missing: usize,
    },
    /// The shares contradict each other, although their check characters are right: more shares than the
    /// threshold were given, or two different shares with the same number.
    #[error(
        "the shares contradict each other, so at least one was forged; try again with other shares of the set"
    )]
    Inconsistent,
}

impl ShareError {
    /// Returns the kind of the error.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::Bounds => ErrorKind::Invalid,
            _ => ErrorKind::Credential,
        }
    }
}

fn in_group(group: &Option<usize>) -> String {
    match group {
        Some(group) => format!(" in group {group}"),
        None => String::new(),
    }
}
