//! Search of a storage's files for plaintext of the inputs.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::documents::Documents;

/// The length in bytes of a string that counts as found plaintext.
const WINDOW: usize = 12;
/// The length in bytes of the strings that the search looks up first. Every window of 12 bytes
/// contains an 8-byte string whose position in the input is a multiple of 5. An index of every
/// fifth position is therefore enough.
const PROBE: usize = 8;
const STEP: usize = WINDOW - PROBE + 1;
/// The minimum number of different bytes in a window. Windows of zeros, blanks or counters can occur
/// in any file, so they prove nothing.
const VARIETY: usize = 4;
/// The minimum length of a name to search for, in bytes. Shorter names can occur in ciphertext by
/// chance.
const NAME: usize = 6;

/// The scope and the results of a search.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) inputs: usize,
    pub(crate) input_bytes: u64,
    pub(crate) storage_files: u64,
    pub(crate) storage_bytes: u64,
    /// The number of skipped windows with too few different bytes.
    pub(crate) monotonous: u64,
    pub(crate) names: usize,
    pub(crate) short_names: usize,
    /// The results of a control: the number of input windows planted in other bytes, and how many of
    /// them the search found.
    pub(crate) planted: (u64, u64),
    /// The number of found windows that the storage of an empty vault also contains, such as words
    /// of its README.
    pub(crate) fixed: u64,
    /// The windows and names found, each with the file that contains it.
    pub(crate) found: Vec<(String, Vec<u8>)>,
}

/// Searches the content and the path of every file below `storage` for plaintext of the inputs.
///
/// The inputs are the unpacked files, their paths, record names, patient identifiers and the
/// passphrase. A match is 12 consecutive bytes of an input, or a whole shorter name. `empty` is the
/// storage of a vault without records: a match that `empty` also contains does not count.
pub(crate) fn search(
    documents: &Documents,
    passphrase: &str,
    storage: &Path,
    empty: &Path,
) -> Outcome<Findings> {
    let names: HashSet<&[u8]> = documents
        .records
        .iter()
        .flat_map(|record| [record.id.name(), record.id.subject().identifier()])
        .map(str::as_bytes)
        .collect();
    let mut inputs: Vec<&[u8]> = names.iter().copied().collect();
    inputs.extend(documents.files.iter().map(|file| &file.content[..]));
    inputs.extend(documents.files.iter().map(|file| file.path.as_bytes()));
    inputs.push(passphrase.as_bytes());
    let mut findings = Findings {
        inputs: inputs.len(),
        input_bytes: inputs.iter().map(|input| input.len() as u64).sum(),
        names: names.iter().filter(|name| name.len() >= NAME).count(),
        short_names: names.iter().filter(|name| name.len() < NAME).count(),
        ..Findings::default()
    };
    let probes = Probes::new(&inputs);
    let short = ShortNames::new(&names);
    findings.planted = control(&inputs, &probes);
    let mut suspects: HashMap<[u8; WINDOW], String> = HashMap::new();
    each_file(storage, storage, &mut |path, content| {
        findings.storage_files += 1;
        findings.storage_bytes += content.len() as u64;
        for name in short.found_in(content) {
            findings.found.push((path.to_owned(), name.to_vec()));
        }
        findings.monotonous += probes.suspect(content, &mut |window| {
            suspects.entry(window).or_insert_with(|| path.to_owned());
        });
    })?;
    if !suspects.is_empty() {
        confirm(&inputs, &suspects, &mut findings);
        findings.remove_fixed(empty)?;
    }
    Ok(findings)
}

impl Findings {
    fn remove_fixed(&mut self, empty: &Path) -> Outcome<()> {
        let mut fixed: HashSet<Vec<u8>> = HashSet::new();
        each_file(empty, empty, &mut |_, content| {
            fixed.extend(content.windows(WINDOW).map(<[u8]>::to_vec));
        })?;
        let all = self.found.len();
        self.found.retain(|(_, found)| !fixed.contains(found));
        self.fixed = (all - self.found.len()) as u64;
        Ok(())
    }
}

/// Adds the suspect windows that occur in an input to the findings. The check is necessary, because
/// an 8-byte probe can match by chance.
fn confirm(inputs: &[&[u8]], suspects: &HashMap<[u8; WINDOW], String>, findings: &mut Findings) {
    let mut confirmed = HashSet::new();
    for window in inputs.iter().flat_map(|input| input.windows(WINDOW)) {
        let Some(window) = window.first_chunk() else {
            continue;
        };
        if let Some(path) = suspects.get(window)
            && confirmed.insert(window)
        {
            findings.found.push((path.clone(), window.to_vec()));
        }
    }
}

