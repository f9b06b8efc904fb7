//! What is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chartlock::{SubjectKind, report::KeyUsage};

use crate::Outcome;
use crate::documents::Documents;
use crate::options::{DEMONSTRATION, Options};
use crate::scan::Findings;
use crate::table::{Table, bytes, count, overhead};
use crate::work::Result;

pub(crate) fn introduce(source: Option<&Path>, documents: &Documents) {
    let of_kind = |kind| {
        let subjects = documents.records.iter().map(|record| record.id.subject());
        let subjects: BTreeSet<_> = subjects.filter(|subject| subject.kind() == kind).collect();
        count(subjects.len() as u64)
    };
    match source {
        Some(source) => outln!("Documents of {}", source.display()),
        None => outln!("The sample in tests/data; name a directory for documents of your own."),
    }
    outln!(
        "{} records of {} patients, and of {} folders for what names no patient\n",
        count(documents.records.len() as u64),
        of_kind(SubjectKind::Patient),
        of_kind(SubjectKind::Organization),
    );
    let mut formats: BTreeMap<&str, (u64, u64, u64, u64)> = BTreeMap::new();
    for file in &documents.files {
        formats.entry(file.format.label()).or_default().0 += 1;
    }
    for record in &documents.records {
        let size = documents.content(record).len() as u64;
        let format = formats.entry(record.format.label()).or_default();
        *format = (format.0, format.1 + 1, format.2 + size, format.3.max(size));
    }
    let mut table = Table::new(&["format", "files", "records", "content", "largest record"]);
    for (format, (files, records, size, largest)) in formats {
        table.row([
            format.to_owned(),
            count(files),
            count(records),
            bytes(size),
            bytes(largest),
        ]);
    }
    table.print();
    let left_out = documents.file_bytes() - documents.record_bytes();
    if left_out > 0 {
        outln!(
            "Not kept: {} between the resources of FHIR lines and transaction bundles (line ends,\n\
             the method and URL of each entry).",
            bytes(left_out)
        );
    }
    let skipped = documents.skipped.iter();
    let skipped: Vec<_> = skipped
        .map(|(what, number)| format!("{} ({what})", files_in_words(*number)))
        .collect();
    if !skipped.is_empty() {
        outln!("Passed over: {}.", skipped.join(", "));
    }
    outln!();
}

pub(crate) fn print(documents: &Documents, result: &Result) {
    print_sizes(documents, result);
    print_census(&result.before, &result.after);
}

fn print_sizes(documents: &Documents, result: &Result) {
    let content = documents.record_bytes();
    let mut table = Table::new(&["stored", "objects", "keys and values", "over content"]);
    let mut all = (0, 0);
    for (class, number, size) in &result.objects {
        all = (all.0 + number, all.1 + size);
        table.row([(*class).to_owned(), count(*number), bytes(*size)]);
    }
    let (files, on_disk) = result.files;
    table.row([
        "all objects".to_owned(),
        count(all.0),
        bytes(all.1),
        overhead(all.1, content),
    ]);
    table.row([
        "files on disk".to_owned(),
        count(files),
        bytes(on_disk),
        overhead(on_disk, content),
    ]);
    table.print();
    outln!(
        "Files hold what was written lately twice: in the engine's journal, up to 64 MiB, and in its tables.\n"
    );
}

fn print_census(before: &KeyUsage, after: &KeyUsage) {
    let mut table = Table::new(&["census", "before", "after rotation"]);
    let mut row = |what: &str, number: &dyn Fn(&KeyUsage) -> u64| {
        let numbers = [number(before), number(after)].map(count);
        table.row([what.to_owned()].into_iter().chain(numbers));
    };
    row("master keys", &|census| census.masters.len() as u64);
    row("patient entries under the active one", &|census| {
        let active = census.masters.iter().filter(|master| master.active);
        active.map(|master| master.objects).sum()
    });
    row("subjects", &|census| census.subjects);
    row("patient keys", &|census| census.patient_keys);
    row("records", &|census| census.records);
    row("earlier versions", &|census| census.earlier_versions);
    row("of both, under former patient keys", &|census| {
        census.under_former_keys
    });
    row("of both, unreadable", &|census| census.unreadable_versions);
    table.print();
    outln!(
        "Rotating the master key gives every patient a new key for what is written from now on;\n\
         what stood before stays under the former one until that patient is rotated or re-encrypted.\n"
    );
}

pub(crate) fn print_scan(findings: &Findings) -> Outcome<()> {
    outln!(
        "Searched {} in {} of the closed storage, names of files included, for any 12 bytes in a row of\n\
         {} in {} inputs (unpacked files, paths, record names, patient identifiers, passphrase), and for\n\
         each of the {} names of 6 bytes or more as a whole.",
        bytes(findings.storage_bytes),
        files_in_words(findings.storage_files),
        bytes(findings.input_bytes),
        count(findings.inputs as u64),
        count(findings.names as u64),
    );
    outln!(
        "Not judged: {} places of fewer than 4 different bytes in 12 (zeros, counters) that inputs have too,\n\
         {} names under 6 bytes (they stand in any random bytes), {} strings that an empty vault's storage\n\
         holds as well (words of its plain READ-ME-FIRST).",
        count(findings.monotonous),
        count(findings.short_names as u64),
        count(findings.fixed),
    );
    outln!(
        "Control: of {} strings planted for this search, {} found.",
        count(findings.planted.0),
        count(findings.planted.1),
    );
    outln!("Found: {}\n", count(findings.found.len() as u64));
    for (path, string) in findings.found.iter().take(10) {
        outln!("  in {path}: {}", string.escape_ascii());
    }
    match findings.found.is_empty() && findings.planted.0 == findings.planted.1 {
        true => Ok(()),
        false => Err("the search found something, or would have missed it".into()),
    }
}

pub(crate) fn print_place(options: &Options, place: &Path) {
    match (&options.keep, &options.passphrase) {
        (None, _) => outln!("The vault was temporary and is gone; --keep DIRECTORY leaves it."),
        (Some(_), Some(_)) => outln!("The vault is in {}.", place.display()),
        (Some(_), None) => outln!(
            "The vault is in {}; its passphrase is \"{DEMONSTRATION}\".",
            place.display()
        ),
    }
}

fn files_in_words(number: u64) -> String {
    match number {
        1 => "1 file".to_owned(),
        number => format!("{} files", count(number)),
    }
}
