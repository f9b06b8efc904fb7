//! Measurements of sealing and opening records, without storage.

#[cfg(feature = "envelope")]
mod age;
mod bare;
#[cfg(feature = "esdk")]
mod esdk;
mod kibibyte;
#[cfg(feature = "envelope")]
mod orion;
mod ours;
mod replay;
mod sizes;
#[cfg(feature = "envelope")]
mod tink;

use std::borrow::Cow;
use std::hint::black_box;

use anyhow::{Result, bail, ensure};

use crate::measure::{Contender, Row, interleave, pairs};
use crate::second::Work;
use crate::{Part, Run};

#[cfg(feature = "esdk")]
pub(crate) use esdk::{Esdk, Signing};
pub(crate) use ours::Ours;

pub(crate) const ENVELOPE: Part = Part {
    name: "envelope",
    is_long: false,
    run: kibibyte::tables,
};
pub(crate) const CLINIC: Part = Part {
    name: "clinic",
    is_long: false,
    run: replay::tables,
};
pub(crate) const SIZES: Part = Part {
    name: "sizes",
    is_long: false,
    run: sizes::tables,
};

/// The crates whose versions the tables list.
const CRATES: [&str; 7] = [
    "chartlock",
    "tink-aead",
    "aws-esdk",
    "age",
    "orion",
    "aes-gcm",
    "aws-lc-rs",
];

/// The patient and the record name, which rivals that support associated data bind to the content.
#[cfg(feature = "envelope")]
const CONTEXT: &str = "MRN-1042/Observation/bp-2026-11-21";

/// Output of [`Envelope::seal`].
pub(crate) enum Sealed {
    /// A single sealed message.
    Whole(Vec<u8>),
    /// A large record of chartlock: the record value and the segments of its content.
    Parts {
        record: Vec<u8>,
        segments: Vec<Vec<u8>>,
    },
}

impl Sealed {
    pub(crate) fn whole(self) -> Result<Vec<u8>> {
        match self {
            Self::Whole(sealed) => Ok(sealed),
            Self::Parts { .. } => bail!("only chartlock seals in parts"),
        }
    }
}

/// An implementation that seals content into self-contained bytes and opens these bytes again.
pub(crate) trait Envelope {
    fn name(&self) -> String;

    fn seal(&self, content: &[u8]) -> Result<Sealed>;

    /// Opens sealed bytes and passes the content to `then`. The callback lets each implementation
    /// use its own buffer type.
    fn open(&self, sealed: Sealed, then: &mut dyn FnMut(&[u8])) -> Result<()>;

    /// Checks that content is unchanged after sealing and opening.
    fn check(&self, content: &[u8]) -> Result<()> {
        let mut is_same = false;
        self.open(self.seal(content)?, &mut |opened| {
            is_same = opened == content;
        })?;
        ensure!(is_same, "{} returned other content", self.name());
        Ok(())
    }

    fn seal_and_open(&self, content: &[u8]) -> Result<()> {
        let sealed = self.seal(black_box(content))?;
        self.open(black_box(sealed), &mut |opened| {
            black_box(opened);
        })
    }
}

/// Returns all rivals that this build includes.
fn rivals() -> Result<Vec<Box<dyn Envelope>>> {
    Ok(vec![
        #[cfg(feature = "envelope")]
        Box::new(tink::Tink::new()?),
        #[cfg(feature = "esdk")]
        Box::new(esdk::Esdk::new(esdk::Signing::No)?),
        #[cfg(feature = "esdk")]
        Box::new(esdk::Esdk::new(esdk::Signing::Yes)?),
        #[cfg(feature = "envelope")]
        Box::new(age::Age::new()),
        #[cfg(feature = "envelope")]
        Box::new(orion::Orion::new()?),
        Box::new(bare::AesGcm),
        #[cfg(feature = "envelope")]
        Box::new(bare::AwsLc),
    ])
}

/// Compares chartlock with each rival, and chartlock's second provider with its first.
fn compare(
    run: &Run<'_>,
    says: &str,
    work: &Work,
    rivals: &[Box<dyn Envelope>],
    rounds: usize,
    target: impl Fn(&str, &str) -> Option<f64>,
) -> Result<Vec<Row>> {
    let contents = work.contents(run.clinic);
    let ours = Ours::new()?;
    let mut contenders = vec![contender(&ours, &contents)?];
    contenders.extend(run.second_at(work)?);
    let ours = contenders.len();
    for rival in rivals {
        contenders.push(contender(&**rival, &contents)?);
    }
    let series = interleave(&mut contenders, run.rounds(rounds))?;
    Ok(pairs(&series, ours)
        .map(|(ours, rival)| Row::timed(says, ours, rival, target(&ours.name, &rival.name)))
        .collect())
}

/// Returns a contender that seals and opens all given contents repeatedly. The contender's time is
/// the average for one content.
pub(crate) fn contender<'a>(
    envelope: &'a dyn Envelope,
    contents: &'a [Cow<'a, [u8]>],
) -> Result<Contender<'a>> {
    for content in contents {
        envelope.check(content)?;
    }
    let mut all = Contender::calls(envelope.name(), move || {
        let mut contents = contents.iter();
        contents.try_for_each(|content| envelope.seal_and_open(content))
    });
    let contents = u32::try_from(contents.len())?.max(1);
    let name = envelope.name();
    Ok(Contender::new(name, move || Ok((all.run)()? / contents)))
}
