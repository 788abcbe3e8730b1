//! What came out: medians and intervals, and `target/bench/results.json`.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::{ErrorKind, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    machine::Machine,
    measure::{Better, Measure},
    stats::{Interval, interval, median, paired_ratios},
    variant::Variant,
};

/// The values of one figure: by variant, a value for each round, `None` where a round yielded none.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Which figure.
    pub measure: Measure,
    /// The values.
    pub values: BTreeMap<Variant, Vec<Option<f64>>>,
}

impl Series {
    /// Nothing yet.
    pub fn new(measure: Measure) -> Self {
        Self { measure, values: BTreeMap::new() }
    }

    /// A round's value.
    pub fn push(&mut self, variant: Variant, value: Option<f64>) {
        self.values.entry(variant).or_default().push(value.filter(|value| value.is_finite()));
    }

    /// The median of a variant.
    pub fn median(&self, variant: Variant) -> Option<f64> {
        median(&self.present(variant))
    }

    /// Ours to the kernel's, round by round.
    pub fn ratios(&self) -> Vec<f64> {
        match (self.values.get(&Variant::L2sm), self.values.get(&Variant::Kernel)) {
            (Some(ours), Some(kernel)) => paired_ratios(ours, kernel),
            _ => Vec::new(),
        }
    }

    /// 95 % interval of our own values: for figures without a peer.
    pub fn own_interval(&self) -> Option<Interval> {
        interval(&self.present(Variant::L2sm))
    }

    /// As it goes into the file.
    pub fn row(&self) -> ResultRow {
        let (kernel, l2sm) = (self.median(Variant::Kernel), self.median(Variant::L2sm));
        let ratio = kernel.zip(l2sm).map(|(kernel, l2sm)| l2sm / kernel);
        let ratio = ratio.filter(|ratio| ratio.is_finite());
        let interval = ratio.and_then(|_| interval(&self.ratios()));
        ResultRow {
            measure: self.measure.name,
            unit: self.measure.unit,
            better: self.measure.better,
            veth: self.median(Variant::Veth),
            bridge: self.median(Variant::Bridge),
            kernel,
            l2sm,
            ratio,
            ratio_lo: interval.map(|interval| interval.lo),
            ratio_hi: interval.map(|interval| interval.hi),
        }
    }

    fn present(&self, variant: Variant) -> Vec<f64> {
        self.values.get(&variant).into_iter().flatten().flatten().copied().collect()
    }
}

/// One row of `results.json`. What was not measured is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResultRow {
    /// Name of the figure.
    pub measure: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
    /// Median of the veth pair.
    pub veth: Option<f64>,
    /// Median of plain bridges.
    pub bridge: Option<f64>,
    /// Median of kernel bridge and vxlan.
    pub kernel: Option<f64>,
    /// Our median.
    pub l2sm: Option<f64>,
    /// `l2sm / kernel`.
    pub ratio: Option<f64>,
    /// Lower end of the 95 % interval of the paired per-round ratios.
    pub ratio_lo: Option<f64>,
    /// Upper end.
    pub ratio_hi: Option<f64>,
}

/// `results.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// Rounds of each row.
    pub rounds: usize,
    /// Where it was measured.
    pub machine: Machine,
    /// The figures.
    pub rows: Vec<ResultRow>,
}

impl Results {
    /// Writes the file whole, or not at all, and the directory that it is in.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let parent = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        let text = serde_json::to_string_pretty(self)? + "\n";
        let failed = || format!("cannot write {}", path.display());
        let mut file = tempfile::NamedTempFile::new_in(parent).with_context(failed)?;
        file.write_all(text.as_bytes()).with_context(failed)?;
        // As any other file: a temporary one is its owner's alone.
        file.as_file().set_permissions(Permissions::from_mode(0o644)).with_context(failed)?;
        file.persist(path).map(drop).with_context(failed)
    }
}

/// Removes the figures of an earlier run: nobody is to take them for those of this one.
///
/// # Errors
/// They are there, and stay.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::lower;

    fn series(kernel: &[f64], ours: &[f64]) -> Series {
        let mut series = Series::new(lower("pingpong_p50", "us"));
        for (variant, values) in [(Variant::Kernel, kernel), (Variant::L2sm, ours)] {
            for value in values {
                series.push(variant, Some(*value));
            }
        }
        series
    }

    #[test]
    fn a_row_has_the_fields_that_readers_expect() {
        let row = series(&[10.0, 10.0, 10.0], &[8.0, 8.0, 8.0]).row();
        let json = serde_json::to_value(&row).unwrap();
        let expected = serde_json::json!({
            "measure": "pingpong_p50", "unit": "us", "better": "lower",
            "veth": null, "bridge": null, "kernel": 10.0, "l2sm": 8.0,
            "ratio": 0.8, "ratio_lo": 0.8, "ratio_hi": 0.8,
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn what_has_no_peer_has_no_ratio() {
        let row = series(&[], &[8.0, 9.0, 10.0]).row();
        assert_eq!((row.l2sm, row.kernel, row.ratio, row.ratio_lo), (Some(9.0), None, None, None));
    }

    #[test]
    fn a_ratio_to_nothing_is_none() {
        let row = series(&[0.0, 0.0, 0.0], &[0.0, 1.0, 0.0]).row();
        assert_eq!((row.kernel, row.ratio, row.ratio_hi), (Some(0.0), None, None));
    }

    #[test]
    fn ratios_are_paired_by_round_and_the_interval_is_theirs() {
        // The machine doubles its speed half-way: medians are far apart, pairs are not.
        let row = series(&[10.0, 10.0, 20.0, 20.0, 20.0], &[8.0, 8.0, 16.0, 16.0, 16.0]).row();
        assert_eq!((row.ratio_lo, row.ratio_hi), (Some(0.8), Some(0.8)));
    }
}
