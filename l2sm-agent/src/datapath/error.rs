//! What can go wrong with maps, programs and pins.

use std::{error::Error, io, path::PathBuf};

use aya::{maps::MapError, programs::ProgramError};
use l2sm_core::image::Hook;

/// A failure of the kernel side. Prints as one line: what, and after a colon why.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// A map has no room for another entry.
    #[error("map {map} is full: it holds {capacity} entries")]
    MapFull {
        /// Name of the map.
        map: &'static str,
        /// Entries that it holds at most.
        capacity: usize,
    },
    /// A map could not be read or written.
    #[error("cannot {verb} map {map}: {reason}")]
    Map {
        /// "open", "read", "write" or "delete from".
        verb: &'static str,
        /// Name of the map.
        map: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// The object lacks a map or program, or has it with another type.
    #[error("the eBPF object is not this agent's: {0}")]
    Object(String),
    /// A pinned map is not laid out as this version expects.
    #[error(
        "pinned map {} is not this version's: {found}, expected {expected}; remove it, or run \
         `l2sm-agent cleanup`", path.display()
    )]
    Layout {
        /// The pin.
        path: PathBuf,
        /// Its type and sizes.
        found: String,
        /// The type and sizes of this version.
        expected: String,
    },
    /// The kernel refused a program.
    #[error("the kernel refuses program {program}: {reason}; the verifier's last words: {log}")]
    Verifier {
        /// Name of the program.
        program: String,
        /// What the system call returned.
        reason: io::Error,
        /// The last lines of the verifier's log, joined by " | ".
        log: String,
    },
    /// Maps or programs may not be created.
    #[error("cannot {what}: {reason}; CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or root, are needed")]
    NotPermitted {
        /// What was to be done.
        what: String,
        /// What the kernel said.
        reason: String,
    },
    /// Programs or maps could not be loaded.
    #[error("cannot load the eBPF programs: {0}")]
    Load(String),
    /// A program could not be attached to or detached from a device.
    #[error("cannot {verb} {hook}: {reason}")]
    Hook {
        /// "attach", "detach" or "update".
        verb: &'static str,
        /// Program and device.
        hook: Hook,
        /// What the kernel said.
        reason: String,
    },
    /// Somebody else's XDP program is on the device.
    #[error(
        "{device} runs the XDP program {program} of somebody else, which stays: only tc drops there"
    )]
    XdpTaken {
        /// Its name.
        device: String,
        /// Name and number of the program.
        program: String,
    },
    /// The device does not run XDP programs in this way.
    #[error("{device} takes no {way} XDP program: {reason}; only tc drops there")]
    XdpRefused {
        /// Its name.
        device: String,
        /// "native" or "generic".
        way: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// The pin directory cannot be made or used.
    #[error("cannot use {} as pin directory: {reason}", path.display())]
    Pins {
        /// Directory or file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A change that would lean on another, which failed.
    #[error("not programmed yet: {0}")]
    Waits(String),
    /// A change that [`MemoryDatapath`](super::MemoryDatapath) was told to refuse.
    #[error("{0}: refused")]
    Refused(String),
}

impl DatapathError {
    /// The error of a map access.
    pub(super) fn map(verb: &'static str, map: &'static str, error: &MapError) -> Self {
        Self::Map { verb, map, reason: chain(error) }
    }

    /// The error of attaching, detaching or updating.
    pub(super) fn hook(verb: &'static str, hook: Hook, error: &dyn Error) -> Self {
        Self::Hook { verb, hook, reason: chain(error) }
    }

    /// The error of loading a program.
    pub(super) fn program(program: &str, error: ProgramError) -> Self {
        let ProgramError::LoadError { io_error, verifier_log } = error else {
            return Self::load(format!("load program {program}"), &error);
        };
        Self::verifier(program, io_error, &verifier_log.to_string())
    }

    /// The error of a program that the kernel did not take. Without a log the verifier never saw it.
    fn verifier(program: &str, reason: io::Error, log: &str) -> Self {
        if not_permitted(&reason) && log.trim().is_empty() {
            return Self::load(format!("load program {program}"), &reason);
        }
        Self::Verifier { program: program.to_owned(), reason, log: last_lines(log) }
    }

    /// The error of making maps or programs.
    pub(super) fn load(what: String, error: &(dyn Error + 'static)) -> Self {
        let reason = chain(error);
        let mut cause = Some(error);
        let mut permission = false;
        while let Some(error) = cause {
            permission |= error.downcast_ref::<io::Error>().is_some_and(not_permitted);
            cause = error.source();
        }
        if permission { Self::NotPermitted { what, reason } } else { Self::Load(reason) }
    }
}

/// Whether the kernel refused for lack of a capability.
fn not_permitted(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.ends_with(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

/// Lines of a verifier's log that say why: it ends with the verdict and statistics.
const LOG_LINES: usize = 6;

/// The last lines of a verifier's log, as one line.
fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let skipped = lines.len().saturating_sub(LOG_LINES);
    lines.into_iter().skip(skipped).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    #[test]
    fn a_refused_program_is_one_line_with_the_end_of_the_log() {
        let lines: Vec<String> = (0..100).map(|line| format!("{line}: (b7) r0 = 0")).collect();
        let log = lines.join("\n") + "\nR1 invalid mem access\n\n";
        let error = io::Error::from_raw_os_error(13);
        let text = DatapathError::verifier("l2sm_port_rx", error, &log).to_string();
        assert!(text.starts_with("the kernel refuses program l2sm_port_rx: Permission"), "{text}");
        assert!(text.ends_with("| 99: (b7) r0 = 0 | R1 invalid mem access"), "{text}");
        assert!(!text.contains("90: ") && !text.contains('\n'), "{text}");
    }

    #[test]
    fn a_missing_capability_is_named() {
        let error = io::Error::from_raw_os_error(1);
        let text = DatapathError::verifier("l2sm_port_rx", error, "").to_string();
        assert!(text.starts_with("cannot load program l2sm_port_rx: Operation not"), "{text}");
        assert!(text.contains("CAP_BPF"), "{text}");
    }

    #[test]
    fn causes_are_said_once() {
        let io = io::Error::from_raw_os_error(2);
        let error = MapError::SyscallError(SyscallError { call: "bpf_obj_get", io_error: io });
        assert_eq!(chain(&error), "`bpf_obj_get` failed: No such file or directory (os error 2)");
    }
}
