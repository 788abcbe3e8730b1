//! How much memory may be locked: kernels before 5.11 charge maps against that.

use std::fs;

use super::{Finding, Verdict, finding};

const NAME: &str = "locked memory";

/// Looks at the limit of this process; `made`: maps of the agent's sizes could be made under it.
pub(super) fn look(made: bool) -> Finding {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    judge(soft_limit(&limits), made)
}

fn judge(limit: Option<Limit>, made: bool) -> Finding {
    let said = match limit {
        Some(Limit::Unlimited) => return finding(NAME, Verdict::Ok, "no limit"),
        Some(Limit::Bytes(bytes)) => format!("the limit is {} KiB", bytes / 1024),
        None => "the limit is not known".to_owned(),
    };
    if made {
        return finding(NAME, Verdict::Ok, format!("{said}, and the maps could be made"));
    }
    let what = format!("{said}; kernels before 5.11 charge maps against it");
    finding(NAME, Verdict::Warn, what)
        .with_cure("raise it (`ulimit -l unlimited`, systemd: `LimitMEMLOCK=infinity`)")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Unlimited,
    Bytes(u64),
}

/// The soft limit, out of the kernel's table.
fn soft_limit(table: &str) -> Option<Limit> {
    let rest = table.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    match rest.split_whitespace().next()? {
        "unlimited" => Some(Limit::Unlimited),
        bytes => bytes.parse().ok().map(Limit::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
                         Max processes             63432                63432                processes \n\
                         Max locked memory         65536                65536                bytes     \n";

    #[test]
    fn the_kernels_table_is_read() {
        assert_eq!(soft_limit(TABLE), Some(Limit::Bytes(65536)));
        let unlimited = TABLE.replace("65536 ", "unlimited ");
        assert_eq!(soft_limit(&unlimited), Some(Limit::Unlimited));
        assert_eq!(soft_limit(""), None);
    }

    #[test]
    fn a_limit_counts_only_where_maps_could_not_be_made() {
        assert_eq!(judge(Some(Limit::Unlimited), false).verdict, Verdict::Ok);
        assert_eq!(judge(Some(Limit::Bytes(65536)), true).verdict, Verdict::Ok);
        let refused = judge(Some(Limit::Bytes(65536)), false);
        assert_eq!(refused.verdict, Verdict::Warn);
        let line = refused.to_string();
        assert!(line.contains("64 KiB") && line.contains("LimitMEMLOCK=infinity"), "{line}");
    }
}
