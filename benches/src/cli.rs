//! What is run, in which order, and what is printed.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::Parser as _;

use crate::{
    args::{Args, RESULTS},
    gates::{self, Judgement, Verdict},
    lab::{Lab, leftovers, owner::run_owned, settings::Settings},
    load::{Slot, processor::Processors},
    machine::Machine,
    plan::{self, Item},
    privilege,
    progress::Progress,
    publish,
    results::{self, Results, Series},
    run::Runner,
    say::{briefly, say},
    table,
};

/// Rounds where nothing else is said.
const ROUNDS: usize = 7;
/// Rounds that a judgement takes at least.
const ROUNDS_OF_A_CHECK: usize = 15;
const SLOT: Slot = Slot { settle: Duration::from_millis(80), watch: Duration::from_millis(350) };

/// Runs the benchmark as the command line says.
///
/// # Errors
/// Bad input, a missing privilege or feature, or traffic that fails.
pub fn run() -> Result<ExitCode> {
    let args = Args::parse();
    args.check_names()?;
    privilege::check()?;
    results::remove(Path::new(RESULTS))?;
    run_owned(|| run_items(&args))
}

fn run_items(args: &Args) -> Result<ExitCode> {
    leftovers::remove_earlier();
    let processors = Processors::allowed()?;
    let items = choose_items(&args.only, processors)?;
    let (rounds, machine) = (args.rounds(), Machine::here());
    announce(&items, rounds, &machine, processors);
    let (settings, changed) = Settings::arrange()?;
    for line in changed {
        say!("{line}");
    }
    let (series, failed) = measure(&items, rounds, processors)?;
    for line in settings.disturbed() {
        say!("warning: {line}");
    }
    if series.is_empty() {
        bail!("nothing could be measured: the lines above say why");
    }
    let results = Results { rounds, machine, rows: series.iter().map(Series::row).collect() };
    table::print(&results.rows);
    let judged = gates::judge(&series);
    // Told before anything is written: a full disk costs the file, and not the verdict.
    let good = !args.check || report(&judged, &args.only);
    if let Some(missed) = &args.missed {
        say!("before these rows: {missed}");
    }
    results.write(Path::new(RESULTS))?;
    say!("written to {RESULTS}");
    if failed > 0 {
        bail!("{failed} of {} rows could not be measured: the lines above say why", items.len());
    }
    if args.publish {
        publish::publish(&results, &judged)?;
    }
    let good = good && args.missed.is_none();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was asked for and can be measured here; says what cannot.
fn choose_items(only: &[String], processors: Processors) -> Result<Vec<Item>> {
    let (items, left_out) = plan::part(plan::choose(only), processors);
    for (item, why) in left_out {
        say!("left out: {}: {why}", item.title());
    }
    if items.is_empty() {
        bail!("nothing is left to measure");
    }
    Ok(items)
}

fn announce(items: &[Item], rounds: usize, machine: &Machine, processors: Processors) {
    say!("{}, {} x {}, load {}", machine.kernel, machine.cpus, machine.cpu, machine.load);
    if processors.second.is_none() {
        say!("one CPU may be used: clients, servers and both nodes share it in every row");
    }
    let time = spoken(plan::estimate(items, rounds, SLOT));
    say!("{} rows, {rounds} rounds, about {time}", items.len());
}

impl Args {
    fn rounds(&self) -> usize {
        let rounds = self.rounds.map_or(ROUNDS, usize::from);
        // A page tells verdicts too.
        if self.check || self.publish { rounds.max(ROUNDS_OF_A_CHECK) } else { rounds }
    }
}

/// Runs everything, even when something fails; what came out, and how many rows failed.
fn measure(items: &[Item], rounds: usize, processors: Processors) -> Result<(Vec<Series>, usize)> {
    let progress = Progress::to_stdout();
    let lab = items.iter().any(Item::needs_lab).then(|| Lab::build(&progress)).transpose();
    let lab = lab.unwrap_or_else(|error| {
        say!("left out: whatever needs pods: cannot make the lab: {}", briefly(&error));
        None
    });
    let possible = |item: &&Item| lab.is_some() || !item.needs_lab();
    let possible: Vec<Item> = items.iter().filter(possible).copied().collect();
    let mut failed = items.len() - possible.len();
    let mut runner = Runner::new(lab, processors, SLOT)?;
    let mut series = Vec::new();
    for (item, number) in possible.iter().zip(1..) {
        let title = format!("[{number:2}/{}] {}", possible.len(), item.title());
        match runner.run(*item, rounds, &progress, &title) {
            Ok(yielded) => series.extend(yielded),
            Err(error) => {
                say!("left out: {}", briefly(&error));
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
fn report(judged: &[Judgement], only: &[String]) -> bool {
    let looked_at = |judged: &&Judgement| only.is_empty() || judged.verdict != Verdict::NotMeasured;
    let judged: Vec<_> = judged.iter().filter(looked_at).collect();
    if judged.is_empty() {
        say!("--check: no bar is about {}: nothing is judged", only.join(", "));
    }
    for judgement in &judged {
        say!("{judgement}");
    }
    judged.iter().all(|judged| matches!(judged.verdict, Verdict::Pass { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(arguments: &[&str]) -> usize {
        Args::parse_from(["bench"].iter().chain(arguments)).rounds()
    }

    #[test]
    fn what_is_judged_or_published_has_rounds_enough_for_a_verdict() {
        assert_eq!(rounds(&[]), 7);
        assert_eq!(rounds(&["--rounds", "3"]), 3);
        assert_eq!(rounds(&["--check"]), 15);
        assert_eq!(rounds(&["--publish"]), 15);
        assert_eq!(rounds(&["--publish", "--rounds", "3"]), 15);
        assert_eq!(rounds(&["--check", "--rounds", "31"]), 31);
    }
}
