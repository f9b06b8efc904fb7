//! Fuzz target for the texts of shares: raw text, and modified valid shares. A second reader predicts the
//! result, and printing a parsed share again gives the same characters.

use chartlock::Error;
use chartlock::keys::{Share, ShareError, Shares};

use super::input::Input;

/// The maximum number of edits to one text; more edits find nothing new.
const EDITS: usize = 4;
const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters that readers skip or take for others, and some that they refuse.
const OTHERS: [char; 16] = [
    ' ', '\n', '\r', '\t', '-', '>', '.', ':', 'o', 'L', 'u', '\u{a0}', '\u{feff}', 'é', '\0', '１',
];

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let text = match input.byte() & 1 {
        0 => String::from_utf8_lossy(input.rest()).into_owned(),
        _ => altered(&mut input),
    };
    let result = Share::from_text(&text);
    match (&result, expected(&text)) {
        (Ok(share), Ok(code)) => assert_share(share, &code),
        (Err(error), Err(expected)) => assert_eq!(*error, expected, "{text:?}"),
        (_, expected) => panic!("{result:?}, expected {expected:?}: {text:?}"),
    }
}

fn assert_share(share: &Share, code: &str) {
    assert_eq!(*share.to_qr_text(), format!("CHARTLOCK:{code}"));
    let printed = share.to_text();
    assert_eq!(*Share::from_text(&printed).unwrap().to_text(), *printed);
    assert_eq!(format!("{share:?}"), "Share(..)");
    let missing = usize::from(share.threshold()) - 1;
    let few = Shares::from_texts(&[printed.as_str()]).unwrap_err();
    assert_eq!(few, Error::Shares(ShareError::TooFew { missing }));
}

/// Writes a share with arbitrary fields, then edits its text.
fn altered(input: &mut Input<'_>) -> String {
    let form = input.byte();
    let head: [u8; 4] = std::array::from_fn(|_| input.byte() % 32);
    let values: Vec<u8> = (0..60).map(|_| input.byte() % 32).collect();
    let code = with_check([&head[..], &values].concat());
    let mut text: Vec<char> = match form % 3 {
        0 => code.chars().collect(),
        1 => format!("share: {}", numbered(&code)).chars().collect(),
        _ => numbered(&code).to_ascii_lowercase().chars().collect(),
    };
    for _ in 0..input.byte() as usize % (EDITS + 1) {
        let (edit, place, what) = (input.byte(), input.byte(), usize::from(input.byte()));
        let place = usize::from(place) % (text.len() + 1);
        let symbol = char::from(SYMBOLS[what % 32]);
        match edit % 6 {
            0 => text.insert(place, symbol),
            1 => text.insert(place, OTHERS[what % 16]),
            2 => text[place..]
                .iter_mut()
                .take(1)
                .for_each(|now| *now = symbol),
            3 => text[place..]
                .iter_mut()
                .take(1)
                .for_each(|now| *now = OTHERS[what % 16]),
            4 => drop(text.splice(place..(place + what % 8).min(text.len()), [])),
            _ if place + 1 < text.len() => text.swap(place, place + 1),
            _ => text.truncate(place),
        }
    }
    text.into_iter().collect()
}

fn numbered(code: &str) -> String {
    let groups = (0..code.len() / 5).map(|n| format!("{}.{}", n + 1, &code[5 * n..5 * n + 5]));
    groups.collect::<Vec<_>>().join(" ")
}

