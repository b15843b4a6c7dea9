//! A copy-on-write view of a root: what it shows, what it tells, and that nothing gets out
//! of it. Real scripts run in real views, made by root and by an ordinary user.

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod ends;
mod furniture;
mod hostile;
mod mounts;
mod others;
mod programs;
mod refusals;
mod stage;
