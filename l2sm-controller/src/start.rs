//! What the programs on this library do alike at their start: a log on standard error, and a mistake
//! that is one line.

use std::{io::Write as _, process::ExitCode};

use clap::{ValueEnum, error::ErrorKind};
use tracing_subscriber::EnvFilter;

/// How is logged (`--log-format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "clap would make its help longer by them")]
pub enum LogFormat {
    Text,
    Json,
}

/// Starts the log, on standard error.
///
/// # Errors
/// `level` is not a filter: why, in words.
#[expect(clippy::large_stack_frames, reason = "the builder of the log, once at start")]
pub fn start_log(level: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::try_new(level)
        .map_err(|why| format!("--log-level {level:?} is not a filter: {why}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// Ends `program` for what its command line is: help and version go to standard output; a mistake is one
/// line, and exit code 2.
pub fn answer_usage(program: &str, error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let printed = write!(std::io::stdout(), "{error}");
        return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim);
    let message: Vec<_> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect();
    let message = message.join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let hint = format!("see {program} --help");
    let nothing_said =
        [ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, ErrorKind::MissingSubcommand];
    if nothing_said.contains(&error.kind()) {
        return fail(program, 2, &format!("a subcommand is required: {hint}"));
    }
    fail(program, 2, &format!("{message}: {hint}"))
}

/// Ends `program` with one line that says why.
pub fn fail(program: &str, code: u8, why: &str) -> ExitCode {
    let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
    // Without standard error there is nobody to tell.
    drop(writeln!(std::io::stderr(), "{program}: {line}"));
    ExitCode::from(code)
}
