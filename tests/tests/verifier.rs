//! The verifier's view of each program, under a checked-in ceiling: instructions that it walks,
//! translated size, stack. A change that makes a program much dearer shows here first.

use std::{collections::BTreeMap, fs, process::Command};

use l2sm_tests::object::Object;

/// Name, verified instructions, translated bytes, stack bytes: one program a line.
const BUDGET: &str = include_str!("verifier.budget");

#[test]
fn every_program_loads_within_its_budget() {
    let costs = Object::load().costs();
    let stacks = stacks();
    let mut over = Vec::new();
    println!("{:16} {:>9} {:>9} {:>6}", "program", "verified", "size", "stack");
    for (program, (verified, size)) in &costs {
        let stack = stacks[program];
        println!("{program:16} {verified:>9} {size:>9} {stack:>6}");
        let [most_verified, most_size, most_stack] = budget()[program];
        if *verified > most_verified || *size > most_size || stack > most_stack {
            over.push(program.clone());
        }
    }
    assert!(over.is_empty(), "over budget: {over:?}; see tests/tests/verifier.budget");
    assert_eq!(costs.len(), budget().len(), "a program without a budget, or the reverse");
}

fn budget() -> BTreeMap<String, [u32; 3]> {
    let lines = BUDGET.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let entries = lines.map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap().to_owned();
        let numbers: Vec<u32> = words.map(|word| word.parse().unwrap()).collect();
        (name, numbers.try_into().unwrap())
    });
    entries.collect()
}

/// Stack of each program, from the verifier's log as an independent loader (bpftool) prints it.
fn stacks() -> BTreeMap<String, u32> {
    let pid = std::process::id();
    let object = std::env::temp_dir().join(format!("l2sm-verifier-{pid}.o"));
    let pins = format!("/sys/fs/bpf/l2sm-verifier-{pid}");
    fs::write(&object, l2sm_agent::datapath::OBJECT).unwrap();
    let output = Command::new("bpftool")
        .args(["--debug", "prog", "loadall"])
        .arg(&object)
        .arg(&pins)
        .output()
        .expect("bpftool is installed by `cargo xtask setup`");
    fs::remove_file(&object).unwrap();
    fs::remove_dir_all(&pins).unwrap();
    assert!(output.status.success(), "bpftool does not load the object");
    parse_stacks(&String::from_utf8_lossy(&output.stderr))
}

fn parse_stacks(log: &str) -> BTreeMap<String, u32> {
    let mut stacks = BTreeMap::new();
    let mut program = None;
    for line in log.lines() {
        if let Some(rest) = line.strip_prefix("libbpf: prog '") {
            program = rest.split('\'').next().map(str::to_owned);
        } else if let (Some(depth), Some(name)) = (line.strip_prefix("stack depth "), &program) {
            let depths = depth.split('+').map(|part| part.trim().parse::<u32>().unwrap());
            stacks.insert(name.clone(), depths.sum());
        }
    }
    stacks
}
