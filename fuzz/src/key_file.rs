//! Fuzz target for key files: raw text, and modified valid files, as text and on disk. Writing a
//! parsed key file again gives the same text, except for line ends and the case of hexadecimal
//! digits.

use std::fs::{self, OpenOptions};
use std::io::Write;

use chartlock::Error;
use chartlock::internals::crypto::sha256;
use chartlock::keys::KeyFile;

use super::input::Input;

/// The maximum number of edits to one text; more edits find nothing new.
const EDITS: usize = 4;
const TITLE: &str = "chartlock key file 1";

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let what = input.byte();
    let text = match what & 1 {
        0 => input.rest().to_vec(),
        _ => altered(&mut input),
    };
    if what & 2 == 2 {
        assert_result(&text, &on_disk(&text));
    } else if let Ok(same) = std::str::from_utf8(&text) {
        assert_result(&text, &KeyFile::from_text(same));
    }
}

fn altered(input: &mut Input<'_>) -> Vec<u8> {
    let mut text = text_of(&std::array::from_fn(|_| input.byte())).into_bytes();
    for _ in 0..input.byte() as usize % (EDITS + 1) {
        let (edit, place, byte) = (input.byte(), input.byte(), input.byte());
        let place = usize::from(place) % (text.len() + 1);
        match edit % 8 {
            0 => text.insert(place, byte),
            1 => text.truncate(place),
            2 => text.make_ascii_uppercase(),
            3 => text[place..].make_ascii_uppercase(),
            4 => text = with_line_ends(&text, byte),
            5 => drop(text.splice(place..(place + usize::from(byte)).min(text.len()), [])),
            6 => text.extend(byte.is_ascii().then_some(byte)),
            _ => text[place..].iter_mut().take(1).for_each(|now| *now = byte),
        }
    }
    text
}

/// Changes some line ends to `\r\n`.
fn with_line_ends(text: &[u8], which: u8) -> Vec<u8> {
    let lines = text.split_inclusive(|byte| *byte == b'\n').enumerate();
    let lines = lines.map(|(place, line)| match line.strip_suffix(b"\n") {
        Some(line) if which >> (place % 8) & 1 == 1 => [line, b"\r\n"].concat(),
        _ => line.to_vec(),
    });
    lines.flatten().collect()
}

/// The byte order mark that some editors write before the text.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// Maximum length of a text, in bytes.
const LONGEST: usize = 1024;

fn on_disk(text: &[u8]) -> Result<KeyFile, Error> {
    let name = format!("chartlock-fuzz-{}.key", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path).unwrap().write_all(text).unwrap();
    let key = KeyFile::open(&path);
    fs::remove_file(path).unwrap();
    key
}

/// Encodes a secret as the text of a key file.
fn text_of(secret: &[u8; 32]) -> String {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let check = sha256(&[secret]);
    format!("{TITLE}\n{}\n{}\n", hex(secret), hex(&check[..4]))
}

fn assert_result(text: &[u8], result: &Result<KeyFile, Error>) {
    match (normalized(text), result) {
        (Some(expected), Ok(key)) => {
            assert_eq!(*key.to_text(), expected);
            assert_eq!(format!("{key:?}"), "KeyFile(..)");
            assert_eq!(*KeyFile::from_text(&expected).unwrap().to_text(), expected);
        }
        (None, Err(error)) => {
            let later = is_later(text);
            let expected = if later {
                Error::Unsupported
            } else {
                Error::BadKeyFile
            };
            assert_eq!(*error, expected);
        }
        (expected, _) => panic!(
            "accepted: {}, expected: {}",
            result.is_ok(),
            expected.is_some()
        ),
    }
}

/// Returns `true` if the first line states a later format.
fn is_later(text: &[u8]) -> bool {
    let title = text.strip_prefix(MARK).unwrap_or(text);
    let title = title
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let Ok(title) = std::str::from_utf8(title) else {
        return false;
    };
    let number = trimmed(title).strip_prefix("chartlock key file ");
    number.is_some_and(|number| {
        text.len() <= LONGEST
            && number != "1"
            && !number.starts_with('0')
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn trimmed(line: &str) -> &str {
    let line = line.strip_suffix('\r').unwrap_or(line);
    line.trim_end_matches([' ', '\t'])
}

/// Returns the normalized text of a valid key file.
fn normalized(text: &[u8]) -> Option<String> {
    let parsed = std::str::from_utf8(text.strip_prefix(MARK).unwrap_or(text)).ok()?;
    let mut lines = parsed.split('\n');
    let (title, secret, check) = (lines.next()?, lines.next()?, lines.next()?);
    let is_end = trimmed(lines.next().unwrap_or_default()).is_empty()
        && lines.next().unwrap_or_default().is_empty()
        && lines.next().is_none();
    let [title, secret, check] = [title, secret, check].map(trimmed);
    let digits = format!("{secret}\n{check}").to_ascii_lowercase();
    let plain = format!("{title}\n{digits}\n");
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(secret.get(2 * place..)?.get(..2)?, 16).ok()?;
    }
    let is_valid = is_end && text.len() <= LONGEST && plain == text_of(&bytes);
    is_valid.then_some(plain)
}
