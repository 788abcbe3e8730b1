//! The bars: which figure must be where, and the judge.
//!
//! A gate fails only if the 95 % interval lies wholly on the wrong side of it.

use std::{collections::BTreeMap, fmt};

use crate::{
    measure::Better,
    results::Series,
    stats::{Interval, interval, median},
    variant::Variant,
};

/// What a gate looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The ratio of ours to the kernel's.
    Ratio(&'static str),
    /// Our own figure.
    Value(&'static str),
    /// The sum of two of our own figures, round by round.
    Sum(&'static str, &'static str),
}

/// A bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// What is judged.
    pub subject: Subject,
    /// Which way is better.
    pub better: Better,
    /// Must be reached.
    pub gate: f64,
    /// Is hoped for.
    pub target: f64,
}

/// How a gate was judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Not on the wrong side.
    Pass {
        /// The target is reached too.
        target: bool,
    },
    /// Wholly on the wrong side.
    Fail,
    /// What it looks at was not measured.
    NotMeasured,
}

/// A gate with what it saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// The gate.
    pub gate: Gate,
    /// The figure that the gate is about, and its interval.
    pub seen: Option<(f64, Interval)>,
    /// How it was judged.
    pub verdict: Verdict,
}

const fn at_most(measure: &'static str, gate: f64, target: f64) -> Gate {
    Gate { subject: Subject::Ratio(measure), better: Better::Lower, gate, target }
}

const fn at_least(measure: &'static str, gate: f64, target: f64) -> Gate {
    Gate { subject: Subject::Ratio(measure), better: Better::Higher, gate, target }
}

/// The table.
pub const GATES: &[Gate] = &[
    at_most("pingpong_p50", 0.83, 0.78),
    at_least("udp64_pps", 1.50, 1.70),
    at_most("udp64_cpu", 0.70, 0.64),
    at_least("tcp1_super", 1.02, 1.12),
    at_least("tcp4_super", 1.02, 1.12),
    at_least("tcp1_wire", 1.04, 1.12),
    at_least("tcp_msg3k", 1.20, 1.60),
    at_least("tcp_msg8k", 1.20, 1.45),
    at_least("tcp_msg16k", 1.20, 1.40),
    at_most("tcp_cpu_per_gb", 0.96, 0.90),
    at_least("fwd_tcp1_super", 0.97, 1.05),
    at_least("fwd_tcp4_super", 0.97, 1.05),
    at_least("fwd_tcp1_wire", 0.97, 1.05),
    at_least("fwd_tcp4_wire", 0.97, 1.05),
    at_least("fwd_tcp_msg3k", 0.97, 1.05),
    at_least("fwd_tcp_msg8k", 0.97, 1.05),
    at_least("fwd_tcp_msg16k", 0.97, 1.05),
    at_least("tcp_crr", 1.05, 1.20),
    at_least("foreign_pps", 0.98, 0.995),
    Gate {
        subject: Subject::Sum("encap_ns", "decap_ns"),
        better: Better::Lower,
        gate: 120.0,
        target: 90.0,
    },
    Gate {
        subject: Subject::Value("decap_skb_bytes"),
        better: Better::Higher,
        gate: 32_000.0,
        target: 55_000.0,
    },
];

/// Judges every gate on what was measured.
pub fn judge(series: &[Series]) -> Vec<Judgement> {
    let by_name: BTreeMap<_, _> =
        series.iter().map(|series| (series.measure.name, series)).collect();
    GATES.iter().map(|gate| gate.judge(&by_name)).collect()
}

impl Gate {
    fn judge(self, series: &BTreeMap<&str, &Series>) -> Judgement {
        let seen = self.look(series);
        let verdict = match seen {
            None => Verdict::NotMeasured,
            Some((_, interval)) if self.misses(best(self.better, interval)) => Verdict::Fail,
            Some((value, _)) => Verdict::Pass { target: !misses(self.better, value, self.target) },
        };
        Judgement { gate: self, seen, verdict }
    }

    /// The figure and its interval.
    fn look(&self, series: &BTreeMap<&str, &Series>) -> Option<(f64, Interval)> {
        match self.subject {
            Subject::Ratio(name) => {
                let series = series.get(name)?;
                // Not the ratio of medians: that may lie outside the interval of the rounds' ratios.
                let ratios = series.ratios();
                Some((median(&ratios)?, interval(&ratios)?))
            }
            Subject::Value(name) => {
                let series = series.get(name)?;
                Some((series.median(Variant::L2sm)?, series.own_interval()?))
            }
            Subject::Sum(one, other) => {
                let values = |name| series.get(name)?.values.get(&Variant::L2sm);
                let pairs = values(one)?.iter().zip(values(other)?);
                let sums: Vec<f64> = pairs.filter_map(|(a, b)| Some((*a)? + (*b)?)).collect();
                Some((median(&sums)?, interval(&sums)?))
            }
        }
    }

