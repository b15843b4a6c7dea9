#![no_main]

use std::sync::LazyLock;

use checks::package::Package;

static PACKAGE: LazyLock<Package> = LazyLock::new(Package::on_disk);

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::validate::check(&PACKAGE, data));
