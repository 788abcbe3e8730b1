//! Tells dropped frames, as far as there are records of them: `--log-level info,l2sm::drops=debug`.

mod headers;

use std::io;

use l2sm_common::{
    event::{DropEvent, Program},
    reason::DropReason,
};
use l2sm_core::model::ObjectKey;
use tokio::sync::watch;
use tracing::field::display as show;

use self::headers::Headers;
use crate::{
    datapath::{Events, device_of},
    state::{Desired, Outcome},
};

/// Target of the log lines.
const TARGET: &str = "l2sm::drops";

/// What gives the numbers of a record their names.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) desired: watch::Receiver<Desired>,
    pub(super) outcomes: watch::Receiver<Outcome>,
    pub(super) udp_port: u16,
}

/// Reads the ring for as long as the agent runs. It is read whether or not anybody listens: unread
/// records would be old ones when somebody does.
pub(super) async fn tell(mut events: Events, names: Names) -> io::Result<()> {
    loop {
        for event in events.next().await? {
            if tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
                names.tell(&event);
            }
        }
    }
}

impl Names {
    fn tell(&self, event: &DropEvent) {
        let program = Program::name(event.program).unwrap_or("unknown");
        let headers = Headers::read(event.start(), self.tunnel_port(program));
        let number = event.reason.to_string();
        let reason = DropReason::from_number(event.reason).map_or(number.as_str(), |r| r.label());
        let network = self.network(event.slot);
        let vni = headers.vni.or_else(|| self.vni(network.as_ref()?));
        let ethertype = headers.ethertype.map(|number| format!("{number:#06x}"));
        tracing::debug!(
            target: TARGET,
            reason,
            network = network.as_ref().map(show),
            device = device_of(event),
            program,
            vni,
            src_mac = headers.source.map(show),
            dst_mac = headers.destination.map(show),
            ethertype,
            outer_source = headers.outer_source.map(show),
            length = event.length,
            "dropped"
        );
    }

    /// The port of tunnel packets, for programs that may see some.
    fn tunnel_port(&self, program: &str) -> Option<u16> {
        use l2sm_common::abi::{PORT_RX, TUNNEL_RX};
        (![PORT_RX, TUNNEL_RX].contains(&program)).then_some(self.udp_port)
    }

    fn network(&self, slot: u32) -> Option<ObjectKey> {
        self.outcomes.borrow().slots.get(&slot).cloned()
    }

    fn vni(&self, network: &ObjectKey) -> Option<u32> {
        let desired = self.desired.borrow();
        let mut segments = desired.instructions.segments.iter();
        segments.find(|(_vni, segment)| segment.network == *network).map(|(vni, _)| vni.get())
    }
}
