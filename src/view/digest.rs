//! What a file holds, as a number that can be compared.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use sha2::{Digest as _, Sha256};

use crate::system::sys;

/// The SHA-256 of a file's bytes and of its attributes.
pub(super) type Digest = [u8; 32];

/// The bytes that are hashed together. Where all are zeroes, none is: a step may make a file
/// of any size, and most of it can be a hole.
const PART: usize = 64 * 1024;

/// Reads a file as far as it goes now: what is appended meanwhile is not waited for.
pub(super) fn digest(file: OwnedFd) -> io::Result<Digest> {
    let file = File::from(file);
    let size = file.metadata()?.len();
    let mut hash = Sha256::new();
    hash.update(size.to_le_bytes());
    let mut buffer = vec![0; PART];
    let mut next = Some(0);
    while let Some(start) = next {
        let bytes = read_part(&file, start, &mut buffer)?;
        if bytes.iter().any(|byte| *byte != 0) {
            hash.update(start.to_le_bytes());
            hash.update(bytes);
        }
        next = part_with_data(&file, start + PART as u64, size)?;
    }
    // What gives rights to a file is a part of it.
    for attribute in [c"security.capability", c"system.posix_acl_access"] {
        if let Ok(value) = sys::get_xattr(file.as_fd(), attribute) {
            hash.update(attribute.to_bytes_with_nul());
            hash.update(value);
        }
    }
    Ok(hash.finalize().into())
}

/// Reads what there is of the part that begins at `start`.
fn read_part<'b>(file: &File, start: u64, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let mut filled = 0;
    while let Some(room @ [_, ..]) = buffer.get_mut(filled..) {
        match file.read_at(room, start + filled as u64) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.get(..filled).unwrap_or_default())
}

/// Gives where the first part begins that is no hole, at `from` or after it; `None` if there
/// is none.
fn part_with_data(file: &File, from: u64, size: u64) -> io::Result<Option<u64>> {
    if from >= size {
        return Ok(None);
    }
    let offset = i64::try_from(from).unwrap_or(i64::MAX);
    match lseek(file, offset, Whence::SeekData) {
        Ok(data) => {
            let data = u64::try_from(data).unwrap_or(from);
            // Parts begin at the same places, wherever the holes are.
            Ok(Some(data - data % PART as u64).filter(|start| *start < size))
        }
        // There is no more.
        Err(Errno::ENXIO) => Ok(None),
        // Not every file system knows its holes.
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(Some(from)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn digest_of(fill: impl FnOnce(&File)) -> Digest {
        let file = tempfile::NamedTempFile::new().unwrap();
        fill(file.as_file());
        digest(fs::File::open(file.path()).unwrap().into()).unwrap()
    }

    #[test]
    fn a_hole_is_the_same_as_zeroes() {
        let len = 5 * PART + 7;
        let end = |file: &File| file.write_all_at(b"end", len as u64 - 3).unwrap();
        let holes = digest_of(|file| {
            file.set_len(len as u64).unwrap();
            end(file);
        });
        let zeroes = digest_of(|file| {
            file.write_all_at(&vec![0; len], 0).unwrap();
            end(file);
        });
        assert_eq!(holes, zeroes);
    }

    #[test]
    fn each_byte_its_place_and_the_size_count() {
        let with = |len: usize, at: usize, byte: u8| {
            digest_of(|file| {
                file.set_len(len as u64).unwrap();
                file.write_all_at(&[byte], at as u64).unwrap();
            })
        };
        let len = 3 * PART + 1;
        let mut all = vec![with(len, 0, 0), with(len + 1, 0, 0), with(1, 0, 0)];
        for at in [0, 1, PART - 1, PART, 2 * PART, 3 * PART - 1, 3 * PART] {
            all.extend([with(len, at, 1), with(len, at, 2)]);
        }
        all.push(digest_of(|_| {}));
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
