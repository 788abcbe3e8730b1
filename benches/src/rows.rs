//! The table of rows: what each one runs, and which figures it yields.

use crate::{
    lab::Route,
    load::{bulk, datagrams},
    measure::{Measure, higher, lower},
    variant::{self, Variant},
};

/// One kind of traffic, which yields one or more figures.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What is printed while it runs.
    pub title: &'static str,
    /// The figures, in the order in which the traffic yields them.
    pub measures: &'static [Measure],
    /// Who takes part.
    pub variants: &'static [Variant],
    /// Between whom.
    pub route: Route,
    /// Whether the underlay carries packets, as a NIC without tunnel offloads, or super-packets.
    pub is_wire: bool,
    /// Whether the nodes track connections and have rules for services.
    pub is_filtered: bool,
    /// Whether our second node drops by XDP.
    pub is_early: bool,
    /// What runs.
    pub traffic: Traffic,
}

/// What runs in a slot.
#[derive(Clone, Copy, Debug)]
pub enum Traffic {
    /// Round trips.
    PingPong {
        /// Both ends on one processor.
        together: bool,
        /// Beside what.
        beside: Beside,
    },
    /// Datagrams.
    Datagrams(datagrams::Shape),
    /// Bulk TCP.
    Bulk(bulk::Shape),
    /// A connection for each request.
    Connections,
}

/// What runs beside a ping-pong, on the CPU of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// Datagrams between the same pods, at half the rate that the kernel's variant can carry.
    Load,
    /// As many tunnel packets of a network that nobody has, to the server's node.
    Attack,
}

impl Traffic {
    /// Whether it needs a second processor to mean anything.
    pub fn needs_two_processors(&self) -> bool {
        matches!(self, Self::PingPong { together: false, .. })
    }
}

const fn datagrams(flows: usize) -> Traffic {
    Traffic::Datagrams(datagrams::Shape { flows, size: 64, segments: 1 })
}

const fn bulk(streams: usize, write: usize) -> Traffic {
    Traffic::Bulk(bulk::Shape { streams, write })
}

const BULK: Traffic = bulk(1, bulk::WRITE);
const FOUR: Traffic = bulk(4, bulk::WRITE);
const TOGETHER: Traffic = Traffic::PingPong { together: true, beside: Beside::Nothing };

const ATTACKED: Traffic = Traffic::PingPong { together: true, beside: Beside::Attack };

const fn row(title: &'static str, measures: &'static [Measure], traffic: Traffic) -> Row {
    let (is_wire, is_filtered, is_early) = (false, false, false);
    let (variants, route) = (&variant::ALL, Route::Across);
    Row { title, measures, variants, route, is_wire, is_filtered, is_early, traffic }
}

/// The same over a wire that carries packets.
const fn on_wire(row: Row) -> Row {
    Row { is_wire: true, ..row }
}

const fn on_route(route: Route, row: Row) -> Row {
    Row { route, ..row }
}

/// The same to a port that is marked as a forwarder: only ours has such a thing.
const fn forwarded(row: Row) -> Row {
    Row { route: Route::Forwarder, variants: &variant::PAIR, ..row }
}

/// The same where the nodes track connections and have the rules of services.
const fn filtered(row: Row) -> Row {
    Row { is_filtered: true, variants: &variant::PAIR, ..row }
}

/// The same where our second node drops by XDP.
const fn early(row: Row) -> Row {
    Row { is_early: true, variants: &variant::PAIR, ..row }
}

/// A row of messages, wire-like.
const fn messages(title: &'static str, measures: &'static [Measure], bytes: usize) -> Row {
    on_wire(row(title, measures, bulk(1, bytes)))
}

