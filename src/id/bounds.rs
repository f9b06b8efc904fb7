//! Bounds of identifiers and of texts that reports show.

use crate::error::{Error, InputFault, InputField, InvalidInput, Result};

fn check_bytes(text: &str, field: InputField) -> std::result::Result<(), InvalidInput> {
    let fault = match text.len() {
        0 => InputFault::Empty,
        length if length > field.max() => InputFault::TooLong { length },
        _ => return Ok(()),
    };
    Err(InvalidInput { field, fault })
}

/// Checks the length of a text, and that it contains no control characters.
fn check_plain(text: &str, field: InputField) -> std::result::Result<(), InvalidInput> {
    check_bytes(text, field)?;
    match text.find(char::is_control) {
        Some(position) => Err(InvalidInput {
            field,
            fault: InputFault::ControlCharacter { position },
        }),
        None => Ok(()),
    }
}

/// Checks only the length of a text.
///
/// # Errors
/// [`Error::InvalidMetadata`] when the text is empty or longer than the limit of the field.
pub(crate) fn check_length(text: &str, field: InputField) -> Result<()> {
    check_bytes(text, field).map_err(Error::InvalidMetadata)
}

/// Checks a text that is stored without being shown next to others, such as a label: its length, and that it
/// contains no control characters.
///
/// # Errors
/// [`Error::InvalidMetadata`] when the text is out of these bounds.
pub(crate) fn check_text(text: &str, field: InputField) -> Result<()> {
    check_plain(text, field).map_err(Error::InvalidMetadata)
}

/// Checks a text that reports show, such as a reason, a consent reference, a request id or an
/// organization: 1 to 255 bytes without control characters and hidden characters. The joiners U+200C and
/// U+200D are permitted.
///
/// # Errors
/// [`Error::InvalidMetadata`] when the text is out of these bounds.
pub(crate) fn check_shown(text: &str, field: InputField) -> Result<()> {
    let is_refused = |character| is_hidden(character) && !is_joiner(character);
    check_text(text, field)?;
    refuse(text, field, is_refused).map_err(Error::InvalidMetadata)
}

/// Checks the name of an actor, or the prefix of such a name.
///
/// # Errors
/// [`Error::InvalidId`] when the text is out of bounds.
pub(crate) fn check_actor_part(text: &str, field: InputField) -> Result<()> {
    refuse(text, field, is_hidden)
        .and_then(|()| check_plain(text, field))
        .map_err(Error::InvalidId)
}

/// Checks an identifier, a record name, or the prefix of a record name.
///
/// # Errors
/// [`Error::InvalidId`] when the text is out of bounds.
pub(crate) fn check_id_part(text: &str, field: InputField) -> Result<()> {
    check_plain(text, field).map_err(Error::InvalidId)
}

/// Checks that an identifier that an app supplies contains a visible character. An id from the storage is
/// exempt, because earlier releases accepted every id within the other bounds.
///
/// # Errors
/// [`Error::InvalidId`] when no character is visible.
pub(crate) fn check_visible(text: &str, field: InputField) -> Result<()> {
    match text.chars().all(is_invisible) {
        true => Err(Error::invalid_id(field, InputFault::OnlyInvisible)),
        false => Ok(()),
    }
}

/// Returns `true` if a decrypted name is valid for a record.
pub(crate) fn is_record_name(name: &str) -> bool {
    check_plain(name, InputField::RecordName).is_ok()
}

fn refuse(
    text: &str,
    field: InputField,
    is_refused: impl Fn(char) -> bool,
) -> std::result::Result<(), InvalidInput> {
    match text.find(is_refused) {
        Some(position) => Err(InvalidInput {
            field,
            fault: InputFault::HiddenCharacter { position },
        }),
        None => Ok(()),
    }
}

/// Returns `true` for a character that hides or reorders other characters where a text is shown: zero-width
/// characters, separators of lines and paragraphs, marks and overrides of the writing direction.
fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\u{061C}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}'
    )
}

/// Returns `true` for a zero-width character that the spelling of Persian and of Indian languages needs.
/// It reorders nothing.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200C}' | '\u{200D}')
}

/// Returns `true` for a character that is not visible without a neighbour: white space, hidden characters, and the
/// other characters that Unicode calls default-ignorable, such as the soft hyphen and the variation selectors. The
/// blank Braille pattern counts too.
pub(super) fn is_invisible(character: char) -> bool {
    let is_ignorable = matches!(
        character,
        '\u{00AD}'
            | '\u{034F}'
            | '\u{115F}'..='\u{1160}'
            | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFF8}'
            | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E0FFF}'
    );
    is_ignorable || is_hidden(character) || character.is_whitespace() || character.is_control()
}
