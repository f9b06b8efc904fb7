//! Text form of a share. `format.md` describes the characters and the order of the checks.

use zeroize::Zeroizing;

use crate::error::{Error, Result, ShareError};
use crate::keys::credentials::shares::checksum;
use crate::keys::credentials::shares::share::{ID_LENGTH, Share, ShareSet};
use crate::keys::credentials::shares::symbols::{self, NO_SYMBOL};
use crate::secret::Secret32;

/// The version of the text form, which is the first value.
const VERSION: u8 = 1;
/// The number of characters of a share: head 4, set id 8, bytes 52, check 6.
const LENGTH: usize = 70;
/// The number of characters in each group.
const GROUP: usize = 5;
/// The number of groups in each line.
const LINE: usize = 5;
/// The value that represents the dot after the number of a group.
const DOT: u8 = 0xfe;
/// The maximum length of a text in bytes, with what mail and people add.
const TEXT_MAX: usize = 1024;
/// The capacity of a printed text in bytes, which no share exceeds.
const CAPACITY: usize = 256;

pub(super) fn to_text(share: &Share) -> Zeroizing<String> {
    let (set, code) = (&share.set, code(share));
    // The buffer never grows, because growing would leave an unwiped copy behind.
    let mut text = Zeroizing::new(String::with_capacity(CAPACITY));
    text.push_str(&format!(
        "chartlock recovery share {} of {}, set {}, {} needed:",
        share.index,
        set.count,
        set.name(),
        set.threshold
    ));
    for (place, group) in code.chunks(GROUP).enumerate() {
        text.push(if place % LINE == 0 { '\n' } else { ' ' });
        text.push_str(&format!("{}.", place + 1));
        text.extend(group.iter().copied().map(char::from));
    }
    text.push('\n');
    text
}

pub(super) fn to_qr_text(share: &Share) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(CAPACITY));
    text.push_str("CHARTLOCK:");
    text.extend(code(share).iter().copied().map(char::from));
    text
}

/// Returns the characters of a share, with the check characters.
fn code(share: &Share) -> Zeroizing<Vec<u8>> {
    let mut code = Zeroizing::new(Vec::with_capacity(LENGTH));
    code.extend([VERSION, share.set.threshold, share.set.count, share.index]);
    symbols::pack(&share.set.id, &mut code);
    symbols::pack(share.bytes.expose(), &mut code);
    let check = checksum::checksum(&code);
    code.extend(check);
    code.iter_mut()
        .for_each(|value| *value = symbols::symbol(*value));
    code
}

/// Reason why a text is refused.
enum ShareTextError {
    NotAShare,
    Mistyped(Option<usize>),
    Later,
}

/// Parses a text. `share` is its position among the given texts, for errors.
pub(super) fn parse(text: &str, share: usize) -> Result<Share> {
    read(text).map_err(|refused| match refused {
        ShareTextError::NotAShare => Error::Shares(ShareError::NotAShare { share }),
        ShareTextError::Mistyped(group) => Error::Shares(ShareError::Mistyped { share, group }),
        ShareTextError::Later => Error::Unsupported,
    })
}

fn read(text: &str) -> std::result::Result<Share, ShareTextError> {
    if text.len() > TEXT_MAX {
        return Err(ShareTextError::NotAShare);
    }
    let code = text.rsplit(':').next().unwrap_or_default();
    let values = without_numbers(&values_of(code))?;
    let length = values.len();
    if length > checksum::VALUES_MAX {
        return Err(ShareTextError::NotAShare);
    }
    let wrong = values.iter().position(|value| *value == NO_SYMBOL);
    let is_valid = wrong.is_none() && checksum::is_valid(&values);
    // A later format has its own length, but the same checksum.
    if is_valid && values.first().is_some_and(|version| *version > VERSION) {
        return Err(ShareTextError::Later);
    }
    if length != LENGTH {
        return Err(ShareTextError::NotAShare);
    }
    if !is_valid {
        let wrong = wrong.or_else(|| checksum::wrong_value(&values));
        return Err(ShareTextError::Mistyped(
            wrong.map(|place| place / GROUP + 1),
        ));
    }
    fields(&values).ok_or(ShareTextError::NotAShare)
}

/// Returns the values of the symbols, without the characters that people and mail insert. The value of a dot is
/// [`DOT`].
fn values_of(code: &str) -> Zeroizing<Vec<u8>> {
    let mut values = Zeroizing::new(Vec::with_capacity(code.len()));
    let kept = code.chars().filter(|character| !is_inserted(*character));
    values.extend(kept.map(|character| match character {
        '.' => DOT,
        other => u8::try_from(other).map_or(NO_SYMBOL, symbols::value),
    }));
    values
}

/// Returns `true` for spaces, line ends, hyphens, the mark of quoted mail, and invisible characters.
fn is_inserted(character: char) -> bool {
    character.is_whitespace()
        || matches!(
            character,
            '-' | '>' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2010}'..='\u{2015}' | '\u{2060}' | '\u{feff}'
        )
}

/// Removes the number and the dot before each group, if the text has dots.
///
/// The numbers are checked, so that a missing character is found in its group.
fn without_numbers(values: &[u8]) -> std::result::Result<Zeroizing<Vec<u8>>, ShareTextError> {
    let mut code = Zeroizing::new(Vec::with_capacity(values.len()));
    let mut parts = values.split(|value| *value == DOT).peekable();
    let first = parts.next().unwrap_or_default();
    if parts.peek().is_none() {
        code.extend_from_slice(first);
        return Ok(code);
    }
    if first != digits(1) {
        return Err(ShareTextError::NotAShare);
    }
    let mut number = 1;
    while let Some(part) = parts.next() {
        // The number of the next group precedes the next dot.
        let group = match parts.peek() {
            Some(_) => part.strip_suffix(digits(number + 1).as_slice()),
            None => Some(part),
        };
        let group = group.filter(|group| group.len() == GROUP);
        code.extend_from_slice(group.ok_or(ShareTextError::Mistyped(Some(number)))?);
        number += 1;
    }
    Ok(code)
}

/// Returns the values of a number's decimal digits.
fn digits(number: usize) -> Vec<u8> {
    number.to_string().bytes().map(symbols::value).collect()
}

/// Returns the share, or `None` for fields that no writer writes.
fn fields(values: &[u8]) -> Option<Share> {
    let (&[version, threshold, count, index], rest) = values.split_first_chunk()?;
    let (id_values, rest) = rest.split_first_chunk::<8>()?;
    let (byte_values, _) = rest.split_first_chunk::<52>()?;
    let mut id = [0; ID_LENGTH];
    symbols::unpack(id_values, &mut id).then_some(())?;
    let set = ShareSet::checked(id, threshold, count)?;
    let mut is_filled = false;
    let bytes = Secret32::try_with(|out| {
        is_filled = symbols::unpack(byte_values, out);
        Ok::<(), Error>(())
    });
    let is_share = is_filled && version == VERSION && (1..=count).contains(&index);
    bytes
        .ok()
        .filter(|_| is_share)
        .map(|bytes| Share { set, index, bytes })
}