/// Every row of traffic. A bulk row yields its rate, then CPU per GB, then reordering.
pub const ROWS: &[Row] = &[
    row(
        "ping-pong, one CPU",
        &[
            lower("pingpong_p50", "us"),
            lower("pingpong_p99", "us"),
            lower("pingpong_p999", "us"),
            lower("pingpong_cpu", "us"),
        ],
        TOGETHER,
    ),
    row("UDP 64 B, 1 flow", &[higher("udp64_pps", "1/s"), lower("udp64_cpu", "ns")], datagrams(1)),
    row(
        "TCP 1 stream, super-packets",
        &[higher("tcp1_super", "Gbit/s"), lower("tcp_cpu_per_gb_super", "s/GB")],
        BULK,
    ),
    row("TCP 4 streams, super-packets", &[higher("tcp4_super", "Gbit/s")], FOUR),
    on_wire(row(
        "TCP 1 stream, wire-like",
        &[
            higher("tcp1_wire", "Gbit/s"),
            lower("tcp_cpu_per_gb", "s/GB"),
            lower("tcp1_wire_reorder", "1/GB"),
        ],
        BULK,
    )),
    on_wire(row("TCP 4 streams, wire-like", &[higher("tcp4_wire", "Gbit/s")], FOUR)),
    messages(
        "TCP 3 kB messages, wire-like",
        &[
            higher("tcp_msg3k", "Gbit/s"),
            lower("tcp_msg3k_cpu_per_gb", "s/GB"),
            lower("tcp_msg3k_reorder", "1/GB"),
        ],
        3 << 10,
    ),
    messages(
        "TCP 8 kB messages, wire-like",
        &[
            higher("tcp_msg8k", "Gbit/s"),
            lower("tcp_msg8k_cpu_per_gb", "s/GB"),
            lower("tcp_msg8k_reorder", "1/GB"),
        ],
        8 << 10,
    ),
    messages(
        "TCP 16 kB messages, wire-like",
        &[
            higher("tcp_msg16k", "Gbit/s"),
            lower("tcp_msg16k_cpu_per_gb", "s/GB"),
            lower("tcp_msg16k_reorder", "1/GB"),
        ],
        16 << 10,
    ),
    row(
        "connect, request, close",
        &[higher("tcp_crr", "1/s"), lower("tcp_crr_cpu", "ns")],
        Traffic::Connections,
    ),
    on_route(
        Route::Underlay,
        Row {
            variants: &variant::PAIR,
            ..row("foreign UDP on the underlay", &[higher("foreign_pps", "1/s")], datagrams(1))
        },
    ),
    on_route(
        Route::Underlay,
        Row {
            variants: &variant::PAIR,
            ..row("foreign TCP on the underlay", &[higher("foreign_tcp", "Gbit/s")], BULK)
        },
    ),
    forwarded(row(
        "to a forwarder: TCP 1 stream, super-packets",
        &[higher("fwd_tcp1_super", "Gbit/s")],
        BULK,
    )),
    forwarded(row(
        "to a forwarder: TCP 4 streams, super-packets",
        &[higher("fwd_tcp4_super", "Gbit/s")],
        FOUR,
    )),
    forwarded(on_wire(row(
        "to a forwarder: TCP 1 stream, wire-like",
        &[higher("fwd_tcp1_wire", "Gbit/s")],
        BULK,
    ))),
    forwarded(on_wire(row(
        "to a forwarder: TCP 4 streams, wire-like",
        &[higher("fwd_tcp4_wire", "Gbit/s")],
        FOUR,
    ))),
    forwarded(messages(
        "to a forwarder: TCP 3 kB messages, wire-like",
        &[higher("fwd_tcp_msg3k", "Gbit/s")],
        3 << 10,
    )),
    forwarded(messages(
        "to a forwarder: TCP 8 kB messages, wire-like",
        &[higher("fwd_tcp_msg8k", "Gbit/s")],
        8 << 10,
    )),
    forwarded(messages(
        "to a forwarder: TCP 16 kB messages, wire-like",
        &[higher("fwd_tcp_msg16k", "Gbit/s")],
        16 << 10,
    )),
    row(
        "ping-pong, two CPUs",
        &[
            lower("pingpong_xcpu_p50", "us"),
            lower("pingpong_xcpu_p99", "us"),
            lower("pingpong_xcpu_p999", "us"),
        ],
        Traffic::PingPong { together: false, beside: Beside::Nothing },
    ),
    row(
        "ping-pong beside 50 % load",
        &[
            lower("pingpong_load_p50", "us"),
            lower("pingpong_load_p99", "us"),
            lower("pingpong_load_p999", "us"),
        ],
        Traffic::PingPong { together: true, beside: Beside::Load },
    ),
    row(
        "ping-pong beside 50 % load, two CPUs",
        &[
            lower("pingpong_xcpu_load_p50", "us"),
            lower("pingpong_xcpu_load_p99", "us"),
            lower("pingpong_xcpu_load_p999", "us"),
        ],
        Traffic::PingPong { together: false, beside: Beside::Load },
    ),
    row(
        "UDP 64 B, 16 flows",
        &[higher("udp64_16_pps", "1/s"), lower("udp64_16_cpu", "ns")],
        datagrams(16),
    ),
    row(
        "UDP GSO, 40 x 1400 B",
        &[higher("udp_gso_pps", "1/s"), lower("udp_gso_cpu", "ns")],
        Traffic::Datagrams(datagrams::Shape { flows: 1, size: 1400, segments: 40 }),
    ),
    on_route(Route::AcrossV6, row("IPv6: ping-pong", &[lower("v6_pingpong_p50", "us")], TOGETHER)),
    on_route(
        Route::AcrossV6,
        row(
            "IPv6: UDP 64 B",
            &[higher("v6_udp64_pps", "1/s"), lower("v6_udp64_cpu", "ns")],
            datagrams(1),
        ),
    ),
    on_route(
        Route::AcrossV6,
        row("IPv6: TCP 1 stream, super-packets", &[higher("v6_tcp1_super", "Gbit/s")], BULK),
    ),
    on_route(
        Route::AcrossV6,
        on_wire(row("IPv6: TCP 1 stream, wire-like", &[higher("v6_tcp1_wire", "Gbit/s")], BULK)),
    ),
    on_route(
        Route::Local,
        row("same node: ping-pong", &[lower("same_pingpong_p50", "us")], TOGETHER),
    ),
    on_route(
        Route::Local,
        row(
            "same node: UDP 64 B",
            &[higher("same_udp64_pps", "1/s"), lower("same_udp64_cpu", "ns")],
            datagrams(1),
        ),
    ),
    on_route(Route::Local, row("same node: TCP 1 stream", &[higher("same_tcp1", "Gbit/s")], BULK)),
    Row {
        variants: &variant::PAIR,
        ..row(
            "ping-pong under attack: unknown VNIs",
            &[
                lower("attack_pingpong_p50", "us"),
                lower("attack_pingpong_p99", "us"),
                lower("attack_pingpong_p999", "us"),
            ],
            ATTACKED,
        )
    },
    early(row(
        "ping-pong under attack: unknown VNIs, XDP",
        &[
            lower("attack_xdp_pingpong_p50", "us"),
            lower("attack_xdp_pingpong_p99", "us"),
            lower("attack_xdp_pingpong_p999", "us"),
        ],
        ATTACKED,
    )),
    early(on_route(
        Route::Underlay,
        row("foreign UDP on the underlay, XDP", &[higher("foreign_xdp_pps", "1/s")], datagrams(1)),
    )),
    filtered(row(
        "nodes with conntrack and services: ping-pong",
        &[lower("ct_pingpong_p50", "us")],
        TOGETHER,
    )),
    filtered(row(
        "nodes with conntrack and services: UDP 64 B",
        &[higher("ct_udp64_pps", "1/s"), lower("ct_udp64_cpu", "ns")],
        datagrams(1),
    )),
    filtered(on_wire(row(
        "nodes with conntrack and services: TCP 1 stream, wire-like",
        &[higher("ct_tcp1_wire", "Gbit/s")],
        BULK,
    ))),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_a_gate_reads_compare_the_kernel_and_ours() {
        for row in ROWS {
            assert!(row.variants.ends_with(&variant::PAIR), "{}", row.title);
        }
    }
}
