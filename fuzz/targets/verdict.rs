//! What every target does with the law it holds bytes against.

use std::panic::{UnwindSafe, catch_unwind, set_hook};

/// libfuzzer ends the process at any panic, also at those of the YAML parser, which our code catches.
pub fn let_panics_be_caught() {
    set_hook(Box::new(|_| {}));
}

/// Ends the process when the law is broken, or panics.
pub fn judge(law: impl FnOnce() -> Result<(), String> + UnwindSafe) {
    match catch_unwind(law) {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => fail(&fault),
        Err(_) => fail("it panics"),
    }
}

fn fail(fault: &str) {
    eprintln!("error: {fault}");
    std::process::abort();
}
