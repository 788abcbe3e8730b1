//! `l2smctl attach`: plugs a network namespace of this node into a network.

use std::process::ExitCode;

use anyhow::Result;
use l2sm_api::socket::{Attach, Attached};

use super::{Common, Netns};
use crate::agent;
use crate::output::AnswerFormat;
use crate::output::table::Table;

/// Plug a network namespace of this node into a network.
///
/// Makes an interface in the namespace and prints what it got. The same again gives the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  l2smctl attach blue --netns /run/netns/web
  l2smctl attach blue --pid 4711 --ifname eth1 --ip 10.10.0.7/24 -o json")]
pub(crate) struct Args {
    /// The network.
    network: String,
    #[command(flatten)]
    netns: Netns,
    /// Name of the interface [default: the first free netN].
    #[arg(long, value_name = "NAME")]
    ifname: Option<String>,
    /// A wanted address, as in 10.10.0.7/24; repeatable [default: the network's choice].
    #[arg(long = "ip", value_name = "CIDR")]
    ips: Vec<String>,
    /// The wanted MAC address [default: the network's choice].
    #[arg(long, value_name = "MAC")]
    mac: Option<String>,
    /// How to show what it got.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: AnswerFormat,
}

/// Attaches, and prints what the agent answers.
pub(crate) fn run(args: &Args, common: &Common) -> Result<ExitCode> {
    let request = Attach {
        network: args.network.clone(),
        namespace: common.namespace().to_owned(),
        netns: args.netns.path()?,
        ifname: args.ifname.clone(),
        ips: args.ips.clone(),
        mac: args.mac.clone(),
        pod: args.netns.label(),
        ..Attach::default()
    };
    let attached = agent::attach(common.socket(), request, common.timeout())?;
    args.output.show(&attached, table(&attached))?;
    Ok(ExitCode::SUCCESS)
}

fn table(attached: &Attached) -> Table {
    let Attached { ifname, mac, ips, vni, mtu } = attached;
    let mut table = Table::new(["IFNAME", "MAC", "IPS", "VNI", "MTU"]);
    table.row([ifname.clone(), mac.clone(), ips.join(","), vni.to_string(), mtu.to_string()]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_got_is_shown_in_a_row() {
        let attached = Attached {
            ifname: "net1".into(),
            mac: "02:00:00:00:00:01".into(),
            ips: vec!["10.10.0.1/24".into()],
            vni: 7,
            mtu: 1550,
        };
        assert_eq!(
            table(&attached).to_string(),
            "IFNAME   MAC                 IPS            VNI   MTU\n\
             net1     02:00:00:00:00:01   10.10.0.1/24   7     1550\n"
        );
        let json: serde_json::Value =
            serde_json::from_str(&crate::output::json::text(&attached).unwrap()).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["ifname", "ips", "mac", "mtu", "vni"]);
    }
}
