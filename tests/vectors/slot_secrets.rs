//! Secrets of slots, which the second reader derives from the credentials of a vector.

use crate::container::Vector;
use crate::formula::{Key, argon2id, secret_of_factors};

const SYMBOLS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Returns the secret of a slot, or `None` for a slot of another credential.
pub fn secret(vector: &Vector, kind: u16, parameters: &[u8]) -> Option<Key> {
    match kind {
        1 => passphrase(vector, parameters),
        2 => key_file(vector),
        3 => shares(vector, parameters),
        4 => two_factors(vector, parameters),
        5..=7 | 0x7000..=0x7fff => device(vector, kind, parameters),
        _ => None,
    }
}

fn passphrase(vector: &Vector, parameters: &[u8]) -> Option<Key> {
    let passphrase = vector.about.get("credential passphrase")?;
    let number = |at: usize| u32::from_le_bytes(parameters[at..at + 4].try_into().unwrap());
    let [m, t, p] = [0, 4, 8].map(number);
    let fits = (8192..=1 << 20).contains(&m)
        && (1..=16).contains(&t)
        && (1..=16).contains(&p)
        && u64::from(m) * u64::from(t) <= 1 << 22;
    fits.then(|| argon2id(passphrase, &parameters[12..], m, t, p))
}

fn key_file(vector: &Vector) -> Option<Key> {
    let text = vector.text("credential key file")?;
    let digits = text.lines().nth(1).unwrap();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let secret: Vec<u8> = (0..64).step_by(2).map(byte).collect();
    Some(secret.try_into().unwrap())
}

/// Reads shares without their headings and groups, as the vectors have them.
fn shares(vector: &Vector, parameters: &[u8]) -> Option<Key> {
    let codes = vector.text("credential shares")?;
    let mut points = Vec::new();
    for code in codes.split("\n\n") {
        let values: Vec<_> = code
            .chars()
            .map(|c| SYMBOLS.find(c).unwrap() as u8)
            .collect();
        let own = [&bytes(&values[4..12], 5)[..], &values[1..3]].concat();
        if own != parameters {
            return None;
        }
        points.push((values[3], bytes(&values[12..64], 32)));
    }
    let value = |at: usize| {
        points.iter().fold(0, |value, (x, data)| {
            let others = points.iter().filter(|(other, _)| other != x);
            let weight = others.fold(1, |weight, (other, _)| {
                multiply(weight, multiply(*other, inverse(x ^ other)))
            });
            value ^ multiply(weight, data[at])
        })
    };
    Some(std::array::from_fn(value))
}

fn bytes(values: &[u8], length: usize) -> Vec<u8> {
    let bits = values
        .iter()
        .flat_map(|value| (0..5).rev().map(move |bit| value >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| byte << 1 | bit);
    bits.chunks(8).take(length).map(byte).collect()
}

/// Multiplies in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
fn multiply(a: u8, b: u8) -> u8 {
    let (mut product, mut power) = (0, a);
    for bit in 0..8 {
        if b >> bit & 1 == 1 {
            product ^= power;
        }
        power = power << 1 ^ if power & 0x80 == 0 { 0 } else { 0x1b };
    }
    product
}

fn inverse(a: u8) -> u8 {
    (1..=u8::MAX).find(|b| multiply(a, *b) == 1).unwrap()
}

fn two_factors(vector: &Vector, parameters: &[u8]) -> Option<Key> {
    let factor = |rest: &[u8]| {
        let (kind, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (own, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        Some((u16::from_le_bytes(*kind), own.to_vec(), rest.to_vec()))
    };
    let (first_kind, first, rest) = factor(parameters)?;
    let (second_kind, second, rest) = factor(&rest)?;
    // The vectors have a key file and a passphrase, in this order.
    if (first_kind, second_kind, first.len(), rest.len()) != (2, 1, 0, 0) {
        return None;
    }
    let passphrase = passphrase(vector, &second)?;
    Some(secret_of_factors(&key_file(vector)?, &passphrase))
}

fn device(vector: &Vector, kind: u16, parameters: &[u8]) -> Option<Key> {
    let device = vector.about.get("credential device")?;
    let (of_kind, rest) = device.split_first_chunk()?;
    let (secret, own) = rest.split_first_chunk()?;
    (u16::from_le_bytes(*of_kind) == kind && own == parameters).then_some(*secret)
}
