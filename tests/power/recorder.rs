//! Recorder that translates system calls into requests to the disk.
//!
//! The recorder panics on a call that could change a file below the root and that the model does
//! not support. Otherwise the recording would be incomplete without notice.

use std::collections::HashMap;

use crate::disk::{Change, Disk, Id, When};
use crate::trace::Call;

/// The effect of one call.
#[derive(Debug)]
pub(crate) enum Event {
    /// The child printed a line.
    Said(String),
    /// The requests that a file or directory received up to that moment are durable now.
    Synced(Id, When),
    /// The sync of a file or directory failed.
    Failed(Id),
    /// The call is neither a sync of a recorded file nor output of a whole line.
    Other,
}

pub(crate) struct Recorder {
    /// The path prefix of the files that are recorded.
    root: String,
    /// The open files of each process, by process and descriptor.
    open: HashMap<(u64, i64), Handle>,
    /// The output of each process since its last line end.
    lines: HashMap<u64, String>,
    /// The moment before the first call of these processes.
    since: When,
}

#[derive(Clone, Copy)]
struct Handle {
    /// The node of an open file; `None` for a file that is not recorded.
    id: Option<Id>,
    at: u64,
    appends: bool,
}

impl Recorder {
    /// Creates a recorder for processes that run at the same time, after `since`.
    pub(crate) fn new(root: &str, since: When) -> Self {
        Self {
            root: root.trim_end_matches('/').to_owned() + "/",
            open: HashMap::new(),
            lines: HashMap::new(),
            since,
        }
    }

    /// Applies a call to the disk. The caller applies syncs, because the caller cuts the power
    /// before them.
    pub(crate) fn follow(&mut self, disk: &mut Disk, call: &Call) -> Event {
        let when = self.since + call.ended;
        if call.returned < 0 {
            return match (call.name.as_str(), self.handle(call, 0)) {
                ("fsync" | "fdatasync", Some(Handle { id: Some(id), .. })) => Event::Failed(id),
                _ => Event::Other,
            };
        }
        match call.name.as_str() {
            "openat" | "open" | "creat" => self.opened(disk, call, when),
            "close" => drop(self.open.remove(&(call.process, call.number(0)))),
            "write" | "writev" | "pwrite64" => return self.written(disk, call, when),
            "lseek" => {
                if let Some(handle) = self.open.get_mut(&(call.process, call.number(0))) {
                    handle.at = call.returned as u64;
                }
            }
            "ftruncate" => {
                if let Some(id) = self.file(call, 0) {
                    disk.change(id, when, Change::Length(call.number(1) as u64));
                }
            }
            "fsync" | "fdatasync" => {
                if let Some(id) = self.file(call, 0) {
                    return Event::Synced(id, self.since + call.began);
                }
            }
            "mkdir" => {
                if let Some(path) = self.below(call.path(0)) {
                    disk.make_directory(&path, when);
                }
            }
            "unlink" | "rmdir" => {
                if let Some(path) = self.below(call.path(0)) {
                    disk.unlink(&path, when);
                }
            }
            "rename" => self.rename(disk, call.path(0), call.path(1), when),
            "mkdirat" | "unlinkat" | "renameat" | "renameat2" => self.at(disk, call, when),
            "mmap" => {
                let shared = call.words(2).contains("PROT_WRITE");
                let shared = shared && call.words(3).contains("MAP_SHARED");
                assert!(!shared || self.file(call, 4).is_none(), "{call:?}");
            }
            "fcntl" => {
                let duplicates = call.words(1).starts_with("F_DUPFD");
                let flags = call.words(1) == "F_SETFL";
                assert!(
                    !(duplicates || flags) || self.file(call, 0).is_none(),
                    "{call:?}"
                );
            }
            // The model does not support these calls on files below the root.
            "ioctl" | "dup" | "dup2" | "dup3" | "fallocate" | "copy_file_range" | "sendfile"
            | "splice" | "sync_file_range" => {
                let files = (0..call.arguments.len()).filter_map(|index| self.file(call, index));
                assert_eq!(files.count(), 0, "the recorder cannot follow {}", call.name);
            }
            _ => panic!("the recorder cannot follow {}", call.name),
        }
        Event::Other
    }

