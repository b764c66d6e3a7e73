//! Made-up configs, compiled by the reference, back to Butane by ours, and compiled by the reference again.

use basalt_butane::{ReverseOptions, Warnings, reverse};
use basalt_model::report::Report;
use basalt_model::yaml::{Value as YamlValue, parse};
use serde_json::Value;

use crate::case::Case;
use crate::compare::ours;
use crate::differential::Bench;
use crate::generate::case;
use crate::reference::{Reference, Wanted};
use crate::unpack::value_of;

/// How many configs are made up. About one in three compiles.
const COUNT_VARIABLE: &str = "BASALT_BUTANE_CASES";

#[test]
fn the_reference_makes_the_same_of_what_is_reversed() {
    let Some(reference) = Reference::find() else { return };
    let bench = Bench::with_made_up_files(reference);
    let count = std::env::var(COUNT_VARIABLE).map_or(2000, |text| text.parse().unwrap());
    let cases: Vec<Case> = (0..count).map(|seed| case(&bench.specifications, seed)).collect();
    let configs: Vec<(String, Wanted)> =
        cases.iter().map(|case| (case.text(), case.wanted)).collect();
    let compiled = bench.reference.compile(&configs, &bench.files);

    let mut reversed = Vec::new();
    for ((butane, wanted), answer) in configs.iter().zip(compiled) {
        let Some(config) = answer.output else { continue };
        // What we refuse, with reason, is not to be reversed either.
        if ours(butane, *wanted, &bench.files).is_none_or(|ours| ours.output.is_none()) {
            continue;
        }
        let variant = variant(butane).filter(|variant| variant != "openshift");
        let options = ReverseOptions { variant: variant.as_deref(), warnings: Warnings::Allowed };
        let (text, report) = reverse("config.ign", config.as_bytes(), &options);
        let text = text.unwrap_or_else(|| panic!("{report}\n{config}\n{butane}"));
        reversed.push((config, text));
    }
    assert!(reversed.len() > 100, "{}", reversed.len());

    let again: Vec<(String, Wanted)> =
        reversed.iter().map(|(_, text)| (text.clone(), Wanted::Variant)).collect();
    let again = bench.reference.compile(&again, &bench.files);
    for ((config, text), answer) in reversed.iter().zip(again) {
        let value = |config: &str| -> Value { value_of(config) };
        let output = answer.output.unwrap_or_else(|| panic!("{}\n{text}\n{config}", answer.error));
        assert_eq!(value(&output), value(config), "{text}");
    }
}

fn variant(butane: &str) -> Option<String> {
    let root = parse(butane.as_bytes(), &mut Report::new(""))?.first?;
    let YamlValue::Map(entries) = &root.resolved().value else { return None };
    let is_variant = |key: &str| key == "variant";
    let (_, value) =
        entries.iter().find(|(key, _)| key.as_scalar().is_some_and(|key| is_variant(&key.text)))?;
    value.as_scalar().map(|scalar| scalar.text.clone())
}
