//! Second implementation of the archive of format.md, and of the fields with which a vector
//! describes itself.

use std::collections::BTreeMap;

use crate::formula::sha256;

pub const MAGIC: &[u8] = b"\x89CLA\r\n\x1a\n";

pub type Objects = BTreeMap<Vec<u8>, Vec<u8>>;

pub fn object(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = (key.len() as u16).to_le_bytes().to_vec();
    out.extend(key);
    out.extend((value.len() as u64).to_le_bytes());
    out.extend(value);
    out
}

pub fn finish(mut archive: Vec<u8>) -> Vec<u8> {
    let digest = sha256(&[&archive]);
    archive.extend(digest);
    archive
}

pub fn write(objects: &Objects) -> Vec<u8> {
    let mut archive = MAGIC.to_vec();
    for (key, value) in objects {
        archive.extend(object(key, value));
    }
    finish(archive)
}

pub fn read(archive: &[u8]) -> Objects {
    let (mut rest, digest) = archive.split_last_chunk::<32>().unwrap();
    assert_eq!(*digest, sha256(&[rest]));
    let mut take = |length: usize| {
        let (taken, after) = rest.split_at(length);
        rest = after;
        taken.to_vec()
    };
    assert_eq!(take(8), MAGIC);
    let mut left = archive.len() - 40;
    let mut objects = Objects::new();
    while left > 0 {
        let key = u16::from_le_bytes(take(2).try_into().unwrap()).into();
        let key = take(key);
        let value = u64::from_le_bytes(take(8).try_into().unwrap()) as usize;
        let value = take(value);
        left -= 10 + key.len() + value.len();
        assert!(objects.last_key_value().is_none_or(|(last, _)| *last < key));
        objects.insert(key, value);
    }
    objects
}

pub struct Vector {
    pub about: BTreeMap<String, Vec<u8>>,
    pub storage: Objects,
}

impl Vector {
    pub fn parse(archive: &[u8]) -> Self {
        let (about, storage) = read(archive)
            .into_iter()
            .partition::<Objects, _>(|(key, _)| key[0] == b'#');
        let about = about
            .into_iter()
            .map(|(key, value)| (String::from_utf8(key[1..].to_vec()).unwrap(), value))
            .collect();
        Self { about, storage }
    }

    pub fn text(&self, what: &str) -> Option<&str> {
        let value = self.about.get(what)?;
        Some(str::from_utf8(value).unwrap())
    }

    pub fn expect(&self) -> &str {
        self.text("expect").unwrap()
    }

    /// Returns the subject's kind and identifier.
    pub fn subject(&self) -> Option<(u8, &str)> {
        let patient = self.text("subject patient").map(|id| (1, id));
        patient.or_else(|| self.text("subject practice").map(|id| (2, id)))
    }

    pub fn version(&self) -> Option<u64> {
        self.text("version").map(|version| version.parse().unwrap())
    }

    pub fn steps(&self) -> Vec<(String, Vec<u8>)> {
        (self.about.iter())
            .filter(|(key, _)| key.starts_with("step "))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}
