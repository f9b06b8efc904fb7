//! Readers of the vector files: NIST's `.rsp` files, text files in the same form, and Wycheproof's
//! JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Fields of one vector. Byte strings are written in hexadecimal digits.
pub struct Record(BTreeMap<String, String>);

impl Record {
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn text(&self, name: &str) -> &str {
        self.0
            .get(name)
            .unwrap_or_else(|| unreachable!("no {name}"))
    }

    pub fn number(&self, name: &str) -> usize {
        self.text(name).parse().unwrap()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        hex(self.text(name))
    }

    pub fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().unwrap()
    }
}

pub fn hex(digits: &str) -> Vec<u8> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty());
    pairs
        .iter()
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub fn file(path: &str) -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published/data");
    fs::read_to_string(data.join(path)).unwrap()
}

/// Parses the records of a text; each record begins with the field `first`. A line with a single
/// word is a field without a value.
pub fn from_lines(text: &str, first: &str) -> Vec<Record> {
    let mut records = Vec::new();
    let lines = text.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        if name.trim() == first {
            records.push(Record(BTreeMap::new()));
        }
        if let Some(record) = records.last_mut() {
            let field = (name.trim().to_owned(), value.trim().to_owned());
            record.0.extend([field]);
        }
    }
    records
}

/// Parses the records of a list of flat JSON objects.
pub fn from_json(text: &str) -> Vec<Record> {
    let list: Vec<BTreeMap<String, serde_json::Value>> = serde_json::from_str(text).unwrap();
    let flat = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    list.into_iter()
        .map(|object| Record(object.into_iter().map(|(k, v)| (k, flat(v))).collect()))
        .collect()
}
