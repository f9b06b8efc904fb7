//! What can be done to a vault, and how it can end.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result};

macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $code:literal $variant:ident $text:literal)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$each])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub(crate) fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)* }
            }

            pub(crate) fn from_code(code: u8) -> Result<Self> {
                match code {
                    $($code => Ok(Self::$variant),)*
                    _ => Err(Error::Unsupported),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)* })
            }
        }
    };
}

coded! {
    /// What was done, as the journal names it and an access policy is asked.
    ///
    /// ```
    /// # use chartlock::Operation;
    /// assert_eq!(Operation::Read.to_string(), "read a record");
    /// ```
    Operation {
        /// The vault was created.
        1 Create "create the vault"
        /// The vault was opened.
        2 Open "open the vault"
        /// The vault was locked.
        3 Lock "lock the vault"
        /// A vault behind a rolled-back header was made writable.
        4 MakeWritable "make the vault writable"
        /// A version was written.
        5 Put "write a record"
        /// A record was retracted.
        6 Remove "retract a record"
        /// A version was read, whole or in parts.
        7 Read "read a record"
        /// The versions of a record were listed.
        8 History "list the versions of a record"
        /// A subject's records were listed.
        9 List "list a subject's records"
        /// The subjects were listed.
        10 ListSubjects "list the subjects"
        /// A subject was erased.
        11 Erase "erase a subject"
        /// An erased subject was admitted again.
        12 Readmit "readmit a subject"
        /// A record was expunged with all its versions.
        13 Expunge "expunge a record"
        /// A hold was put on a subject.
        14 Hold "hold a subject"
        /// A hold was lifted.
        15 Release "release a hold"
        /// A retention was set or lifted.
        16 Retain "set a retention"
        /// Holds or retention were looked at.
        17 Inspect "inspect holds and retention"
        /// A subject's entry was begun or written again by what another operation needed.
        18 Prepare "prepare a subject's entry"
        /// The master key was rotated.
        19 RotateMaster "rotate the master key"
        /// A former master key was removed.
        20 RetireMaster "retire a master key"
        /// A patient key was rotated.
        21 RotatePatient "rotate a patient key"
        /// A former patient key was removed.
        22 RetirePatient "retire a patient key"
        /// Content was sealed again.
        23 Reencrypt "encrypt again"
        /// The root key was rotated.
        24 RotateRoot "rotate the root key"
        /// A slot was added.
        25 AddSlot "add a slot"
        /// A slot was replaced.
        26 ReplaceSlot "replace a slot"
        /// A slot was removed.
        27 RemoveSlot "remove a slot"
        /// The slots were listed.
        28 ListSlots "list the slots"
        /// What hangs on each key was counted.
        29 Census "count what hangs on each key"
        /// Garbage was collected.
        30 CollectGarbage "collect garbage"
        /// A recovery kit was exported.
        31 ExportKit "export a recovery kit"
        /// The vault was verified.
        32 Verify "verify the vault"
        /// A checkpoint was made.
        33 Checkpoint "make a checkpoint"
        /// A restore from a backup was declared as meant.
        34 AcceptRestore "accept a restore"
        /// The journal was read.
        35 ReadJournal "read the journal"
        /// Somebody broke the glass.
        36 BreakGlass "break the glass"
        /// An emergency of the journal was begun: reads are spooled.
        37 BeginEmergency "begin a journal emergency"
        /// An emergency of the journal was ended.
        38 EndEmergency "end a journal emergency"
        /// A record was marked or unmarked as poison.
        39 Poison "mark a poison record"
        /// A disclosure to somebody outside was noted.
        40 Disclose "disclose records"
    }
}

coded! {
    /// How an operation ended.
    ///
    /// ```
    /// # use chartlock::Outcome;
    /// assert_eq!(Outcome::Denied.to_string(), "denied");
    /// ```
    Outcome {
        /// It was done.
        0 Done "done"
        /// There was nothing there.
        1 Absent "nothing there"
        /// The access policy denied it.
        2 Denied "denied"
        /// Something did not authenticate, was damaged or missing.
        3 NotAuthentic "not authentic"
        /// It was refused for another reason: a conflict, a hold, bad input.
        4 Refused "refused"
        /// The storage or a service failed, or the outcome was never confirmed.
        5 Failed "failed"
    }
}

impl Outcome {
    /// How an operation ended that failed with `error`.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::Malformed
            | Error::Unsupported
            | Error::UnknownMasterKey
            | Error::UnknownPatientKey
            | Error::NotAuthentic
            | Error::HeaderDamaged
            | Error::HeaderRolledBack
            | Error::SegmentMissing
            | Error::CurrentMissing
            | Error::HistoryGap => Self::NotAuthentic,
            Error::Denied => Self::Denied,
            Error::Storage(_) | Error::Undecided | Error::Contended | Error::Randomness => {
                Self::Failed
            }
            _ => Self::Refused,
        }
    }
}
