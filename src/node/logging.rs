//! Logs: to standard error, for people or as JSON, at the configured level.

use crate::config::{Environment, LogConfig, LogFormat};
use crate::output::Failure;
use meshwork_proto::ErrorCode;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Starts logging; later calls in the same process change nothing.
pub(super) fn start(config: &LogConfig, environment: &Environment) -> Result<(), Failure> {
    // Libraries that tell each of their steps at `info` are heard when asked for by name only.
    let directives = match config.level.parse::<tracing::Level>() {
        Ok(level) if level <= tracing::Level::INFO => {
            format!("{level},rmcp=warn,libp2p=warn,libp2p_swarm=warn")
        }
        _ => config.level.clone(),
    };
    let filter = EnvFilter::try_new(&directives).map_err(|error| {
        Failure::new(ErrorCode::Config, format!("log.level {:?} cannot be read: {error}", config.level))
    })?;
    let colour = std::io::stderr().is_terminal() && environment.get("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(BoxMakeWriter::new(std::io::stderr))
        // A line that cannot be written (a full disk, a closed pipe) would be reported on the same stream, and that
        // panics.
        .log_internal_errors(false)
        .with_ansi(colour);
    let started = match config.format {
        LogFormat::Text => builder.with_target(false).compact().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging had been started before");
    }
    Ok(())
}