    fn misses(&self, value: f64) -> bool {
        misses(self.better, value, self.gate)
    }
}

fn misses(better: Better, value: f64, bar: f64) -> bool {
    match better {
        Better::Lower => value > bar,
        Better::Higher => value < bar,
    }
}

/// The end of an interval that is kindest to us.
fn best(better: Better, interval: Interval) -> f64 {
    match better {
        Better::Lower => interval.lo,
        Better::Higher => interval.hi,
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(name) | Self::Value(name) => f.pad(name),
            Self::Sum(one, other) => f.pad(&format!("{one} + {other}")),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass { target: true } => "pass, target reached",
            Self::Pass { target: false } => "pass",
            Self::Fail => "FAIL",
            Self::NotMeasured => "NOT MEASURED",
        })
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gate { subject, better, gate, target } = self.gate;
        let (sign, verdict) = (better.sign(), self.verdict);
        let seen = self.seen.map_or(String::new(), |(value, Interval { lo, hi })| {
            let digits = if value >= 100.0 { 0 } else { 3 };
            format!("{value:.digits$} ({lo:.digits$} - {hi:.digits$})")
        });
        write!(f, "{subject:20} {seen:>24}  gate {sign} {gate}, target {target}: {verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{higher, lower};

    /// A series whose rounds have these ratios, or where there is no peer these values.
    fn series(measure: crate::measure::Measure, peer: Option<f64>, values: &[f64]) -> Series {
        let mut series = Series::new(measure);
        for value in values {
            series.push(Variant::L2sm, Some(*value));
            if let Some(peer) = peer {
                series.push(Variant::Kernel, Some(peer));
            }
        }
        series
    }

    fn verdict_on(series: Series) -> Verdict {
        let name = series.measure.name;
        let judged = judge(&[series]);
        let about = |judgement: &&Judgement| judgement.gate.subject == Subject::Ratio(name);
        judged.iter().find(about).unwrap().verdict
    }

    #[test]
    fn a_gate_fails_only_if_the_whole_interval_is_on_the_wrong_side() {
        let latency = lower("pingpong_p50", "us");
        let rounds = |ratios: [f64; 5]| verdict_on(series(latency, Some(1.0), &ratios));
        assert_eq!(rounds([0.84; 5]), Verdict::Fail);
        assert_eq!(rounds([0.83; 5]), Verdict::Pass { target: false });
        assert_eq!(rounds([0.82, 0.85, 0.84, 0.86, 0.82]), Verdict::Pass { target: false });
        assert_eq!(rounds([0.77; 5]), Verdict::Pass { target: true });
    }

    #[test]
    fn the_target_is_held_against_the_middle_ratio_of_the_rounds() {
        // The machine is slow in the second round: ours 2, 10, 3 to the kernel's 4, 20, 3.
        let mut series = Series::new(lower("pingpong_p50", "us"));
        for (ours, kernel) in [(2.0, 4.0), (10.0, 20.0), (3.0, 3.0)] {
            series.push(Variant::L2sm, Some(ours));
            series.push(Variant::Kernel, Some(kernel));
        }
        assert_eq!(series.row().ratio, Some(0.75));
        let judged = judge(&[series]);
        let judged = judged.iter().find(|judged| judged.seen.is_some()).unwrap();
        assert_eq!(judged.seen.map(|(value, _)| value), Some(0.5));
    }

    #[test]
    fn more_is_better_where_the_table_says_so() {
        let rate = higher("udp64_pps", "1/s");
        let rounds = |ratio: f64| verdict_on(series(rate, Some(2.0), &[ratio * 2.0; 3]));
        assert_eq!(rounds(1.49), Verdict::Fail);
        assert_eq!(rounds(1.51), Verdict::Pass { target: false });
        assert_eq!(rounds(1.71), Verdict::Pass { target: true });
    }

    #[test]
    fn the_cost_of_both_directions_is_summed_round_by_round() {
        let encap = series(lower("encap_ns", "ns"), None, &[60.0, 70.0, 80.0]);
        let decap = series(lower("decap_ns", "ns"), None, &[61.0, 51.0, 41.0]);
        let judged = judge(&[encap, decap]);
        let sum = judged.iter().find(|j| matches!(j.gate.subject, Subject::Sum(..))).unwrap();
        assert_eq!(sum.seen, Some((121.0, Interval { lo: 121.0, hi: 121.0 })));
        assert_eq!(sum.verdict, Verdict::Fail);
    }

    #[test]
    fn what_was_not_measured_is_neither_passed_nor_failed() {
        assert!(judge(&[]).iter().all(|judged| judged.verdict == Verdict::NotMeasured));
    }

    #[test]
    fn a_target_is_never_easier_than_its_gate() {
        for Gate { subject, better, gate, target } in GATES {
            assert!(!misses(*better, *target, *gate), "{subject}");
        }
    }
}
