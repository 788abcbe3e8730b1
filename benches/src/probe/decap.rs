//! How long the frames are that a pod gets: aggregated before they were decapsulated, or not.

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::{PerCpuArray, PerCpuValues},
    programs::{LinkOrder, TcAttachType, tc::TcAttachOptions},
};
use l2sm_common::maps::Tally;

use super::{Probe, object::Object, series};
use crate::{
    lab::{Lab, Route},
    load::{Slot, bulk, processor::Processors},
    results::Series,
    variant::Variant,
};

const PROGRAM: &str = "bench_count";

/// Runs all rounds: a slot of wire-like TCP each, with a program that counts on the pod's device.
///
/// # Errors
/// The program does not attach, or traffic fails.
pub fn run(
    probe: &Probe,
    lab: &mut Lab,
    processors: Processors,
    slot: Slot,
    rounds: usize,
) -> Result<Vec<Series>> {
    lab.set_early(false)?;
    lab.set_wire(true)?;
    lab.set_filter(false)?;
    let server = &lab.ours.site.server;
    let mut object = Object::load(&[PROGRAM])?;
    let device = server.device.as_str();
    server.netns.run(|| {
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        let program = object.program(PROGRAM)?;
        let attached = program.attach_with_options(device, TcAttachType::Ingress, options);
        attached.map(drop).context("cannot attach a program to a pod's device")
    })?;
    let ends = lab.ends(Variant::L2sm, Route::Across).context("no pods")?;
    let shape = bulk::Shape { streams: 1, write: bulk::WRITE };
    let mut values = Vec::new();
    for _ in 0..rounds {
        let before = counted(&mut object)?;
        bulk::run(&ends, processors, shape, &[], slot)?;
        let after = counted(&mut object)?;
        let frames = after.packets - before.packets;
        ensure!(frames > 0, "no frame came by the program that counts them");
        values.push(vec![(after.bytes - before.bytes) as f64 / frames as f64]);
    }
    Ok(series(probe.measures, &values))
}

/// Frames and bytes so far.
fn counted(object: &mut Object) -> Result<Tally> {
    let map: PerCpuArray<_, Tally> = object.map("COUNTED")?.try_into()?;
    let values: PerCpuValues<Tally> = map.get(&0, 0).context("cannot read COUNTED")?;
    let sum = values.iter().fold(Tally::default(), |sum, part| Tally {
        packets: sum.packets + part.packets,
        bytes: sum.bytes + part.bytes,
    });
    Ok(sum)
}