    fn opened(&mut self, disk: &mut Disk, call: &Call, when: When) {
        let first = usize::from(call.name == "openat");
        let path = match first {
            1 => self.resolve(disk, call, 0),
            _ => self.below(call.path(0)),
        };
        let flags = call.words(first + 1).to_owned();
        let id = path.map(|path| {
            for direct in ["O_DIRECT|", "O_SYNC", "O_DSYNC", "O_TMPFILE"] {
                assert!(!(flags.clone() + "|").contains(direct), "{flags}");
            }
            let id = match disk.find(&path) {
                Some(id) => id,
                None => {
                    assert!(
                        flags.contains("O_CREAT"),
                        "{path} exists, but the recording does not create it"
                    );
                    disk.make_file(&path, when)
                }
            };
            if flags.contains("O_TRUNC") && disk.length(id) > 0 {
                disk.change(id, when, Change::Length(0));
            }
            id
        });
        let appends = flags.contains("O_APPEND");
        let handle = Handle { id, at: 0, appends };
        self.open.insert((call.process, call.returned), handle);
    }

    fn written(&mut self, disk: &mut Disk, call: &Call, when: When) -> Event {
        let bytes = &call.bytes(1)[..call.returned as usize];
        if call.number(0) == 1 {
            return self.said(call.process, bytes);
        }
        let Some(handle) = self.open.get_mut(&(call.process, call.number(0))) else {
            return Event::Other;
        };
        let Some(id) = handle.id else {
            return Event::Other;
        };
        let is_placed = call.name == "pwrite64";
        let at = match is_placed {
            true => call.number(3) as u64,
            false if handle.appends => disk.length(id),
            false => handle.at,
        };
        if !is_placed {
            handle.at = at + bytes.len() as u64;
        }
        let bytes = bytes.into();
        disk.change(id, when, Change::Write { at, bytes });
        Event::Other
    }

    fn said(&mut self, process: u64, bytes: &[u8]) -> Event {
        let written = self.lines.entry(process).or_default();
        written.push_str(std::str::from_utf8(bytes).unwrap());
        match written.strip_suffix('\n') {
            None => Event::Other,
            Some(line) => {
                assert!(!line.trim_start().contains('\n') || !line.contains(" done "));
                let line = line.to_owned();
                written.clear();
                Event::Said(line)
            }
        }
    }

    /// Applies a call whose first argument is a directory descriptor.
    fn at(&mut self, disk: &mut Disk, call: &Call, when: When) {
        let first = self.resolve(disk, call, 0);
        if call.name.starts_with("rename") {
            let second = self.resolve(disk, call, 2);
            match (first, second) {
                (Some(from), Some(to)) => disk.rename(&from, &to, when),
                (None, None) => {}
                other => panic!("a rename across the root: {other:?}"),
            }
            return;
        }
        let Some(path) = first else { return };
        match call.name.as_str() {
            "mkdirat" => drop(disk.make_directory(&path, when)),
            _ => disk.unlink(&path, when),
        }
    }

    fn rename(&mut self, disk: &mut Disk, from: &str, to: &str, when: When) {
        match (self.below(from), self.below(to)) {
            (Some(from), Some(to)) => disk.rename(&from, &to, when),
            (None, None) => {}
            other => panic!("a rename across the root: {other:?}"),
        }
    }

    /// Returns the path below the root of a call such as `openat`; `None` for a path that is not
    /// recorded. The argument `index` is the directory, and the next argument is the path.
    fn resolve(&self, disk: &Disk, call: &Call, index: usize) -> Option<String> {
        let path = call.path(index + 1);
        if path.starts_with('/') {
            return self.below(path);
        }
        // The path is relative to an open directory.
        let id = self.file(call, index)?;
        let parent = disk.path_of(id).unwrap();
        Some(
            format!("{parent}/{path}")
                .trim_start_matches('/')
                .to_owned(),
        )
    }

    fn below(&self, path: &str) -> Option<String> {
        let path = format!("{path}/");
        let below = path.strip_prefix(&self.root)?.trim_end_matches('/');
        (!is_shared_memory(below)).then(|| below.to_owned())
    }

    fn handle(&self, call: &Call, index: usize) -> Option<Handle> {
        match call.arguments.get(index) {
            Some(crate::trace::Argument::Number(number)) => {
                self.open.get(&(call.process, *number)).copied()
            }
            _ => None,
        }
    }

    fn file(&self, call: &Call, index: usize) -> Option<Id> {
        self.handle(call, index)?.id
    }
}

/// Returns `true` for the index of SQLite's write-ahead log, which processes share by mapping it.
/// The first process that opens a database rebuilds the index.
pub(crate) fn is_shared_memory(path: &str) -> bool {
    path.ends_with("/vault.db-shm")
}
