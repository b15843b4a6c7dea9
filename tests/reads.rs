//! How the loop cuts what a pipe holds into reads: as single reads of the limit's
//! size would have brought it, however few system calls it takes.

mod support;

use std::fs;
use std::io::{Read, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use skyhook_agent::reactor::{Event, Options, Reactor, Stream};
use support::Fixture;

const LIMITS: [usize; 18] = [
    1, 2, 3, 7, 64, 100, 1000, 4095, 4096, 4097, 8192, 10_000, 32_768, 40_000, 65_535, 65_536,
    65_537, 70_000,
];

/// Writes whose total a pipe can hold: nothing is read before the last is done.
const WRITES: [&[usize]; 5] = [
    &[65_536],
    &[1],
    &[1, 4096, 100, 8192, 1, 30_000],
    &[5000; 10],
    &[8192; 8],
];

/// Bytes of which none is like its neighbours, for as many writes.
fn writes(lens: &[usize]) -> Vec<Vec<u8>> {
    let mut bytes = (0..=250_u8).cycle();
    lens.iter()
        .map(|len| bytes.by_ref().take(*len).collect())
        .collect()
}

/// What the loop makes of these writes, all done before it reads.
fn reads_of_loop(limit: usize, writes: &[Vec<u8>], prelude: &str) -> Vec<Vec<u8>> {
    let fixture = Fixture::new();
    let done = fixture.fifo("done");
    let mut script = vec![prelude.to_owned()];
    for bytes in writes {
        script.push(format!("out64 {}", BASE64_STANDARD.encode(bytes)));
    }
    script.push(format!("tell {done}"));
    let script: Vec<&str> = script.iter().map(String::as_str).collect();
    let options = Options {
        buffer_limit: limit.try_into().unwrap(),
        ..Options::default()
    };
    let reactor = Reactor::spawn(fixture.command(&script), options).unwrap();
    fs::read(done).unwrap();
    let mut reads = Vec::new();
    let status = reactor
        .run(|event| match event {
            Event::Read(stream, bytes) => {
                assert_eq!(stream, Stream::Stdout);
                reads.push(bytes.to_vec());
            }
            Event::ReadError(_, error) => panic!("{error}"),
            _ => {}
        })
        .unwrap();
    assert!(status.success());
    reads
}

/// What single reads of `limit` bytes bring of these writes.
fn single_reads(limit: usize, writes: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    for bytes in writes {
        writer.write_all(bytes).unwrap();
    }
    drop(writer);
    let mut buffer = vec![0; limit];
    let mut reads = Vec::new();
    loop {
        match reader.read(&mut buffer).unwrap() {
            0 => return reads,
            len => reads.push(buffer[..len].to_vec()),
        }
    }
}

fn lens(reads: &[Vec<u8>]) -> Vec<usize> {
    reads.iter().map(Vec::len).collect()
}

#[test]
fn reads_are_those_that_single_reads_would_have_brought() {
    for limit in LIMITS {
        for lens_of_writes in WRITES {
            let writes = writes(lens_of_writes);
            let got = reads_of_loop(limit, &writes, "/program");
            let expected = single_reads(limit, &writes);
            assert_eq!(lens(&got), lens(&expected), "{limit}: {lens_of_writes:?}");
            assert!(got == expected, "{limit}: {lens_of_writes:?}");
        }
    }
}

/// A read of a packet loses what it has no room for. The loop always has room.
#[test]
fn packets_are_read_whole_and_cut_at_the_limit() {
    for limit in LIMITS {
        // A page is the largest packet; a longer write makes several.
        let writes = writes(&[1, 100, 4096, 4095, 9000, 7, 2]);
        let got = reads_of_loop(limit, &writes, "packets");
        let expected: Vec<Vec<u8>> = writes
            .iter()
            .flat_map(|write| write.chunks(page_size()))
            .flat_map(|packet| packet.chunks(limit))
            .map(<[u8]>::to_vec)
            .collect();
        assert_eq!(lens(&got), lens(&expected), "{limit}");
        assert!(got == expected, "{limit}");
    }
}

fn page_size() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    size.unwrap().unwrap().try_into().unwrap()
}
