//! Reads what the reference did.

use std::fs;
use std::path::Path;

/// A golden file's cases.
pub fn golden(name: &str) -> Vec<serde_json::Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/goldens")
        .join(name);
    let json = fs::read(&path).unwrap();
    let golden: serde_json::Value = serde_json::from_slice(&json).unwrap();
    golden["cases"].as_array().unwrap().clone()
}
