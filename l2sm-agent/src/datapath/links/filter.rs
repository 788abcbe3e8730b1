//! Filters of the clsact qdisc: for kernels before 6.6, and for ports that have no link yet. The filter
//! itself is the record: it has our priority and handle, and our program's name.

use std::{collections::BTreeSet, io};

use aya::programs::{
    Link as _, SchedClassifier, TcHandle, loaded_programs,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, qdisc_add_clsact},
};
use l2sm_common::ids::IfIndex;
use l2sm_core::image::{Hook, Program};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcFilterBpfOption, TcMessage, TcOption},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::net::if_::if_nameindex;

use super::{Attached, device_name, no_device, side, uses_map};
use crate::datapath::DatapathError;

/// Before what others add: they leave the choice to the kernel, which starts at 49152, or take 1.
const PRIORITY: u16 = 1;
/// Any number that others are unlikely to take.
const HANDLE: TcHandle = TcHandle::new(0, 0x12a3);
/// Parents of filters: `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)`, and `TC_H_MIN_EGRESS`.
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;

/// Our filters on every device.
pub(super) fn attached(config_id: u32) -> Result<Vec<Attached>, DatapathError> {
    attached_at(&[INGRESS, EGRESS], config_id)
}

/// Our filters on what comes in, on every device.
pub(super) fn attached_to_ingress(config_id: u32) -> Result<Vec<Attached>, DatapathError> {
    attached_at(&[INGRESS], config_id)
}

fn attached_at(parents: &[u32], config_id: u32) -> Result<Vec<Attached>, DatapathError> {
    let devices = if_nameindex().map_err(|error| DatapathError::Load(error.to_string()))?;
    let mut found = Vec::new();
    for device in &devices {
        let device = IfIndex(device.index());
        let filters = parents.iter().filter_map(|parent| find(device, *parent));
        found.extend(filters.map(|filter| (device, filter)));
    }
    let numbers: BTreeSet<u32> = found.iter().map(|(_device, filter)| filter.program_id).collect();
    let programs = loaded_programs().filter_map(Result::ok);
    let same_maps: BTreeSet<u32> = programs
        .filter(|program| numbers.contains(&program.id()) && uses_map(program, config_id))
        .map(|program| program.id())
        .collect();
    let attached = found.into_iter().map(|(device, filter)| Attached {
        hook: Hook { device, program: filter.program },
        program: filter.program_id,
        same_maps: same_maps.contains(&filter.program_id),
        settles: false,
    });
    Ok(attached.collect())
}

/// Our filter on one side of one device.
fn find(device: IfIndex, parent: u32) -> Option<Filter> {
    dump(device, parent).ok()?.iter().find_map(Filter::ours)
}

/// Replaces our filter, or adds it.
pub(super) fn attach(
    program: &mut SchedClassifier,
    device: &str,
    hook: Hook,
) -> Result<(), DatapathError> {
    let error = |error: &dyn std::error::Error| DatapathError::hook("attach", hook, error);
    let filters = dump(hook.device, parent(hook.program)).map_err(|e| error(&e))?;
    let there = filters.iter().any(|filter| Filter::ours(filter).is_some());
    let id = if there {
        let link = ours_on(device, hook.program).map_err(|e| error(&e))?;
        program.attach_to_link(link)
    } else {
        // It may be there already, somebody else's or ours.
        drop(qdisc_add_clsact(device));
        let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
        let options = TcAttachOptions::Netlink(options);
        program.attach_with_options(device, side(hook.program), options)
    };
    let link = id.and_then(|id| program.take_link(id)).map_err(|e| error(&e))?;
    // Dropping it would remove the filter.
    std::mem::forget(link);
    Ok(())
}

/// Removes our filter.
pub(super) fn detach(hook: Hook) -> Result<(), DatapathError> {
    let Some(device) = device_name(hook.device) else {
        return Ok(());
    };
    let filters = dump(hook.device, parent(hook.program)).unwrap_or_default();
    if !filters.iter().any(|filter| Filter::ours(filter).is_some()) {
        return Ok(());
    }
    let link = ours_on(&device, hook.program).map_err(|_gone| no_device("detach", hook))?;
    link.detach().map_err(|error| DatapathError::hook("detach", hook, &error))
}

/// Whether a device has a filter of ours.
///
/// # Errors
/// Devices cannot be listed.
pub fn any() -> Result<bool, DatapathError> {
    Ok(!attached(0)?.is_empty())
}

