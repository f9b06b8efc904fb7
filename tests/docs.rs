//! Checks of the claims in README, SECURITY, the changelog and the crate's front page.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Returns the part of a text from `start` to the next code fence.
fn block<'a>(text: &'a str, start: &str) -> &'a str {
    let (_, after) = text.split_once(start).unwrap();
    after.split_once("```").unwrap().0
}

/// Returns the quickstart's lines without indentation, from opening the storage to rotating the
/// key.
fn core_of(text: &str) -> Vec<&str> {
    let lines = text
        .lines()
        .map(|line| line.trim_start_matches("//!").trim());
    let mut core: Vec<_> = lines
        .skip_while(|line| !line.starts_with("let storage ="))
        .collect();
    let last = core
        .iter()
        .position(|line| line.starts_with("vault.rotate_master_key()"));
    core.truncate(last.unwrap() + 1);
    core
}

#[test]
fn readme_and_front_page_show_the_same_quickstart() {
    let example = text("examples/quickstart.rs");
    let readme = text("README.md");
    let shown = block(&readme, "```rust\n");
    let import = example
        .lines()
        .find(|line| line.starts_with("use chartlock::"))
        .unwrap();
    assert!(shown.starts_with(import));
    let core = core_of(&example);
    assert_eq!(core_of(shown), core);
    assert_eq!(core_of(&text("src/lib.rs")), core);
    // The block must consist of one import, an empty line and these lines.
    assert_eq!(shown.trim_end().lines().count(), 2 + core.len());
}

/// Returns the path and name of each test that a text references as `path::name` in backquotes.
fn named_tests(text: &str) -> BTreeSet<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    let names = quoted.filter_map(|quoted| quoted.split_once("::"));
    names
        .filter(|(path, _)| path.starts_with("tests/"))
        .collect()
}

/// Returns `true` if a source file contains this test: a function with a test attribute, or a
/// function that an `everywhere!` list contains.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let Some(at) = lines.iter().position(|line| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.starts_with(&format!("fn {name}("))
    }) else {
        return false;
    };
    let marked = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#[") || line.starts_with("///"))
        .any(|line| matches!(*line, "#[test]" | "#[tokio::test]"));
    let listed = lines
        .iter()
        .skip_while(|line| !line.starts_with("everywhere!"))
        .take_while(|line| !line.starts_with(['}', ')']))
        .flat_map(|line| line.split(|letter: char| !letter.is_alphanumeric() && letter != '_'))
        .any(|word| word == name);
    marked || listed
}

#[test]
fn tests_referenced_by_security_page_exist() {
    let security = text("SECURITY.md");
    let named = named_tests(&security);
    assert!(named.len() >= 20);
    for (path, name) in named {
        let source = fs::read_to_string(root().join(path));
        assert!(
            source.is_ok_and(|source| has_test(&source, name)),
            "{path}::{name}"
        );
    }
}

#[test]
fn has_test_finds_only_existing_tests() {
    let own = text("tests/docs.rs");
    assert!(has_test(&own, "has_test_finds_only_existing_tests"));
    assert!(!has_test(&own, "named_tests"));
    assert!(!has_test(&own, "a_test_that_nobody_wrote"));
    let listed =
        "everywhere!(\n    one,\n);\nfn one(_: &Stage) {}\nfn two(_: &Stage) {\n    two();\n}";
    assert!(has_test(listed, "one"));
    assert!(!has_test(listed, "two"));
}

#[test]
fn every_promise_of_security_page_references_a_test() {
    let security = text("SECURITY.md");
    let (_, table) = security
        .split_once("| promise | shown by |\n|---|---|\n")
        .unwrap();
    let rows: Vec<_> = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() >= 9);
    for row in rows {
        assert!(!named_tests(row).is_empty(), "{row}");
    }
}

fn manifest(section: &str) -> String {
    let manifest = text("Cargo.toml");
    let (_, after) = manifest.split_once(&format!("[{section}]\n")).unwrap();
    after.split("\n[").next().unwrap().to_owned()
}

fn value(section: &str, key: &str) -> String {
    let section = manifest(section);
    let line = section
        .lines()
        .find(|line| line.starts_with(&format!("{key} =")));
    line.unwrap()
        .split_once('=')
        .unwrap()
        .1
        .trim()
        .trim_matches('"')
        .to_owned()
}

