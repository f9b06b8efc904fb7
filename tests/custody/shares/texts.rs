//! Text form of shares: what readers accept, and which mistakes they find.

use std::fmt::Write;

use chartlock::Error;
use chartlock::keys::{Credential, Share, ShareError, Shares, SlotContext};
use proptest::prelude::*;

use super::texts_of;
use super::written::{Written, with_check};

// Written by a Python program from the description in format.md: the secret is the bytes 0 to 31, the
// set's id is c4a7100c5e, and shares 1 and 2 are the SHA-256 of "share 1" and "share 2".
const FIRST: &str = "chartlock recovery share 1 of 5, set RJKH032Y, 3 needed:
1.1351R 2.JKH03 3.2YKCG 4.S6R1Q 5.2TX6A
6.JFJE9 7.S32PH 8.XS14Y 9.SQMWH 10.A5XJ2
11.Q5ZQ9 12.9WVE7 13.ND100 14.B046G
";
const THIRD: &str = "chartlock recovery share 3 of 5, set RJKH032Y, 3 needed:
1.1353R 2.JKH03 3.2YFEC 4.D5K0N 5.PWZFF
6.Q28SC 7.2CEFB 8.ZVME4 9.9FZAF 10.TPGVB
11.3P06C 12.AR2V9 13.FG60B 14.6TSVY
";
const FOURTH: &str = "chartlock recovery share 4 of 5, set RJKH032Y, 3 needed:
1.1354R 2.JKH03 3.2YRAG 4.QQWTB 5.ETJ7P
6.S91BK 7.0ZVJG 8.T2C5P 9.AX98G 10.SEZM1
11.QP8TK 12.Z7XJY 13.0NZ0W 14.2GE14
";
const FIFTH: &str = "chartlock recovery share 5 of 5, set RJKH032Y, 3 needed:
1.1355R 2.JKH03 3.2YB60 4.YN43R 5.CMC1J
6.96T4J 7.WC179 8.9TH99 9.HED73 10.31KA6
11.RBM9Q 12.QD1W4 13.P0HG7 14.Z1QN2
";

/// Returns the 70 characters of a share.
fn code_of(share: &Share) -> String {
    let qr = share.to_qr_text();
    qr.strip_prefix("CHARTLOCK:").unwrap().to_owned()
}

/// Returns the groups without a heading and numbers.
fn groups(code: &str) -> Vec<&str> {
    (0..14).map(|n| &code[5 * n..5 * n + 5]).collect()
}

fn numbered(groups: &[&str]) -> String {
    (1..)
        .zip(groups)
        .fold(String::new(), |mut text, (number, group)| {
            write!(text, "{number}.{group} ").unwrap();
            text
        })
}

fn error_of(text: &str) -> ShareError {
    match Share::from_text(text) {
        Err(Error::Shares(error)) => error,
        Ok(_) => panic!("accepted: {text}"),
        Err(other) => panic!("{other:?}: {text}"),
    }
}

fn mistyped(group: impl Into<Option<usize>>) -> ShareError {
    ShareError::Mistyped {
        share: 1,
        group: group.into(),
    }
}

const NOT_A_SHARE: ShareError = ShareError::NotAShare { share: 1 };

#[test]
fn shares_of_independent_writer_recover_its_secret_and_text() {
    let shares = Shares::from_texts(&[FIFTH, THIRD, FIRST]).unwrap();
    let context = SlotContext::new([7; 16], 3, 9, Default::default());
    let (parameters, secret) = shares.enrol(&context).unwrap();
    assert_eq!(parameters, [0xc4, 0xa7, 0x10, 0x0c, 0x5e, 3, 5]);
    assert_eq!(*secret.expose(), std::array::from_fn(|n| n as u8));
    let texts = texts_of(&shares);
    assert_eq!([&texts[0], &texts[2]], [FIRST, THIRD]);
    assert_eq!([&texts[3], &texts[4]], [FOURTH, FIFTH]);
}

