//! Splitting and combining sets.

use std::collections::BTreeSet;

use chartlock::internals::crypto::interpolate;
use chartlock::keys::{Credential, Share, ShareError, Shares, SlotContext};
use chartlock::{CipherSuite, Error, ErrorKind};

use super::written::Written;
use super::{subsets, texts_of};

fn refused(texts: &[String]) -> ShareError {
    match Shares::from_texts(texts) {
        Err(Error::Shares(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Returns the parameters and the secret of a slot.
fn enrolled(shares: &Shares) -> (Vec<u8>, [u8; 32]) {
    let context = SlotContext::new([7; 16], 3, 9, CipherSuite::default());
    let (parameters, secret) = shares.enrol(&context).unwrap();
    let again = shares.secret(&parameters, &context).unwrap().unwrap();
    assert_eq!(secret.expose(), again.expose());
    (parameters, *secret.expose())
}

#[test]
fn split_accepts_thresholds_from_2_and_counts_up_to_16() {
    for (threshold, count) in [(2, 2), (2, 3), (3, 5), (2, 16), (16, 16)] {
        let shares = Shares::split(threshold, count).unwrap();
        let numbers: Vec<u8> = shares.all().iter().map(Share::index).collect();
        assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
    }
    for (threshold, count) in [
        (0, 0),
        (0, 3),
        (1, 1),
        (1, 5),
        (3, 2),
        (2, 17),
        (17, 17),
        (2, 255),
    ] {
        let error = Shares::split(threshold, count).unwrap_err();
        assert_eq!(error, Error::Shares(ShareError::Bounds));
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[test]
fn every_choice_of_at_least_threshold_shares_recovers_the_set() {
    for (threshold, count) in [(2, 3), (3, 5), (4, 4), (5, 6)] {
        let shares = Shares::split(threshold, count).unwrap();
        let (texts, expected) = (texts_of(&shares), enrolled(&shares));
        for size in 0..=usize::from(count) {
            for mut chosen in subsets(&texts, size) {
                chosen.reverse();
                let missing = usize::from(threshold).saturating_sub(size);
                if missing == 0 {
                    let recovered = Shares::from_texts(&chosen).unwrap();
                    assert_eq!(enrolled(&recovered), expected);
                    assert_eq!(texts_of(&recovered), texts, "a lost share can be printed");
                } else {
                    // Without any share, the threshold is not known, but at least 2.
                    let missing = if size == 0 { 2 } else { missing };
                    assert_eq!(refused(&chosen), ShareError::TooFew { missing });
                }
            }
        }
    }
}

#[test]
fn largest_set_recovers_from_all_shares() {
    let shares = Shares::split(16, 16).unwrap();
    let mut texts = texts_of(&shares);
    assert_eq!(
        enrolled(&Shares::from_texts(&texts).unwrap()),
        enrolled(&shares)
    );
    texts.remove(7);
    assert_eq!(refused(&texts), ShareError::TooFew { missing: 1 });
}

#[test]
fn fewer_shares_allow_every_secret_equally() {
    // For each value that a third share might have, two known shares give another secret.
    let known = [[0x5a; 32], [0xc3; 32]];
    let mut secrets = BTreeSet::new();
    for third in 0..=u8::MAX {
        let mut secret = [0; 32];
        let points = [(1, &known[0]), (2, &known[1]), (3, &[third; 32])];
        interpolate(&points, 0, &mut secret);
        secrets.insert(secret);
    }
    assert_eq!(secrets.len(), 256);
}

#[test]
fn split_uses_polynomials_of_full_degree() {
    // If they had a lower degree, one share less than the threshold would determine the others.
    for (threshold, count) in [(2, 3), (3, 5), (5, 8), (16, 16)] {
        let shares = Shares::split(threshold, count).unwrap();
        let texts = texts_of(&shares);
        let (_, secret) = enrolled(&shares);
        let points: Vec<_> = texts.iter().map(|text| point_of(text)).collect();
        let points: Vec<_> = points
            .iter()
            .map(|(index, bytes)| (*index, bytes))
            .collect();
        let value = |of: &[(u8, &[u8; 32])]| {
            let mut value = [0; 32];
            interpolate(of, 0, &mut value);
            value
        };
        let threshold = usize::from(threshold);
        assert_eq!(value(&points[..threshold]), secret);
        assert_ne!(value(&points[..threshold - 1]), secret);
    }
}

/// Returns the number and the bytes of a share, read from its printed text.
fn point_of(text: &str) -> (u8, [u8; 32]) {
    const SYMBOLS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let groups = text.lines().skip(1).flat_map(str::split_whitespace);
    let symbols = groups.flat_map(|group| group.split_once('.').unwrap().1.chars());
    let values: Vec<_> = symbols
        .map(|symbol| SYMBOLS.find(symbol).unwrap())
        .collect();
    let bits = values[12..64]
        .iter()
        .flat_map(|value| (0..5).rev().map(move |bit| value >> bit & 1));
    let bits: Vec<_> = bits.collect();
    let byte = |n: usize| {
        bits[8 * n..8 * n + 8]
            .iter()
            .fold(0, |byte, bit| byte << 1 | *bit as u8)
    };
    (values[3] as u8, std::array::from_fn(byte))
}

#[test]
fn two_splits_share_no_secret_share_or_name() {
    let [first, second] = [(); 2].map(|()| Shares::split(2, 3).unwrap());
    assert_ne!(enrolled(&first), enrolled(&second));
    assert_ne!(first.all()[0].set(), second.all()[0].set());
    let texts = [texts_of(&first), texts_of(&second)].concat();
    assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), 6);
}

#[test]
fn share_of_another_set_is_named() {
    let (ours, other) = (Shares::split(3, 5).unwrap(), Shares::split(3, 5).unwrap());
    let (ours, other) = (texts_of(&ours), texts_of(&other));
    for place in 0..3 {
        let mut mixed = ours[..3].to_vec();
        mixed[place] = other[4].clone();
        let expected = ShareError::OtherSet { share: place + 1 };
        assert_eq!(refused(&mixed), expected);
    }
    // Of one share each, the first counts.
    let two = [ours[0].clone(), other[1].clone()];
    assert_eq!(refused(&two), ShareError::OtherSet { share: 2 });
}

#[test]
fn share_with_another_threshold_or_count_is_of_another_set() {
    let share = Written::default();
    let changed = |change: fn(&mut Written)| {
        let mut share = share;
        share.index = 3;
        change(&mut share);
        share.code()
    };
    for other in [
        changed(|share| share.threshold = 3),
        changed(|share| share.count = 4),
        changed(|share| share.id[4] ^= 1),
    ] {
        let second = Written { index: 2, ..share };
        let texts = [share.code(), second.code(), other];
        assert_eq!(refused(&texts), ShareError::OtherSet { share: 3 });
    }
}

#[test]
fn copies_of_one_share_are_named() {
    let texts = texts_of(&Shares::split(3, 5).unwrap());
    for (first, second) in [(0, 1), (0, 2), (1, 2)] {
        let mut chosen = [texts[0].clone(), texts[1].clone(), texts[2].clone()];
        chosen[second] = chosen[first].to_lowercase();
        let (first, second) = (first + 1, second + 1);
        assert_eq!(refused(&chosen), ShareError::Repeated { first, second });
    }
    let mut all = texts.clone();
    all.push(texts[3].clone());
    let copies = ShareError::Repeated {
        first: 4,
        second: 6,
    };
    assert_eq!(refused(&all), copies);
}

#[test]
fn forged_share_is_found_if_more_than_threshold_are_given() {
    let share = |index| {
        let bytes = [17 * index; 32];
        let share = Written::default();
        Written {
            index,
            bytes,
            ..share
        }
    };
    // Of three random shares, each two determine the third otherwise.
    let texts = [share(1).code(), share(2).code(), share(3).code()];
    let forged = Written {
        bytes: [9; 32],
        ..share(3)
    };
    assert!(Shares::from_texts(&texts[..2]).is_ok());
    let given = [texts[0].clone(), texts[1].clone(), forged.code()];
    assert_eq!(refused(&given), ShareError::Inconsistent);
    let both = [texts[2].clone(), forged.code()];
    assert_eq!(refused(&both), ShareError::Inconsistent);
}

#[test]
fn combine_of_parsed_shares_equals_from_texts() {
    let shares = Shares::split(2, 3).unwrap();
    let texts = texts_of(&shares);
    let parsed: Vec<Share> = texts
        .iter()
        .map(|text| Share::from_text(text).unwrap())
        .collect();
    assert_eq!(
        enrolled(&Shares::combine(&parsed[1..]).unwrap()),
        enrolled(&shares)
    );
    let error = Shares::combine(&parsed[..1]).unwrap_err();
    assert_eq!(error, Error::Shares(ShareError::TooFew { missing: 1 }));
    assert_eq!(error.kind(), ErrorKind::Credential);
    assert!(!error.is_retryable());
}

#[test]
fn secret_of_slot_of_another_set_or_form_is_none() {
    let context = SlotContext::new([7; 16], 3, 9, CipherSuite::default());
    let shares = Shares::split(2, 3).unwrap();
    let (parameters, _) = enrolled(&shares);
    assert_eq!(parameters.len(), 7);
    assert_eq!(parameters[5..], [2, 3]);
    let other = enrolled(&Shares::split(2, 3).unwrap()).0;
    let mut forms: Vec<Vec<u8>> = vec![other, Vec::new(), vec![0; 3984]];
    forms.push(parameters[..6].to_vec());
    forms.push([&parameters[..], &[0]].concat());
    for place in 0..parameters.len() {
        let mut changed = parameters.clone();
        changed[place] ^= 1;
        forms.push(changed);
    }
    for form in forms {
        assert!(shares.secret(&form, &context).unwrap().is_none());
    }
}
