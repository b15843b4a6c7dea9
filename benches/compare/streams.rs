//! Measures output and how long it takes.

use crate::Result;
use crate::bench::{Bench, MIB, Measured, find};
use crate::contenders::{
    AGENT, CONMON, CONMON_CONSOLE, COPY_8, COPY_64, Contender, Kind, MINIMAL_LOOP,
};
use crate::measure::Cost;
use crate::parts::Part;
use crate::plots;
use crate::report::digits;
use crate::targets::Target;

/// One part in which all contenders bring the same output.
pub struct Stream<'a> {
    pub title: &'a str,
    /// The arguments of the producer.
    pub output: &'a [&'a str],
    /// How many bytes that is.
    pub len: usize,
    pub part: Part,
}

/// A column of a table: its header, and its cell for a contender.
type Column<'a> = (String, Box<dyn Fn(&Measured) -> String + 'a>);

impl Bench<'_> {
    pub fn stream(&self, stream: &Stream<'_>) -> Result<()> {
        self.report.heading(stream.title);
        // With small writes, a loop that reads faster finds less in each read, and
        // pays for more reads. There a longer buffer changes nothing.
        let contenders = self
            .contenders()
            .filter(|one| stream.part != Part::Lines || one.name != COPY_64);
        let all = self.measure(contenders, stream.output, stream.len);
        let columns = columns(&all, stream.len)?;
        let header: Vec<&str> = columns.iter().map(|(header, _)| header.as_str()).collect();
        let row = |one: &Measured| columns.iter().map(|(_, cell)| cell(one)).collect();
        let rows: Vec<Vec<String>> = all.iter().map(row).collect();
        self.report.table(&header, &rows);
        if stream.part == Part::Blocks {
            let rate = |one: &Measured| stream.len as f64 / MIB as f64 / one.wall().median();
            let bars: Vec<(&str, f64)> = all
                .iter()
                .map(|one| (one.contender.name, rate(one)))
                .collect();
            plots::throughput(&self.report.plot("throughput"), &bars)?;
        }
        self.note_targets(stream.part, &all)
    }

    fn note_targets(&self, part: Part, all: &[Measured]) -> Result<()> {
        let agent = find(all, AGENT)?;
        let wall = agent.wall().median();
        if part == Part::Lines
            && let Ok(minimal) = find(all, MINIMAL_LOOP)
        {
            let ratio = agent.median(Cost::cpu) / minimal.median(Cost::cpu);
            self.targets.note(Target::LinesCpu, ratio, "");
        }
        if !matches!(part, Part::Blocks | Part::Utf8) {
            return Ok(());
        }
        // How many times longer this contender takes than the agent.
        let lead = |one: &Measured| one.wall().median() / wall;
        for (name, target) in [
            (COPY_8, Target::Copy8(part)),
            (COPY_64, Target::Copy64(part)),
        ] {
            if let Ok(copy) = find(all, name) {
                self.targets.note(target, 1.0 / lead(copy), "");
            }
        }
        for (name, target) in [
            (CONMON_CONSOLE, Target::ConmonConsole(part)),
            (CONMON, Target::Conmon(part)),
        ] {
            if let Ok(conmon) = find(all, name) {
                self.targets.note(target, lead(conmon), "");
            }
        }
        let writes_both = |one: &&Contender| one.kind == Kind::Peer && one.has_console;
        let nearest = all
            .iter()
            .filter(|one| writes_both(&one.contender) && one.contender.name != CONMON_CONSOLE)
            .min_by(|a, b| lead(a).total_cmp(&lead(b)));
        if let Some(nearest) = nearest {
            let name = nearest.contender.name;
            self.targets.note(Target::Peers(part), lead(nearest), name);
        }
        Ok(())
    }

    pub fn line_length(&self) -> Result<()> {
        self.report
            .heading("64 MiB in lines of different length, big writes");
        let mut rows = Vec::new();
        for line_len in [10, 30, 100, 1_000, 10_000, 100_000, 1_000_000] {
            let (line, len) = (line_len.to_string(), (64 * MIB).to_string());
            let loops = self.contenders().filter(|one| one.kind != Kind::Peer);
            let all = self.measure(loops, &["blocks", &line, &len], 64 * MIB);
            let mut walls = Vec::new();
            for name in [AGENT, MINIMAL_LOOP, COPY_8, COPY_64] {
                walls.push(find(&all, name)?.wall().median());
            }
            let rates = walls.iter().map(|wall| digits(64.0 / wall));
            let ratios = walls[1..].iter().map(|wall| digits(walls[0] / wall));
            rows.push([line].into_iter().chain(rates).chain(ratios).collect());
        }
        let header = [
            "bytes per line",
            "agent MiB/s",
            "minimal MiB/s",
            "copy 8 KiB MiB/s",
            "copy 64 KiB MiB/s",
            "agent / minimal",
            "agent / copy 8 KiB",
            "agent / copy 64 KiB",
        ];
        self.report.table(&header, &rows);
        Ok(())
    }
}

/// The columns of a table of contenders. Times are relative to the agent and to each
/// of the loops that was measured.
fn columns(all: &[Measured], len: usize) -> Result<Vec<Column<'static>>> {
    let wall = |one: &Measured| one.wall().median();
    let cpu = |one: &Measured| one.median(Cost::cpu);
    let copies = || all.iter().filter(|one| one.contender.kind == Kind::Copy);
    let agent = wall(find(all, AGENT)?);
    let mut columns: Vec<Column<'static>> = vec![
        (String::new(), Box::new(|one| one.contender.name.to_owned())),
        (
            "writes".to_owned(),
            Box::new(|one| one.contender.writes.to_owned()),
        ),
        ("wall ms".to_owned(), Box::new(|one| one.wall().spread(1e3))),
        (
            "MiB/s".to_owned(),
            Box::new(move |one| digits(len as f64 / MIB as f64 / wall(one))),
        ),
        (
            "wall / agent".to_owned(),
            Box::new(move |one| digits(wall(one) / agent)),
        ),
    ];
    for copy in copies() {
        let of_copy = wall(copy);
        columns.push((
            format!("wall / {}", copy.contender.name),
            Box::new(move |one| digits(wall(one) / of_copy)),
        ));
    }
    columns.push((
        "user ms".to_owned(),
        Box::new(|one| digits(one.median(|cost| cost.user) * 1e3)),
    ));
    columns.push((
        "system ms".to_owned(),
        Box::new(|one| digits(one.median(|cost| cost.system) * 1e3)),
    ));
    let minimal = all
        .iter()
        .filter(|one| one.contender.kind == Kind::MinimalLoop);
    for floor in minimal.chain(copies()) {
        let of_floor = cpu(floor);
        let name = match floor.contender.kind {
            Kind::MinimalLoop => "minimal",
            _ => floor.contender.name,
        };
        columns.push((
            format!("CPU / {name}"),
            Box::new(move |one| digits(cpu(one) / of_floor)),
        ));
    }
    Ok(columns)
}
