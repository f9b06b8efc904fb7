//! Agreement of the library with the tables in format.md.

use chartlock::internals::envelope::{content_type_code, padded, padme};

const FORMAT: &str = include_str!("../../src/format/format.md");

/// Returns the cells of the table rows under a heading, without thousands separators.
fn rows<'a>(heading: &str) -> impl Iterator<Item = Vec<String>> + use<'a> {
    let (_, section) = FORMAT.split_once(&format!("\n{heading}\n")).unwrap();
    let section = section.split("\n#").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    rows.map(|line| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace(',', "")).collect()
    })
}

#[test]
fn content_type_table_matches_library() {
    let mut codes = 0;
    for row in rows("## Meta") {
        for pair in row.chunks(2) {
            let Ok(code) = pair[0].parse::<u8>() else {
                continue;
            };
            assert_eq!(content_type_code(pair[1].trim_matches('`')), code);
            codes += 1;
        }
    }
    assert_eq!(codes, 20);
}

#[test]
fn padding_examples_match_library() {
    let mut examples = 0;
    for row in rows("### Padding") {
        let Ok(length) = row[0].parse::<u64>() else {
            continue;
        };
        assert_eq!(padme(length).to_string(), row[4], "Padmé({length})");
        assert_eq!(
            padded(length as usize).to_string(),
            row[5],
            "body of {length}"
        );
        examples += 1;
    }
    assert_eq!(examples, 9);
}
