//! Which XDP program a device runs, as routing netlink tells it.

use std::io;

use l2sm_common::{abi, ids::IfIndex};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage, LinkXdp},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// An XDP program on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpRunning {
    /// The kernel's number of the program.
    pub program: u32,
}

impl XdpRunning {
    /// Its name, where it has one, and its number.
    pub fn named(self) -> String {
        let info = super::xdp::info(self.program);
        let name = info.as_ref().and_then(|info| info.name_as_str()).unwrap_or_default();
        let name = if name.is_empty() { "without a name" } else { name };
        format!("{name} (id {})", self.program)
    }

    /// Whether its name is that of ours.
    pub fn is_ours(self) -> bool {
        let info = super::xdp::info(self.program);
        info.is_some_and(|info| info.name_as_str() == Some(abi::UPLINK_XDP))
    }
}

/// The XDP program of a device of the calling thread's namespace.
///
/// # Errors
/// There is no such device, or netlink failed.
pub fn xdp(device: IfIndex) -> io::Result<Option<XdpRunning>> {
    let mut request = LinkMessage::default();
    request.header.index = device.0;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let payload = NetlinkPayload::from(RouteNetlinkMessage::GetLink(request));
    let mut request = NetlinkMessage::new(header, payload);
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);

    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let (datagram, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram);
    let answer = answer.map_err(io::Error::other)?.payload;
    if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = answer {
        return Ok(link.attributes.iter().find_map(running));
    }
    if let NetlinkPayload::Error(error) = answer {
        return Err(error.to_io());
    }
    Err(io::Error::other("netlink answered with something else than a link"))
}

/// The program in a link's attribute. One that runs in two ways at once names each.
fn running(attribute: &LinkAttribute) -> Option<XdpRunning> {
    let LinkAttribute::Xdp(facts) = attribute else { return None };
    facts.iter().find_map(|fact| {
        let program = if let LinkXdp::ProgId(id)
        | LinkXdp::DrvProgId(id)
        | LinkXdp::SkbProgId(id)
        | LinkXdp::HwProgId(id) = fact
        {
            *id
        } else {
            0
        };
        (program != 0).then_some(XdpRunning { program })
    })
}
