//! Measurements of a stream of 256 MiB, in memory.

#[cfg(feature = "envelope")]
mod age;
mod bare;
#[cfg(feature = "esdk")]
mod esdk;
#[cfg(feature = "envelope")]
mod orion;
mod ours;
mod stream;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::measure::{Row, Series, Table, interleave, pairs};
use crate::second::{Second, Work};
use crate::{Part, Run};
use stream::{Stream, opening, sealing};

pub(crate) use ours::ours;

pub(crate) const STREAMS: Part = Part {
    name: "streams",
    is_long: false,
    run: tables,
};

/// The size of the content, in bytes.
const LENGTH: usize = 256 << 20;
const ROUNDS: usize = 9;

/// The direction of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Direction {
    Seal,
    Open,
}

/// Returns test content that repeats after 2 KiB.
pub(crate) fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|place| (place >> 3) as u8).collect()
}

/// Returns all rivals that this build includes.
fn rivals() -> Result<Vec<Box<dyn Stream>>> {
    Ok(vec![
        #[cfg(feature = "envelope")]
        Box::new(age::Age::new()),
        #[cfg(feature = "esdk")]
        Box::new(esdk::InOnePiece::new()?),
        #[cfg(feature = "envelope")]
        Box::new(orion::Orion::new()?),
        Box::new(bare::AesGcm),
        #[cfg(feature = "envelope")]
        Box::new(bare::AwsLc),
    ])
}

fn tables(run: &Run<'_>) -> Result<Vec<Table>> {
    let length = if run.quick { LENGTH / 4 } else { LENGTH };
    let content = content(length);
    let rivals = rivals()?;
    let (sealed, ours) = series(run, &content, &rivals, Direction::Seal)?;
    let (opened, _) = series(run, &content, &rivals, Direction::Open)?;
    let both: Vec<_> = sealed.iter().zip(&opened).map(|(s, o)| s.plus(o)).collect();
    let mut rows = Vec::new();
    for (verb, series) in [("seal + open", &both), ("seal", &sealed), ("open", &opened)] {
        let work = format!("{verb} {} MiB", length >> 20);
        let both = verb == "seal + open";
        // Show sealing and opening separately only for chartlock's defaults, because the target
        // applies to their sum.
        let shown = |ours: &Series| both || ours.name == ours::NAME;
        let pairs = pairs(series, ours).filter(|(ours, _)| shown(ours));
        rows.extend(pairs.map(|(ours, rival)| {
            let target = target(&ours.name, &rival.name).filter(|_| both);
            Row::timed(&work, ours, rival, target)
        }));
    }
    Ok(vec![Table {
        name: "streams".to_owned(),
        title: "Streams".to_owned(),
        intro: INTRO.to_owned(),
        crates: CRATES.map(str::to_owned).to_vec(),
        rows,
    }])
}

/// Measures all contenders, chartlock's first. Returns their series and the number of chartlock's
/// contenders, which differ in threads and provider.
fn series(
    run: &Run<'_>,
    content: &[u8],
    rivals: &[Box<dyn Stream>],
    direction: Direction,
) -> Result<(Vec<Series>, usize)> {
    let second = Work::Stream {
        bytes: content.len(),
        threads: None,
        direction,
    };
    let mut contenders = vec![
        ours(content, None, direction)?,
        ours(content, Some(1), direction)?,
    ];
    contenders.extend(run.second_at(&second)?);
    let ours = contenders.len();
    for rival in rivals {
        contenders.push(match direction {
            Direction::Seal => sealing(&**rival, content),
            Direction::Open => opening(&**rival, content)?,
        });
    }
    Ok((interleave(&mut contenders, run.rounds(ROUNDS))?, ours))
}

fn target(ours: &str, rival: &str) -> Option<f64> {
    match (ours, rival) {
        (ours::NAME, "age") => Some(3.0),
        (Second::NAME, ours::NAME) => Some(2.0),
        _ => None,
    }
}

const CRATES: [&str; 6] = [
    "chartlock",
    "age",
    "aws-esdk",
    "orion",
    "aes-gcm",
    "aws-lc-rs",
];

const INTRO: &str = "\
A stream from memory to memory and back. The program checks that every side opens what it sealed.

- **chartlock**: `put_reader` and `reader` of a vault in `MemoryStorage`, the journal included, with the \
default number of threads. **chartlock, one thread** is the same with `VaultOptions::threads(1)`; **chartlock, \
aws-lc-rs** has the second provider, in a process of its own, with the default threads.
- **age**: its streaming writer and reader, ChaCha20-Poly1305 in chunks of 64 KiB, one thread.
- **aws-esdk, no signing**: has no streams here; the whole message in one call.
- **orion**: its streaming AEAD, XChaCha20-Poly1305, in chunks of 64 KiB, one thread.
- **bare aes-gcm**, **bare aws-lc-rs**: the cipher alone, over chunks of 64 KiB, one thread.";