/// Plants one window of each input among other bytes. Returns the number of planted windows and the
/// count of windows that the search found. The distance to the nearest probe varies between inputs.
fn control(inputs: &[&[u8]], probes: &Probes) -> (u64, u64) {
    let mut planted = (0, 0);
    for (number, input) in inputs.iter().enumerate() {
        let start = input.len() / 2 + number % STEP;
        let window = input
            .get(start..)
            .and_then(|rest| rest.first_chunk::<WINDOW>());
        let Some(window) = window.filter(|window| variety(*window) >= VARIETY) else {
            continue;
        };
        let hidden = [&[0xa5; 7], &window[..], &[0x5a; 7]].concat();
        let mut seen = false;
        probes.suspect(&hidden, &mut |suspect| seen |= suspect == *window);
        planted.0 += 1;
        planted.1 += u64::from(seen);
    }
    planted
}

/// Index of every fifth 8-byte string of the inputs, with a filter that rejects most other strings
/// fast.
struct Probes {
    set: HashSet<u64>,
    filter: Vec<u64>,
}

impl Probes {
    /// The binary logarithm of the filter's size in bits; the filter takes 16 MiB.
    const BITS: u32 = 27;

    fn new(inputs: &[&[u8]]) -> Self {
        let mut probes = Self {
            set: HashSet::new(),
            filter: vec![0; 1 << (Self::BITS - 6)],
        };
        for input in inputs {
            for probe in input.windows(PROBE).step_by(STEP).filter_map(number) {
                let (word, bit) = Self::place(probe);
                if let Some(word) = probes.filter.get_mut(word) {
                    *word |= bit;
                }
                probes.set.insert(probe);
            }
        }
        probes
    }

    fn place(probe: u64) -> (usize, u64) {
        let spread = probe.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - Self::BITS);
        ((spread >> 6) as usize, 1 << (spread & 63))
    }

    fn contains(&self, probe: u64) -> bool {
        let (word, bit) = Self::place(probe);
        self.filter.get(word).is_some_and(|word| word & bit != 0) && self.set.contains(&probe)
    }

    /// Calls `suspect` with every window around a known probe. Returns the number of skipped windows
    /// with too few different bytes.
    fn suspect(&self, content: &[u8], suspect: &mut dyn FnMut([u8; WINDOW])) -> u64 {
        let mut monotonous = 0;
        for (at, probe) in content.windows(PROBE).enumerate() {
            if !number(probe).is_some_and(|probe| self.contains(probe)) {
                continue;
            }
            for start in at.saturating_sub(STEP - 1)..=at {
                let window = content.get(start..).and_then(|rest| rest.first_chunk());
                match window {
                    Some(window) if variety(window) >= VARIETY => suspect(*window),
                    Some(_) => monotonous += 1,
                    None => {}
                }
            }
        }
        monotonous
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

fn variety(window: &[u8]) -> usize {
    let mut seen = [0_u64; 4];
    for byte in window {
        if let Some(word) = seen.get_mut(usize::from(byte >> 6)) {
            *word |= 1 << (byte & 63);
        }
    }
    seen.iter().map(|word| word.count_ones() as usize).sum()
}

/// Names of 6 to 11 bytes, indexed by their first 6 bytes.
struct ShortNames<'a>(HashMap<[u8; NAME], Vec<&'a [u8]>>);

impl<'a> ShortNames<'a> {
    fn new(names: &HashSet<&'a [u8]>) -> Self {
        let mut by_beginning: HashMap<_, Vec<_>> = HashMap::new();
        for name in names.iter().filter(|name| name.len() < WINDOW) {
            if let Some(beginning) = name.first_chunk() {
                by_beginning.entry(*beginning).or_default().push(*name);
            }
        }
        Self(by_beginning)
    }

    fn found_in(&self, content: &[u8]) -> Vec<&'a [u8]> {
        let mut found = Vec::new();
        for (at, beginning) in content.windows(NAME).enumerate() {
            let names = beginning
                .first_chunk()
                .and_then(|beginning| self.0.get(beginning));
            let rest = content.get(at..).unwrap_or_default();
            found.extend(
                names
                    .into_iter()
                    .flatten()
                    .filter(|name| rest.starts_with(name)),
            );
        }
        found
    }
}

/// Calls `visit` for each file. The file's path is appended to the content, because the storage
/// does not encrypt paths.
fn each_file(root: &Path, directory: &Path, visit: &mut dyn FnMut(&str, &[u8])) -> Outcome<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            each_file(root, &path, visit)?;
            continue;
        }
        let mut content = fs::read(&path)?;
        let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
        content.extend(name.as_bytes());
        visit(&name, &content);
    }
    Ok(())
}
