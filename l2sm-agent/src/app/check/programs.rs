//! Whether the kernel takes the programs, seen by running them.

use super::{Finding, Verdict, finding, memory};
use crate::{
    app::feature,
    datapath::{Trial, try_programs},
};

/// What to do where a program does not do what it does elsewhere.
const REPORT: &str =
    "such frames are dropped here, not sent by the slow path; Linux 6.6 or newer is known to do it";

/// Loads every program with maps that nobody else sees, and runs them on frames.
pub(super) fn look() -> Vec<Finding> {
    match try_programs() {
        Ok(trial) => {
            let mut findings = judge(&trial);
            findings.push(memory::look(true));
            findings
        }
        Err(why) => {
            let cure = "Linux 5.15 or newer with the capabilities above takes them";
            let refused = finding("programs", Verdict::Fail, why.to_string()).with_cure(cure);
            vec![refused, memory::look(false)]
        }
    }
}

fn judge(trial: &Trial) -> Vec<Finding> {
    let loaded = format!("{} programs load", trial.loaded);
    let attaching = format!("programs are attached by {}", feature(trial.attaching));
    vec![
        finding("programs", Verdict::Ok, loaded),
        finding("attaching", Verdict::Ok, attaching),
        ran("fast path", "a frame was encapsulated in BPF", &trial.encapsulated),
        ran("decapsulation", "a tunnel packet was decapsulated in BPF", &trial.decapsulated),
        ran("redirect_peer", "a frame goes straight into a pod", &trial.into_pod),
    ]
}

fn ran(name: &'static str, what: &str, ran: &Result<(), String>) -> Finding {
    match ran {
        Ok(()) => finding(name, Verdict::Ok, what),
        Err(why) => {
            finding(name, Verdict::Fail, format!("not so that {what}: {why}")).with_cure(REPORT)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::Attaching;

    #[test]
    fn what_did_not_run_says_why_and_what_to_do() {
        let trial = Trial {
            attaching: Attaching::Filter,
            loaded: 5,
            encapsulated: Ok(()),
            decapsulated: Err("it returned 2".to_owned()),
            into_pod: Ok(()),
        };
        let findings = judge(&trial);
        let failed: Vec<_> = findings.iter().filter(|one| one.verdict == Verdict::Fail).collect();
        assert_eq!(failed.len(), 1, "{findings:?}");
        let line = failed[0].to_string();
        let start = "FAIL decapsulation: not so that a tunnel packet was decapsulated in BPF: it returned 2; ";
        assert!(line.starts_with(start), "{line}");
    }
}
