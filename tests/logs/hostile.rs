//! Logs with anything in them: nothing of it harms the reader or its terminal.

use std::fs::File;
use std::process::{Command, Stdio};

use super::support::{assert_says, stdout_of_success, with_prelude};
use super::{LogDir, log};

const NAME: &str = "pkg/1.2.3/a.sh-2026-05-02-215100.log";

/// The command with so many KiB of memory.
fn with_memory(kib: usize, command: &Command) -> Command {
    with_prelude(&format!("ulimit -v {kib}"), command)
}

/// The file is sparse.
#[test]
fn a_line_of_a_gigabyte_is_shown_in_little_memory() {
    let logs = LogDir::new();
    let path = logs.write(NAME, "");
    let len = 1 << 30;
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(len)
        .unwrap();
    let mut command = with_memory(60_000, &logs.logs(&["--raw"]));
    let mut shown = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = shown.stdout.take().unwrap();
    let counted = std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    assert!(shown.wait().unwrap().success());
    assert_eq!(counted, len);
}

#[test]
fn a_long_line_comes_in_pieces_of_64_kib() {
    let logs = LogDir::new();
    let text = "x".repeat(200_000);
    logs.write(
        NAME,
        log("out", &[("01.000000", &text), ("02.000000", "next")]),
    );
    let mut command = with_memory(60_000, &logs.logs(&[]));
    let shown = stdout_of_success(&command.output().unwrap());
    let lengths: Vec<usize> = shown.lines().skip(2).map(|line| line.len() - 20).collect();
    assert_eq!(lengths, [65536, 65536, 65536, 200_000 - 3 * 65536, 4]);
}

#[test]
fn the_pieces_of_a_line_are_not_torn_apart() {
    let logs = LogDir::new();
    let text = "x".repeat(200_000);
    logs.write(
        NAME,
        log("out", &[("01.000000", "one"), ("09.000000", &text)]),
    );
    logs.write(
        &format!("{NAME}.err"),
        log("err", &[("05.000000", "between")]),
    );
    let shown = logs.shown(&[]);
    let starts: Vec<&str> = shown.lines().skip(2).map(|line| &line[16..21]).collect();
    // A long line is placed by the stamp in front of it.
    assert_eq!(
        starts,
        ["out o", "out x", "out x", "out x", "out x", "err b"]
    );
}

#[test]
fn nothing_that_a_terminal_obeys_reaches_it() {
    let logs = LogDir::new();
    let mut bytes = Vec::new();
    // Each byte, and each pair of C2 and a byte: C1 is among them.
    for byte in 0..=255 {
        bytes.extend([byte, b' ', 0xc2, byte, b' ', 0x1b, b'[', byte]);
    }
    bytes.extend("\u{202e}\u{2028}".as_bytes());
    logs.write(NAME, &bytes);
    for words in [&[][..], &["--output", "json"]] {
        let shown = logs.shown(words);
        let bad = shown
            .chars()
            .find(|c| c.is_control() && *c != '\n' && *c != '\t');
        assert_eq!(bad, None, "{shown:?}");
        assert!(!shown.contains(['\u{202e}', '\u{2028}']));
    }
    // Of names, too.
    logs.write("p\u{1b}[2J/1.2.3/\u{9b}a-2026-05-02-215100.log", "x\n");
    for words in [&[][..], &["--list"], &["--list", "--output", "json"]] {
        let shown = logs.shown(words);
        assert!(!shown.contains(['\u{1b}', '\u{9b}']), "{shown:?}");
    }
}

#[test]
fn random_bytes_are_shown_to_the_end() {
    let logs = LogDir::new();
    let mut state = 1_u64;
    let random = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    });
    let bytes: Vec<u8> = random.take(1 << 20).collect();
    logs.write(NAME, &bytes);
    let raw = logs.logs(&["--raw"]).output().unwrap();
    assert!(raw.stdout == bytes);
    let mut newlines = bytes.iter().filter(|byte| **byte == b'\n').count();
    newlines += usize::from(bytes.last() != Some(&b'\n'));
    assert_eq!(logs.shown(&["--output", "json"]).lines().count(), newlines);
}

#[test]
fn what_is_no_file_under_the_name_of_a_log_is_not_opened() {
    let logs = LogDir::new();
    logs.write(NAME, log("out", &[("01.000000", "one")]));
    let dir = logs.path().join("pkg/1.2.3");
    let fifo = dir.join("fifo-2026-05-02-215100.log");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("link-2026-05-02-215100.log")).unwrap();
    std::os::unix::fs::symlink(&dir, dir.join("round")).unwrap();
    std::fs::create_dir(dir.join("dir-2026-05-02-215100.log")).unwrap();
    let shown = logs.shown(&[]);
    assert_eq!(shown.lines().count(), 3, "{shown}");
}

/// More than are open at a time.
#[test]
fn many_logs_at_once_are_merged_with_few_descriptors() {
    let logs = LogDir::new();
    for run in 0..150 {
        let at = |n: u32| format!("{n:02}.{run:06}");
        let lines = [at(1), at(2), at(3)];
        let lines: Vec<(&str, &str)> = lines.iter().map(|at| (&**at, "x")).collect();
        logs.write(
            &format!("pkg/1.2.3/{run}.sh-2026-05-02-215100.log"),
            log("out", &lines),
        );
    }
    let command = logs.logs(&["--output", "json"]);
    let mut command = with_prelude("ulimit -n 100; ulimit -v 60000", &command);
    let shown = stdout_of_success(&command.output().unwrap());
    let times: Vec<&str> = shown.lines().map(|line| &line[9..35]).collect();
    assert_eq!(times.len(), 450);
    assert!(times.is_sorted(), "{times:?}");
    assert_says(&shown, &["149.sh"]);
}
