//! The command line: what is run, in which order, and what is printed.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::{
    gates::{self, Judgement, Verdict},
    lab::{Lab, leftovers, owner::run_owned, settings::Settings},
    load::{Slot, processor::Processors},
    machine::Machine,
    plan::{self, Item},
    privilege,
    progress::Progress,
    publish,
    results::{Results, Series},
    run::Runner,
    say::say,
    table,
};

/// Rounds where nothing else is said.
const ROUNDS: usize = 7;
/// Rounds that a judgement takes at least.
const ROUNDS_OF_A_CHECK: usize = 15;
/// Where the results go.
const RESULTS: &str = "target/bench/results.json";
const SLOT: Slot = Slot { settle: Duration::from_millis(80), watch: Duration::from_millis(350) };

/// Measure l2sm against the kernel's own bridge and vxlan, on this machine, in one run.
#[derive(Debug, clap::Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
pub struct Args {
    /// Measure only this; may be given several times
    #[arg(long, value_name = "MEASURE")]
    pub only: Vec<String>,
    /// Rounds of each row [default: 7; with --check 15, and not fewer]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=999))]
    pub rounds: Option<u16>,
    /// Judge the results by the bars, and fail if one is not reached
    #[arg(long)]
    pub check: bool,
    /// Write docs/performance.md and its plot
    #[arg(long, conflicts_with = "only")]
    pub publish: bool,
}

/// Runs the benchmark.
///
/// # Errors
/// Bad input, a missing privilege or feature, or traffic that fails.
pub fn run(args: &Args) -> Result<ExitCode> {
    let items = plan::choose(&args.only)?;
    privilege::check()?;
    run_owned(|| run_items(args, items))
}

fn run_items(args: &Args, items: Vec<Item>) -> Result<ExitCode> {
    leftovers::remove_of_others();
    let processors = Processors::allowed()?;
    let (items, left_out) = plan::part(items, processors);
    for (item, why) in left_out {
        say!("left out: {}: {why}", item.title());
    }
    if items.is_empty() {
        bail!("nothing is left to measure");
    }
    let (rounds, machine) = (args.rounds(), Machine::here());
    announce(&items, rounds, &machine);
    let (settings, changed) = Settings::arrange()?;
    for line in changed {
        say!("{line}");
    }
    let (series, failed) = measure(&items, rounds, processors)?;
    for line in settings.disturbed() {
        say!("warning: {line}");
    }
    let results = Results { rounds, machine, rows: series.iter().map(Series::row).collect() };
    table::print(&results.rows);
    results.write(Path::new(RESULTS))?;
    say!("written to {RESULTS}");
    let judged = gates::judge(&series);
    if args.publish && failed == 0 {
        publish::publish(&results, &judged)?;
    }
    let good = !args.check || report(&judged, !args.only.is_empty());
    if failed > 0 {
        bail!("{failed} of {} rows could not be measured: the lines above say why", items.len());
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn announce(items: &[Item], rounds: usize, machine: &Machine) {
    say!("{}, {} x {}, load {}", machine.kernel, machine.cpus, machine.cpu, machine.load);
    let time = spoken(plan::estimate(items, rounds, SLOT));
    say!("{} rows, {rounds} rounds, about {time}", items.len());
}

impl Args {
    fn rounds(&self) -> usize {
        let rounds = self.rounds.map_or(ROUNDS, usize::from);
        if self.check { rounds.max(ROUNDS_OF_A_CHECK) } else { rounds }
    }
}

/// Runs everything, even when something fails; what came out, and how many rows failed.
fn measure(items: &[Item], rounds: usize, processors: Processors) -> Result<(Vec<Series>, usize)> {
    let progress = Progress::to_stdout();
    let lab = items.iter().any(Item::needs_lab).then(|| Lab::build(&progress)).transpose();
    let lab = lab.context("cannot make the lab")?;
    let mut runner = Runner::new(lab, processors, SLOT)?;
    let (mut series, mut failed) = (Vec::new(), 0);
    for (item, number) in items.iter().zip(1..) {
        let title = format!("[{number:2}/{}] {}", items.len(), item.title());
        match runner.run(*item, rounds, &progress, &title) {
            Ok(yielded) => series.extend(yielded),
            Err(error) => {
                say!("left out: {error:#}");
                failed += 1;
            }
        }
    }
    Ok((series, failed))
}

fn spoken(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 90 => format!("{} s", seconds.max(1)),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// Prints every gate; whether all passed. With `--only`, gates on other measures are not judged.
fn report(judged: &[Judgement], only: bool) -> bool {
    let looked_at = |judged: &&Judgement| !only || judged.verdict != Verdict::NotMeasured;
    let judged: Vec<_> = judged.iter().filter(looked_at).collect();
    for judgement in &judged {
        say!("{judgement}");
    }
    judged.iter().all(|judged| matches!(judged.verdict, Verdict::Pass { .. }))
}
