//! Failure classes of the format, as errors of the library.

use chartlock::Error;

/// Tests whether the error is a failure class of the format, or the error for a missing header or
/// an erasure.
pub(crate) fn is_failure_class(error: &Error) -> bool {
    use Error::*;
    matches!(
        error,
        Malformed
            | Unsupported
            | UnknownMasterKey
            | UnknownPatientKey
            | NotAuthentic
            | WrongKey
            | NoSlotOfKind
            | HeaderDamaged
            | HeaderRolledBack
            | SegmentMissing
            | CurrentMissing
            | HistoryGap
            | NoVault
            | Erased
    )
}
