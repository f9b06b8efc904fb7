//! Check that a storage opened before a `fork` refuses all operations in the child process.
#![cfg(all(feature = "file", unix))]
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::sync::atomic::{AtomicBool, Ordering};

use chartlock::storage::StorageError;
use chartlock::storage::{
    CommitError, Expect, FileStorage, Projection, Scan, Storage, Transaction,
};

const SCAN: Scan<'static> = Scan {
    prefix: b"",
    after: None,
    limit: 10,
    projection: Projection::Values,
};

fn put(key: u32) -> Transaction {
    Transaction::new().put(key.to_be_bytes(), b"1", Expect::Any)
}

#[test]
fn handle_in_forked_child_returns_forked() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    let done = AtomicBool::new(false);
    let codes: Vec<i32> = std::thread::scope(|scope| {
        // Keep the storage's locks busy, so that most forks happen while a thread holds a lock.
        for thread in 0..2 {
            let (storage, done) = (&storage, &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    assert!(storage.commit(&[put(thread)])[0].is_ok());
                }
            });
        }
        let _done = SetOnDrop(&done);
        (0..10).map(|_| exit_code_of_child(&storage)).collect()
    });
    assert_eq!(codes, [0; 10]);
    // The exits of the child processes must neither release the storage's lock nor break the
    // storage.
    assert_eq!(
        FileStorage::open(scratch.path()).unwrap_err(),
        StorageError::InUse
    );
    assert!(storage.commit(&[put(9)])[0].is_ok());
    drop(storage);
    assert!(
        FileStorage::open(scratch.path())
            .unwrap()
            .read(&[b"v"])
            .is_ok()
    );
}

/// Guard that stops the other threads when it is dropped, also if this thread panics.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn exit_code_of_child(storage: &FileStorage) -> i32 {
    // SAFETY: the child must not wait for a lock that another thread held during the fork. The
    // storage promises this, and the test checks the promise.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // The alarm ends a child process that hangs. Its delay is long enough for any slow machine.
        // SAFETY: `alarm` has no memory-safety requirements.
        unsafe { libc::alarm(300) };
        let code = in_child(storage);
        // SAFETY: `_exit` ends the child without running the test harness's exit handlers.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: `pid` is a child of this process, and `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    match libc::WIFEXITED(status) {
        true => libc::WEXITSTATUS(status),
        false => -1,
    }
}

fn in_child(storage: &FileStorage) -> i32 {
    let read = storage.read(&[b"v"]);
    let scan = storage.scan(SCAN);
    let commit = storage.commit(&[put(1)]);
    // Dropping the handle must neither hang nor unlock the storage. A bitwise copy represents the
    // child's own handle.
    // SAFETY: this process never uses the original again.
    drop(unsafe { std::ptr::read(storage) });
    let forked = StorageError::Forked;
    match (read, scan, commit.as_slice()) {
        (Err(one), Err(two), [Err(CommitError::Io(three))])
            if [one, two, *three] == [forked; 3] =>
        {
            0
        }
        _ => 1,
    }
}
