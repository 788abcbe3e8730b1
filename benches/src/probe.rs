//! Figures that are no traffic between two pods: programs run on one frame, and what is counted
//! beside traffic. They have no peer.

pub mod decap;
pub mod flood;
mod frames;
mod object;
pub mod programs;

use crate::{
    measure::{Measure, higher, lower},
    results::Series,
    variant::Variant,
};

/// A kind of such figures.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// What is printed while it runs.
    pub title: &'static str,
    /// The figures.
    pub measures: &'static [Measure],
    /// What runs.
    pub kind: Kind,
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Test runs of the programs, with FDBs of several sizes.
    Programs,
    /// Test runs on a frame for many.
    Flood,
    /// Lengths of frames as pods get them; needs a lab.
    Decapsulated,
}

impl Kind {
    /// Whether it needs pods.
    pub fn needs_lab(self) -> bool {
        self == Self::Decapsulated
    }
}

/// All of them.
pub const PROBES: &[Probe] = &[
    Probe {
        title: "programs run on one frame, FDB of 10, 1,000 and 100,000",
        measures: programs::MEASURES,
        kind: Kind::Programs,
    },
    Probe {
        title: "length of what arrives, wire-like",
        measures: &[higher("decap_skb_bytes", "B")],
        kind: Kind::Decapsulated,
    },
    Probe { title: "a frame for many", measures: flood::MEASURES, kind: Kind::Flood },
];

/// One series for each measure from the values of each round, which are in the measures' order.
fn series(measures: &[Measure], rounds: &[Vec<f64>]) -> Vec<Series> {
    let mut all: Vec<Series> = measures.iter().copied().map(Series::new).collect();
    for values in rounds {
        for (series, value) in all.iter_mut().zip(values) {
            series.push(Variant::L2sm, Some(*value));
        }
    }
    all
}

const fn ns(name: &'static str) -> Measure {
    lower(name, "ns")
}
