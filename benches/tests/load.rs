//! The load generator between two namespaces.

use std::{net::Ipv4Addr, time::Duration};

use l2sm_bench::{
    lab::netns::{Netns, join},
    load::{Ends, Slot, connections, datagrams, processor::Processors},
};

const SLOT: Slot = Slot { settle: Duration::from_millis(20), watch: Duration::from_millis(50) };

/// Two namespaces joined by a veth pair.
fn pair(role: &str) -> anyhow::Result<(Netns, Netns)> {
    let (client, server) = (Netns::new(&format!("{role}-c"))?, Netns::new(&format!("{role}-s"))?);
    join((&client, "e0"), (&server, "e0"), 1500)?;
    client.ip("address add 192.0.2.1/24 dev e0")?;
    server.ip("address add 192.0.2.2/24 dev e0")?;
    Ok((client, server))
}

fn ends<'a>(client: &'a Netns, server: &'a Netns) -> Ends<'a> {
    let (from, to) = (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(192, 0, 2, 2).into());
    Ends { client, server, from, to }
}

#[test]
fn a_window_in_which_nothing_arrived_is_an_error_and_not_a_zero() {
    let (client, server) = pair("deaf").unwrap();
    let (ends, processors) = (ends(&client, &server), Processors::allowed().unwrap());
    let shape = datagrams::Shape { flows: 1, size: 64, segments: 1 };
    let heard = datagrams::run(&ends, processors, shape, &[], SLOT).unwrap();
    assert!(heard.work > 0);

    let rule =
        "table ip deaf { chain i { type filter hook input priority 0; ip protocol udp drop; }; }";
    server.run_program("nft", &[rule]).unwrap();

    let error = datagrams::run(&ends, processors, shape, &[], SLOT).unwrap_err().to_string();
    assert!(error.starts_with("no datagram arrived within 5"), "{error}");
    let answered = connections::run(&ends, processors, &[], SLOT).unwrap();
    assert!(answered.work > 0, "TCP still goes through");
}
