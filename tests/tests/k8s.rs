//! l2sm on a real Kubernetes: two nodes in namespaces, installed by the one file, in the order in
//! which a user meets things. One cluster for all of it; it comes up when the first story runs.

mod k8s {
    pub(super) mod addresses;
    pub(super) mod api_server;
    pub(super) mod churn;
    pub(super) mod definitions;
    pub(super) mod edits;
    pub(super) mod failures;
    pub(super) mod install;
    pub(super) mod l2smctl;
    pub(super) mod main_job;
    pub(super) mod measures;
    pub(super) mod multus;
    pub(super) mod nads;
    pub(super) mod order;
    pub(super) mod overlay;
    pub(super) mod trust;
}

use std::{
    env, iter,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use k8s::{
    addresses, api_server, churn, definitions, edits, failures, install, l2smctl, main_job,
    measures, multus, nads, order, overlay, trust,
};
use l2sm_tests::k8s::Kubernetes;
use libtest_mimic::{Arguments, Failed, Trial};

/// What is checked about a cluster.
type Story = fn(&Kubernetes);

/// In this order: the first installs, the last removes.
const STORIES: &[(&str, Story)] = &[
    ("one_file_installs_everything", install::one_file_installs_everything),
    ("the_api_server_accepts_and_refuses_what_l2sm_api_does", definitions::same_verdicts),
    ("a_networks_number_is_fixed", definitions::a_number_is_fixed),
    ("kubectl_knows_our_kinds", definitions::kubectl_knows_our_kinds),
    ("l2smctl_installs_and_shows_what_the_file_does", l2smctl::installs_and_shows),
    ("l2smctl_tries_networks", l2smctl::tries_networks),
    ("l2smctl_refuses_what_would_break_others", l2smctl::refuses),
    ("two_pods_on_two_nodes_reach_each_other", main_job::two_pods_on_two_nodes_reach_each_other),
    ("another_network_sees_nothing", main_job::another_network_sees_nothing),
    ("pods_without_annotation_are_untouched", main_job::pods_without_annotation_are_untouched),
    ("a_router_pod_joins_two_networks", main_job::a_router_pod_joins_two_networks),
    ("static_and_automatic_addresses_are_kept_apart", addresses::static_and_automatic),
    ("an_address_that_is_taken_is_said", addresses::taken),
    ("a_deployment_that_comes_and_goes_200_times_leaks_nothing", churn::leaves_nothing),
    ("upstreams_manifests_work_in_the_documented_order", order::documented),
    ("upstreams_manifests_work_in_reverse_order", order::reverse),
    ("a_running_pod_is_attached_and_detached_by_its_annotation", order::hot),
    ("a_malformed_annotation_is_an_event_and_nobody_elses_business", order::malformed),
    ("a_running_pod_keeps_what_it_has_when_it_asks_for_what_cannot_be_had", edits::of_annotations),
    ("networks_that_change_or_clash_under_pods_are_said_to_them", edits::of_networks),
    ("an_optional_network_and_the_nodes_own_hold_no_pod", edits::pods_that_nothing_holds),
    ("a_network_in_use_stays_until_its_last_pod_is_gone", order::in_use),
    (multus::NAME, multus::nad_and_annotation),
    (multus::REAL, multus::real),
    ("a_nad_means_its_own_namespace", nads::mean_their_own_namespace),
    ("networks_have_nads_and_those_of_others_are_left_alone", nads::kept_for_networks),
    ("an_overlay_lists_the_nodes_whose_pods_join", overlay::listed_nodes_take_part),
    ("an_address_waits_for_the_node_that_had_it", overlay::an_address_waits_for_its_node),
    ("rights_are_the_table_of_this_file", trust::rights),
    ("nobody_writes_attachments_but_the_operator", trust::attachments_are_the_operators),
    ("memory_stays_within_its_bars", measures::memory),
    ("an_idle_operator_asks_little", measures::idle_requests),
    ("attaching_is_quick", measures::attach_durations),
    ("pods_and_namespaces_end_without_the_operator", failures::ends_without_operator),
    ("a_stopped_operator_is_replaced_at_once", failures::operator_stopped),
    ("a_killed_operator_is_replaced_and_traffic_flows", failures::operator_killed),
    ("a_killed_agent_comes_back_and_traffic_flows", failures::agent_killed),
    ("a_kubelet_restarts_and_pods_stay_attached", failures::kubelet_restarted),
    ("an_api_server_that_hangs_stops_no_traffic", api_server::hangs),
    ("a_node_that_is_removed_leaves_the_networks", failures::node_removed),
    ("a_component_gives_nodes_a_bpffs", install::component_mounts_bpffs),
    ("uninstalling_leaves_nothing", install::uninstalling_leaves_nothing),
    ("l2smctl_removes_what_it_installs", l2smctl::installs_and_removes),
];

fn main() -> ExitCode {
    // As libtest does: a story runs when its name has one of the words in it.
    let (flags, words): (Vec<_>, Vec<_>) =
        env::args().skip(1).partition(|argument| argument.starts_with('-'));
    let mut arguments = Arguments::from_iter(iter::once("k8s".to_owned()).chain(flags));
    // They share a cluster.
    arguments.test_threads = Some(1);
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let cluster: Arc<Mutex<Option<Kubernetes>>> = Arc::default();
    let stories = STORIES.iter().filter(|(name, _)| wanted(name));
    let trials = stories.map(|&(name, story)| {
        let cluster = Arc::clone(&cluster);
        Trial::test(name, move || tell(name, story, &cluster))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(mut cluster) = cluster {
        cluster.down();
    }
    conclusion.exit_code()
}

fn tell(name: &str, story: Story, cluster: &Mutex<Option<Kubernetes>>) -> Result<(), Failed> {
    let mut cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
    let told = catch_unwind(AssertUnwindSafe(|| story(cluster.get_or_insert_with(Kubernetes::up))));
    told.map_err(|panic| {
        // What a story prints stands between its name and how it ended: the line that `cargo xtask test`
        // looks for is made here.
        println!("\ntest {name} ... FAILED");
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Failed::from(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked"))
    })
}