#[test]
fn written_share_parses_to_its_fields() {
    let share = Share::from_text(&Written::default().code()).unwrap();
    assert_eq!((share.index(), share.threshold(), share.count()), (1, 2, 3));
    assert_eq!(share.set(), "RJKH032Y");
    assert_eq!(code_of(&share), Written::default().code());
    let qr = share.to_qr_text();
    let is_alphanumeric = |byte: u8| {
        byte.is_ascii_digit() || byte.is_ascii_uppercase() || b" $%*+-./:".contains(&byte)
    };
    assert!(qr.len() == 80 && qr.bytes().all(is_alphanumeric));
}

#[test]
fn changes_of_people_and_mail_are_accepted() {
    let code: String = FIRST.split_once(':').unwrap().1.to_owned();
    let plain = code_of(&Share::from_text(FIRST).unwrap());
    let look_alikes = plain
        .replace('0', "O")
        .replacen('1', "I", 1)
        .replace('1', "l")
        .replace('V', "u");
    let quoted: String = FIRST
        .lines()
        .map(|line| format!("> > {line}\r\n"))
        .collect();
    for text in [
        FIRST.to_lowercase(),
        FIRST.replace('\n', "\r\n"),
        FIRST.replace(['\n', ' '], "\u{a0}"),
        FIRST.replace(['\n', ' '], ""),
        FIRST.replace(' ', " - "),
        FIRST.replace('.', ".\u{200b} "),
        FIRST.replace(' ', "\u{2011}"),
        format!("\u{feff}{FIRST}\n\n"),
        format!("Dr. García's practice, 2026-11-30: keep this sealed.\n{FIRST}"),
        quoted,
        code.clone(),
        code.replace(['\n', ' '], ""),
        plain.clone(),
        format!("chartlock:{}", plain.to_lowercase()),
        groups(&plain).join(" "),
        groups(&plain).join("-"),
        look_alikes.clone(),
        look_alikes.to_lowercase(),
        plain.chars().map(|symbol| format!("{symbol} ")).collect(),
        FIRST
            .replace('0', "o")
            .replace(" 1", " l")
            .replace("\n1", "\nI"),
    ] {
        let share = Share::from_text(&text);
        assert_eq!(*share.unwrap().to_text(), FIRST, "{text}");
    }
}

/// Returns the symbol that readers take a character for.
fn normalized(character: char) -> char {
    match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        'U' => 'V',
        other => other,
    }
}

#[test]
fn every_wrong_character_is_found_and_names_share_and_group() {
    let shares = Shares::split(3, 5).unwrap();
    let codes: Vec<String> = shares.all().iter().map(code_of).collect();
    let good = &codes[1];
    for place in 0..70 {
        let right = good.chars().nth(place).unwrap();
        for wrong in ('!'..='~').chain(['é', 'А', 'ß', 'Ø', '０', '\u{0}']) {
            if normalized(wrong) == right || "-.:>".contains(wrong) {
                continue;
            }
            let mut bad = good.clone();
            bad.replace_range(place..=place, &wrong.to_string());
            let group = Some(place / 5 + 1);
            let expected = ShareError::Mistyped { share: 2, group };
            for text in [bad.clone(), numbered_loosely(&bad)] {
                let given = [codes[0].clone(), text, codes[4].clone()];
                let error = Shares::from_texts(&given).unwrap_err();
                assert_eq!(error, Error::Shares(expected), "{wrong} at {place}");
            }
        }
    }
}