/// Returns the characters of a valid share, or the error.
fn expected(text: &str) -> Result<String, Error> {
    let not_a_share = Error::Shares(ShareError::NotAShare { share: 1 });
    let mistyped = |group| Error::Shares(ShareError::Mistyped { share: 1, group });
    if text.len() > 1024 {
        return Err(not_a_share);
    }
    let kept = text[text.rfind(':').map_or(0, |colon| colon + 1)..].chars();
    let kept: String = kept.filter(|one| !is_skipped(*one)).map(symbol).collect();
    let code = match kept.split_once('.') {
        None => kept,
        Some(("1", rest)) => without_numbers(rest).map_err(|group| mistyped(Some(group)))?,
        Some(_) => return Err(not_a_share),
    };
    let values: Vec<Option<u8>> = code.chars().map(value).collect();
    let known: Option<Vec<u8>> = values.iter().copied().collect();
    let is_valid = known.as_ref().is_some_and(|known| polymod(known) == VALID);
    match known {
        _ if values.len() > 89 => Err(not_a_share),
        Some(known) if is_valid && known.first().is_some_and(|version| *version > 1) => {
            Err(Error::Unsupported)
        }
        _ if values.len() != 70 => Err(not_a_share),
        Some(known) if is_valid && is_share(&known) => Ok(code),
        Some(_) if is_valid => Err(not_a_share),
        Some(known) => Err(mistyped(repaired(&known).map(|place| place / 5 + 1))),
        None => {
            let place = values.iter().position(Option::is_none);
            Err(mistyped(place.map(|place| place / 5 + 1)))
        }
    }
}

fn is_skipped(one: char) -> bool {
    let skipped = "->\u{ad}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2060}\u{feff}\
                   \u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2015}";
    one.is_whitespace() || skipped.contains(one)
}

fn symbol(character: char) -> char {
    match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        'U' => 'V',
        other => other,
    }
}

fn value(symbol: char) -> Option<u8> {
    let place = SYMBOLS.iter().position(|one| char::from(*one) == symbol);
    place.map(|place| place as u8)
}

/// Removes the numbers from numbered groups, or returns the number of the first wrong group.
fn without_numbers(rest: &str) -> Result<String, usize> {
    let parts: Vec<&str> = rest.split('.').collect();
    let mut code = String::new();
    for (n, part) in parts.iter().enumerate() {
        let next = if n + 1 < parts.len() {
            (n + 2).to_string()
        } else {
            String::new()
        };
        let group = part
            .strip_suffix(&next)
            .filter(|group| group.chars().count() == 5);
        code += group.ok_or(n + 1)?;
    }
    Ok(code)
}

fn is_share(values: &[u8]) -> bool {
    let [version, threshold, count, index] = [values[0], values[1], values[2], values[3]];
    let is_head = version == 1 && threshold >= 2 && threshold <= count && count <= 16;
    is_head && (1..=count).contains(&index) && values[63] & 15 == 0
}

/// Returns the place of the value whose change makes the word valid.
fn repaired(values: &[u8]) -> Option<usize> {
    (0..values.len()).find(|place| {
        let changes = (0..32).filter(|change| *change != values[*place]);
        let mut words = changes.map(|change| {
            let mut word = values.to_vec();
            word[*place] = change;
            word
        });
        words.any(|word| polymod(&word) == VALID)
    })
}

const VALID: u32 = 0x2bc8_30a3;

fn with_check(mut values: Vec<u8>) -> String {
    let check = polymod(&[&values[..], &[0; 6]].concat()) ^ VALID;
    values.extend((0..6).map(|n| (check >> (5 * (5 - n)) & 31) as u8));
    values
        .iter()
        .map(|value| char::from(SYMBOLS[usize::from(*value)]))
        .collect()
}

/// The function of BIP 173, with the human-readable part `chartlock-share`.
fn polymod(values: &[u8]) -> u32 {
    let prefix = b"chartlock-share";
    let high = prefix.iter().map(|byte| byte >> 5);
    let low = prefix.iter().map(|byte| byte & 31);
    let mut sum = 1_u32;
    for value in high.chain([0]).chain(low).chain(values.iter().copied()) {
        let top = sum >> 25;
        sum = ((sum & 0x01ff_ffff) << 5) ^ u32::from(value);
        for (bit, term) in [
            0x3b6a_57b2,
            0x2650_8e6d,
            0x1ea1_19fa,
            0x3d42_33dd,
            0x2a14_62b3,
        ]
        .into_iter()
        .enumerate()
        {
            if top >> bit & 1 == 1 {
                sum ^= term;
            }
        }
    }
    sum
}
