//! System calls of a child process, as `strace` records them.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// The system calls to record: those that can change a file, and those that create or close
/// descriptors, threads and processes. The list includes calls that the recorder does not support,
/// so that the recorder can panic on them.
const CALLS: &str = "?open,openat,?openat2,?creat,write,pwrite64,writev,pwritev,?pwritev2,ftruncate,\
?truncate,fallocate,?rename,renameat,?renameat2,?unlink,unlinkat,?mkdir,mkdirat,?rmdir,?link,linkat,\
?symlink,symlinkat,fsync,fdatasync,sync_file_range,copy_file_range,sendfile,splice,close,lseek,dup,\
?dup2,dup3,fcntl,ioctl,mmap,msync,?io_uring_setup,io_setup,syncfs,?sync,\
clone,?clone3,?fork,?vfork";

/// A system call that has returned.
#[derive(Debug)]
pub(crate) struct Call {
    /// The process that made the call, by the id of its first thread.
    pub(crate) process: u64,
    pub(crate) thread: u64,
    pub(crate) name: String,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) returned: i64,
    /// `true` if `strace` injected a fault into the call.
    pub(crate) injected: bool,
    /// The sequence numbers of the call's start and end, among the starts and ends of all calls.
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

#[derive(Debug)]
pub(crate) enum Argument {
    Number(i64),
    Bytes(Arc<[u8]>),
    /// The flags, structures and other arguments.
    Words(String),
}

impl Call {
    pub(crate) fn number(&self, index: usize) -> i64 {
        match &self.arguments[index] {
            Argument::Number(number) => *number,
            other => panic!("{} has no number {index}: {other:?}", self.name),
        }
    }

    pub(crate) fn bytes(&self, index: usize) -> &Arc<[u8]> {
        match &self.arguments[index] {
            Argument::Bytes(bytes) => bytes,
            other => panic!("{} has no bytes {index}: {other:?}", self.name),
        }
    }

    pub(crate) fn path(&self, index: usize) -> &str {
        std::str::from_utf8(self.bytes(index)).unwrap()
    }

    pub(crate) fn words(&self, index: usize) -> &str {
        match self.arguments.get(index) {
            Some(Argument::Words(words)) => words,
            _ => "",
        }
    }
}

/// Returns `true` if `strace` works on this machine. Otherwise prints a note on standard error.
pub(crate) fn can_record() -> bool {
    let mut probe = strace(Path::new("/dev/null"), None);
    probe
        .arg("true")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let able = probe.status().is_ok_and(|status| status.success());
    if !able {
        eprintln!("skipped: strace cannot record a process here");
    }
    able
}

/// Returns an `strace` command that records calls in `log`; the caller appends the command to run.
/// `fault` has the syntax of the `inject` option.
pub(crate) fn strace(log: &Path, fault: Option<&str>) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-xx", "-s", "100000000", "-e", "signal=none"]);
    command.args(["-e", &format!("trace={CALLS}")]);
    if let Some(fault) = fault {
        command.args(["-e", &format!("inject={fault}")]);
    }
    command.arg("-o").arg(log);
    command
}

/// Parses a log into calls, in the order in which they took effect.
pub(crate) fn read(log: &str) -> Vec<Call> {
    let mut begun = HashMap::<&str, (String, u64)>::new();
    let mut calls = Vec::new();
    for (count, line) in (0..).zip(log.lines()) {
        let (process, words) = line.split_once(' ').unwrap();
        let words = words.trim_start();
        if words.starts_with("+++") || words.starts_with("---") {
            continue;
        }
        if let Some(beginning) = words.strip_suffix(" <unfinished ...>") {
            begun.insert(process, (beginning.to_owned(), count));
            continue;
        }
        if !words.starts_with("<... ") {
            calls.extend(call(process, words, count, count));
            continue;
        }
        let (_, rest) = words.split_once(" resumed>").unwrap();
        let (beginning, began) = begun.remove(process).unwrap();
        calls.extend(call(process, &(beginning + rest), began, count));
    }
    join_threads(calls)
}

/// Replaces the id of each thread by the id of its process. Drops the calls that start threads and
/// processes, and sorts the others by the time of their effect.
fn join_threads(calls: Vec<Call>) -> Vec<Call> {
    let is_start = |call: &Call| matches!(&*call.name, "clone" | "clone3" | "fork" | "vfork");
    let (starts, mut others): (Vec<_>, Vec<_>) = calls.into_iter().partition(is_start);
    let is_thread = |call: &&Call| {
        let mut words = (0..call.arguments.len()).map(|index| call.words(index));
        words.any(|words| words.contains("CLONE_THREAD"))
    };
    let threads = starts.iter().filter(is_thread);
    let parents: HashMap<u64, u64> = threads
        .map(|call| (call.returned as u64, call.process))
        .collect();
    for call in &mut others {
        while let Some(parent) = parents.get(&call.process) {
            call.process = *parent;
        }
    }
    // The kernel frees a descriptor before `close` returns. Another thread can therefore open a
    // file with the same descriptor before that return.
    others.sort_by_key(|call| match &*call.name {
        "close" => call.began,
        _ => call.ended,
    });
    others
}

/// Parses one call; returns `None` for a call that never returned.
fn call(process: &str, words: &str, began: u64, ended: u64) -> Option<Call> {
    let (asked, returned) = words.rsplit_once(" = ").unwrap();
    let (name, arguments) = asked.split_once('(').unwrap();
    let arguments = arguments.trim_end().strip_suffix(')').unwrap();
    let returned = returned.split(' ').next().unwrap();
    let injected = words.ends_with("(INJECTED)");
    if returned == "?" {
        return None;
    }
    let process = process.parse().unwrap();
    Some(Call {
        process,
        thread: process,
        name: name.to_owned(),
        arguments: split(arguments).into_iter().map(argument).collect(),
        returned: number(returned).unwrap(),
        injected,
        began,
        ended,
    })
}

/// Splits arguments at commas, except inside structures.
fn split(arguments: &str) -> Vec<&str> {
    let (mut pieces, mut start, mut at, mut depth) = (Vec::new(), 0, 0, 0_i32);
    while let Some(letter) = arguments.as_bytes().get(at) {
        match letter {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => {
                pieces.push(arguments[start..at].trim());
                start = at + 1;
            }
            // Skip the whole string, which contains only escaped bytes and can be a megabyte long.
            b'"' => at += 1 + arguments[at + 1..].find('"').unwrap(),
            _ => {}
        }
        at += 1;
    }
    pieces.push(arguments[start..].trim());
    pieces
}

fn argument(words: &str) -> Argument {
    if let Some(number) = number(words) {
        return Argument::Number(number);
    }
    match words.contains('"') {
        true => Argument::Bytes(bytes(words)),
        false => Argument::Words(words.to_owned()),
    }
}

fn number(words: &str) -> Option<i64> {
    match words.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => words.parse().ok(),
    }
}

/// Joins all strings in an argument, because a vectored write has several.
fn bytes(words: &str) -> Arc<[u8]> {
    assert!(!words.contains("\"..."), "strace cut a string short");
    let strings = words.split('"').skip(1).step_by(2);
    let escapes = strings.flat_map(|string| string.as_bytes().chunks(4));
    escapes
        .map(|escape| match escape {
            [b'\\', b'x', high, low] => digit(*high) << 4 | digit(*low),
            _ => panic!("strace wrote a byte in another form"),
        })
        .collect()
}

fn digit(letter: u8) -> u8 {
    char::from(letter).to_digit(16).unwrap() as u8
}
