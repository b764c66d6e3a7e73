//! Where the service's log goes: to the journal with its fields, or to stderr.

use std::io::IsTerminal;

use rustix::fs::fstat;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::LogLevel;

/// Starts logging. Fields appear in the journal with this prefix: `BASALT_PATH=…`.
pub(crate) fn start(level: LogLevel) {
    let filter = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
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
    });
    tracing_subscriber::registry()
        .with(journal.map(|layer| layer.with_filter(filter)))
        .with(stderr.map(|layer| layer.with_filter(filter)))
        .init();
}

/// Whether stderr is the stream that systemd connected to the journal. The variable alone does not say so: a shell that
/// a service started hands it on to programs that write elsewhere (systemd.exec(5), `$JOURNAL_STREAM`).
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = fstat(rustix::stdio::stderr()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}
