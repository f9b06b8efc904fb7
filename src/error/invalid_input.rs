//! Refused input: the field, and the limit that its value exceeds.

use std::fmt;

use crate::error::Error;

/// Reason why the value of an input was refused.
///
/// Returned in [`Error::InvalidId`](crate::Error::InvalidId) and
/// [`Error::InvalidMetadata`](crate::Error::InvalidMetadata). It contains lengths and positions, but no part
/// of the value.
///
/// ```
/// # use chartlock::{Error, Subject, input::{InputFault, InputField, InvalidInput}};
/// let error = Subject::patient(&"7".repeat(300)).unwrap_err();
/// let fault = InputFault::TooLong { length: 300 };
/// assert_eq!(error, Error::InvalidId(InvalidInput { field: InputField::Identifier, fault }));
/// assert_eq!(InputField::Identifier.limit(), Some(255));
/// assert_eq!(
///     error.to_string(),
///     "the identifier of the subject has 300 bytes, more than the limit of 255; shorten it"
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InvalidInput {
    /// The field with the refused value.
    pub field: InputField,
    /// The fault of the value.
    pub fault: InputFault,
}

/// Field of an input that has limits.
///
/// ```
/// # use chartlock::input::InputField;
/// assert_eq!(InputField::RecordName.to_string(), "the record name");
/// assert_eq!(InputField::RecordName.limit(), Some(1024));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InputField {
    /// The identifier of a patient or an organization.
    Identifier,
    /// The name of a record.
    RecordName,
    /// The name of an actor.
    Actor,
    /// The pattern for actors in a rule.
    ActorPattern,
    /// The pattern for record names in a rule.
    RecordPattern,
    /// The media type of a document.
    ContentType,
    /// One label of a document or of a rule.
    Label,
    /// All labels of a document.
    Labels,
    /// The author of a document in the system from which it comes.
    OriginalAuthor,
    /// The time of a document in the system from which it comes.
    OriginalTime,
    /// All metadata of one version together.
    Metadata,
    /// The reason for an operation or a legal hold.
    Reason,
    /// The reference to a consent.
    ConsentReference,
    /// The id of the app's request.
    RequestId,
    /// The organization that an actor works for.
    Organization,
    /// The recipient of a disclosure.
    Recipient,
    /// The description of a disclosure.
    Description,
    /// The label of a slot.
    SlotLabel,
    /// All legal holds of a subject.
    Holds,
    /// The time until which a subject is retained.
    RetentionTime,
    /// The version of a precondition.
    ExpectedVersion,
    /// The duration of break-glass access.
    BreakGlassDuration,
    /// The conditions of a rule.
    Rule,
    /// The text form of a subject.
    Subject,
    /// The text form of a record id.
    RecordId,
    /// The code of a purpose.
    Purpose,
}

impl InputField {
    /// Returns the limit of the field: bytes of a text, or a number of labels or holds. Returns `None` for a
    /// field that has no such limit.
    pub fn limit(self) -> Option<usize> {
        Some(self.max()).filter(|max| *max > 0)
    }

    /// Returns the limit, or 0 for a field without one.
    pub(crate) const fn max(self) -> usize {
        match self {
            Self::Identifier
            | Self::Actor
            | Self::ActorPattern
            | Self::ContentType
            | Self::Label
            | Self::OriginalAuthor
            | Self::Reason
            | Self::ConsentReference
            | Self::RequestId
            | Self::Organization
            | Self::Recipient => 255,
            Self::RecordName | Self::RecordPattern | Self::Description => 1024,
            Self::Labels => 32,
            Self::Metadata => u16::MAX as usize,
            Self::SlotLabel | Self::Holds => 64,
            Self::OriginalTime | Self::RetentionTime | Self::ExpectedVersion => 0,
            Self::BreakGlassDuration | Self::Rule => 0,
            Self::Subject | Self::RecordId | Self::Purpose => 0,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Identifier => "the identifier of the subject",
            Self::RecordName => "the record name",
            Self::Actor => "the name of the actor",
            Self::ActorPattern => "the pattern for actors",
            Self::RecordPattern => "the pattern for record names",
            Self::ContentType => "the content type",
            Self::Label => "a label",
            Self::Labels => "the list of labels",
            Self::OriginalAuthor => "the original author",
            Self::OriginalTime => "the original time",
            Self::Metadata => "the metadata of the version",
            Self::Reason => "the reason",
            Self::ConsentReference => "the consent reference",
            Self::RequestId => "the request id",
            Self::Organization => "the name of the organization",
            Self::Recipient => "the recipient",
            Self::Description => "the description",
            Self::SlotLabel => "the label of the slot",
            Self::Holds => "the list of legal holds",
            Self::RetentionTime => "the retention time",
            Self::ExpectedVersion => "the expected version",
            Self::BreakGlassDuration => "the duration of break-glass access",
            Self::Rule => "the rule",
            Self::Subject => "the text of the subject",
            Self::RecordId => "the text of the record id",
            Self::Purpose => "the code of the purpose",
        }
    }
}

