//! Whole runs of the agent through the library: all that a run uses is given to it,
//! so that it can run again in one process, and each test has its own.

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::rc::Rc;

use nix::sys::signal::Signal;
use serde_json::json;
use skyhook_agent::commands::agent::{self, Options, Task};
use skyhook_agent::commands::{Outcome, Process};
use skyhook_agent::host::Root;
use skyhook_agent::output::{Console, Sink};
use skyhook_agent::package::Mode;
use skyhook_agent::settings::Settings;
use skyhook_agent::system::cancel::Cancellation;
use skyhook_agent::system::signals::Signals;
use support::{TestClock, fake_chroot_exec, unstamp};
use tempfile::TempDir;

/// A container and a host, both in directories, and a package on the host.
struct World {
    dir: TempDir,
    container: Root,
    clock: TestClock,
    signals: Signals,
    settings: Settings,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let container = dir.path().join("container");
        fs::create_dir_all(container.join("etc")).unwrap();
        fs::write(container.join("etc/resolv.conf"), "nameserver 10.0.0.1\n").unwrap();
        let package = dir.path().join("host/package/skyhook_dir");
        fs::create_dir_all(&package).unwrap();
        let step = |path: &str| {
            fs::write(package.join(path), "").unwrap();
            json!({
                "name": "s", "path": path, "arguments": ["out hello"], "returncodes": [0],
                "on_host": true, "idempotence": false, "upgrade_step": false,
            })
        };
        let config = json!({
            "schema_version": "v1", "package_name": "pkg", "package_version": "1.2.3",
            "expected_config_files": [],
            "modes": { "apply": [step("a.sh")], "apply-check": [step("a_check.sh")] },
        });
        fs::write(package.with_file_name("config.json"), config.to_string()).unwrap();
        let variables = [
            ("SKYHOOK_RESOURCE_ID", "scr_pkg_1.2.3"),
            ("TMPDIR", dir.path().to_str().unwrap()),
        ];
        let environment = variables.map(|(name, value)| (name.into(), value.into()));
        World {
            container: Root::open(&container).unwrap(),
            clock: TestClock::at("2026-05-02T21:51:23.000007"),
            signals: Signals {
                cancellation: Rc::new(Cancellation::on_signals(&[Signal::SIGUSR1]).unwrap()),
                orphans: None,
            },
            settings: Settings::from_environment(environment.into()).unwrap(),
            dir,
        }
    }

    /// Runs a mode; returns its outcome, and its stdout after the banner.
    fn run(&self, mode: Mode) -> (Outcome, String) {
        let sink = |name: &str| {
            let path = self.dir.path().join(name);
            Sink::file(Path::new(name), File::create(path).unwrap())
        };
        let mut console = Console::new(sink("stdout"), sink("stderr"));
        let mut process = Process {
            settings: &self.settings,
            signals: &self.signals,
            clock: &self.clock,
            chroot_exec: &fake_chroot_exec(),
            own_root: &self.container,
            console: &mut console,
            observer: None,
        };
        let options = Options {
            task: Task::Steps(mode),
            root_mount: self.dir.path().join("host").to_str().unwrap().to_owned(),
            copy_dir: "/package".to_owned(),
        };
        let resource = self.settings.resource_id().unwrap();
        let outcome = agent::run(&options, &resource, &mut process).unwrap();
        assert_eq!(self.text("stderr"), "");
        let stdout = self.text("stdout");
        let rule = "-".repeat(20) + "\n";
        let (_, said) = stdout.rsplit_once(&rule).unwrap();
        (outcome, unstamp("[out]", said))
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap()
    }
}

#[test]
fn a_run_can_be_made_twice_in_one_process() {
    let world = World::new();
    let header = "apply a.sh ['out hello'] [0] Idempotence.Auto True\n";
    assert_eq!(
        world.run(Mode::Apply),
        (
            Outcome::Succeeded,
            format!("{header}helloSUCEEDED: a.sh out hello\n")
        )
    );
    assert_eq!(
        world.text("host/etc/resolv.conf"),
        "nameserver 10.0.0.1\n",
        "the container's own"
    );
    let (outcome, said) = world.run(Mode::Apply);
    assert_eq!(outcome, Outcome::Succeeded);
    assert!(said.starts_with("Skipping a.sh because "), "{said}");
    assert_eq!(world.run(Mode::ApplyCheck).0, Outcome::Succeeded);

    let flag = "host/etc/skyhook/flags/pkg/1.2.3/a.sh_WydvdXQgaGVsbG8nXV9bMF0=";
    assert_eq!(
        world.text(flag),
        "last_run: 2026-05-02T21:51:23.000007\nstep_always_runs: False"
    );
    let history = world.text("host/etc/skyhook/history/pkg.json");
    assert!(history.contains("2026-05-02T21:51:23.000007+00:00"));
    let logs = world.dir.path().join("host/var/log/skyhook/pkg/1.2.3");
    assert!(logs.join("a.sh-2026-05-02-215123.log").exists());
}
