//! A file that is copied: compared with what is there, written, and given its name.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::sys::stat::{FileStat, SFlag};

use super::super::Dir;
use super::super::file::{Found, id, kind};
use super::super::temporary::{Kind, Refused, Temporary};
use super::Copying;
use super::metadata::{
    Preserve, apply_mode_and_times, copy_xattrs, hand_over, has_xattrs, is_roots_own, keeps_owner,
};

/// The bytes that are copied between two looks if the run is cancelled: the kernel copies
/// them in one go, or shares them.
const PIECE: u64 = 8 * 1024 * 1024;

/// The bytes that are written before they are brought to disk. So little is left to wait
/// for at the end, when no signal is seen, and a copy does not fill the node's memory.
const FLUSH: u64 = 64 * 1024 * 1024;

/// The bytes of two files that are compared at once.
const BLOCK: usize = 64 * 1024;

/// The most bytes of a file that is a mount which are kept in memory while it is
/// rewritten.
const KEPT: u64 = 1024 * 1024;

/// A file that is to be copied.
pub(super) struct Source {
    file: File,
    stat: FileStat,
}

impl Source {
    pub(super) fn new(found: &Found, file: File) -> Source {
        Source {
            file,
            stat: found.stat,
        }
    }

    pub(super) fn in_dir(dir: &Dir, name: &OsStr) -> io::Result<Source> {
        let found = Found::in_dir(dir, name)?;
        let file = found.open_in(dir, name, OFlag::O_RDONLY)?;
        Ok(Source::new(&found, file))
    }