/// Numbers the groups of a text whose characters may have several bytes.
fn numbered_loosely(code: &str) -> String {
    let characters: Vec<char> = code.chars().collect();
    let groups: Vec<String> = characters
        .chunks(5)
        .map(|group| group.iter().collect())
        .collect();
    numbered(&groups.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn every_transposition_of_adjacent_characters_is_detected() {
    for share in Shares::split(2, 4).unwrap().all() {
        let code = code_of(share);
        for place in 0..69 {
            let mut swapped = code.clone().into_bytes();
            swapped.swap(place, place + 1);
            let swapped = String::from_utf8(swapped).unwrap();
            if swapped != code {
                assert!(matches!(error_of(&swapped), ShareError::Mistyped { .. }));
            }
        }
    }
}

#[test]
fn every_changed_character_of_printed_text_is_found_or_harmless() {
    let others = ('\0'..='\u{7f}').chain(['é', '\u{a0}', '\u{2013}', '：']);
    for other in others {
        for (place, right) in FIRST.char_indices() {
            let mut changed = FIRST.to_owned();
            changed.replace_range(place..=place, &other.to_string());
            match Share::from_text(&changed) {
                // The heading and the spaces are for people.
                Ok(share) => assert_eq!(*share.to_text(), FIRST),
                Err(Error::Shares(_)) => assert_ne!(normalized(right), normalized(other)),
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

#[test]
fn missing_or_additional_character_is_found_in_its_numbered_group() {
    let code = code_of(&Share::from_text(FIRST).unwrap());
    for place in 0..70 {
        let mut short = groups(&code);
        let group = short[place / 5];
        let left = [&group[..place % 5], &group[place % 5 + 1..]].concat();
        short[place / 5] = &left;
        assert_eq!(error_of(&numbered(&short)), mistyped(place / 5 + 1));
        let long = format!("{group}7");
        short[place / 5] = &long;
        assert_eq!(error_of(&numbered(&short)), mistyped(place / 5 + 1));
        let mut unnumbered = code.clone();
        unnumbered.remove(place);
        assert_eq!(error_of(&unnumbered), NOT_A_SHARE);
        unnumbered.insert_str(place, "77");
        assert_eq!(error_of(&unnumbered), NOT_A_SHARE);
    }
}

#[test]
fn groups_out_of_order_are_found() {
    let share = Written {
        bytes: std::array::from_fn(|n| (n * 37) as u8),
        ..Written::default()
    };
    let code = share.code();
    let groups = groups(&code);
    for first in 0..14 {
        let mut missing = groups.clone();
        missing.remove(first);
        assert_eq!(error_of(&missing.concat()), NOT_A_SHARE);
        assert_eq!(error_of(&numbered(&missing)), NOT_A_SHARE);
        for second in 0..first {
            let mut swapped = groups.clone();
            swapped.swap(first, second);
            assert!(matches!(
                error_of(&swapped.concat()),
                ShareError::Mistyped { .. }
            ));
        }
    }
    let skipped = FIRST.replace("8.XS14Y ", "");
    assert_eq!(error_of(&skipped), mistyped(7));
}

#[test]
fn other_texts_are_no_shares() {
    let code = code_of(&Share::from_text(FIRST).unwrap());
    let long = format!("{}{code}", " ".repeat(1024 - 70));
    assert!(Share::from_text(&long).is_ok());
    for text in [
        String::new(),
        ":".to_owned(),
        ".".repeat(20),
        "chartlock recovery share 1 of 5, set RJKH032Y, 3 needed:".to_owned(),
        format!(" {long}"),
        format!("{code}{code}"),
        format!("{FIRST}{THIRD}").replace(':', ""),
        format!("{FIRST}:"),
        "1".repeat(89),
        "1".repeat(90),
        format!("chartlock key file 1\n{}\n{}\n", "0".repeat(64), "66687aad"),
        "2.1351R 2.JKH03".to_owned(),
    ] {
        assert_eq!(error_of(&text), NOT_A_SHARE, "{text}");
    }
    assert_eq!(error_of("1."), mistyped(1));
    assert_eq!(error_of(&FIRST.replace("10.", "11.")), mistyped(9));
}

#[test]
fn fields_out_of_bounds_are_no_share() {
    let base = Written::default();
    let changes: [fn(&mut Written); 12] = [
        |share| share.version = 0,
        |share| share.threshold = 0,
        |share| share.threshold = 1,
        |share| share.threshold = 4,
        |share| share.count = 17,
        |share| (share.threshold, share.count) = (17, 17),
        |share| share.count = 31,
        |share| share.index = 0,
        |share| share.index = 4,
        |share| share.index = 31,
        |share| share.padding = 1,
        |share| share.padding = 15,
    ];
    for change in changes {
        let mut share = base;
        change(&mut share);
        assert_eq!(error_of(&share.code()), NOT_A_SHARE);
    }
    let most = Written {
        threshold: 16,
        count: 16,
        index: 16,
        ..base
    };
    let most = Share::from_text(&most.code()).unwrap();
    assert_eq!(most.index(), 16);
    // A buffer that grew would have left an unwiped copy.
    assert_eq!(most.to_text().capacity(), 256);
}

#[test]
fn share_of_later_version_is_unsupported() {
    let later = |text: &str| assert_eq!(Share::from_text(text).unwrap_err(), Error::Unsupported);
    for version in 2..32 {
        let share = Written {
            version,
            ..Written::default()
        };
        later(&share.code());
        later(&numbered(&groups(&share.code())));
    }
    for length in [1, 4, 59, 69, 83] {
        let mut values = vec![7; length];
        values[0] = 2;
        later(&with_check(values));
    }
    // More than 89 characters are outside the limit of the checksum.
    assert_eq!(error_of(&with_check(vec![7; 84])), NOT_A_SHARE);
}

#[test]
fn share_and_errors_print_no_secret() {
    let shares = Shares::split(2, 3).unwrap();
    let (share, code) = (&shares.all()[0], code_of(&shares.all()[0]));
    assert_eq!(format!("{share:?} {share:#?}"), "Share(..) Share(..)");
    assert_eq!(format!("{shares:?} {shares:#?}"), "Shares(..) Shares(..)");
    for error in [
        Share::from_text(&code[1..]).unwrap_err(),
        Share::from_text(&format!("{}?", &code[..69])).unwrap_err(),
        Shares::from_texts(&[&code, &code]).unwrap_err(),
        Shares::from_texts(&[&code]).unwrap_err(),
    ] {
        let printed = format!("{error} {error:?}");
        assert!(groups(&code).iter().all(|group| !printed.contains(group)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shares_round_trip_through_changed_texts(
        count in 2..=16_u8,
        threshold in 0..16_u8,
        order in any::<[u8; 16]>(),
        changes in any::<[u8; 16]>(),
    ) {
        let threshold = 2 + threshold % (count - 1);
        let shares = Shares::split(threshold, count).unwrap();
        let mut chosen: Vec<(u8, u8, String)> = shares.all().iter().zip(order).zip(changes)
            .map(|((share, order), change)| (order, change, share.to_text().to_string()))
            .collect();
        chosen.sort();
        chosen.truncate(threshold.into());
        let typed: Vec<String> = chosen.into_iter().map(|(_, change, text)| {
            let code = code_of(&Share::from_text(&text).unwrap());
            let text = if change & 1 == 1 { text.to_lowercase() } else { text };
            let text = if change & 2 == 2 { text.replace('\n', "\r\n") } else { text };
            let text = if change & 4 == 4 { text.replace(' ', "") } else { text };
            if change & 24 == 24 { code.replace('0', "o").replace('1', "L") } else { text }
        }).collect();
        let recovered = Shares::from_texts(&typed).unwrap();
        prop_assert_eq!(texts_of(&recovered), texts_of(&shares));
    }

    #[test]
    fn any_text_never_panics(text in ".*", tail in "[0-9A-Z. \n]{60,110}") {
        for text in [text.clone(), tail.clone(), format!("{text}:{tail}")] {
            if let Ok(share) = Share::from_text(&text) {
                prop_assert!(Share::from_text(&share.to_text()).is_ok());
            }
        }
    }
}
