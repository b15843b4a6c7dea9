//! The life of a package, stage by stage, and what is written down of it.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Instant;

use super::Options;
use super::cut::Counts;
use super::diff::Differ;
use super::live::Live;
use super::package::{LOG_DIR, Package, STATE_DIR};
use super::plan::{self, Pass, Stage as Planned, Version};
use super::recorder::Recorder;
use super::report::{self, Report, Stage, StageOutcome};
use super::stage::{self, Cut, Ended, Run, Why};
use crate::error::Error;
use crate::host::Root;
use crate::output::log_name;
use crate::package::Mode;
use crate::settings::{self, Environment};
use crate::system::cancel::Cancellation;
use crate::view::{self, View};

/// The root of the node in the agent's container.
const ROOT_MOUNT: &str = "/root";

/// The variables of the agent's image.
const OF_THE_IMAGE: [(&str, &str); 3] = [
    ("LANG", "C.UTF-8"),
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("HOME", "/"),
];

/// What the operator sets, and what the view needs: it is gone soon, and a file for the
/// reason of a failure would be one of the view.
const OF_THE_OPERATOR: [(&str, &str); 6] = [
    ("SKYHOOK_ROOT_DIR", STATE_DIR),
    ("SKYHOOK_LOG_DIR", LOG_DIR),
    ("COPY_RESOLV", "false"),
    ("SKYHOOK_NODE_ORDER", "0"),
    ("SKYHOOK_AGENT_SYNC", "false"),
    ("SKYHOOK_AGENT_TERMINATION_LOG", ""),
];

/// A rehearsal of a package.
pub(super) struct Rehearsal<'a> {
    pub(super) options: &'a Options,
    /// The root, absolute.
    pub(super) root: &'a Path,
    pub(super) keep: Option<&'a Path>,
    pub(super) package: &'a Package,
    pub(super) old: Option<&'a Package>,
    pub(super) cancellation: &'a Cancellation,
    pub(super) live: Live<'a>,
    pub(super) report: Report,
    pub(super) counts: Counts,
    /// What is shown first, if there can be a view.
    pub(super) heading: String,
    pub(super) has_shown_shell: bool,
}

/// How a list of stages went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    Well,
    Wrong,
}

