//! `openshift.fips`: a cipher for encrypted volumes that FIPS 140-2 allows; the default one it does not.

use crate::lower::sort;
use crate::tree::{Tree, Value};
use crate::version::Target;

/// Adds the cipher to each volume that names none itself. `written` has at least the section `openshift`.
pub(crate) fn add_cipher(written: &Tree, config: &mut Tree, target: &Target) {
    if !target.openshift.is_some_and(|openshift| openshift.has_fips_cipher()) {
        return;
    }
    let fips = written.get("openshift").and_then(|section| section.get("fips"));
    let Some(fips) = fips.filter(|fips| matches!(fips.value, Value::Flag(true))) else { return };
    let volumes = config.get_mut("storage").and_then(|storage| storage.get_mut("luks"));
    let Some(Value::List(volumes)) = volumes.map(|volumes| &mut volumes.value) else { return };
    for volume in volumes {
        let names_cipher = |option: &Tree| {
            option.as_text().is_some_and(|text| {
                matches!(text, "--cipher" | "-c") || text.starts_with("--cipher=")
            })
        };
        if volume.items("options").iter().any(names_cipher) {
            continue;
        }
        let added =
            ["--cipher", "aes-cbc-essiv:sha256"].map(|option| Tree::text_at(&fips.origin, option));
        match volume.get_mut("options").map(|options| &mut options.value) {
            Some(Value::List(options)) => options.extend(added),
            Some(_) => {}
            None => {
                volume.set("options", Tree::list_at(&fips.origin, added.to_vec()));
                sort(volume);
            }
        }
    }
}
