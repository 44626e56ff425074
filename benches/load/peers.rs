//! The Go services that Purser replaces, built on demand from `benches/peers/go`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Error, Result};
use crate::server::Subject;

/// The three servers over one ledger, named by their HTTP library, each with the GOMAXPROCS that
/// suits it best on one core: Hertz polls in its own thread.
const SERVERS: [(&str, &str); 3] = [("nethttp", "1"), ("fasthttp", "1"), ("hertz", "2")];

/// Builds the servers and returns them as subjects.
pub fn build() -> Result<Vec<Subject>> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("peers");
    std::fs::create_dir_all(&folder).context("making a folder for the Go servers")?;
    let status = Command::new("go")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/go"))
        .args(["build", "-o"])
        .arg(&folder)
        .args(SERVERS.map(|(name, _)| format!("./cmd/{name}")))
        .status()
        .context("running go build")?;
    if !status.success() {
        return Err(Error::new(format!("go build: {status}")));
    }
    Ok(SERVERS
        .iter()
        .map(|(name, procs)| Subject::peer(name, folder.join(name), ("GOMAXPROCS", procs)))
        .collect())
}
