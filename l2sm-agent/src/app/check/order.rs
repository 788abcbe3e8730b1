//! What sees a frame of an underlay device before `l2sm_uplink_rx`.
//!
//! tcx programs run in their order, and before all filters of clsact. Those run by priority.

use aya::programs::{SchedClassifier, TcAttachType};
use l2sm_common::{abi::UPLINK_RX, ids::IfIndex};

use super::{Finding, Verdict, finding};
use crate::{
    datapath::{ForeignFilter, foreign_filters},
    netlink::links::Link,
};

const NAME: &str = "order";
/// Priority of our filter, where there is no tcx.
const OURS: u32 = 1;

/// Looks at the ingress of a device.
pub(super) fn look(link: &Link) -> Finding {
    let filters = match foreign_filters(IfIndex(link.index)) {
        Ok(filters) => filters,
        Err(why) => return finding(NAME, Verdict::Warn, format!("{}: {why}", link.name)),
    };
    let programs = SchedClassifier::query_tcx(&link.name, TcAttachType::Ingress).ok();
    let programs = programs.map(|(_revision, programs)| {
        let named = programs.iter();
        named.map(|program| program.name_as_str().unwrap_or("(unnamed)").to_owned()).collect()
    });
    judge(&link.name, programs, &filters)
}

/// `programs`: of tcx, in their order; `None`: there is no tcx.
fn judge(device: &str, programs: Option<Vec<String>>, filters: &[ForeignFilter]) -> Finding {
    let Some(programs) = programs else {
        return judge_filters(device, filters);
    };
    let behind = match filters.len() {
        0 => String::new(),
        _ => format!("; behind it the clsact filters {}", names(filters)),
    };
    match programs.iter().position(|found| found == UPLINK_RX) {
        Some(0) => finding(NAME, Verdict::Ok, format!("{UPLINK_RX} is first on {device}{behind}")),
        Some(place) => {
            let before = programs.get(..place).unwrap_or_default().join(", ");
            finding(NAME, Verdict::Warn, format!("before {UPLINK_RX} on {device}: {before}"))
                .with_cure("frames that they take are not seen; detach them and attach them again")
        }
        None if programs.is_empty() => {
            finding(NAME, Verdict::Ok, format!("no tcx program on {device}{behind}"))
        }
        None => {
            let theirs = programs.join(", ");
            let what = format!("{UPLINK_RX} will go before {theirs} on {device}{behind}");
            finding(NAME, Verdict::Ok, what)
        }
    }
}

/// Without tcx: what has our priority may stand before ours, as the kernel puts a newer filter first.
fn judge_filters(device: &str, filters: &[ForeignFilter]) -> Finding {
    let before: Vec<_> = filters.iter().filter(|filter| filter.priority <= OURS).cloned().collect();
    if before.is_empty() {
        let what =
            format!("{device} has no tcx: our filter has priority {OURS}, nothing before it");
        return finding(NAME, Verdict::Ok, what);
    }
    let what = format!("filters of {device} with our priority: {}", names(&before));
    finding(NAME, Verdict::Warn, what).with_cure("give them a priority from 2 on")
}

fn names(filters: &[ForeignFilter]) -> String {
    let names = filters.iter();
    names
        .map(|filter| format!("{} (priority {})", filter.name, filter.priority))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(name: &str, priority: u32) -> ForeignFilter {
        ForeignFilter { name: name.to_owned(), priority }
    }

    fn line(programs: Option<&[&str]>, filters: &[ForeignFilter]) -> (Verdict, String) {
        let programs = programs.map(|names| names.iter().map(ToString::to_string).collect());
        let found = judge("eth0", programs, filters);
        (found.verdict, found.what)
    }

    #[test]
    fn a_tcx_program_before_ours_is_named() {
        let (verdict, what) = line(Some(&["theirs", UPLINK_RX]), &[]);
        assert_eq!(verdict, Verdict::Warn);
        assert_eq!(what, "before l2sm_uplink_rx on eth0: theirs");
        assert_eq!(line(Some(&[UPLINK_RX, "theirs"]), &[]).0, Verdict::Ok);
    }

    #[test]
    fn with_tcx_a_filter_is_behind_ours_and_named() {
        let (verdict, what) = line(Some(&[UPLINK_RX]), &[filter("cil_from_netdev", 1)]);
        assert_eq!(verdict, Verdict::Ok);
        assert!(
            what.ends_with("behind it the clsact filters cil_from_netdev (priority 1)"),
            "{what}"
        );
    }

    #[test]
    fn without_tcx_a_filter_of_our_priority_is_named() {
        let (verdict, what) = line(None, &[filter("theirs", 1), filter("other", 2)]);
        assert_eq!(verdict, Verdict::Warn);
        assert_eq!(what, "filters of eth0 with our priority: theirs (priority 1)");
        assert_eq!(line(None, &[filter("other", 2)]).0, Verdict::Ok);
    }
}
