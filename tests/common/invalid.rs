//! Expected errors of refused input.

use chartlock::Error;
use chartlock::input::{InputFault, InputField, InvalidInput};

pub(crate) fn invalid_id(field: InputField, fault: InputFault) -> Error {
    Error::InvalidId(InvalidInput { field, fault })
}

pub(crate) fn invalid_metadata(field: InputField, fault: InputFault) -> Error {
    Error::InvalidMetadata(InvalidInput { field, fault })
}

/// Returns the fault of a text that is empty or too long, or contains a control character or, otherwise, a hidden
/// one.
pub(crate) fn text_fault(field: InputField, text: &str) -> InputFault {
    match text.len() {
        0 => InputFault::Empty,
        length if length > field.limit().unwrap() => InputFault::TooLong { length },
        _ => match text.find(char::is_control) {
            Some(position) => InputFault::ControlCharacter { position },
            None => InputFault::HiddenCharacter {
                position: text.find(is_hidden).unwrap(),
            },
        },
    }
}

/// Returns the error of an id with a fault that [`text_fault`] finds.
pub(crate) fn invalid_id_text(field: InputField, text: &str) -> Error {
    invalid_id(field, text_fault(field, text))
}

/// Returns the error of metadata with a fault that [`text_fault`] finds.
pub(crate) fn invalid_text(field: InputField, text: &str) -> Error {
    invalid_metadata(field, text_fault(field, text))
}

fn is_hidden(character: char) -> bool {
    let hidden = ["\u{61c}", "\u{200b}", "\u{2028}", "\u{202e}", "\u{2066}"];
    hidden.contains(&&*character.to_string())
}
