//! Facts as text.

use std::fmt::{self, Write as _};

use super::facts::Facts;

/// The whole file. Metrics come in a fixed order, each with its help, and only when there is something to say.
pub(crate) fn text(facts: &Facts) -> String {
    let mut out = Text::default();
    let version = env!("CARGO_PKG_VERSION");
    out.metric(
        "basalt_agent_info",
        Gauge,
        "The agent and the node it looks after.",
        [(&[("version", version), ("node", &facts.node)][..], 1.0)],
    );
    out.metric(
        "basalt_metrics_written_timestamp_seconds",
        Gauge,
        "When the agent wrote this; it does so at least every minute.",
        [(&[][..], float(facts.now))],
    );
    let phase: &[(&str, &str)] = &[("phase", &facts.phase)];
    out.metric("basalt_phase", Gauge, "1 for the phase that the node is in.", [(phase, 1.0)]);
    let generation = facts.generation.map(|number| (&[][..], unsigned(number)));
    out.metric(
        "basalt_generation",
        Gauge,
        "The generation of node.json that the node has.",
        generation,
    );
    out.metric(
        "basalt_round_failures",
        Gauge,
        "What could not be done in the last round.",
        [(&[][..], unsigned(facts.failures))],
    );
    let clock = facts.clock.as_ref().map(|clock| (&[][..], flag(clock.is_good())));
    out.metric(
        "basalt_clock_good",
        Gauge,
        "Whether the clock may be believed; otherwise no certificate is called expired.",
        clock,
    );
    certificates(&mut out, facts);
    let issuers: Vec<[(&str, &str); 3]> = (facts.issuers.iter())
        .map(|it| {
            [("certificate", it.certificate.as_str()), ("issuer", &it.issuer), ("stage", &it.stage)]
        })
        .collect();
    out.metric(
        "basalt_certificate_issuer_stage",
        Gauge,
        "1 for the stage in which each issuer of a certificate is on this node.",
        issuers.iter().map(|labels| (&labels[..], 1.0)),
    );
    secret_files(&mut out, facts);
    vault(&mut out, facts);
    out.text
}

fn certificates(out: &mut Text, facts: &Facts) {
    let labels: Vec<[(&str, &str); 1]> =
        facts.certificates.iter().map(|it| [("certificate", it.name.as_str())]).collect();
    let mut each = |name: &str, kind, help: &str, value: &dyn Fn(usize) -> Option<f64>| {
        let of = |(index, labels)| Some((labels as &[(&str, &str)], value(index)?));
        let samples: Vec<_> = labels.iter().map(|it| &it[..]).enumerate().filter_map(of).collect();
        out.metric(name, kind, help, samples);
    };
    let all = &facts.certificates;
    each(
        "basalt_certificate_not_after_timestamp_seconds",
        Gauge,
        "When the certificate in its folder ends.",
        &|index| all[index].not_after.map(float),
    );
    each(
        "basalt_certificate_expiry_seconds",
        Gauge,
        "Seconds until the certificate ends, counted when this was written; negative afterwards.",
        &|index| all[index].not_after.map(|end| float(end - facts.now)),
    );
    each(
        "basalt_certificate_renew_at_timestamp_seconds",
        Gauge,
        "When the certificate is to be renewed.",
        &|index| all[index].renew_at.map(float),
    );
    each(
        "basalt_certificate_placeholder",
        Gauge,
        "Whether a certificate that the node signed itself stands in.",
        &|index| all[index].not_after.map(|_| flag(all[index].is_placeholder)),
    );
    each(
        "basalt_certificate_proved",
        Gauge,
        "Whether a TLS handshake has shown the certificate in use.",
        &|index| all[index].is_proved.map(flag),
    );
    each(
        "basalt_certificate_renew_attempts_total",
        Counter,
        "Tries to renew the certificate.",
        &|index| all[index].attempts.map(unsigned),
    );
    each(
        "basalt_certificate_renew_failures_total",
        Counter,
        "Tries to renew the certificate that failed.",
        &|index| all[index].failures.map(unsigned),
    );
    each(
        "basalt_certificate_renew_failures_in_a_row",
        Gauge,
        "Tries that failed since the last good one.",
        &|index| all[index].failures_in_a_row.map(unsigned),
    );
}

