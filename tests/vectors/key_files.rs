//! Vectors of key file texts that the library must accept or refuse.

use crate::cases::{Files, file, opens};
use crate::writer::World;

type Change = fn(String) -> String;

pub fn all() -> Files {
    let mut files = Files::new();
    let cases: [(&str, &str, Change); 10] = [
        (
            "key-file-cr-end",
            "a CR at the end, without an LF",
            |text| text.trim_end().to_owned() + "\r",
        ),
        (
            "key-file-cr-line",
            "an empty line behind that is only a CR",
            |text| text + "\r",
        ),
        ("key-file-crlf", "lines that end with CR LF", |text| {
            text.replace('\n', "\r\n")
        }),
        ("key-file-no-end", "a last line without an end", |text| {
            text.trim_end().to_owned()
        }),
        ("key-file-capitals", "digits in capitals", |text| {
            let (title, digits) = text.split_once('\n').unwrap();
            format!("{title}\n{}", digits.to_uppercase())
        }),
        ("key-file-space", "a space behind the digits", |text| {
            text.trim_end().to_owned() + " \n"
        }),
        ("key-file-line", "an empty line behind", |text| text + "\n"),
        ("key-file-mark", "a byte order mark", |text| {
            format!("\u{feff}{text}")
        }),
        ("key-file-title-space", "a space behind the title", |text| {
            text.replacen('\n', " \n", 1)
        }),
        ("key-file-edited", "all that an editor may change", |text| {
            format!("\u{feff}{}\r\n", text.replace('\n', " \t\r\n"))
        }),
    ];
    for (name, title, change) in cases {
        opens(&mut files, (name, title), b"{}", |world| {
            give(world, change);
            world.base();
            world.put_inline(b"{}");
        });
    }
    files
}

pub fn refused() -> Files {
    let mut files = Files::new();
    let cases: [(&str, &str, &str, Change); 15] = [
        (
            "key-file-cr-between",
            "a line that ends with CR alone",
            "BadKeyFile",
            |text| text.replacen('\n', "\r", 1),
        ),
        (
            "key-file-cr-space",
            "a space between CR and LF",
            "BadKeyFile",
            |text| text.replace('\n', "\r \n"),
        ),
        (
            "key-file-later-cr",
            "a later kind, and a CR at the end",
            "Unsupported",
            |_| "chartlock key file 2\r".into(),
        ),
        ("key-file-empty", "no text", "BadKeyFile", |_| String::new()),
        (
            "key-file-later",
            "a later kind of key file",
            "Unsupported",
            |text| text.replacen("file 1", "file 2", 1),
        ),
        (
            "key-file-later-digits",
            "kind 10, and nothing else",
            "Unsupported",
            |_| "chartlock key file 10".into(),
        ),
        (
            "key-file-cut",
            "the check is missing",
            "BadKeyFile",
            |text| text[..86].to_owned(),
        ),
        (
            "key-file-check",
            "a check that does not fit",
            "BadKeyFile",
            |text| {
                let wrong = if text.as_bytes()[86] == b'0' {
                    "1"
                } else {
                    "0"
                };
                format!("{}{wrong}{}", &text[..86], &text[87..])
            },
        ),
        (
            "key-file-lines",
            "two empty lines behind",
            "BadKeyFile",
            |text| text + "\n\n",
        ),
        (
            "key-file-long",
            "more spaces than a reader accepts",
            "BadKeyFile",
            |text| text + &" ".repeat(1024),
        ),
        (
            "key-file-later-space",
            "a later kind, and a space behind",
            "Unsupported",
            |text| text.replacen("file 1", "file 23 ", 1),
        ),
        ("key-file-no-number", "no number", "BadKeyFile", |text| {
            text.replacen("file 1", "file ", 1)
        }),
        ("key-file-zero", "a leading zero", "BadKeyFile", |text| {
            text.replacen("file 1", "file 02", 1)
        }),
        (
            "key-file-words",
            "a word behind the number",
            "BadKeyFile",
            |text| text.replacen("file 1", "file 1 copy", 1),
        ),
        (
            "key-file-before",
            "a line end before",
            "BadKeyFile",
            |text| format!("\n{text}"),
        ),
    ];
    for (name, title, expect, change) in cases {
        file(&mut files, (name, title), expect, |world| {
            give(world, change);
            world.base();
        });
    }
    files
}

fn give(world: &mut World, change: Change) {
    let text = change(world.key_file());
    world.about("credential key file", text.as_bytes());
}
