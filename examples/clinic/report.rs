//! Output of the example.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chartlock::{SubjectKind, report::KeyUsage};

use crate::Outcome;
use crate::documents::Documents;
use crate::options::{DEMONSTRATION, Options};
use crate::scan::Findings;
use crate::table::{Table, bytes, count, overhead};
use crate::work::Result;

pub(crate) fn print_source(source: Option<&Path>, documents: &Documents) {
    let of_kind = |kind| {
        let subjects = documents.records.iter().map(|record| record.id.subject());
        let subjects: BTreeSet<_> = subjects.filter(|subject| subject.kind() == kind).collect();
        count(subjects.len() as u64)
    };
    match source {
        Some(source) => outln!("Documents of {}", source.display()),
        None => outln!("The sample in tests/data; pass a directory to use your own documents."),
    }
    outln!(
        "{} records of {} patients, and of {} folders for documents that name no patient\n",
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
            "Not stored: {} between the resources of FHIR lines and transaction bundles (line ends,\n\
             method and URL of each entry).",
            bytes(left_out)
        );
    }
    let skipped = documents.skipped.iter();
    let skipped: Vec<_> = skipped
        .map(|(what, number)| format!("{} ({what})", files_in_words(*number)))
        .collect();
    if !skipped.is_empty() {
        outln!("Skipped: {}.", skipped.join(", "));
    }
    outln!();
}

pub(crate) fn print(documents: &Documents, result: &Result) {
    print_sizes(documents, result);
    print_key_usage(&result.before, &result.after);
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
        "Until the storage is closed, the files contain recent writes twice: in the write-ahead log and in the database.\n"
    );
}

fn print_key_usage(before: &KeyUsage, after: &KeyUsage) {
    let mut table = Table::new(&["key usage", "before rotation", "after rotation"]);
    let mut row = |what: &str, number: &dyn Fn(&KeyUsage) -> u64| {
        let numbers = [number(before), number(after)].map(count);
        table.row([what.to_owned()].into_iter().chain(numbers));
    };
    row("master keys", &|usage| usage.masters.len() as u64);
    row("patient entries under the active master key", &|usage| {
        let active = usage.masters.iter().filter(|master| master.active);
        active.map(|master| master.objects).sum()
    });
    row("subjects", &|usage| usage.subjects);
    row("patient keys", &|usage| usage.patient_keys);
    row("records", &|usage| usage.records);
    row("earlier versions", &|usage| usage.earlier_versions);
    row("versions under former patient keys", &|usage| {
        usage.under_former_keys
    });
    row("unreadable versions", &|usage| usage.unreadable_versions);
    table.print();
    outln!(
        "Rotating the master key gives every patient a new key for new versions. Versions stored before stay\n\
         under the former key until that patient's key is rotated or the records are re-encrypted.\n"
    );
}

pub(crate) fn print_scan(findings: &Findings) -> Outcome<()> {
    outln!(
        "Searched {} in {} of the closed storage, including file names, for any 12 consecutive bytes of\n\
         {} in {} inputs (unpacked files, paths, record names, patient identifiers, passphrase), and for\n\
         {} whole names of at least 6 bytes.",
        bytes(findings.storage_bytes),
        files_in_words(findings.storage_files),
        bytes(findings.input_bytes),
        count(findings.inputs as u64),
        count(findings.names as u64),
    );
    outln!(
        "Not counted: {} matches with fewer than 4 different bytes in 12 (zeros, counters), {} names under\n\
         6 bytes (random bytes contain them by chance), {} strings that the storage of an empty vault\n\
         contains too (words of its plaintext READ-ME-FIRST).",
        count(findings.monotonous),
        count(findings.short_names as u64),
        count(findings.fixed),
    );
    outln!(
        "Control: of {} planted strings, the search found {}.",
        count(findings.planted.0),
        count(findings.planted.1),
    );
    outln!("Found: {}\n", count(findings.found.len() as u64));
    for (path, string) in findings.found.iter().take(10) {
        outln!("  in {path}: {}", string.escape_ascii());
    }
    match findings.found.is_empty() && findings.planted.0 == findings.planted.1 {
        true => Ok(()),
        false => {
            Err("the storage contains plaintext, or the search missed a planted string".into())
        }
    }
}

pub(crate) fn print_place(options: &Options, place: &Path) {
    match (&options.keep, &options.passphrase) {
        (None, _) => outln!("The vault was temporary and is deleted; --keep DIRECTORY keeps it."),
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
