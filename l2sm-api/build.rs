//! Compiles the protobuf files in Rust: no protoc to install.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = ["l2sm/v1/bootstrap.proto", "l2sm/v1/dataplane.proto", "l2sm/v1/objects.proto"];
    let files = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
