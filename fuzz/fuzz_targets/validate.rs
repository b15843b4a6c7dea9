#![no_main]

use std::sync::LazyLock;

use checks::validate::Package;

/// One package for all inputs: creating its directory takes longer than a check.
static PACKAGE: LazyLock<Package> = LazyLock::new(Package::on_disk);

libfuzzer_sys::fuzz_target!(|data: &[u8]| PACKAGE.check(data));
