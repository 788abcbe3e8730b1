//! The object: programs and maps as built for the kernel.

use std::io::ErrorKind;

use aya::{
    Ebpf, EbpfLoader,
    programs::{ProgramError, SchedClassifier},
};
use l2sm_common::abi;
use l2sm_core::image::Program;

use super::{Capacities, DatapathError, bpffs::Pins, layout, maps::Maps};

/// The programs and maps of the data path, as built for the kernel.
pub const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/l2sm.o"));

/// The same, where every drop is logged: one more map, which is not a BTF map.
#[cfg(feature = "log")]
pub const LOG_OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/l2sm-log.o"));

/// The object that the agent loads.
#[cfg(not(feature = "log"))]
const LOADED: &[u8] = OBJECT;
#[cfg(feature = "log")]
const LOADED: &[u8] = LOG_OBJECT;

/// How often a program is loaded, `PROG_LOAD_ATTEMPTS` of libbpf.
const ATTEMPTS: usize = 5;

/// Parses the object, and opens or makes its maps; `capacities`: of those that are made now.
pub(super) fn load_object(pins: &Pins, capacities: &Capacities) -> Result<Ebpf, DatapathError> {
    let directory = pins.maps();
    let mut loader = EbpfLoader::new();
    for map in layout::all() {
        loader.map_pin_path(map.name, directory.join(map.name));
    }
    for (name, entries) in capacities {
        loader.map_max_entries(name, *entries);
    }
    let object = loader.load(LOADED);
    object.map_err(|error| DatapathError::load("make the maps".to_owned(), &error))
}

/// Has the kernel verify and load one program.
pub(super) fn load_program(object: &mut Ebpf, name: &str) -> Result<(), DatapathError> {
    let program = classifier(object, name)?;
    try_again(|| program.load()).map_err(|error| DatapathError::program(name, error))
}

/// Loads a program once more when a signal to this process broke off its verification, which the kernel
/// then answers by `EAGAIN` (`bpf_check`); as often as libbpf does.
pub(super) fn try_again(
    mut load: impl FnMut() -> Result<(), ProgramError>,
) -> Result<(), ProgramError> {
    for _broken_off in 1..ATTEMPTS {
        match load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.kind() == ErrorKind::WouldBlock => {}
            ended => return ended,
        }
    }
    load()
}

/// A program of the object.
pub(super) fn classifier<'a>(
    object: &'a mut Ebpf,
    name: &str,
) -> Result<&'a mut SchedClassifier, DatapathError> {
    let missing = || DatapathError::Object(format!("it has no program {name}"));
    let program = object.program_mut(name).ok_or_else(missing)?;
    let wrong = |error| DatapathError::Object(format!("program {name}: {error}"));
    program.try_into().map_err(wrong)
}

/// Makes programs reachable by tail call, before any program that reaches for them is attached.
pub(super) fn set_tail_calls(maps: &mut Maps, object: &mut Ebpf) -> Result<(), DatapathError> {
    for (index, name) in abi::PROGS {
        let program = classifier(object, name)?;
        let program = program.fd().map_err(|error| DatapathError::program(name, error))?;
        let set = maps.progs.set(index, program, 0);
        set.map_err(|error| DatapathError::map("write", layout::PROGS.name, &error))?;
    }
    Ok(())
}

/// The kernel's number of a program; `None`: it is not loaded.
pub(super) fn program_id(object: &Ebpf, program: Program) -> Result<Option<u32>, DatapathError> {
    let name = program.name();
    let missing = || DatapathError::Object(format!("it has no program {name}"));
    match object.program(name).ok_or_else(missing)?.info() {
        Ok(info) => Ok(Some(info.id())),
        Err(ProgramError::NotLoaded) => Ok(None),
        Err(error) => Err(DatapathError::program(name, error)),
    }
}
