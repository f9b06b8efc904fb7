//! Reports as HTML pages: well-formed, escaped, without scripts and external resources.

use std::fs;

use serde_json::Value;

use crate::reports::{HOSTILE, HOSTILE_RECIPIENT, used};
use crate::tool::python;

/// Parses a page, checks that its elements are closed in order, and prints elements, attributes and text.
const PARSER: &str = r#"
import html.parser, json, sys
class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.tags, self.names, self.text = [], set(), set(), []
    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.names.update(name for name, _ in attributes)
        if tag != "meta":
            self.open.append(tag)
    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"{tag} at {self.getpos()}"
    def handle_data(self, data):
        self.text.append(data)
page = Page()
page.feed(open(sys.argv[1], encoding="utf-8").read())
page.close()
assert page.open == [], page.open
print(json.dumps({"tags": sorted(page.tags), "names": sorted(page.names), "text": "".join(page.text)}))
"#;

#[test]
fn pages_are_well_formed_and_need_nothing_else() {
    let tool = used();
    let slots = tool.json(&["slots", "list", "vault", "--key-file", "key"]);
    let id = slots["slots"][0]["id"].to_string();
    for (name, question) in [
        ("access", &["MRN-1042"][..]),
        ("disclosures", &["MRN-1042"]),
        ("exposure", &["--slot", &id]),
        ("activity", &["dr.garcia"]),
    ] {
        let file = format!("{name}.html");
        let report = [
            "report",
            name,
            "vault",
            "--key-file",
            "key",
            "--html",
            "--output",
            &file,
        ];
        tool.ok(&[&report[..], question].concat());
        let page = fs::read_to_string(tool.path(&file)).unwrap();
        for part in [
            "url(", "@import", "http://", "https://", "<script", "<img", "<link",
        ] {
            assert!(!page.contains(part), "{name} contains {part}");
        }
        for part in [
            "prefers-color-scheme: dark",
            "@media print",
            "Timeline",
            "default-src 'none'",
        ] {
            assert!(page.contains(part), "{name} lacks {part}");
        }
        let Some(parsed) = python(PARSER, &[tool.path(&file).to_str().unwrap()]) else {
            return;
        };
        let parsed: Value = serde_json::from_str(&parsed).unwrap();
        let names = parsed["names"].as_array().unwrap();
        assert!(!names.contains(&"src".into()) && !names.contains(&"href".into()));
        assert!(
            names
                .iter()
                .all(|name| !name.as_str().unwrap().starts_with("on")),
            "{names:?}"
        );
    }
}

#[test]
fn hostile_text_stays_text() {
    let tool = used();
    let report = [
        "report",
        "disclosures",
        "vault",
        "--key-file",
        "key",
        "--html",
        "MRN-1042",
    ];
    let page = tool.ok(&report);
    assert!(
        page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
        "{page}"
    );
    fs::write(tool.path("page.html"), &page).unwrap();
    let Some(parsed) = python(PARSER, &[tool.path("page.html").to_str().unwrap()]) else {
        return;
    };
    let parsed: Value = serde_json::from_str(&parsed).unwrap();
    let text = parsed["text"].as_str().unwrap();
    let shown = |hostile: &str| {
        hostile
            .replace('\u{202e}', "\\u{202e}")
            .replace('\u{1b}', "\\u{1b}")
    };
    assert!(text.contains(&shown(HOSTILE_RECIPIENT)), "{text}");
    assert!(text.contains(&shown(HOSTILE)), "{text}");
    let tags = parsed["tags"].as_array().unwrap();
    assert!(
        !tags.contains(&"script".into()) && !tags.contains(&"img".into()),
        "{tags:?}"
    );
}
