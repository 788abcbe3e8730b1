//! tcx links and their pins.

use std::{fs, io, path::Path};

use aya::programs::{
    LinkOrder, ProgramInfo, SchedClassifier,
    links::{FdLink, LinkError, LinkType, PinnedLink},
    tc::{SchedClassifierLink, TcAttachOptions},
};
use l2sm_core::image::Hook;

use super::{Attached, device_name, side, uses_map};
use crate::datapath::{DatapathError, bpffs::Pins, error::chain};

/// The links that have a pin and a device. A pin whose link holds no device any more is removed.
pub(super) fn attached(pins: &Pins, config_id: u32) -> Result<Vec<Attached>, DatapathError> {
    let mut attached = Vec::new();
    for hook in pins.hooks()?.into_iter().filter(|hook| !hook.program.is_xdp()) {
        match open(hook, pins)? {
            Pin::Live { program, .. } => {
                let same_maps = uses_map(&program, config_id);
                let program = program.id();
                attached.push(Attached { hook, program, same_maps, settles: false });
            }
            Pin::Stale => remove(&pins.link(hook))?,
            Pin::None | Pin::Foreign(_) => {}
        }
    }
    Ok(attached)
}

/// Updates the pinned link; false: there is none (any more).
pub(super) fn replace(
    program: &mut SchedClassifier,
    hook: Hook,
    pins: &Pins,
) -> Result<bool, DatapathError> {
    let path = pins.link(hook);
    match open(hook, pins)? {
        Pin::Live { link, .. } => update(program, link, hook).map(|()| true),
        Pin::Stale => remove(&path).map(|()| false),
        Pin::None => Ok(false),
        Pin::Foreign(reason) => Err(DatapathError::Pins { path, reason }),
    }
}

/// Updates the pinned link, or attaches before all other programs and pins the link. A foreign
/// program before ours could take frames that we have to judge.
pub(super) fn attach(
    program: &mut SchedClassifier,
    device: &str,
    hook: Hook,
    pins: &Pins,
) -> Result<(), DatapathError> {
    if replace(program, hook, pins)? {
        return Ok(());
    }
    let path = pins.link(hook);
    let error = |error: &dyn std::error::Error| DatapathError::hook("attach", hook, error);
    let order = TcAttachOptions::TcxOrder(LinkOrder::first());
    let link = program
        .attach_with_options(device, side(hook.program), order)
        .and_then(|id| program.take_link(id))
        .map_err(|e| error(&e))?;
    let link = FdLink::try_from(link).map_err(|e| error(&e))?;
    // Without its pin the link ends here: nothing stays attached that nobody knows of.
    link.pin(&path).map(drop).map_err(|e| error(&e))
}

/// Removes the pin; false: there is none. The kernel takes the program off a moment later.
pub(super) fn detach(hook: Hook, pins: &Pins) -> Result<bool, DatapathError> {
    match open(hook, pins)? {
        Pin::Live { .. } | Pin::Stale => remove(&pins.link(hook)).map(|()| true),
        Pin::None => Ok(false),
        Pin::Foreign(reason) => Err(DatapathError::Pins { path: pins.link(hook), reason }),
    }
}

/// What is found under the name of a hook's pin.
enum Pin {
    None,
    /// A link that runs this program on the hook's device.
    Live {
        link: FdLink,
        program: Box<ProgramInfo>,
    },
    /// A link whose device is gone.
    Stale,
    /// Something that we did not make, and what.
    Foreign(String),
}

/// Looks at a hook's pin.
fn open(hook: Hook, pins: &Pins) -> Result<Pin, DatapathError> {
    let path = pins.link(hook);
    let link = match PinnedLink::from_pin(&path) {
        Ok(link) => FdLink::from(link),
        Err(LinkError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            return Ok(Pin::None);
        }
        Err(error) => return Ok(Pin::Foreign(chain(&error))),
    };
    let info = match link.info() {
        Ok(info) if matches!(info.link_type(), Ok(LinkType::Tcx)) => info,
        Ok(_) => return Ok(Pin::Foreign("it is not a tcx link".to_owned())),
        Err(error) => return Ok(Pin::Foreign(chain(&error))),
    };
    let Some(device) = device_name(hook.device) else {
        return Ok(Pin::Stale);
    };
    let programs = SchedClassifier::query_tcx(&device, side(hook.program));
    let (_, programs) = match programs {
        Ok(found) => found,
        // It went while we looked.
        Err(_) if device_name(hook.device).as_ref() != Some(&device) => return Ok(Pin::Stale),
        Err(error) => return Err(DatapathError::hook("read", hook, &error)),
    };
    // The link itself does not say its device to aya. Its program is on the device only if the link
    // is: another link with that program there would have this very pin.
    let program = programs.into_iter().find(|program| program.id() == info.program_id());
    Ok(program.map_or(Pin::Stale, |program| Pin::Live { link, program: Box::new(program) }))
}

/// Replaces the program of a link, in one step.
fn update(program: &mut SchedClassifier, link: FdLink, hook: Hook) -> Result<(), DatapathError> {
    let error = |error: &dyn std::error::Error| DatapathError::hook("update", hook, error);
    let link = SchedClassifierLink::try_from(link).map_err(|e| error(&e))?;
    let id = program.attach_to_link(link).map_err(|e| error(&e))?;
    // Closes our file descriptor; the pin holds the link.
    program.take_link(id).map(drop).map_err(|e| error(&e))
}

/// Removes a pin.
fn remove(path: &Path) -> Result<(), DatapathError> {
    fs::remove_file(path)
        .map_err(|error| DatapathError::Pins { path: path.to_owned(), reason: error.to_string() })
}
