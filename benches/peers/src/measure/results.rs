//! Result files: one file for each table, and one page with all tables.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::machine::Circumstances;
use super::{Table, plot};
use crate::Run;

/// The order of the tables on the page; tables that are not listed come last.
const ORDER: [&str; 10] = [
    "envelope",
    "clinic",
    "sizes",
    "streams",
    "store",
    "store-slow-sync",
    "rotation",
    "disk",
    "upkeep",
    "growth",
];

const HEAD: &str = "\
# Measured

chartlock and its rivals on the same data, in one process, in turns. Each round runs every contender once and begins with a
different one. A ratio is the rival's time divided by ours in the same round; the table gives the median over
all rounds and the middle half. Above 1, chartlock is faster. Sizes and growth are limits: ours divided by the base.

This page, its tables and plots are generated, from the top of the repository, by

```sh
cargo run --release --manifest-path benches/peers/Cargo.toml
```

`-- --full` also measures growth and profiles the store, `-- --only envelope,streams` repeats only the named tables,
`-- --quick` does less of everything, and `-- DIRECTORY` uses the records in a directory of your own. Each table says when and where it was measured.

";

/// A table and its measuring conditions, stored so that later runs can include the table in the
/// page.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    circumstances: Circumstances,
    pub(super) table: Table,
}

/// The result files in one directory: tables as JSON and Markdown, plots, and the page.
pub(crate) struct Results {
    directory: PathBuf,
}

impl Results {
    pub(crate) fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Writes the files of a table and overwrites earlier files of the same table.
    pub(crate) fn keep(&self, table: Table, run: &Run<'_>) -> Result<()> {
        let circumstances = Circumstances::now(run, &table.crates)?;
        let kept = Kept {
            circumstances,
            table,
        };
        let name = &kept.table.name;
        let json = serde_json::to_string_pretty(&kept)? + "\n";
        self.write(&format!("{name}.json"), &json)?;
        self.write(&format!("{name}.md"), &kept.markdown())
    }

    /// Writes the page and the plots from all stored tables.
    pub(crate) fn assemble(&self) -> Result<()> {
        let kept = self.kept()?;
        let tables: Vec<_> = kept.iter().map(|kept| &kept.table).collect();
        let mut page = HEAD.to_owned();
        for (name, alternative, plot) in plot::all(&tables)? {
            self.write(name, &plot)?;
            page.push_str(&format!("![{alternative}]({name})\n\n"));
        }
        let texts: Vec<_> = kept.iter().map(Kept::markdown).collect();
        page.push_str(&texts.join("\n"));
        self.write("README.md", &page)
    }

    fn kept(&self) -> Result<Vec<Kept>> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let text = fs::read_to_string(&path)?;
                let of = || format!("{} is a table of this program", path.display());
                kept.push(serde_json::from_str::<Kept>(&text).with_context(of)?);
            }
        }
        let place = |name: &str| ORDER.iter().position(|other| *other == name);
        kept.sort_by_key(|kept| {
            let name = &kept.table.name;
            (place(name).unwrap_or(ORDER.len()), name.clone())
        });
        Ok(kept)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::create_dir_all(&self.directory)?;
        let path = self.directory.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }
}

impl Kept {
    fn markdown(&self) -> String {
        format!("{}\n{}\n", self.table.markdown(), self.circumstances)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clinic::Clinic;
    use crate::options::Options;

    fn table(name: &str, title: &str) -> Table {
        Table {
            name: name.to_owned(),
            title: title.to_owned(),
            intro: "An intro.".to_owned(),
            crates: vec!["chartlock".to_owned()],
            rows: Vec::new(),
        }
    }

    #[test]
    fn partial_run_replaces_only_its_tables() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let results = Results::new(scratch.path().join("results"));
        let clinic = Clinic::read(None)?;
        let options = Options::default();
        let run = Run::new(&clinic, &options, scratch.path());
        for (name, title) in [
            ("streams", "Streams"),
            ("envelope", "Old"),
            ("envelope", "New"),
        ] {
            results.keep(table(name, title), &run)?;
        }
        results.assemble()?;
        let page = fs::read_to_string(scratch.path().join("results/README.md"))?;
        let titles: Vec<_> = page
            .lines()
            .filter(|line| line.starts_with("## "))
            .collect();
        assert_eq!(titles, ["## New", "## Streams"]);
        Ok(())
    }
}