fn secret_files(out: &mut Text, facts: &Facts) {
    let of = |name: &'_ str| [("file", name.to_owned())];
    let labels: Vec<[(&str, String); 1]> =
        facts.secret_files.iter().map(|it| of(&it.name)).collect();
    let labels: Vec<[(&str, &str); 1]> =
        labels.iter().map(|[(key, value)]| [(*key, value.as_str())]).collect();
    let files = || labels.iter().zip(&facts.secret_files);
    let confirmed: Vec<_> = files()
        .filter_map(|(labels, file)| Some((&labels[..], float(file.confirmed_at?))))
        .collect();
    out.metric(
        "basalt_secret_file_confirmed_timestamp_seconds",
        Gauge,
        "When Vault last had what is in the file.",
        confirmed,
    );
    let failures: Vec<_> =
        files().map(|(labels, file)| (&labels[..], unsigned(file.failures_in_a_row))).collect();
    out.metric(
        "basalt_secret_file_failures_in_a_row",
        Gauge,
        "Looks at Vault for the file that failed since the last good one.",
        failures,
    );
}

fn vault(out: &mut Text, facts: &Facts) {
    let Some(vault) = &facts.vault else { return };
    let servers: Vec<_> = (vault.servers.iter())
        .map(|it| ([("server", it.address.as_str()), ("state", it.state.as_str())], it.is_usable))
        .collect();
    out.metric(
        "basalt_vault_server_usable",
        Gauge,
        "Whether a server of Vault answers questions; its label says how it stands.",
        servers.iter().map(|(labels, is_usable)| (&labels[..], flag(*is_usable))),
    );
    let latency = vault.latency_seconds.map(|seconds| (&[][..], seconds));
    out.metric(
        "basalt_vault_latency_seconds",
        Gauge,
        "How long Vault's last good answer took.",
        latency,
    );
    for (name, help, number) in [
        ("basalt_vault_calls_total", "Requests sent to Vault.", vault.calls),
        ("basalt_vault_failures_total", "Requests without an answer that counts.", vault.failures),
        ("basalt_vault_logins_total", "Logins that went well.", vault.logins),
    ] {
        out.metric(name, Counter, help, [(&[][..], unsigned(number))]);
    }
    let identity = vault.identity_not_after.map(|end| (&[][..], float(end)));
    out.metric(
        "basalt_identity_not_after_timestamp_seconds",
        Gauge,
        "When the identity ends by which the node logs in to Vault.",
        identity,
    );
}

/// What a number is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// It goes up and down.
    Gauge,
    /// It goes up, until the agent starts anew.
    Counter,
}

use Kind::{Counter, Gauge};

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Gauge => "gauge",
            Counter => "counter",
        })
    }
}

/// Labels, and the number they belong to.
pub(super) type Sample<'a> = (&'a [(&'a str, &'a str)], f64);

#[derive(Default)]
pub(super) struct Text {
    pub(super) text: String,
}

impl Text {
    pub(super) fn metric<'a>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'a>>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let out = &mut self.text;
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            out.push_str(name);
            for (index, (key, value)) in labels.iter().enumerate() {
                let _ = write!(
                    out,
                    "{}{key}=\"{}\"",
                    if index == 0 { '{' } else { ',' },
                    Escaped(value)
                );
            }
            let _ = writeln!(out, "{} {value}", if labels.is_empty() { "" } else { "}" });
        }
    }
}

/// A label's value.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

pub(super) fn flag(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 seconds are more than there will be")]
fn float(seconds: i64) -> f64 {
    seconds as f64
}

#[expect(clippy::cast_precision_loss, reason = "nothing is counted up to 2^53")]
pub(super) fn unsigned(number: u64) -> f64 {
    number as f64
}
