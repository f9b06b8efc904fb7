//! Text forms of identifiers, which parse back to the same value, and their serde forms, which are the same texts.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, InputFault, InputField};
use crate::id::bounds::is_invisible;
use crate::id::{Actor, Purpose, RecordId, Subject, SubjectKind};

const PATIENT: &str = "patient";
const ORGANIZATION: &str = "organization";

/// Writes a text with `%`, invisible characters and the character `separator` percent-encoded.
fn escape(f: &mut fmt::Formatter<'_>, text: &str, separator: Option<char>) -> fmt::Result {
    for character in text.chars() {
        if character == '%' || Some(character) == separator || is_invisible(character) {
            let mut bytes = [0; 4];
            let mut bytes = character.encode_utf8(&mut bytes).bytes();
            bytes.try_for_each(|byte| write!(f, "%{byte:02X}"))?;
        } else {
            f.write_char(character)?;
        }
    }
    Ok(())
}

/// Decodes a percent-encoded text; `None` if the text is not well formed.
fn unescape(text: &str) -> Option<String> {
    let (first, encoded) = text.split_once('%').unwrap_or((text, ""));
    let mut bytes = first.as_bytes().to_vec();
    if first.len() < text.len() {
        for part in encoded.split('%') {
            let (digits, rest) = part.split_at_checked(2)?;
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
            bytes.extend_from_slice(rest.as_bytes());
        }
    }
    String::from_utf8(bytes).ok()
}

/// Returns the value if its text form is `text`, so that each value has only one text form.
fn canonical<T: fmt::Display>(value: T, text: &str, field: InputField) -> Result<T, Error> {
    match value.to_string() == text {
        true => Ok(value),
        false => Err(not_parsed(field)),
    }
}

fn not_parsed(field: InputField) -> Error {
    Error::invalid_id(field, InputFault::NotParsed)
}

/// Parses the kind and the encoded identifier of a subject.
fn subject_of(kind: &str, identifier: &str, field: InputField) -> Result<Subject, Error> {
    let kind = match kind {
        PATIENT => SubjectKind::Patient,
        ORGANIZATION => SubjectKind::Organization,
        _ => return Err(not_parsed(field)),
    };
    let identifier = unescape(identifier).ok_or(not_parsed(field))?;
    Subject::new(kind, &identifier)
}

/// Prints the kind and the identifier, such as `patient/MRN-1042`. The text **identifies the subject**: print it only
/// where identifiers may be shown. `Debug` prints no identifier.
///
/// In the identifier, `/`, `%`, white space and invisible characters are percent-encoded, such as `%2F`. So the text
/// contains no white space, and [`FromStr`] returns the same subject.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind() {
            SubjectKind::Patient => PATIENT,
            SubjectKind::Organization => ORGANIZATION,
        })?;
        f.write_char('/')?;
        escape(f, self.identifier(), Some('/'))
    }
}

/// Parses the text form that [`Display`](fmt::Display) prints, and no other spelling of it.
///
/// # Errors
/// [`Error::InvalidId`] when the text is not in that form, or [`Subject::patient`] refuses the identifier.
impl FromStr for Subject {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let field = InputField::Subject;
        let (kind, identifier) = text.split_once('/').ok_or(not_parsed(field))?;
        canonical(subject_of(kind, identifier, field)?, text, field)
    }
}

/// Prints the subject and the record name, such as `patient/MRN-1042/Observation/bp`. The text **identifies the subject
/// and the record**: print it only where both may be shown. `Debug` prints neither.
///
/// The first two parts are the text form of the [`Subject`], and the rest is the record name, in which `%`, white space
/// and invisible characters are percent-encoded. The slashes of the name are not encoded. [`FromStr`] returns the same
/// id.
impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.subject())?;
        escape(f, self.name(), None)
    }
}

/// Parses the text form that [`Display`](fmt::Display) prints, and no other spelling of it.
///
/// # Errors
/// [`Error::InvalidId`] when the text is not in that form, or [`RecordId::new`] refuses the identifier or the name.
impl FromStr for RecordId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let field = InputField::RecordId;
        let mut parts = text.splitn(3, '/');
        let (Some(kind), Some(identifier), Some(name)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(not_parsed(field));
        };
        let subject = subject_of(kind, identifier, field)?;
        let name = unescape(name).ok_or(not_parsed(field))?;
        canonical(Self::new(subject, &name)?, text, field)
    }
}

/// Prints the name, which identifies the person or system. `Debug` prints no name.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Parses a name, like [`Actor::new`].
impl FromStr for Actor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::new(text)
    }
}

/// Prints the [code](Purpose::code), such as `TREAT`.
impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Parses a [code](Purpose::code), in capital letters.
///
/// # Errors
/// [`Error::InvalidMetadata`] when this release does not define the code.
impl FromStr for Purpose {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let purpose = Self::ALL.into_iter().find(|it| it.code() == text);
        let (field, fault) = (InputField::Purpose, InputFault::NotParsed);
        purpose.ok_or(Error::invalid_metadata(field, fault))
    }
}

/// Implements serde's traits by the text form. Parsing runs the checks of the constructors.
macro_rules! serde_as_text {
    ($($type:ty),*) => {
        $(
            /// Serializes the text form that `Display` prints.
            impl Serialize for $type {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }

            /// Parses the text form with `FromStr`, so that every deserialized value is valid.
            impl<'de> Deserialize<'de> for $type {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let text = Cow::<'de, str>::deserialize(deserializer)?;
                    text.parse().map_err(de::Error::custom)
                }
            }
        )*
    };
}

serde_as_text!(Subject, RecordId, Actor, Purpose);
