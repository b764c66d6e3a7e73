//! Any bytes as a static pod's manifest: what holds for any text holds.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../static-pods/tests/law/mod.rs"]
mod law;
mod verdict;

fuzz_target!(init: verdict::let_panics_be_caught(), |bytes: &[u8]| {
    verdict::judge(|| law::obeys(bytes));
});