impl fmt::Display for InputField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Fault of a refused value.
///
/// Positions count bytes from 0.
///
/// ```
/// # use chartlock::{Actor, Error, input::InputFault};
/// let refused = Actor::new("dr.\ngarcia").unwrap_err();
/// assert!(matches!(refused, Error::InvalidId(it) if it.fault == InputFault::ControlCharacter { position: 3 }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InputFault {
    /// The text is empty.
    Empty,
    /// The text is longer than the limit of its field.
    TooLong {
        /// The length of the text in bytes.
        length: usize,
    },
    /// The list has more items than the limit of its field.
    TooMany {
        /// The number of items.
        count: usize,
    },
    /// The text contains a control character (U+0000 to U+001F, U+007F to U+009F).
    ControlCharacter {
        /// The position of the first one.
        position: usize,
    },
    /// The text contains a character that hides or reorders other characters where the text is shown.
    HiddenCharacter {
        /// The position of the first one.
        position: usize,
    },
    /// The text contains only white space and characters that are not visible.
    OnlyInvisible,
    /// The text contains a byte outside printable ASCII.
    NotPrintableAscii {
        /// The position of the first one.
        position: usize,
    },
    /// The pattern contains `*` before its end.
    InnerAsterisk {
        /// The position of the first one.
        position: usize,
    },
    /// The value is out of range.
    OutOfRange,
    /// The text is not in the form that can be parsed.
    NotParsed,
    /// The conditions of the rule contradict each other, so the rule can never match.
    NeverMatches,
}

impl fmt::Display for InvalidInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (field, limit) = (self.field, self.field.max());
        match self.fault {
            InputFault::Empty => write!(f, "{field} is empty; use 1 to {limit} bytes"),
            InputFault::TooLong { length } => write!(
                f,
                "{field} has {length} bytes, more than the limit of {limit}; shorten it"
            ),
            InputFault::TooMany { count } => write!(
                f,
                "{field} has {count} items, more than the limit of {limit}; use fewer"
            ),
            InputFault::ControlCharacter { position } => write!(
                f,
                "{field} contains a control character at byte {position}; remove it"
            ),
            InputFault::HiddenCharacter { position } => write!(
                f,
                "{field} contains, at byte {position}, a character that hides or reorders text, such as U+200B or U+202E; remove it"
            ),
            InputFault::OnlyInvisible => write!(
                f,
                "{field} contains only white space or invisible characters; use at least one visible character"
            ),
            InputFault::NotPrintableAscii { position } => write!(
                f,
                "{field} contains, at byte {position}, a character that is not printable ASCII; use at most {limit} bytes from U+0020 to U+007E"
            ),
            InputFault::InnerAsterisk { position } => write!(
                f,
                "{field} contains * at byte {position}, before its end; use * only as the last character"
            ),
            InputFault::OutOfRange => write!(f, "{field} is out of range; {}", self.range()),
            InputFault::NotParsed => write!(f, "{field} cannot be parsed; {}", self.form()),
            InputFault::NeverMatches => write!(
                f,
                "{field} can never match; use operations of the rule's groups, and subjects of the rule's kinds"
            ),
        }
    }
}

impl Error {
    pub(crate) fn invalid_id(field: InputField, fault: InputFault) -> Self {
        Self::InvalidId(InvalidInput { field, fault })
    }

    pub(crate) fn invalid_metadata(field: InputField, fault: InputFault) -> Self {
        Self::InvalidMetadata(InvalidInput { field, fault })
    }
}

impl InvalidInput {
    /// Returns the advice for a text that cannot be parsed.
    fn form(self) -> &'static str {
        match self.field {
            InputField::Subject => {
                "use the form that Display prints, the word patient or organization, a slash and the identifier, with %, slashes and white space percent-encoded"
            }
            InputField::RecordId => {
                "use the form that Display prints, the text of the subject, a slash and the record name, with % and white space percent-encoded"
            }
            _ => "use a code that Purpose lists, such as TREAT",
        }
    }

    /// Returns the advice for a value out of range.
    fn range(self) -> &'static str {
        match self.field {
            InputField::ExpectedVersion => {
                "versions begin at 1; for a record that does not exist yet, use Precondition::Absent"
            }
            InputField::BreakGlassDuration => "use more than zero and at most 24 hours",
            _ => "use a time within 292 million years of 1970",
        }
    }
}
