//! Where the service's log goes: to the journal with its fields, or to stderr.

use std::io::IsTerminal;

use rustix::fs::fstat;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::LogLevel;

/// What libraries say below a warning is kept out: at `debug` those that speak HTTP write down headers and bodies, and
/// with them tokens and secrets.
const OURS: &str = "basalt";

/// Starts logging. Fields appear in the journal with this prefix: `BASALT_PATH=…`.
pub(crate) fn start(level: LogLevel) {
    let filter = filter(match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    });
    let journal = stderr_is_the_journal()
        .then(tracing_journald::layer)
        .and_then(Result::ok)
        .map(|layer| layer.with_field_prefix(Some("BASALT".to_owned())));
    let stderr = journal.is_none().then(|| {
        let is_colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(is_colored)
            .with_target(false)
            .without_time()
            // It would say on the same stderr, by a macro that panics, that the stream is closed.
            .log_internal_errors(false)
    });
    tracing_subscriber::registry()
        .with(journal.map(|layer| layer.with_filter(filter.clone())))
        .with(stderr.map(|layer| layer.with_filter(filter)))
        .init();
}

fn filter(level: LevelFilter) -> Targets {
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(OURS, level)
}

/// Whether stderr is the stream that systemd connected to the journal. The variable alone does not say so: a shell that
/// a service started hands it on to programs that write elsewhere (systemd.exec(5), `$JOURNAL_STREAM`).
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = fstat(rustix::stdio::stderr()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_keep_to_warnings() {
        let debug = filter(LevelFilter::DEBUG);
        assert!(debug.would_enable("basalt_agent::bundle::applier", &Level::DEBUG));
        for library in ["kube_client::client", "hyper_util::client", "rustls", "h2", "vaultrs"] {
            assert!(!debug.would_enable(library, &Level::DEBUG), "{library}");
            assert!(!debug.would_enable(library, &Level::INFO), "{library}");
            assert!(debug.would_enable(library, &Level::WARN), "{library}");
        }
        let error = filter(LevelFilter::ERROR);
        assert!(!error.would_enable("basalt_agent::plan", &Level::WARN));
        assert!(!error.would_enable("kube_client", &Level::WARN));
    }
}
