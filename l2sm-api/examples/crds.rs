//! Writes the definitions of all kinds into a directory: `cargo xtask crds` runs it.

use std::{env, error::Error, fs, path::PathBuf};

use l2sm_api::{crd, objects::Kind};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(env::args().nth(1).ok_or("expected a directory")?);
    fs::create_dir_all(&directory)?;
    for kind in Kind::ALL {
        fs::write(directory.join(crd::file_name(kind)), crd::yaml(kind)?)?;
    }
    Ok(())
}
