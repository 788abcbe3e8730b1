//! The program `l2sm-operator`.
fn main() {}
