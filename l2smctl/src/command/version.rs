//! `l2smctl version`: versions of this program, the operator and the agents.

use std::process::ExitCode;

use anyhow::Result;

use super::Common;
use crate::cluster::{self, status};
use crate::output::AnswerFormat;

/// Show the versions of this program, and of operator and agents on a cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// This program's only; asks no cluster.
    #[arg(long)]
    client: bool,
    /// How to show it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: AnswerFormat,
}

/// Shows the versions; of this program also where the cluster cannot be asked.
pub(crate) fn run(args: &Args, common: &Common) -> Result<ExitCode> {
    if args.client {
        show_own(args)?;
        return Ok(ExitCode::SUCCESS);
    }
    let looked = cluster::with(common, async |client| Box::pin(status::look(client)).await);
    if looked.is_err() {
        show_own(args)?;
    }
    let report = looked?;
    args.output.show(&report.versions(), report.versions_text())?;
    Ok(ExitCode::SUCCESS)
}

fn show_own(args: &Args) -> Result<()> {
    let client = serde_json::json!({"client": crate::VERSION});
    args.output.show(&client, format_args!("client     {}\n", crate::VERSION))
}
