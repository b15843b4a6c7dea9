//! `systemctl` and `service` as stand-ins: no unit is started or stopped, but later calls
//! hear of it. A unit that no call has named is one of a healthy node: active and enabled.

use std::io::{self, Write};

use super::{Answer, Output, sysctl};
use crate::view::Call;

/// The exit code for units of which none is active.
const NOT_RUNNING: u8 = 3;

/// The types of units. A name with no other end is that of a service.
const TYPES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

/// The options that take the next word, unless a value is in theirs.
const WITH_VALUE: [&str; 20] = [
    "-p",
    "-P",
    "-t",
    "-H",
    "-M",
    "-n",
    "-o",
    "-s",
    "--property",
    "--type",
    "--state",
    "--host",
    "--machine",
    "--lines",
    "--output",
    "--signal",
    "--kill-whom",
    "--job-mode",
    "--root",
    "--what",
];

/// The units that set the kernel's parameters when they start.
const SETS_PARAMETERS: [&str; 2] = ["systemd-sysctl.service", "procps.service"];

/// A call, as far as it matters here.
#[derive(Debug, Default)]
struct Line {
    verb: String,
    units: Vec<String>,
    is_now: bool,
    is_quiet: bool,
    values_only: bool,
    properties: Vec<String>,
}

impl Line {
    /// Reads the words of a call; `None` if it is for another program.
    fn of(program: &str, arguments: &[String]) -> Option<Line> {
        match program {
            "systemctl" => Some(Line::of_systemctl(arguments)),
            "service" => Some(Line::of_service(arguments)),
            _ => None,
        }
    }

    fn of_systemctl(arguments: &[String]) -> Line {
        let mut line = Line::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            if !word.starts_with('-') {
                match line.verb.is_empty() {
                    true => line.verb.clone_from(word),
                    false => line.units.push(unit(word)),
                }
                continue;
            }
            let (option, value) = match word.split_once('=') {
                Some((option, value)) => (option, Some(value)),
                None if WITH_VALUE.contains(&&**word) => {
                    (&**word, words.next().map(String::as_str))
                }
                // As in `-pActiveState`.
                None if word.starts_with("-p") || word.starts_with("-P") => {
                    let (option, value) = word.split_at(2);
                    (option, Some(value))
                }
                None => (&**word, None),
            };
            match option {
                "--now" => line.is_now = true,
                "-q" | "--quiet" => line.is_quiet = true,
                "--value" => line.values_only = true,
                "-p" | "-P" | "--property" => {
                    line.values_only |= option == "-P";
                    let names = value.unwrap_or_default().split(',');
                    line.properties.extend(names.map(str::to_owned));
                }
                _ => {}
            }
        }
        line
    }

    fn of_service(arguments: &[String]) -> Line {
        match arguments {
            [name, verb, ..] if !name.starts_with('-') => Line {
                verb: verb.clone(),
                units: vec![unit(name)],
                ..Line::default()
            },
            _ => Line::default(),
        }
    }

    fn starts(&self) -> bool {
        match &*self.verb {
            "start" | "restart" | "reload-or-restart" | "force-reload" | "isolate" => true,
            "enable" | "reenable" => self.is_now,
            _ => false,
        }
    }

    fn stops(&self) -> bool {
        match &*self.verb {
            "stop" => true,
            "disable" | "mask" => self.is_now,
            _ => false,
        }
    }
}

/// The whole name of a unit.
fn unit(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((_, end)) if TYPES.contains(&end) => name.to_owned(),
        _ => format!("{name}.service"),
    }
}

/// The state of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    is_active: bool,
    is_enabled: bool,
    is_masked: bool,
}

impl State {
    fn of(unit: &str, calls: &[Call]) -> State {
        let mut state = State {
            is_active: true,
            is_enabled: true,
            is_masked: false,
        };
        for call in calls {
            if call.is_boot() {
                state.is_active = state.is_enabled && !state.is_masked;
            } else if let Some(line) = Line::of(&call.program, &call.arguments)
                && line.units.iter().any(|named| named == unit)
            {
                state.change(&line);
            }
        }
        state
    }

    fn change(&mut self, line: &Line) {
        match &*line.verb {
            "unmask" => self.is_masked = false,
            "mask" => self.is_masked = true,
            "disable" => self.is_enabled = false,
            "enable" | "reenable" if !self.is_masked => self.is_enabled = true,
            _ => {}
        }
        if line.stops() {
            self.is_active = false;
        } else if line.starts() && !self.is_masked {
            self.is_active = true;
        }
    }