/// Removes our filters from every device; says which.
pub fn remove_all() -> Vec<String> {
    let Ok(attached) = attached(0) else {
        return Vec::new();
    };
    let removed = attached.into_iter().filter(|attached| detach(attached.hook).is_ok());
    removed.map(|attached| format!("filter {}", attached.hook)).collect()
}

/// A filter of somebody else on one side of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignFilter {
    /// Name of its program, else its kind.
    pub name: String,
    /// Lower ones run first; ours has 1.
    pub priority: u32,
}

/// Filters on the ingress of a device that are not ours, in the order of their priorities.
///
/// # Errors
/// Netlink failed.
pub fn foreign_filters(device: IfIndex) -> io::Result<Vec<ForeignFilter>> {
    let filters = dump(device, INGRESS)?;
    let foreign = filters.iter().filter(|filter| Filter::ours(filter).is_none());
    let mut named: Vec<_> = foreign.filter_map(named).collect();
    named.sort_by_key(|filter| filter.priority);
    // The parts of a hash table (u32) come one by one.
    named.dedup();
    Ok(named)
}

/// Name and priority; `None`: the message is of a whole priority, not of a filter.
fn named(message: &TcMessage) -> Option<ForeignFilter> {
    if u32::from(message.header.handle) == 0 {
        return None;
    }
    let mut program = None;
    let mut kind = None;
    for attribute in &message.attributes {
        if let TcAttribute::Kind(name) = attribute {
            kind = Some(name.clone());
        }
        for option in options(attribute) {
            if let TcOption::Bpf(TcFilterBpfOption::ProgName(name)) = option {
                program = Some(name.clone());
            }
        }
    }
    let name = program.or(kind).unwrap_or_else(|| "(unnamed)".to_owned());
    Some(ForeignFilter { name, priority: message.header.info >> 16 })
}

/// aya's handle on our filter.
fn ours_on(device: &str, program: Program) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(device, side(program), PRIORITY, HANDLE, None)
}

/// The parent of a program's filter.
const fn parent(program: Program) -> u32 {
    if program.is_egress() { EGRESS } else { INGRESS }
}

/// A filter that is ours.
struct Filter {
    program: Program,
    program_id: u32,
}

impl Filter {
    /// What a filter of ours runs; `None`: it is somebody else's.
    fn ours(message: &TcMessage) -> Option<Self> {
        let priority = message.header.info >> 16;
        let handle = u32::from(message.header.handle);
        if priority != u32::from(PRIORITY) || handle != u32::from(HANDLE) {
            return None;
        }
        let mut program = None;
        let mut program_id = None;
        for option in message.attributes.iter().flat_map(options) {
            if let TcOption::Bpf(TcFilterBpfOption::ProgName(name)) = option {
                program = Program::from_name(name);
            } else if let TcOption::Bpf(TcFilterBpfOption::ProgId(id)) = option {
                program_id = Some(*id);
            }
        }
        Some(Self { program: program?, program_id: program_id? })
    }
}

/// The options in an attribute.
fn options(attribute: &TcAttribute) -> &[TcOption] {
    if let TcAttribute::Options(options) = attribute { options } else { &[] }
}

/// The filters on one side of a device; none where it has no clsact qdisc.
fn dump(device: IfIndex, parent: u32) -> io::Result<Vec<TcMessage>> {
    let mut request = TcMessage::default();
    request.header.index = i32::try_from(device.0).map_err(io::Error::other)?;
    request.header.parent = parent.into();
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let payload = NetlinkPayload::from(RouteNetlinkMessage::GetTrafficFilter(request));
    let mut request = NetlinkMessage::new(header, payload);
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);

    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let mut filters = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        if !take_filters(&datagram, &mut filters)? {
            return Ok(filters);
        }
    }
}

/// Takes the filters out of one datagram; whether more follow.
fn take_filters(mut datagram: &[u8], filters: &mut Vec<TcMessage>) -> io::Result<bool> {
    while !datagram.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram)
            .map_err(io::Error::other)?;
        let length = usize::try_from(message.header.length).map_err(io::Error::other)?;
        if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewTrafficFilter(filter)) =
            message.payload
        {
            filters.push(filter);
        } else if let NetlinkPayload::Error(error) = message.payload {
            return Err(error.to_io());
        } else if let NetlinkPayload::Done(_) = message.payload {
            return Ok(false);
        }
        // Messages are aligned to four bytes.
        let next = length.max(16).next_multiple_of(4).min(datagram.len());
        datagram = datagram.get(next..).unwrap_or_default();
    }
    Ok(true)
}
