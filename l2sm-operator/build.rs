//! Tells the program which git revision it is built from (`--version`).

#[path = "../build/revision.rs"]
mod revision;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    revision::tell();
}
