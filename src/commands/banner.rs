//! The banner of a run, byte for byte as the reference prints it
//! (contract §7.1), and the first line on stderr (§12).

use crate::output::log_name;
use crate::python;
use crate::settings::{ResourceId, Settings};
use crate::state::Layout;

use super::options::{Options, Task};

/// Names a run: its mode, package and version.
#[must_use]
pub fn name_of_run(options: &Options, resource: &ResourceId) -> String {
    let mode = options.task.name();
    format!("{mode} {} {}", resource.package, resource.version)
}

/// Lists the lines of the banner.
pub(super) fn lines(options: &Options, settings: &Settings, resource: &ResourceId) -> Vec<String> {
    let Settings {
        data_dir,
        root_dir,
        log_dir,
        buffer_limit,
        ..
    } = settings;
    let layout = Layout {
        root_dir,
        package: &resource.package,
        version: &resource.version,
    };
    let package_log_dir = log_name::dir(log_dir.as_ref(), &resource.package, &resource.version);
    let interrupt_data = match &options.task {
        Task::Interrupt { data, .. } => data,
        Task::Steps(_) | Task::Unknown(_) => "None",
    };
    let always_run_step = python::boolean(settings.always_run_step);
    let rule = "-".repeat(20);
    vec![
        rule.clone(),
        "-CLI CONFIGURATION--".to_owned(),
        format!("mode: {}", options.task.name()),
        format!("root_mount: {}", options.root_mount),
        format!("copy_dir: {}", options.copy_dir),
        format!("interrupt_data: {interrupt_data}"),
        format!("always_run_step: {always_run_step}"),
        "-ENV CONFIGURATION--".to_owned(),
        format!("COPY_RESOLV: {}", python::boolean(settings.copy_resolv)),
        format!("OVERLAY_ALWAYS_RUN_STEP: {always_run_step}"),
        format!("SKYHOOK_RESOURCE_ID: {}", resource.whole),
        format!("SKYHOOK_DATA_DIR: {data_dir}"),
        format!("SKYHOOK_ROOT_DIR: {root_dir}"),
        format!("SKYHOOK_LOG_DIR: {log_dir}"),
        format!("SKYHOOK_AGENT_BUFFER_LIMIT: {buffer_limit}"),
        format!(
            "SKYHOOK_AGENT_WRITE_LOGS: {}",
            python::boolean(settings.write_logs)
        ),
        "Directory CONFIGURATION".to_owned(),
        format!("flag_dir: {}", layout.flag_dir()),
        format!("log_dir: {}", package_log_dir.display()),
        format!("history_file: {}", layout.history_file()),
        rule,
    ]
}
