//! Reading and writing of a file at an offset.

use std::fs::File;
use std::io;

#[cfg(unix)]
pub(super) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(not(unix))]
pub(super) fn read_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

#[cfg(unix)]
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
pub(super) fn write_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

const BLOCK_BYTES: usize = 1 << 20;

/// Calls `visit` with each block of a file and its offset.
pub(super) fn each_block(
    file: &File,
    mut visit: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut block = vec![0; BLOCK_BYTES];
    let mut offset = 0;
    while offset < length {
        let bytes = usize::try_from(length - offset).unwrap_or(BLOCK_BYTES);
        let (block, _) = block.split_at_mut(bytes.min(BLOCK_BYTES));
        read_at(file, block, offset)?;
        visit(block, offset)?;
        offset += block.len() as u64;
    }
    Ok(())
}
