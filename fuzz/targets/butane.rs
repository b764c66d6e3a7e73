//! Any bytes as a Butane config.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let options = basalt_butane::Options { files_dir: None, warnings: basalt_butane::Warnings::Allowed, output: basalt_butane::Output::Variant };
    let _ = basalt_butane::compile("a.bu", bytes, &options);
});
