//! `l2sm-agent`.

use std::{
    env,
    io::{IsTerminal, Write as _},
    process::ExitCode,
};

use clap::error::ErrorKind;
use l2sm_agent::{
    app,
    config::{Command, Config, Log, LogFormat},
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// musl's own takes memory from the kernel and gives it back thousands of times for each pod.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) fn main() -> ExitCode {
    let command = match Config::read(env::args_os()) {
        Ok(config) => config.into_command(),
        Err(why) => return answer(&why),
    };
    let log = match &command {
        Command::Run(run) => &run.log,
        Command::Cleanup(cleanup) => &cleanup.log,
        Command::Check(check) => &check.log,
        Command::Mount(mount) => &mount.log,
    };
    if let Err(why) = start_log(log) {
        fail(&why);
        return ExitCode::from(2);
    }
    match app::run(command) {
        Ok(code) => code,
        Err(why) => {
            fail(&format!("{why:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What clap has to say: help and version as they are, a mistake in one line.
fn answer(why: &clap::Error) -> ExitCode {
    if matches!(why.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // Whoever reads no further (`| head`) has seen what they wanted.
        drop(write!(std::io::stdout(), "{why}"));
        return ExitCode::SUCCESS;
    }
    let text = why.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" ");
    fail(line.strip_prefix("error: ").unwrap_or(&line));
    ExitCode::from(2)
}

fn fail(what: &str) {
    // Without standard error there is nobody to tell.
    drop(writeln!(std::io::stderr(), "l2sm-agent: {what}"));
}

#[expect(
    clippy::large_stack_frames,
    reason = "once, at the start, and builders are moved by value"
)]
fn start_log(log: &Log) -> Result<(), String> {
    // A bare level is meant for the agent and its programs (target l2sm); the libraries below it would drown it out.
    let bare = log.log_level.parse::<LevelFilter>().is_ok();
    let level = &log.log_level;
    let directives =
        if bare { format!("warn,l2sm_agent={level},l2sm={level}") } else { level.clone() };
    let filter = EnvFilter::try_new(directives)
        .map_err(|why| format!("--log-level {}: {why}", log.log_level))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match log.log_format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
