//! Sealing and opening records, without any storage.

mod bare;
mod kibibyte;
mod ours;
mod replay;
mod sizes;

use std::hint::black_box;

use anyhow::{Result, bail, ensure};

use crate::Part;
use crate::measure::{Contender, Row, interleave};

pub(crate) const ENVELOPE: Part = Part {
    name: "envelope",
    run: kibibyte::tables,
};
pub(crate) const CLINIC: Part = Part {
    name: "clinic",
    run: replay::tables,
};
pub(crate) const SIZES: Part = Part {
    name: "sizes",
    run: sizes::tables,
};

/// The crates that are compared.
const CRATES: [&str; 2] = ["chartlock", "aes-gcm"];

/// What each side does.
const INTRO: &str = "\
Sealed with the operating system's randomness, then opened, each side as its documentation tells to use it.

- **chartlock**: draws a data key, derives a body key and a commitment from it, wraps it under a patient's key with the \
record's place, chart, version and name bound to it, seals content, name, time and type, padded to 64 bytes; opening checks \
all of that and wipes what it opened. Not in it: what the store does, the journal's entry and its digest.
- **bare aes-gcm**: the cipher alone, under a fresh key that nothing wraps. No context, no commitment: the floor.
";

/// What was sealed.
pub(crate) enum Sealed {
    /// In one piece.
    Whole(Vec<u8>),
    /// A large record and the segments of its content.
    Parts {
        record: Vec<u8>,
        segments: Vec<Vec<u8>>,
    },
}

impl Sealed {
    fn whole(self) -> Result<Vec<u8>> {
        match self {
            Self::Whole(sealed) => Ok(sealed),
            Self::Parts { .. } => bail!("only chartlock seals in parts"),
        }
    }
}

/// Turns content into sealed bytes that stand alone, and back.
pub(crate) trait Envelope {
    fn name(&self) -> String;

    fn seal(&self, content: &[u8]) -> Result<Sealed>;

    /// Hands what was sealed to `then`, in whatever memory it is.
    fn open(&self, sealed: Sealed, then: &mut dyn FnMut(&[u8])) -> Result<()>;

    /// Whether what was sealed opens to the same.
    fn check(&self, content: &[u8]) -> Result<()> {
        let mut is_same = false;
        self.open(self.seal(content)?, &mut |opened| {
            is_same = opened == content
        })?;
        ensure!(
            is_same,
            "{} opened something else than was sealed",
            self.name()
        );
        Ok(())
    }

    fn seal_and_open(&self, content: &[u8]) -> Result<()> {
        let sealed = self.seal(black_box(content))?;
        self.open(black_box(sealed), &mut |opened| {
            black_box(opened);
        })
    }
}

/// Everybody who is here, ours first.
fn all() -> Result<Vec<Box<dyn Envelope>>> {
    Ok(vec![Box::new(ours::Ours::new()?), Box::new(bare::AesGcm)])
}

/// How all of them do at these contents, in the rows of each of ours against each of the others.
fn compare(
    work: &str,
    envelopes: &[Box<dyn Envelope>],
    contents: &[&[u8]],
    rounds: usize,
    target: impl Fn(&str, &str) -> Option<f64>,
) -> Result<Vec<Row>> {
    let mut contenders = Vec::new();
    for envelope in envelopes {
        contenders.push(contender(&**envelope, contents)?);
    }
    let series = interleave(&mut contenders, rounds)?;
    let (ours, rivals): (Vec<_>, Vec<_>) = series.iter().partition(|series| is_ours(&series.name));
    let mut rows = Vec::new();
    for (ours, rival) in ours
        .iter()
        .flat_map(|ours| rivals.iter().map(move |rival| (ours, rival)))
    {
        let target = target(&ours.name, &rival.name);
        rows.push(Row::timed(work, ours, rival, target));
    }
    Ok(rows)
}

fn is_ours(name: &str) -> bool {
    name.starts_with("chartlock")
}

/// Seals and opens all of these contents in a call, and then as often as a round takes; the time is that of
/// one of them on average.
fn contender<'a>(envelope: &'a dyn Envelope, contents: &'a [&[u8]]) -> Result<Contender<'a>> {
    for content in contents {
        envelope.check(content)?;
    }
    let mut all = Contender::calls(envelope.name(), move || {
        contents
            .iter()
            .try_for_each(|content| envelope.seal_and_open(content))
    });
    let contents = u32::try_from(contents.len())?.max(1);
    Ok(Contender::new(envelope.name(), move || {
        Ok((all.run)()? / contents)
    }))
}
