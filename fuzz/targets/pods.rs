//! Any bytes as a static pod's manifest: what holds for any text holds.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../static-pods/tests/law/mod.rs"]
mod law;

fuzz_target!(init: let_panics_be_caught(), |bytes: &[u8]| {
    match std::panic::catch_unwind(|| law::obeys(bytes)) {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => fail(&fault),
        Err(_) => fail("it panics"),
    }
});

/// libfuzzer ends the process at any panic, also at those of the YAML parser, which the linter catches.
fn let_panics_be_caught() {
    std::panic::set_hook(Box::new(|_| {}));
}

fn fail(fault: &str) {
    eprintln!("error: {fault}");
    std::process::abort();
}
