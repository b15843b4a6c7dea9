//! Running one thing: a command (`tee`), a step, and the child's side of both
//! (`chroot_exec`).
//!
//! Promises that every byte of what runs reaches its sinks, and that its end is
//! told as it was.

pub mod chroot_exec;
pub mod step;
pub mod tee;