impl Rehearsal<'_> {
    /// Lives the life, and one more in which stages are cut off.
    pub(super) fn run(&mut self) -> Result<(), Error> {
        let since = Instant::now();
        let old = self.old.map(|old| &old.config);
        let has_interrupt = self.options.interrupt.is_some();
        let life = plan::plan(&self.package.config, old, has_interrupt);
        if self.live_whole(&life)? == Went::Well && self.options.cut {
            self.live_cut(&life)?;
        }
        self.report.seconds = since.elapsed().as_secs_f64();
        self.report.join_findings();
        self.report.note_for_the_operator();
        self.report.ok = self.report.is_ok();
        Ok(())
    }

    /// The life from installing to uninstalling. Returns how installing went.
    fn live_whole(&mut self, life: &plan::Life) -> Result<Went, Error> {
        let mut view = self.view(self.keep)?;
        self.live.heading(&self.heading)?;
        let mut differ = match self.options.diff {
            true => Some(Differ::new(Root::open(self.root)?)),
            false => None,
        };
        let went = self.stages(&life.first, &mut view, &mut differ)?;
        if went == Went::Well {
            // A failure of one does not keep the next one from being seen.
            self.stages(&life.again, &mut view, &mut differ)?;
            self.stages(&life.forced, &mut view, &mut differ)?;
            let uninstalled = self.stages(&life.uninstall, &mut view, &mut differ)?;
            if uninstalled == Went::Well && !life.uninstall.is_empty() {
                self.note_leftovers(&view, differ.as_mut())?;
            }
        }
        self.report.gaps.extend_from_slice(view.gaps());
        // As in the last of its stages.
        if let Some(last) = life.first.last() {
            self.shell(*last, &view)?;
        }
        Ok(went)
    }

    fn note_leftovers(&mut self, view: &View, differ: Option<&mut Differ>) -> Result<(), Error> {
        let differences = view.differences()?;
        let root = Root::open(view.root())?;
        self.report.add_left_behind(&differences, differ, &root);
        Ok(())
    }

    pub(super) fn view(&self, keep: Option<&Path>) -> Result<View, Error> {
        let mut view = View::make(&view::Options {
            root: self.root,
            keep,
            network: self.options.network,
            cmdline: self.options.cmdline.as_deref(),
            stand_ins: &self.options.stand_ins,
            binary: Path::new("/proc/self/exe"),
        })?;
        for package in self.old.into_iter().chain([self.package]) {
            package.copy(view.root(), self.options, self.cancellation)?;
        }
        // What has changed so far is the rehearsal's own.
        view.scan()?;
        Ok(view)
    }

    /// Runs stages until one fails.
    fn stages(
        &mut self,
        stages: &[Planned],
        view: &mut View,
        differ: &mut Option<Differ>,
    ) -> Result<Went, Error> {
        for planned in stages {
            if self.stage(*planned, view, None, differ)? == Went::Wrong {
                return Ok(Went::Wrong);
            }
        }
        Ok(Went::Well)
    }

    /// Runs a stage. An interrupt that asks for a reboot is started again after it.
    pub(super) fn stage(
        &mut self,
        planned: Planned,
        view: &mut View,
        cut: Option<Cut>,
        differ: &mut Option<Differ>,
    ) -> Result<Went, Error> {
        // A second reboot is none that the package asked for.
        for _ in 0..2 {
            let stage = self.run_stage(planned, view, cut, differ)?;
            let (has_failed, outcome) = (stage.has_failed(), stage.outcome);
            if planned.has_steps || has_failed {
                let title = self.title(planned.pass);
                self.live.end(&stage, &title)?;
                self.report.stages.push(stage);
            }
            self.live.erase()?;
            if has_failed {
                self.shell(planned, view)?;
                return Ok(Went::Wrong);
            }
            if outcome != StageOutcome::Rebooted {
                break;
            }
            view.play_reboot()?;
        }
        Ok(Went::Well)
    }

    fn run_stage(
        &mut self,
        planned: Planned,
        view: &mut View,
        cut: Option<Cut>,
        differ: &mut Option<Differ>,
    ) -> Result<Stage, Error> {
        let run = self.what_to_run(planned, cut);
        self.live.begin(planned)?;
        let mut recorder = Recorder::new(planned, &mut self.report, &mut self.live, differ);
        let ended = stage::run(&run, view, self.cancellation, &mut recorder)?;
        recorder.finish(view)?;
        self.count(planned, &ended);
        Ok(self.judge(planned, ended, view))
    }

    fn what_to_run(&self, planned: Planned, cut: Option<Cut>) -> Run {
        let Planned { pass, mode, .. } = planned;
        let package = self.package_of(planned.version);
        let mut arguments = vec![
            mode.name().to_owned(),
            ROOT_MOUNT.to_owned(),
            package.copy_dir.clone(),
        ];
        let is_interrupt = mode == Mode::Interrupt;
        let interrupt = self.options.interrupt.as_ref();
        if let Some(interrupt) = interrupt.filter(|_| is_interrupt) {
            arguments.push(interrupt.base64.clone());
        }
        let environment = self.environment(planned);
        Run {
            arguments,
            environment,
            limit: self.options.timeout,
            is_counted: self.options.cut && plan::is_cut_later(pass),
            cut,
            is_interrupt,
        }
    }

    /// The environment of a stage: the image's, the package's, the operator's.
    fn environment(&self, planned: Planned) -> Vec<(String, String)> {
        let Planned { pass, mode, .. } = planned;
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut environment: Vec<_> = OF_THE_IMAGE.iter().map(pair).collect();
        if let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
            environment.push(("HOSTNAME".to_owned(), name.trim_end().to_owned()));
        }
        // The operator gives an interrupt none of the package's.
        if mode != Mode::Interrupt {
            environment.extend(self.options.env.iter().cloned());
        }
        if pass == Pass::Forced {
            environment.push(("OVERLAY_ALWAYS_RUN_STEP".to_owned(), "true".to_owned()));
        }
        environment.extend(OF_THE_OPERATOR.iter().map(pair));
        let resource_id = self.package_of(planned.version).resource_id.clone();
        environment.push(("SKYHOOK_RESOURCE_ID".to_owned(), resource_id));
        environment
    }

    fn package_of(&self, version: Version) -> &Package {
        match (version, self.old) {
            (Version::Old, Some(old)) => old,
            _ => self.package,
        }
    }

    fn judge(&self, planned: Planned, ended: Ended, view: &View) -> Stage {
        let code = stage::code(ended.status);
        let outcome = match ended.why {
            Why::Cut => StageOutcome::Cut,
            Why::OutOfTime => StageOutcome::OutOfTime,
            Why::Reboot if code == 0 => StageOutcome::Rebooted,
            Why::ByItself if code == 0 => StageOutcome::Succeeded,
            Why::ByItself | Why::Reboot | Why::NotTheAgent => StageOutcome::Failed,
        };
        let mut stage = Stage {
            mode: planned.mode,
            pass: planned.pass,
            outcome,
            seconds: ended.time.as_secs_f64(),
            steps: ended.steps,
            output: String::new(),
            log: None,
        };
        if !stage.has_failed() {
            return stage;
        }
        stage.output = String::from_utf8_lossy(&ended.said).into_owned();
        let why = match ended.why {
            Why::NotTheAgent => Some("what the agent sent was not the agent's".to_owned()),
            Why::ByItself if code < 0 => Some(format!(
                "the agent was ended by signal {}, which a step may have sent",
                -code
            )),
            _ => None,
        };
        if let Some(why) = why {
            if !stage.output.is_empty() && !stage.output.ends_with('\n') {
                stage.output.push('\n');
            }
            stage.output += &format!("rehearse: {why}\n");
        }
        let failed = stage
            .steps
            .iter()
            .rev()
            .find(|step| step.outcome.is_failure());
        stage.log = failed.and_then(|step| self.newest_log(planned.version, &step.path, view));
        stage
    }

    /// The log of the last run of a step, in the view.
    fn newest_log(&self, version: Version, step: &str, view: &View) -> Option<String> {
        let config = &self.package_of(version).config;
        let (name, version) = (&config.package_name, &config.package_version);
        let path = log_name::dir(LOG_DIR.as_ref(), name, version).join(step);
        let (dir, step) = (path.parent()?, path.file_name()?);
        let root = Root::open(view.root()).ok()?;
        let names = root.open_dir(dir).ok()?.names(|name| {
            log_name::LogName::parse(name).is_some_and(|log| log.step == step && !log.is_err)
        });
        // Their names have the time.
        let newest = names.ok()?.into_iter().max()?;
        Some(report::shown(&dir.join(newest)))
    }

    /// The first line of a pass.
    fn title(&self, pass: Pass) -> String {
        match pass {
            Pass::Old => format!(
                "Version {}",
                self.report.from.as_deref().unwrap_or("before")
            ),
            Pass::First if self.old.is_some() => {
                format!("Upgrade to version {}", self.report.version)
            }
            Pass::First => "First pass".to_owned(),
            Pass::Again => "Again, with the flags as they are".to_owned(),
            Pass::Forced => "Again, with OVERLAY_ALWAYS_RUN_STEP=true".to_owned(),
            Pass::Uninstall => "Uninstall".to_owned(),
            Pass::Cut | Pass::Anew => "Each stage cut off, and started anew".to_owned(),
        }
    }

    /// Opens a shell in the view, once, with the environment of the steps of a stage.
    fn shell(&mut self, planned: Planned, view: &View) -> Result<(), Error> {
        if !self.options.shell || self.has_shown_shell {
            return Ok(());
        }
        self.has_shown_shell = true;
        self.live
            .note("a shell in the view; the rehearsal goes on when it ends")?;
        let copy_dir = self.package_of(planned.version).copy_dir.clone();
        let mut environment = self.environment(planned);
        environment.push(("STEP_ROOT".to_owned(), format!("{copy_dir}/skyhook_dir")));
        environment.push(("SKYHOOK_DIR".to_owned(), copy_dir));
        let environment = environment.into_iter();
        let mut environment: Environment = environment
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let term = settings::environment().remove(OsStr::new("TERM"));
        environment.extend(term.map(|term| ("TERM".into(), term)));
        view.shell(environment)?;
        Ok(())
    }
}
