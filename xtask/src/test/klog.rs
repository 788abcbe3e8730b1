//! The kernel's log, before and after the tests: a frame that makes the kernel warn is a bug of
//! ours, whatever the tests say.

use anyhow::{Context, Result};

use crate::command;

/// What the kernel says when something is wrong with it.
const SIGNS: [&str; 8] = [
    "WARNING:",
    "BUG:",
    "Oops",
    "Call Trace",
    "general protection fault",
    "UBSAN:",
    // A network namespace that cannot go because a device of it is still held.
    "unregister_netdevice: waiting for",
    // A task that hangs.
    "blocked for more than",
];

/// Of these, what stands also in what the kernel says about a shortage.
const TRACE: &str = "Call Trace";

/// How the kernel begins to say that a machine had too little processor time or memory, which is no bug.
const SHORTAGES: [&str; 3] = [
    "watchdog: BUG: soft lockup",
    "rcu:",
    // What the other processors do, behind one of the first two.
    "NMI backtrace for cpu",
];

/// The same, behind the name of the process that asked for memory.
const NO_MEMORY: &str = " invoked oom-killer:";
/// Who had to go for it, said behind the trace.
const VICTIM: &str = "Out of memory: Killed process";

/// How a trace ends.
const END: &str = "</TASK>";

/// The most lines that are worth printing.
const MOST: usize = 60;

/// The kernel's log as it is.
///
/// # Errors
/// When `dmesg` cannot read it.
pub(super) fn read() -> Result<String> {
    command::read(&mut command::new("dmesg")).context("cannot read the kernel's log")
}

/// What the kernel has said meanwhile.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// From the first sign of something wrong; empty when there is none.
    pub(super) warnings: Vec<String>,
    /// Before that, of what the machine was short of: worth printing, and no failure.
    pub(super) shortages: Vec<String>,
}

/// What is in `after` and not yet in `before`.
pub(super) fn said(before: &str, after: &str) -> Said {
    let mut said = Said::default();
    let mut is_shortage = false;
    for line in fresh(before, after) {
        let signs: Vec<_> = SIGNS.into_iter().filter(|sign| line.contains(sign)).collect();
        let goes_on = is_shortage && signs.iter().all(|sign| *sign == TRACE);
        is_shortage = goes_on || begins_shortage(line);
        if !said.warnings.is_empty() || (!is_shortage && !signs.is_empty()) {
            said.warnings.push(line.to_owned());
        } else if is_shortage {
            said.shortages.push(line.to_owned());
        }
        is_shortage &= !line.contains(END);
    }
    said.warnings.truncate(MOST);
    said.shortages.truncate(MOST);
    said
}

fn begins_shortage(line: &str) -> bool {
    let message = line.split_once("] ").map_or(line, |(_time, message)| message);
    SHORTAGES.iter().any(|begin| message.starts_with(begin))
        || message.contains(NO_MEMORY)
        || message.starts_with(VICTIM)
}

/// The lines of `after` that come after the last of `before`. The kernel drops old lines from a
/// full log; when that last line is gone, all that are left are new.
fn fresh<'a>(before: &str, after: &'a str) -> impl Iterator<Item = &'a str> {
    let last = before.lines().next_back();
    let seen = after.lines().collect::<Vec<_>>().into_iter().rposition(|line| Some(line) == last);
    after.lines().skip(seen.map_or(0, |at| at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "[ 1.0] boot\n[ 2.0] WARNING: old\n[ 3.0] up\n";

    fn warnings(before: &str, after: &str) -> Vec<String> {
        said(before, after).warnings
    }

    #[test]
    fn old_warnings_are_not_ours() {
        assert_eq!(warnings(BEFORE, BEFORE), [""; 0]);
        assert_eq!(warnings(BEFORE, &format!("{BEFORE}[ 4.0] link up\n")), [""; 0]);
    }

    #[test]
    fn a_new_warning_is_shown_with_what_follows_it() {
        let after = format!("{BEFORE}[ 4.0] link up\n[ 5.0] WARNING: CPU: 0\n[ 5.1]  dump\n");
        assert_eq!(warnings(BEFORE, &after), ["[ 5.0] WARNING: CPU: 0", "[ 5.1]  dump"]);
    }

    #[test]
    fn each_sign_is_seen() {
        for sign in SIGNS {
            assert_eq!(warnings("", &format!("[ 1.0] {sign} x\n")).len(), 1, "{sign}");
        }
    }

    #[test]
    fn a_log_that_has_turned_over_is_all_new() {
        assert_eq!(warnings(BEFORE, "[ 9.0] BUG: x\n"), ["[ 9.0] BUG: x"]);
    }

    /// As the kernel says it, of each kind.
    const STALL: &str = "[ 4.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n\
        [ 4.1] rcu: \t1-...!: (1 GPs behind)\n\
        [ 4.2] Sending NMI from CPU 0 to CPUs 1:\n\
        [ 4.3] NMI backtrace for cpu 1\n[ 4.4] Call Trace:\n[ 4.5]  <TASK>\n[ 4.6]  </TASK>\n";
    const LOCKUP: &str = "[ 5.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [ping:9]\n\
        [ 5.1] CPU: 0 PID: 9\n[ 5.2] Call Trace:\n[ 5.3]  <TASK>\n[ 5.4]  </TASK>\n";
    const OOM: &str = "[ 6.0] cargo invoked oom-killer: gfp_mask=0x1\n[ 6.1] CPU: 0 PID: 9\n\
        [ 6.2] Call Trace:\n[ 6.3]  <TASK>\n[ 6.4]  </TASK>\n[ 6.5] Mem-Info:\n";

    #[test]
    fn a_task_that_hangs_is_seen_behind_a_shortage_too() {
        let hung = "[ 9.0] INFO: task l2sm-agent:9 blocked for more than 120 seconds.";
        let after = format!("[ 8.0] rcu: 1-...!: (1 GPs behind)\n{hung}\n[ 9.1] Call Trace:\n");
        assert_eq!(warnings("", &after)[0], hung);
        let killed = "[ 8.0] Out of memory: Killed process 9 (cargo)";
        assert_eq!(said("", &format!("{killed}\n")).shortages, [killed]);
    }

    #[test]
    fn a_shortage_is_shown_and_is_no_warning() {
        for (text, lines) in [(STALL, 7), (LOCKUP, 5), (OOM, 5)] {
            let said = said(BEFORE, &format!("{BEFORE}{text}"));
            assert_eq!((said.warnings, said.shortages.len()), (vec![], lines), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_seen_in_a_shortage_and_behind_one() {
        for text in [STALL, LOCKUP, OOM] {
            let (first, _rest) = text.split_once('\n').unwrap();
            let inside = format!("{first}\n[ 7.0] BUG: kernel NULL pointer\n[ 7.1] Call Trace:\n");
            assert_eq!(warnings("", &inside).len(), 2, "{inside}");
            let behind = format!("{text}[ 7.0] INFO: task x blocked\n[ 7.1] Call Trace:\n");
            assert_eq!(warnings("", &behind), ["[ 7.1] Call Trace:"], "{behind}");
        }
    }
}
