//! Runs rows in interleaved rounds.

use anyhow::{Context as _, Result};

use crate::{
    lab::{Lab, Route},
    load::{
        Ends, Slot, bulk, connections,
        datagrams::{self, Background},
        frames, pingpong,
        processor::{Processors, softirq_accounts},
    },
    plan::Item,
    probe::{self, Kind, Probe},
    progress::Progress,
    results::Series,
    rows::{Beside, Row, Traffic},
    table,
    variant::{Variant, order},
};

/// Values of one slot, in the order of the row's measures.
type Values = Vec<Option<f64>>;

/// Runs rows and probes.
#[derive(Debug)]
pub struct Runner {
    /// None where nothing needs one.
    lab: Option<Lab>,
    processors: Processors,
    softirq: Vec<String>,
    slot: Slot,
    /// Half of what the kernel's variant carries, datagrams a second; measured when first needed.
    half_rate: Option<f64>,
}

impl Runner {
    /// A runner on a lab.
    ///
    /// # Errors
    /// The kernel's threads cannot be found.
    pub fn new(lab: Option<Lab>, processors: Processors, slot: Slot) -> Result<Self> {
        Ok(Self { lab, processors, softirq: softirq_accounts()?, slot, half_rate: None })
    }

    /// Runs one item, and says what came out.
    ///
    /// # Errors
    /// Traffic that fails, with the variant where it did; a program that the kernel refuses.
    pub fn run(
        &mut self,
        item: Item,
        rounds: usize,
        progress: &Progress,
        title: &str,
    ) -> Result<Vec<Series>> {
        progress.begin(title);
        let done = match item {
            Item::Row(row) => self.run_row(row, rounds, progress, title),
            Item::Probe(probe) => self.run_probe(probe, rounds).context(probe.title),
        };
        let text = match &done {
            Ok(series) => series.first().map(summary).unwrap_or_default(),
            Err(_) => "failed".to_owned(),
        };
        progress.end(title, &text);
        done
    }

    fn run_probe(&mut self, probe: &Probe, rounds: usize) -> Result<Vec<Series>> {
        match probe.kind {
            Kind::Programs => probe::programs::run(rounds),
            Kind::Flood => probe::flood::run(rounds),
            Kind::Decapsulated => {
                let (processors, slot) = (self.processors, self.slot);
                probe::decap::run(probe, self.lab()?, processors, slot, rounds)
            }
        }
    }

    /// A row: each round all its variants, every other round backwards.
    fn run_row(
        &mut self,
        row: &Row,
        rounds: usize,
        progress: &Progress,
        title: &str,
    ) -> Result<Vec<Series>> {
        let mut series: Vec<Series> = row.measures.iter().copied().map(Series::new).collect();
        self.lab()?.set_early(row.is_early)?;
        self.lab()?.set_wire(row.is_wire)?;
        self.lab()?.set_filter(row.is_filtered)?;
        self.measure_half_rate(row)?;
        for round in 0..rounds {
            for variant in order(row.variants, round) {
                progress.at(title, &format!("round {} of {rounds}: {variant}", round + 1));
                let Some(ends) = self.ends(variant, row.route) else { continue };
                let values = self.run_slot(&ends, variant, row.traffic);
                let values = values.with_context(|| format!("{}, {variant}", row.title))?;
                for (series, value) in series.iter_mut().zip(values) {
                    series.push(variant, value);
                }
            }
        }
        Ok(series)
    }

    fn lab(&mut self) -> Result<&mut Lab> {
        self.lab.as_mut().context("there is no lab")
    }

    fn ends(&self, variant: Variant, route: Route) -> Option<Ends<'_>> {
        self.lab.as_ref()?.ends(variant, route)
    }

    /// The load for rows that have one: the same for all variants.
    fn measure_half_rate(&mut self, row: &Row) -> Result<()> {
        let quiet = matches!(row.traffic, Traffic::PingPong { beside: Beside::Nothing, .. });
        if !matches!(row.traffic, Traffic::PingPong { .. }) || quiet || self.half_rate.is_some() {
            return Ok(());
        }
        let ends = self.ends(Variant::Kernel, row.route).context("the kernel has no pods")?;
        let shape = datagrams::Shape { flows: 1, size: 64, segments: 1 };
        let window = datagrams::run(&ends, self.processors, shape, &self.softirq, self.slot)?;
        self.half_rate = Some(window.rate() / 2.0);
        Ok(())
    }

    /// What runs beside a ping-pong.
    fn background(
        &self,
        ends: &Ends<'_>,
        variant: Variant,
        beside: Beside,
    ) -> Result<Option<Background>> {
        let rate = self.half_rate.unwrap_or_default();
        match beside {
            Beside::Nothing => Ok(None),
            Beside::Load => Background::between(ends, rate).map(Some),
            Beside::Attack => {
                let nodes = self.ends(variant, Route::Tunnel).context("there are no nodes")?;
                let port = self.lab.as_ref().and_then(|lab| lab.tunnel_port(variant));
                let port = port.context("there is no tunnel")?;
                Background::into_void(&nodes, port, frames::of_unknown_network(), rate).map(Some)
            }
        }
    }

    fn run_slot(&self, ends: &Ends<'_>, variant: Variant, traffic: Traffic) -> Result<Values> {
        let Self { processors, softirq, slot, .. } = self;
        match traffic {
            Traffic::PingPong { together, beside } => {
                let background = self.background(ends, variant, beside)?;
                let setting = pingpong::Setting { together, beside: background.as_ref() };
                let trips = pingpong::run(ends, *processors, setting, softirq, *slot)?;
                let cpu_us = trips.window.cpu_per_unit().map(|ns| ns / 1e3);
                let mut values: Values = [0.5, 0.99, 0.999].map(|q| trips.quantile_us(q)).into();
                values.push(cpu_us);
                Ok(values)
            }
            Traffic::Datagrams(shape) => {
                let window = datagrams::run(ends, *processors, shape, softirq, *slot)?;
                Ok(vec![Some(window.rate()), window.cpu_per_unit()])
            }
            Traffic::Bulk(shape) => {
                let bulk = bulk::run(ends, *processors, shape, softirq, *slot)?;
                let reorder = bulk.reorder_per_gigabyte();
                Ok(vec![Some(bulk.gigabits()), bulk.cpu_per_gigabyte(), reorder])
            }
            Traffic::Connections => {
                let window = connections::run(ends, *processors, softirq, *slot)?;
                Ok(vec![Some(window.rate()), window.cpu_per_unit()])
            }
        }
    }
}

/// A row in a few words.
fn summary(series: &Series) -> String {
    let row = series.row();
    let (kernel, l2sm) = (table::figure(row.kernel), table::figure(row.l2sm));
    let ratio = row.ratio.map_or(String::new(), |ratio| format!(", ratio {ratio:.3}"));
    let peer = if row.kernel.is_some() { format!("kernel {kernel}, ") } else { String::new() };
    format!("{peer}l2sm {l2sm} {}{ratio}", row.unit)
}
