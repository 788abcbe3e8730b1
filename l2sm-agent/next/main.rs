//! `l2sm-agent`, built with the feature `next-build`: what tests upgrade to.

#[path = "../src/main.rs"]
mod agent;

fn main() -> std::process::ExitCode {
    agent::main()
}
