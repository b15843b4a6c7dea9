//! Runs the fuzz targets' checks on every seed in testdata/fuzz: see fuzz/.

#[allow(
    missing_docs,
    unreachable_pub,
    reason = "a library to the fuzz targets"
)]
#[path = "../fuzz/src/lib.rs"]
mod checks;

use std::fs;
use std::path::Path;

/// Every seed of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/fuzz");
    let files = fs::read_dir(dir.join(target)).unwrap();
    let seeds: Vec<_> = files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect();
    assert!(!seeds.is_empty(), "no seeds of {target}");
    seeds
}

#[test]
fn the_stamper_agrees_with_the_model_on_every_seed() {
    seeds("stamper")
        .iter()
        .for_each(|seed| checks::stamper::check(seed));
}

#[test]
fn every_config_seed_is_accepted_or_refused_as_it_should_be() {
    let package = checks::package::Package::on_disk();
    seeds("config")
        .iter()
        .for_each(|seed| checks::config::check(&package, seed));
}

#[test]
fn every_interrupt_seed_has_the_commands_of_the_contract() {
    seeds("interrupt")
        .iter()
        .for_each(|seed| checks::interrupt::check(seed));
}

#[test]
fn every_log_seed_is_read_as_the_model_says() {
    seeds("log_reader")
        .iter()
        .for_each(|seed| checks::log_reader::check(seed));
}

#[test]
fn every_control_seed_is_prepared_as_the_model_says() {
    seeds("control")
        .iter()
        .for_each(|seed| checks::control::check(seed));
}

#[test]
fn every_marker_seed_is_printed_as_python_prints_it() {
    seeds("marker")
        .iter()
        .for_each(|seed| checks::marker::check(seed));
}

#[test]
fn every_flag_seed_is_read_back_only_if_python_prints_it_so() {
    seeds("flag")
        .iter()
        .for_each(|seed| checks::flag::check(seed));
}

/// The seeds of config.json are such, too.
#[test]
fn every_validate_seed_has_the_agent_s_verdict_and_can_be_shown() {
    let package = checks::package::Package::on_disk();
    for seed in [seeds("validate"), seeds("config")].concat() {
        checks::validate::check(&package, &seed);
    }
}
