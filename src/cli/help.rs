//! Texts of the help that commands share.

pub(super) const USAGE: &str = "\
skyhook-agent MODE [ROOT_MOUNT] COPY_DIR
       skyhook-agent interrupt [ROOT_MOUNT] COPY_DIR DATA
       skyhook-agent run-step [OPTIONS] COPY_DIR
       skyhook-agent validate [OPTIONS] PATH...
       skyhook-agent status [OPTIONS] [PACKAGE]
       skyhook-agent logs [OPTIONS] [PACKAGE[@VERSION]] [STEP]
       skyhook-agent new [OPTIONS] NAME
       skyhook-agent rehearse [OPTIONS] PATH

The Skyhook operator uses the first two forms:
  MODE        apply, config, post-interrupt, upgrade or uninstall, or one of
              these followed by -check
  ROOT_MOUNT  directory where the node's root is mounted [/root]
  COPY_DIR    directory of the package, inside that root
  DATA        the interrupt to run, as base64 of JSON";

/// The end of `skyhook-agent -h`.
pub(super) const SHORT_NOTES: &str = "\
Environment: `skyhook-agent --help` lists the variables.
Exit codes: 0 success, 1 a step failed or did not run, 2 wrong usage";

pub(super) const AGENT_VARIABLES: &str = "\
Environment, in the operator's forms only:
  SKYHOOK_RESOURCE_ID          {id}_{package}_{version}; must be set
  SKYHOOK_ROOT_DIR             directory for flags and history, inside the root
                               [/etc/skyhook]
  SKYHOOK_DATA_DIR             directory to copy the package from if COPY_DIR is
                               not on the node [/skyhook-package]
  COPY_RESOLV                  true: copy /etc/resolv.conf into the root [true]
  OVERLAY_ALWAYS_RUN_STEP      true: run steps again that have succeeded [false]
  SKYHOOK_AGENT_SYNC           true: bring what steps did to disk before it counts
                               as done [true]
  SKYHOOK_AGENT_REBOOT_TIMEOUT
                               seconds to wait for a reboot that was asked for
                               [300]
  SKYHOOK_AGENT_TERMINATION_LOG
                               file for the reason of a failure, if it is there
                               [/dev/termination-log]";

pub(super) const VARIABLES: &str = "\
Environment:
  SKYHOOK_AGENT_BUFFER_LIMIT   most bytes of one read of a step's output [8192]
  SKYHOOK_AGENT_DRAIN_TIMEOUT  seconds to wait, after a step's exit, for the end
                               of its output, which processes that it started
                               can keep open [no limit]
  SKYHOOK_AGENT_WRITE_LOGS     true: write log files; other values: no [true]
  SKYHOOK_LOG_DIR              directory for log files, inside the root
                               [/var/log/skyhook]
  TMPDIR                       directory for the control file of a step; else /tmp,
                               /var/tmp or the working directory
  TZ                           time zone of the stamps [/etc/localtime]";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  every step succeeded
  1  a step failed or could not run, or a signal cancelled the run
  2  wrong usage, or a variable with a value that cannot be used";