#[test]
fn readme_lists_features_and_versions_of_manifest() {
    let readme = text("README.md");
    let (_, table) = readme
        .split_once(
            "| feature | default | crates, processor time | what it adds |\n|---|---|---|---|\n",
        )
        .unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let listed: BTreeSet<(String, bool)> = rows
        .map(|row| {
            let mut cells = row.split('|').skip(1).map(str::trim);
            let name = cells.next().unwrap().trim_matches('`').to_owned();
            (name, cells.next() == Some("yes"))
        })
        .collect();
    let section = manifest("features");
    let declared = section.lines().filter(|line| !line.starts_with('#'));
    let declared = declared
        .filter_map(|line| line.split_once(" ="))
        .map(|(name, _)| name);
    let default = value("features", "default");
    let declared: BTreeSet<(String, bool)> = declared
        .filter(|name| *name != "default")
        .map(|name| (name.to_owned(), default.contains(&format!("\"{name}\""))))
        .collect();
    assert_eq!(listed, declared);
    assert!(readme.contains(&format!(
        "Minimum Rust version: {}",
        value("package", "rust-version")
    )));
    let version = value("package", "version");
    assert!(readme.contains(&format!("Version {version}, ")));
    let changelog = text(".github/CHANGELOG.md");
    let newest = changelog.lines().find(|line| line.starts_with("## "));
    assert!(newest.unwrap().starts_with(&format!("## {version} (")));
}

#[test]
fn every_guarantee_of_readme_references_existing_tests() {
    let readme = text("README.md");
    let (_, table) = readme
        .split_once("| guarantee | tests |\n|---|---|\n")
        .unwrap();
    let rows: Vec<_> = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() >= 10);
    for row in rows {
        let cell = row.split('|').nth(2).unwrap();
        let paths: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!paths.is_empty(), "{row}");
        for path in paths {
            assert!(path.starts_with("tests/"), "{row}");
            assert!(root().join(path).exists(), "{path}");
        }
    }
}

#[test]
fn readme_has_at_most_200_lines() {
    assert!(text("README.md").lines().count() <= 200);
}

#[test]
fn readme_links_to_packaged_files_only() {
    let package = manifest("package");
    let (_, list) = package.split_once("exclude = [").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    let excluded: Vec<_> = list.split('"').skip(1).step_by(2).collect();
    assert!(excluded.contains(&"benches/peers"));
    for link in links(&text("README.md")) {
        for path in &excluded {
            assert!(!Path::new(link).starts_with(path), "{link}");
        }
    }
}

#[test]
fn docs_rs_settings_include_every_documented_feature() {
    let built = value("package.metadata.docs.rs", "features");
    let built: BTreeSet<_> = built
        .split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    // Omit three features: `full` is the set of the others, `internals` is not documented, and
    // `fips` needs CMake and Go.
    let left_out = ["default", "full", "internals", "fips"];
    let documented: BTreeSet<_> = manifest("features")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" ="))
        .map(|(name, _)| name.to_owned())
        .filter(|name| !left_out.contains(&name.as_str()))
        .collect();
    assert_eq!(built, documented);
}

/// Returns the targets of a page's relative links.
fn links(page: &str) -> Vec<&str> {
    page.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|link| !link.contains("://"))
        .collect()
}

#[test]
fn relative_links_of_pages_reference_existing_files() {
    for page in [
        "README.md",
        "SECURITY.md",
        ".github/CHANGELOG.md",
        ".github/CONTRIBUTING.md",
        "examples/portal/README.md",
        "tests/data/PROVENANCE.md",
    ] {
        let content = text(page);
        let beside = Path::new(page).parent().unwrap();
        for link in links(&content) {
            assert!(root().join(beside).join(link).exists(), "{page}: {link}");
        }
    }
}

/// Returns the words that SECURITY.md excludes from the documentation.
fn unused_words() -> Vec<String> {
    let security = text("SECURITY.md");
    let (_, table) = security
        .split_once("| word | why not |\n|---|---|\n")
        .unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let words = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('"').skip(1).step_by(2));
    words.map(str::to_lowercase).collect()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .collect()
}

#[test]
fn documentation_contains_no_excluded_words() {
    let words = unused_words();
    assert!(words.iter().any(|word| word == "tamper-proof"));
    let mut pages = vec![root().join("README.md"), root().join("Cargo.toml")];
    pages.extend(sources(&root().join(".github")));
    pages.extend(sources(&root().join("src")));
    pages.extend(sources(&root().join("examples")));
    for page in pages {
        let content = fs::read_to_string(&page).unwrap().to_lowercase();
        for word in &words {
            assert!(!content.contains(word), "{}: {word}", page.display());
        }
    }
}
