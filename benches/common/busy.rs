//! Processor time of this process and of a server.

use std::fs;
use std::time::Duration;

/// Fields of `/proc/PID/stat` with the processor time of a process and of its ended children, in ticks, counted
/// from the field after the name (proc(5)).
const TICK_FIELDS: std::ops::Range<usize> = 11..15;
/// Length of a tick on Linux.
const TICK: Duration = Duration::from_millis(10);

/// Runs `work`, and returns the processor time that this process and all processes named `server` used
/// meanwhile. The time has a resolution of 10 ms.
pub(crate) fn busy(server: &str, work: impl FnOnce()) -> Duration {
    let before = ticks(server);
    work();
    TICK * u32::try_from(ticks(server).saturating_sub(before)).unwrap()
}

fn ticks(server: &str) -> u64 {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ticks = processes.filter_map(|process| {
        // A process can end at any time.
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        let (start, fields) = stat.rsplit_once(") ")?;
        let (pid, name) = start.split_once(" (")?;
        let is_counted = pid == own || name == server;
        let fields: Vec<u64> = fields.split(' ').filter_map(|it| it.parse().ok()).collect();
        // The state is a letter, so the other fields begin one place earlier.
        let ticks = fields.get(TICK_FIELDS.start - 1..TICK_FIELDS.end - 1)?;
        is_counted.then(|| ticks.iter().sum::<u64>())
    });
    ticks.sum()
}
