//! What a Pod may say, read off the linter's table: a test holds that against Kubernetes' own types.

use basalt_static_pods::lint::fields::{POD, Takes};

/// What a manifest is, to begin with.
pub(crate) const ROOT: &Takes = &Takes::Object("Pod");

/// What is in a list or a map.
pub(crate) fn inner(takes: &Takes) -> Option<&Takes> {
    match takes {
        Takes::List(inner) | Takes::Map(inner) => Some(inner),
        _ => None,
    }
}

/// What belongs below a key.
pub(crate) fn below(takes: &'static Takes, key: &str) -> &'static Takes {
    let found = match takes {
        Takes::Object(of) => {
            let field = POD.fields_of(of).iter().find(|field| field.name == key);
            field.map(|field| &field.takes)
        }
        takes => inner(takes),
    };
    found.unwrap_or(&Takes::Any)
}
