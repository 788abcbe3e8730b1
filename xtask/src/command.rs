//! Running other programs, and saying plainly what went wrong with them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::say::say;

/// Directories of programs that a login shell may leave out of `PATH`.
const SYSTEM: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// A command that finds its program, and lets it find others, in [`path`].
pub(crate) fn new(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", path());
    command
}

/// `cargo`, the one that runs us if there is one.
pub(crate) fn cargo() -> Command {
    new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// `PATH`, then cargo's own directory of programs, then the system's.
pub(crate) fn path() -> OsString {
    let given = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&given).chain(installed()).chain(SYSTEM.map(PathBuf::from));
    // A directory of `PATH` cannot hold the separator; our own could only by a strange CARGO_HOME.
    env::join_paths(directories).unwrap_or(given)
}

/// Where `cargo install` puts programs.
fn installed() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    home.map(|home| home.join("bin"))
}

/// The file that the name of a program stands for, if there is one in [`path`].
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = path();
    env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// The command as one would type it.
pub(crate) fn typed(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = [program].into_iter().chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Runs the command in view: says it, and its output goes where ours goes. Whether it succeeded.
pub(crate) fn show(command: &mut Command) -> Result<bool> {
    say!("$ {}", typed(command));
    let status = command.status().with_context(|| cannot_run(command))?;
    Ok(status.success())
}

/// What the command prints on standard output.
///
/// # Errors
/// When it cannot be started or fails; the error ends with the last line that it printed.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_run(command))?;
    if !output.status.success() {
        bail!("{} failed: {}", typed(command), reason(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs the command out of view: what it prints goes to the file `log`.
///
/// # Errors
/// When it cannot be started or fails; the error ends with the line that says why, and the log.
pub(crate) fn logged(command: &mut Command, log: &Path) -> Result<()> {
    let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let err = out.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
    let status = command.stdin(Stdio::null()).stdout(out).stderr(err).status();
    if !status.with_context(|| cannot_run(command))?.success() {
        let printed = fs::read(log).unwrap_or_default();
        let why = reason(&String::from_utf8_lossy(&printed)).to_owned();
        bail!("{} failed: {why} (all it said: {})", typed(command), log.display());
    }
    Ok(())
}

/// The line of a program's output that most likely says why it failed.
///
/// That is the first that calls itself an error (cargo and rustup say `error: `, apt says `E: `),
/// else the last.
fn reason(printed: &str) -> &str {
    let mut lines = printed.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines
        .clone()
        .find_map(|line| line.strip_prefix("error: ").or_else(|| line.strip_prefix("E: ")));
    error.or_else(|| lines.next_back()).unwrap_or("it said nothing")
}

fn cannot_run(command: &Command) -> String {
    format!("cannot run {}", typed(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_said_as_it_would_be_typed() {
        let mut command = new("/opt/bin/cargo");
        command.args(["fmt", "--all"]);
        assert_eq!(typed(&command), "cargo fmt --all");
    }

    #[test]
    fn the_reason_is_the_line_that_calls_itself_an_error() {
        assert_eq!(reason("Reading lists\nE: no package x\nbye\n"), "no package x");
        assert_eq!(reason("trying\n  permission denied\n\n"), "permission denied");
        assert_eq!(reason(""), "it said nothing");
    }

    #[test]
    fn a_program_that_fails_is_an_error_with_its_own_words() {
        let error = read(new("sh").args(["-c", "echo no luck >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().ends_with("failed: no luck"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = read(&mut new("l2sm-no-such-program")).unwrap_err();
        assert_eq!(error.to_string(), "cannot run l2sm-no-such-program");
    }
}
