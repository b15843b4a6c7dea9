//! Measures the stamper alone, by content, line length and buffer limit. Throughput
//! counts the bytes that go in.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use skyhook_agent::stamp::Stamper;
use time::{Date, Month, PrimitiveDateTime, Time};

/// Texts of 20 bytes, which divides every line length. The last byte is a space, and is
/// replaced by the newline: so no character is cut.
const CONTENTS: [(&str, &[u8]); 3] = [
    ("ascii", b"the quick brown fox "),
    ("utf-8", "Größe in 東京:5 ".as_bytes()),
    // Two of these bytes are not valid UTF-8.
    ("latin-1", b"une facture r\xe9gl\xe9e. "),
];
const LINE_LENGTHS: [usize; 3] = [20, 100, 1000];
const BUFFER_LIMITS: [usize; 3] = [1 << 10, 8 << 10, 64 << 10];

const INPUT_LEN: usize = 1 << 20;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    stamper(&mut criterion);
    criterion.final_summary();
}

fn stamper(criterion: &mut Criterion) {
    let date = Date::from_calendar_date(2026, Month::May, 2).unwrap();
    let second = PrimitiveDateTime::new(date, Time::from_hms(21, 51, 23).unwrap());

    let mut group = criterion.benchmark_group("stamper");
    for (content, text) in CONTENTS {
        for line_len in LINE_LENGTHS {
            let input = lines(text, line_len);
            group.throughput(Throughput::Bytes(input.len() as u64));
            for limit in BUFFER_LIMITS {
                let name = format!("{content}, lines of {line_len}");
                let id = BenchmarkId::new(name, format!("reads of {limit}"));
                group.bench_function(id, |bencher| {
                    let mut stamper = Stamper::new("[out]");
                    let mut out = Vec::new();
                    bencher.iter(|| {
                        for (microsecond, read) in (0..).zip(input.chunks(limit)) {
                            let at = second.replace_microsecond(microsecond).unwrap();
                            out.clear();
                            stamper.stamp(black_box(read), at, &mut out);
                            black_box(&out);
                        }
                    });
                });
            }
        }
    }
}

/// Returns about [`INPUT_LEN`] bytes, in lines of `line_len` bytes with their newline.
fn lines(text: &[u8], line_len: usize) -> Vec<u8> {
    let mut line = text.repeat(line_len / text.len());
    line.pop();
    line.push(b'\n');
    line.repeat(INPUT_LEN / line_len)
}
