//! The record of what a lab consists of, kept in `/run/l2sm-lab/state.json` and written before
//! anything is made: so all that is named in it is ours, and nothing of ours is missing from it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use l2sm_api::socket::Attached;
use serde::{Deserialize, Serialize};

use super::plan::{DIRECTORY, Plan};
use super::process::Process;
use crate::output::json;

/// Why a lab cannot be built beside another.
pub(crate) const ALREADY_UP: &str = "a lab is up: `l2smctl lab down` ends it";

/// What there is of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// What was to be built.
    pub(crate) plan: Plan,
    /// Programs that were started, in order.
    pub(crate) processes: Vec<Process>,
    /// What the pods got, in the order of the plan.
    pub(crate) attached: Vec<Attached>,
    /// All is built.
    pub(crate) complete: bool,
}

impl State {
    /// The record of a lab of which nothing is built yet.
    pub(crate) fn planned(plan: Plan) -> Self {
        Self { plan, processes: Vec::new(), attached: Vec::new(), complete: false }
    }

    /// The pods and what they got.
    pub(crate) fn pods(&self) -> impl Iterator<Item = (&super::plan::Pod, &Attached)> {
        self.plan.pods.iter().zip(&self.attached)
    }

    /// Writes the record in place of the last one; never half of it.
    pub(crate) fn save(&self) -> Result<()> {
        let file = file();
        let new = file.with_extension("json.new");
        fs::write(&new, json::text(self)?)
            .and_then(|()| fs::rename(&new, &file))
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Makes the lab's directory, which only one lab at a time can have.
///
/// # Errors
/// When there is one.
pub(crate) fn claim() -> Result<()> {
    match fs::create_dir(DIRECTORY) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!(ALREADY_UP)
        }
        Err(error) => Err(error).with_context(|| format!("cannot make {DIRECTORY}")),
    }
}

/// The record of the lab that is up; `None` when none is.
///
/// # Errors
/// When there is a record that cannot be read.
pub(crate) fn load() -> Result<Option<State>> {
    let file = file();
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", file.display()));
        }
    };
    let state = serde_json::from_str(&text);
    state.map(Some).with_context(|| {
        format!("cannot read {}: is it from another version of l2smctl?", file.display())
    })
}

/// The record of the lab that is up and whole.
///
/// # Errors
/// When there is none.
pub(crate) fn current() -> Result<State> {
    let Some(state) = load()? else { bail!("no lab is up: `l2smctl lab up` builds one") };
    if !state.complete {
        bail!(
            "the lab is not whole (it is being built, or that was interrupted): `l2smctl lab down` removes it"
        );
    }
    Ok(state)
}

fn file() -> PathBuf {
    Path::new(DIRECTORY).join("state.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::Size;

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        let plan = Plan::new(Size { nodes: 2, pods: 1, networks: 2, mtu: 1600 }).unwrap();
        let mut state = State::planned(plan);
        state.processes.push(Process { name: "controller".into(), pid: 7, started: 8 });
        let text = json::text(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }
}
