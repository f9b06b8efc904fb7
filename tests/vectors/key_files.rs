//! Vectors of key file texts that the library must accept or refuse.

use crate::cases::{Files, file, opens};
use crate::writer::World;

type Change = fn(String) -> String;

pub fn all() -> Files {
    let mut files = Files::new();
    let cases: [(&str, &str, Change); 3] = [
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
    let cases: [(&str, &str, &str, Change); 8] = [
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
            "key-file-space",
            "a space behind the digits",
            "BadKeyFile",
            |text| text.trim_end().to_owned() + " \n",
        ),
        (
            "key-file-line",
            "an empty line behind",
            "BadKeyFile",
            |text| text + "\n",
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
