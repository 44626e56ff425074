//! Build script: sets `PURSER_COMMIT` for the compiler to the commit that is built. The source is
//! the environment variable `PURSER_COMMIT` if it is set and not empty, else git, else `unknown`.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=PURSER_COMMIT");
    let given = std::env::var("PURSER_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    // The reflog of HEAD changes with each commit and each checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    println!("cargo:rustc-env=PURSER_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
