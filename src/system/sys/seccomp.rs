//! Reports of system calls: what a command, and all that it starts, does to files.
//!
//! This is the user notification of seccomp (Linux 5.5): a call that is reported waits until
//! it is let go on. Nothing is refused, and programs keep the privileges that they get by
//! their set-user-ID bit.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use libc::{c_int, c_long, c_uint, sock_filter};

/// What is reported, besides changes of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reports {
    /// Nothing.
    Changes,
    /// The ends of processes, each while the process is still there.
    ChangesAndExits,
}

/// A call that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number among the calls of a listener.
    pub id: u64,
    /// The thread that made it. The number may be another thread's as soon as it has gone on.
    pub thread: u32,
    /// What it does.
    pub what: What,
}

/// What a call does. Addresses are in the memory of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Opens a file for writing, or makes it.
    Opens {
        /// The address of the path.
        path: u64,
    },
    /// Opens a file by openat2.
    OpensHow {
        /// The address of the path.
        path: u64,
        /// The address of the flags, 64 bits.
        flags: u64,
    },
    /// Changes files in another way.
    Changes,
    /// Ends the process.
    Exits,
}

/// Flags of an open that makes or changes a file.
pub const WRITES: c_int = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;

/// The number of fchmodat2 on all architectures. libc has it for some.
const FCHMODAT2: c_long = 452;

/// Calls that are reported whatever their arguments are.
const CHANGES: &[c_long] = &[
    libc::SYS_openat2,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_mknodat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_mount,
    libc::SYS_umount2,
];

/// Calls that only older architectures have.
#[cfg(target_arch = "x86_64")]
const OLD_CHANGES: &[c_long] = &[
    libc::SYS_creat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_unlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_mknod,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
];
#[cfg(target_arch = "aarch64")]
const OLD_CHANGES: &[c_long] = &[libc::SYS_renameat];

/// Calls that are reported if their flags are of those that change files. Each with the
/// place of the flags among its arguments.
#[cfg(target_arch = "x86_64")]
const OPENS: &[(c_long, usize)] = &[(libc::SYS_openat, 2), (libc::SYS_open, 1)];
#[cfg(target_arch = "aarch64")]
const OPENS: &[(c_long, usize)] = &[(libc::SYS_openat, 2)];

/// AUDIT_ARCH of this program's own system calls. Those of other architectures, as i386, are
/// not reported: their numbers mean other calls.
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// The filter, as a program of the kernel's BPF.
fn program(reports: Reports) -> Vec<sock_filter> {
    let load = |offset: usize| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0);
    // Goes over `skip` instructions unless the value is `k`.
    let unless = |k: usize, skip| instruction(libc::BPF_JMP | libc::BPF_JEQ, k, skip);
    let unless_has = |k: usize, skip| instruction(libc::BPF_JMP | libc::BPF_JSET, k, skip);
    let answer = |action: c_uint| instruction(libc::BPF_RET, action as usize, 0);
    let number = |call: c_long| usize::try_from(call).unwrap_or_default();

    let mut program = vec![
        load(std::mem::offset_of!(libc::seccomp_data, arch)),
        unless(ARCH as usize, 1),
        load(std::mem::offset_of!(libc::seccomp_data, nr)),
        // Of another architecture the number is what was loaded first: the architecture. No
        // call has that number.
    ];
    for (call, flags) in OPENS {
        program.extend([
            unless(number(*call), 4),
            // The lower half, on these architectures.
            load(std::mem::offset_of!(libc::seccomp_data, args) + flags * size_of::<u64>()),
            unless_has(usize::try_from(WRITES).unwrap_or_default(), 1),
            answer(libc::SECCOMP_RET_USER_NOTIF),
            answer(libc::SECCOMP_RET_ALLOW),
        ]);
    }
    let exits = match reports {
        Reports::Changes => None,
        Reports::ChangesAndExits => Some(&libc::SYS_exit_group),
    };
    for call in CHANGES.iter().chain(OLD_CHANGES).chain(exits) {
        program.extend([
            unless(number(*call), 1),
            answer(libc::SECCOMP_RET_USER_NOTIF),
        ]);
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program
}

fn instruction(code: u32, k: usize, skip_if_not: u8) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt: 0,
        jf: skip_if_not,
        k: u32::try_from(k).unwrap_or_default(),
    }
}

/// The end of a command's start at which its listener arrives.
#[derive(Debug)]
pub struct Arrival(UnixStream);

/// Has the calls of `command` reported, and those of all processes that it starts. Runs
/// after what the command does already before it is executed, and needs CAP_SYS_ADMIN then.
///
/// # Errors
/// The kernel's, if there can be no socket.
pub fn report_before_exec(command: &mut Command, reports: Reports) -> io::Result<Arrival> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut program = program(reports);
    let work = move || {
        send(theirs.as_fd(), install(&mut program));
        Ok(())
    };
    // SAFETY: the closure runs in a child that may have copies of locks that other threads
    // held. It makes system calls alone, and allocates nothing.
    unsafe { command.pre_exec(work) };
    Ok(Arrival(ours))
}

/// Sets the filter for this thread and all that it starts. Returns the listener's
/// descriptor, which is closed by an exec, or the number of the error.
fn install(program: &mut [sock_filter]) -> Result<RawFd, c_int> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or_default(),
        filter: program.as_mut_ptr(),
    };
    // Without SPEC_ALLOW the filter would slow the processor down on older kernels.
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // A signal must not interrupt a call that waits: programs do not expect EINTR there.
    // Linux 5.19.
    let killable = flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let mut error = libc::EINVAL;
    for flags in [killable, flags] {
        // SAFETY: the kernel reads `filter` and the program that it points to, which are
        // alive. The filter lets all calls go on.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const filter,
            )
        };
        if let Ok(fd) = RawFd::try_from(fd)
            && fd >= 0
        {
            return Ok(fd);
        }
        error = io::Error::last_os_error().raw_os_error().unwrap_or(error);
        if error != libc::EINVAL {
            break;
        }
    }
    Err(error)
}

