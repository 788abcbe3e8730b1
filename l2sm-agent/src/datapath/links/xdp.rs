//! XDP links and their pins. A device runs one XDP program: one of somebody else's stays.

use std::{
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    programs::{
        ProgramInfo, Xdp, XdpMode,
        links::{FdLink, LinkError, LinkType, PinnedLink},
        loaded_programs,
        xdp::XdpLink,
    },
};
use l2sm_core::image::{Hook, Program};

use super::{Attached, device_name, no_device, query, uses_map};
use crate::datapath::{DatapathError, bpffs::Pins, error::chain, object::try_again};

/// The kernel takes a program off this soon after its last link is gone.
const GONE: Duration = Duration::from_secs(1);

/// The links that have a pin and a device. A pin whose link holds no device any more is removed.
pub(super) fn attached(pins: &Pins, config_id: u32) -> Result<Vec<Attached>, DatapathError> {
    let mut attached = Vec::new();
    for hook in pins.hooks()?.into_iter().filter(|hook| hook.program.is_xdp()) {
        match open(hook, pins)? {
            Pin::Live { program, .. } => {
                let read = info(program);
                let same_maps = read.is_some_and(|program| uses_map(&program, config_id));
                attached.push(Attached { hook, program, same_maps, settles: false });
            }
            Pin::Stale => remove(&pins.link(hook))?,
            Pin::None | Pin::Foreign(_) => {}
        }
    }
    Ok(attached)
}

/// Updates the pinned link, or attaches to a device that runs no XDP program and pins the link.
pub(super) fn attach(object: &mut Ebpf, hook: Hook, pins: &Pins) -> Result<(), DatapathError> {
    let path = pins.link(hook);
    match open(hook, pins)? {
        Pin::Live { link, .. } => {
            let updated =
                load(object, hook.program).and_then(|program| update(program, link, hook));
            // What cannot be replaced must not go on dropping by what an agent before was told.
            return updated.or_else(|why| remove(&path).and(Err(why)));
        }
        Pin::Stale => remove(&path)?,
        Pin::None => {}
        Pin::Foreign(reason) => return Err(DatapathError::Pins { path, reason }),
    }
    let Some(device) = device_name(hook.device) else {
        return Err(no_device("attach", hook));
    };
    let error = |error: &dyn std::error::Error| DatapathError::hook("attach", hook, error);
    if let Some(running) = query::xdp(hook.device).map_err(|e| error(&e))? {
        return Err(DatapathError::XdpTaken { device, program: running.named() });
    }
    let program = load(object, hook.program)?;
    let (mode, way) = if matches!(hook.program, Program::UplinkXdpGeneric) {
        (XdpMode::Skb, "generic")
    } else {
        (XdpMode::Driver, "native")
    };
    let link = program.attach_to_if_index(hook.device.0, mode);
    let link =
        link.map_err(|error| DatapathError::XdpRefused { device, way, reason: chain(&error) })?;
    let link = program.take_link(link).map_err(|e| error(&e))?;
    let link = FdLink::try_from(link).map_err(|e| error(&e))?;
    // Without its pin the link ends here: nothing stays attached that nobody knows of.
    link.pin(&path).map(drop).map_err(|e| error(&e))
}

/// Removes the pin, and waits until the kernel has taken the program off: another way of running it
/// can only come after that.
pub(super) fn detach(hook: Hook, pins: &Pins) -> Result<(), DatapathError> {
    let program = match open(hook, pins)? {
        Pin::Live { program, .. } => program,
        Pin::Stale => return remove(&pins.link(hook)),
        Pin::None => return Ok(()),
        Pin::Foreign(reason) => {
            return Err(DatapathError::Pins { path: pins.link(hook), reason });
        }
    };
    remove(&pins.link(hook))?;
    let deadline = Instant::now() + GONE;
    let runs =
        || matches!(query::xdp(hook.device), Ok(Some(running)) if running.program == program);
    while runs() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// What is found under the name of a hook's pin.
enum Pin {
    None,
    /// A link that runs this program, by the kernel's number, on the hook's device in its way.
    Live {
        link: FdLink,
        program: u32,
    },
    /// A link whose device is gone.
    Stale,
    /// Something that we did not make, and what.
    Foreign(String),
}

/// Looks at a hook's pin.
fn open(hook: Hook, pins: &Pins) -> Result<Pin, DatapathError> {
    let link = match PinnedLink::from_pin(pins.link(hook)) {
        Ok(link) => FdLink::from(link),
        Err(LinkError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            return Ok(Pin::None);
        }
        Err(error) => return Ok(Pin::Foreign(chain(&error))),
    };
    let info = match link.info() {
        Ok(info) if matches!(info.link_type(), Ok(LinkType::Xdp)) => info,
        Ok(_) => return Ok(Pin::Foreign("it is not an XDP link".to_owned())),
        Err(error) => return Ok(Pin::Foreign(chain(&error))),
    };
    let running = match query::xdp(hook.device) {
        Ok(running) => running,
        Err(_) if device_name(hook.device).is_none() => return Ok(Pin::Stale),
        Err(error) => return Err(DatapathError::hook("read", hook, &error)),
    };
    // The link itself does not say its device to aya. Its program is on the device only if the link
    // is: it was loaded by one agent, which pins every link.
    let program = info.program_id();
    let is_there = running.is_some_and(|running| running.program == program);
    Ok(if is_there { Pin::Live { link, program } } else { Pin::Stale })
}

/// Replaces the program of a link, in one step.
fn update(program: &mut Xdp, link: FdLink, hook: Hook) -> Result<(), DatapathError> {
    let error = |error: &dyn std::error::Error| DatapathError::hook("update", hook, error);
    let link = XdpLink::try_from(link).map_err(|e| error(&e))?;
    let id = program.attach_to_link(link).map_err(|e| error(&e))?;
    // Closes our file descriptor; the pin holds the link.
    program.take_link(id).map(drop).map_err(|e| error(&e))
}

/// The program, loaded when a device first wants it: a kernel that refuses it (before 5.18) forwards
/// without.
fn load(object: &mut Ebpf, program: Program) -> Result<&mut Xdp, DatapathError> {
    let name = program.name();
    let missing = || DatapathError::Object(format!("it has no program {name}"));
    let program = object.program_mut(name).ok_or_else(missing)?;
    let wrong = |error| DatapathError::Object(format!("program {name}: {error}"));
    let program: &mut Xdp = program.try_into().map_err(wrong)?;
    if program.fd().is_err() {
        try_again(|| program.load()).map_err(|error| DatapathError::program(name, error))?;
    }
    Ok(program)
}

/// A program of the kernel, by its number.
pub(super) fn info(program: u32) -> Option<ProgramInfo> {
    loaded_programs().filter_map(Result::ok).find(|info| info.id() == program)
}

/// Removes a pin.
fn remove(path: &Path) -> Result<(), DatapathError> {
    fs::remove_file(path)
        .map_err(|error| DatapathError::Pins { path: path.to_owned(), reason: error.to_string() })
}
