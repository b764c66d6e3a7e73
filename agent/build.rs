//! How the program is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let of_target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}"));
    let is_glibc = of_target("OS").is_ok_and(|it| it == "linux")
        && of_target("ENV").is_ok_and(|it| it == "gnu");
    // The loader reads every relocation at the start, and they stay in memory: 0.8 MiB of them, or 10 KiB when they are
    // packed (DT_RELR). It takes glibc 2.36 to read those; every Fedora CoreOS that is still maintained has a newer one.
    if is_glibc {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
