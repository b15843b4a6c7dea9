//! Refuses system calls to a run by seccomp, as an older kernel or a container runtime's
//! profile does.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::thread;

use nix::errno::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// System calls, each if one of its rules fits, or always without rules.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls `run` in a thread that may not use these system calls. Nor may the processes
/// that it starts.
pub fn with_refused<T: Send>(calls: &[i64], error: Errno, run: impl FnOnce() -> T + Send) -> T {
    let calls = calls.iter().map(|call| (*call, Vec::new())).collect();
    filtered(calls, error, run)
}

/// Calls `run` in a thread for which no file system has files without a name.
pub fn without_unnamed_files<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    let unnamed = u64::from(libc::O_TMPFILE.unsigned_abs());
    let has_flag = SeccompCondition::new(
        2,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(unnamed),
        unnamed,
    );
    let rule = SeccompRule::new(vec![has_flag.unwrap()]).unwrap();
    filtered(
        [(libc::SYS_openat, vec![rule])].into(),
        Errno::EOPNOTSUPP,
        run,
    )
}

fn filtered<T: Send>(calls: Calls, error: Errno, run: impl FnOnce() -> T + Send) -> T {
    let refuse = SeccompAction::Errno((error as i32).unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, refuse, arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    thread::scope(|scope| {
        let filtered = scope.spawn(|| {
            apply_filter(&program).unwrap();
            run()
        });
        filtered.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
