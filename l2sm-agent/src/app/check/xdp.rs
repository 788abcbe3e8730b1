//! Whether an underlay device can drop by XDP, and what that costs.

use l2sm_common::ids::IfIndex;
use l2sm_core::image::Xdp;

use super::{Finding, Verdict, finding};
use crate::{
    datapath::running_xdp,
    netlink::{links::Link, underlay::XdpMode},
};

/// What `--xdp` comes to on a device.
pub(super) fn look(link: &Link, mode: XdpMode) -> Finding {
    let name = "xdp";
    let device = &link.name;
    let xdp = mode.on(link);
    match running_xdp(IfIndex(link.index)) {
        Ok(Some(running)) if xdp != Xdp::Off && !running.is_ours() => {
            let what = format!(
                "{device} runs the XDP program {} of somebody else, which stays: only tc drops there",
                running.named()
            );
            return finding(name, Verdict::Warn, what);
        }
        Ok(_) => {}
        Err(why) => return finding(name, Verdict::Warn, format!("{device}: {why}")),
    }
    match xdp {
        Xdp::Native if link.kind == "veth" => {
            let what = format!("native on {device}, a veth, which loses TSO and checksum offload");
            finding(name, Verdict::Warn, what)
        }
        Xdp::Native => finding(name, Verdict::Ok, format!("native on {device}")),
        Xdp::IfTaken => {
            let what = format!("native on {device} if its driver takes it, else off");
            finding(name, Verdict::Ok, what)
        }
        Xdp::Generic => finding(name, Verdict::Ok, format!("generic on {device}")),
        Xdp::Off => finding(name, Verdict::Ok, format!("off on {device}: only tc drops there")),
    }
}