/// Room for one descriptor beside a message, and its alignment.
type Beside = [u64; 4];

/// A message of one number, and room beside it.
fn message(number: &mut libc::iovec, beside: &mut Beside) -> libc::msghdr {
    // SAFETY: msghdr is plain data for which all zeroes is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = number;
    message.msg_iovlen = 1;
    message.msg_control = beside.as_mut_ptr().cast();
    message
}

/// The size of a descriptor, as C has it.
const FD_LEN: c_uint = RawFd::BITS / u8::BITS;

/// Sends the listener, or why there is none. If it cannot be sent, the other end finds
/// nothing.
fn send(socket: BorrowedFd<'_>, installed: Result<RawFd, c_int>) {
    let mut number = installed.err().unwrap_or(0);
    let mut part = libc::iovec {
        iov_base: (&raw mut number).cast(),
        iov_len: size_of::<c_int>(),
    };
    let mut beside = Beside::default();
    let mut message = message(&mut part, &mut beside);
    if let Ok(fd) = installed {
        // SAFETY: takes an integer.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(FD_LEN) } as _;
        // SAFETY: the header and the descriptor after it have room in `beside`, as the
        // length says that was given.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(FD_LEN) as _;
            libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd);
        }
    }
    // SAFETY: all that the message points to is alive.
    unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
}

impl Arrival {
    /// Takes the listener of a command that has been started.
    ///
    /// # Errors
    /// Why the kernel gives none: EINVAL or ENOSYS if it has no such thing, EBUSY in a
    /// container that has one already, EPERM.
    pub fn listener(self) -> io::Result<Listener> {
        let mut number: c_int = 0;
        let mut part = libc::iovec {
            iov_base: (&raw mut number).cast(),
            iov_len: size_of::<c_int>(),
        };
        let mut beside = Beside::default();
        let mut message = message(&mut part, &mut beside);
        message.msg_controllen = size_of::<Beside>() as _;
        let flags = libc::MSG_CMSG_CLOEXEC;
        // SAFETY: all that the message points to is alive, and as long as it says.
        if unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, flags) } < 0 {
            return Err(io::Error::last_os_error());
        }
        if number != 0 {
            return Err(io::Error::from_raw_os_error(number));
        }
        // SAFETY: the kernel has filled in as much as the message says. A header of this type
        // has a descriptor after it, which was made for this process alone.
        let listener = unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message).as_ref();
            // There is one descriptor, or nothing: it comes from `send`.
            let header = header.filter(|header| header.cmsg_type == libc::SCM_RIGHTS);
            let header = header.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            let fd = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
            Listener(OwnedFd::from_raw_fd(fd))
        };
        Ok(listener)
    }
}

/// What receives the reports. When it is dropped, calls that wait fail with ENOSYS.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl AsFd for Listener {
    /// Can be read if a call waits; hangs up when all that is reported has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Listener {
    /// Takes a call that waits; `None` if it does so no longer. To be called if there is
    /// one: it would wait otherwise.
    ///
    /// # Errors
    /// The kernel's.
    pub fn call(&self) -> io::Result<Option<Call>> {
        // SAFETY: seccomp_notif is plain data, and the kernel wants all zeroes.
        let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
        // SAFETY: the kernel fills in `notice`, which has the size that the request has in
        // it.
        if unsafe { libc::ioctl(self.0.as_raw_fd(), request, &raw mut notice) } == 0 {
            return Ok(Some(Call {
                id: notice.id,
                thread: notice.pid,
                what: what(&notice.data),
            }));
        }
        still_there().map(|_| None)
    }

    /// Lets a call go on. Tells if it was still waiting.
    ///
    /// # Errors
    /// The kernel's.
    pub fn go_on(&self, id: u64) -> io::Result<bool> {
        let answer = libc::seccomp_notif_resp {
            id,
            val: 0,
            error: 0,
            flags: u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or_default(),
        };
        let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
        // SAFETY: the kernel reads `answer`, which has the size that the request has in it.
        if unsafe { libc::ioctl(self.0.as_raw_fd(), request, &raw const answer) } == 0 {
            return Ok(true);
        }
        still_there()
    }
}

/// `false` if the error of a request is that its call waits no longer.
fn still_there() -> io::Result<bool> {
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::EINTR) => Ok(false),
        _ => Err(error),
    }
}

fn what(data: &libc::seccomp_data) -> What {
    let [first, second, third, ..] = data.args;
    match c_long::from(data.nr) {
        libc::SYS_exit_group => What::Exits,
        libc::SYS_openat => What::Opens { path: second },
        libc::SYS_openat2 => What::OpensHow {
            path: second,
            flags: third,
        },
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open | libc::SYS_creat => What::Opens { path: first },
        _ => {
            let _ = first;
            What::Changes
        }
    }
}

/// Reads the memory of a process. Returns how many bytes were read.
///
/// # Errors
/// The kernel's: ESRCH, EPERM, EFAULT.
pub fn read_memory(thread: u32, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let ours = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let theirs = libc::iovec {
        iov_base: ptr::with_exposed_provenance_mut(usize::try_from(address).unwrap_or_default()),
        iov_len: buffer.len(),
    };
    let thread = libc::pid_t::try_from(thread).unwrap_or_default();
    // SAFETY: the kernel writes at most as many bytes as `buffer` has, and looks at the other
    // address in the other process alone.
    let read =
        unsafe { libc::process_vm_readv(thread, &raw const ours, 1, &raw const theirs, 1, 0) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}
