//! Measuring tools: contenders that run alternately, ratios of paired times, tables and plots.

mod contender;
mod machine;
mod plot;
mod quantity;
mod ratio;
mod results;
mod table;
mod time;

pub(crate) use contender::{Contender, Series, interleave, pairs};
pub(crate) use machine::load;
pub(crate) use plot::size;
pub(crate) use quantity::Quantity;
pub(crate) use ratio::Ratio;
pub(crate) use results::Results;
pub(crate) use table::{Row, Side, Table, Target};
pub(crate) use time::{Stopwatch, Time};