    /// Makes `name` in `dir` a copy. Leaves it alone if it is the same already. Returns
    /// an extended attribute that this user may not set, if there is one.
    pub(super) fn install(
        &mut self,
        preserve: Preserve,
        dir: &Dir,
        name: &OsStr,
        copying: &Copying<'_>,
    ) -> io::Result<Option<CString>> {
        let old = replaceable(dir, name)?;
        if self.is_there(preserve, dir, name, old.as_ref(), copying)? {
            return Ok(None);
        }
        let old_file = old.filter(|old| kind(old) == SFlag::S_IFREG);
        if copying.is_cancelled() {
            return Err(Errno::ECANCELED.into());
        }
        let mut kind = Kind::Unnamed;
        loop {
            let new = Temporary::create(dir, kind)?;
            kind = new.kind();
            let refused = self.write(preserve, dir, old_file.as_ref(), new.file(), copying)?;
            match new.publish(name, copying.durable) {
                Ok(()) => return Ok(refused),
                Err(Refused::Unlinkable) if kind == Kind::Unnamed => kind = Kind::Named,
                // A mount point, as resolv.conf is in a container, can only be rewritten.
                Err(Refused::By(Errno::EBUSY)) => {
                    let Some(old) = &old_file else {
                        return Err(Errno::EBUSY.into());
                    };
                    return self.rewrite(preserve, dir, name, old, copying);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Tells if `name` in `dir` is the same already, so that nothing is copied. `old` is
    /// what is [there](replaceable).
    pub(super) fn is_there(
        &mut self,
        preserve: Preserve,
        dir: &Dir,
        name: &OsStr,
        old: Option<&FileStat>,
        copying: &Copying<'_>,
    ) -> io::Result<bool> {
        match old.filter(|old| kind(old) == SFlag::S_IFREG) {
            Some(old) => {
                let is_itself = id(old) == id(&self.stat);
                Ok(is_itself || self.is_same(preserve, dir, name, old, copying)?)
            }
            None => Ok(false),
        }
    }

    /// Tells if a file is what a copy would be. If it is, it is made durable: an earlier
    /// run may have been killed before it was.
    fn is_same(
        &mut self,
        preserve: Preserve,
        dir: &Dir,
        name: &OsStr,
        old: &FileStat,
        copying: &Copying<'_>,
    ) -> io::Result<bool> {
        let bits = |stat: &FileStat| stat.st_mode & 0o7777;
        if old.st_size != self.stat.st_size
            || preserve == Preserve::All && bits(old) != bits(&self.stat)
            || !keeps_owner(dir, old)?
        {
            return Ok(false);
        }
        // One that cannot be read is replaced.
        let Ok(found) = Found::in_dir(dir, name) else {
            return Ok(false);
        };
        let Ok(file) = found.open_in(dir, name, OFlag::O_RDONLY) else {
            return Ok(false);
        };
        if id(&found.stat) != id(old)
            || preserve == Preserve::All && !has_xattrs(&self.file, &file)?
            || !self.has_contents_of(&file, copying)?
        {
            return Ok(false);
        }
        if copying.durable {
            file.sync_all()?;
        }
        Ok(true)
    }

    fn has_contents_of(&mut self, mut other: &File, copying: &Copying<'_>) -> io::Result<bool> {
        self.file.rewind()?;
        let (mut ours, mut theirs) = (vec![0; BLOCK], vec![0; BLOCK]);
        loop {
            let len = fill(&mut self.file, &mut ours)?;
            if fill(&mut other, &mut theirs)? != len || ours.get(..len) != theirs.get(..len) {
                return Ok(false);
            }
            if len == 0 {
                return Ok(true);
            }
            if len == BLOCK && copying.is_cancelled() {
                return Err(Errno::ECANCELED.into());
            }
        }
    }

    /// Makes a new file a copy, which takes the place of `old`.
    fn write(
        &mut self,
        preserve: Preserve,
        dir: &Dir,
        old: Option<&FileStat>,
        file: &File,
        copying: &Copying<'_>,
    ) -> io::Result<Option<CString>> {
        self.copy_contents(file, copying)?;
        // In a directory of others, the user who made the old file would own root's new one.
        if let Some(old) = old
            && is_roots_own(dir)?
        {
            hand_over(file, old)?;
        }
        self.copy_metadata(preserve, old, file)
    }

    fn copy_metadata(
        &self,
        preserve: Preserve,
        old: Option<&FileStat>,
        file: &File,
    ) -> io::Result<Option<CString>> {
        let refused = match preserve {
            Preserve::All => copy_xattrs(&self.file, file)?,
            Preserve::Nothing => None,
        };
        apply_mode_and_times(file, preserve, &self.stat, old)?;
        Ok(refused)
    }

    fn copy_contents(&mut self, mut file: &File, copying: &Copying<'_>) -> io::Result<()> {
        self.file.rewind()?;
        let mut unflushed = 0;
        loop {
            // In the kernel, if it can.
            let copied = io::copy(&mut (&self.file).take(PIECE), &mut file)?;
            if copied < PIECE {
                return Ok(());
            }
            unflushed += copied;
            if unflushed >= FLUSH {
                file.sync_data()?;
                unflushed = 0;
            }
            if copying.is_cancelled() {
                return Err(Errno::ECANCELED.into());
            }
        }
    }

    /// Rewrites a file in place: it is a mount point, and has to stay what it is. Its
    /// owner stays, too.
    ///
    /// The room for the new content is taken first, so that on a full disk the old
    /// content stays. A file of at most 1 MiB is put back if the writing fails after
    /// that. A kill or a power cut at this moment can leave half of the new content.
    fn rewrite(
        &mut self,
        preserve: Preserve,
        dir: &Dir,
        name: &OsStr,
        old: &FileStat,
        copying: &Copying<'_>,
    ) -> io::Result<Option<CString>> {
        let found = Found::in_dir(dir, name)?;
        if id(&found.stat) != id(old) {
            return Err(io::Error::other("another file has its name now"));
        }
        let file = found.open_in(dir, name, OFlag::O_RDWR)?;
        let mut kept = Vec::new();
        let is_kept = file.metadata()?.len() <= KEPT;
        if is_kept {
            (&file).take(KEPT).read_to_end(&mut kept)?;
        }
        let to_the_end = Copying {
            cancelled: &|| false,
            ..*copying
        };
        let written = take_room(&file, self.stat.st_size)
            .and_then(|()| (&file).rewind())
            .and_then(|()| self.copy_contents(&file, &to_the_end))
            .and_then(|()| (&file).stream_position())
            .and_then(|end| file.set_len(end));
        if let Err(error) = written {
            if is_kept {
                // The first error is the one to report.
                let _ = (&file)
                    .seek(SeekFrom::Start(0))
                    .and_then(|_| (&file).write_all(&kept))
                    .and_then(|()| file.set_len(kept.len() as u64));
            }
            return Err(error);
        }
        let refused = self.copy_metadata(preserve, Some(old), &file)?;
        if copying.durable {
            file.sync_all()?;
        }
        Ok(refused)
    }
}

/// Takes room on the disk for a file of `len` bytes, without a change of its length or
/// its contents.
fn take_room(file: &File, len: i64) -> io::Result<()> {
    let keep_size = FallocateFlags::FALLOC_FL_KEEP_SIZE;
    match fallocate(file, keep_size, 0, len.max(1)) {
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(error) => {
            // Gives back what was taken.
            let _ = file.set_len(file.metadata()?.len());
            Err(error.into())
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// Finds the file or link that a copy will replace, if there is one. Anything else is
/// refused.
pub(super) fn replaceable(dir: &Dir, name: &OsStr) -> io::Result<Option<FileStat>> {
    match dir.stat_at(name) {
        Ok(stat) => match kind(&stat) {
            SFlag::S_IFREG | SFlag::S_IFLNK => Ok(Some(stat)),
            _ => Err(io::Error::other("expected a file or a link")),
        },
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