    fn active(self) -> &'static str {
        match self.is_active {
            true => "active",
            false => "inactive",
        }
    }

    fn enabled(self) -> &'static str {
        match self {
            State {
                is_masked: true, ..
            } => "masked",
            State {
                is_enabled: true, ..
            } => "enabled",
            _ => "disabled",
        }
    }

    fn loaded(self) -> &'static str {
        match self.is_masked {
            true => "masked",
            false => "loaded",
        }
    }

    /// The state in the words of the unit's type.
    fn sub(self, unit: &str) -> &'static str {
        match unit.rsplit_once('.') {
            _ if !self.is_active => "dead",
            Some((_, "service" | "scope")) => "running",
            Some((_, "timer" | "path" | "automount")) => "waiting",
            Some((_, "socket")) => "listening",
            Some((_, "mount")) => "mounted",
            Some((_, "device")) => "plugged",
            _ => "active",
        }
    }
}

/// Answers a call, after the earlier ones.
pub(super) fn answer(
    program: &str,
    arguments: &[String],
    calls: &[Call],
    output: &mut Output<'_>,
) -> Answer {
    let line = Line::of(program, arguments).unwrap_or_default();
    let states: Vec<(&str, State)> = line
        .units
        .iter()
        .map(|unit| (&**unit, State::of(unit, calls)))
        .collect();
    let out = &mut *output.out;
    let any = |is: fn(State) -> bool| states.iter().any(|(_, state)| is(*state));
    let read = match &*line.verb {
        "is-active" => {
            print_each(&line, &states, State::active, out);
            u8::from(!any(|state| state.is_active)) * NOT_RUNNING
        }
        "is-failed" => {
            print_each(&line, &states, State::active, out);
            1
        }
        "is-enabled" => {
            print_each(&line, &states, State::enabled, out);
            u8::from(!any(|state| state.is_enabled && !state.is_masked))
        }
        "is-system-running" => {
            if !line.is_quiet {
                let _ = writeln!(out, "running");
            }
            0
        }
        "show" => {
            // A reader that has left wants no more.
            let _ = show(&line, &states, out);
            0
        }
        "status" => {
            let _ = status(&states, out);
            u8::from(any(|state| !state.is_active)) * NOT_RUNNING
        }
        verb => {
            let needs_it = line.starts() || ["enable", "reenable"].contains(&verb);
            let masked = states.iter().find(|(_, state)| state.is_masked);
            if let (Some((unit, _)), true) = (masked, needs_it) {
                let problem = format!("Failed to {verb} {unit}: Unit {unit} is masked.");
                let _ = writeln!(output.err, "{problem}");
                return Answer::recorded(1);
            }
            let named = |unit: &&str| line.units.iter().any(|named| named == unit);
            let mut answer = Answer::recorded(0);
            if line.starts() && SETS_PARAMETERS.iter().any(named) {
                answer.set = sysctl::of_system();
            }
            return answer;
        }
    };
    Answer::read(read)
}

fn print_each(
    line: &Line,
    states: &[(&str, State)],
    word: fn(State) -> &'static str,
    out: &mut dyn Write,
) {
    if !line.is_quiet {
        for (_, state) in states {
            let _ = writeln!(out, "{}", word(*state));
        }
    }
}

fn show(line: &Line, states: &[(&str, State)], out: &mut dyn Write) -> io::Result<()> {
    for (at, (unit, state)) in states.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        // In the order of the real one.
        for (name, value) in [
            ("Id", *unit),
            ("LoadState", state.loaded()),
            ("ActiveState", state.active()),
            ("SubState", state.sub(unit)),
            ("UnitFileState", state.enabled()),
        ] {
            let is_asked_for =
                line.properties.is_empty() || line.properties.iter().any(|asked| asked == name);
            match line.values_only {
                _ if !is_asked_for => {}
                true => writeln!(out, "{value}")?,
                false => writeln!(out, "{name}={value}")?,
            }
        }
    }
    Ok(())
}

fn status(states: &[(&str, State)], out: &mut dyn Write) -> io::Result<()> {
    for (at, (unit, state)) in states.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        let mark = if state.is_active { '●' } else { '○' };
        let (loaded, enabled) = (state.loaded(), state.enabled());
        let (active, sub) = (state.active(), state.sub(unit));
        writeln!(out, "{mark} {unit}")?;
        writeln!(out, "     Loaded: {loaded} ({unit}; {enabled})")?;
        writeln!(out, "     Active: {active} ({sub})")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
