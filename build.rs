//! Compiles the seccomp filter, which is data, into the program that the kernel takes, and puts the shapes of secrets into a form that
//! is read in a tenth of the time: whoever starts a command waits for that.

#[path = "src/runner/seccomp/compile.rs"]
mod compile;

use std::error::Error;
use std::path::PathBuf;

use compile::Place;
use seccompiler::sock_filter;

const DATA: &str = "policies/seccomp/default.toml";

const SHAPES: &str = "policies/redact.toml";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/runner/seccomp/compile.rs");
    println!("cargo::rerun-if-changed={DATA}");
    println!("cargo::rerun-if-changed={SHAPES}");
    let (data, arch) = (std::fs::read_to_string(DATA)?, std::env::var("CARGO_CFG_TARGET_ARCH")?);
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    let filters = [("own.rs", Place::Own), ("offline.rs", Place::Offline), ("online.rs", Place::Online)];
    for (file, place) in filters {
        let program = compile::compile(&data, &arch, place).map_err(|error| format!("{DATA}: {error}"))?;
        let instructions = program.iter().map(|sock_filter { code, jt, jf, k }| {
            format!("sock_filter {{ code: {code}, jt: {jt}, jf: {jf}, k: {k} }},\n")
        });
        let text = format!("&[\n{}]\n", instructions.collect::<String>());
        std::fs::write(out.join(file), text)?;
    }
    std::fs::write(out.join("redact.json"), shapes(&std::fs::read_to_string(SHAPES)?)?)?;
    Ok(())
}

/// The rules as JSON, without their examples, which a test tries.
fn shapes(text: &str) -> Result<String, Box<dyn Error>> {
    let mut file: serde_json::Value = toml::from_str(text).map_err(|error| format!("{SHAPES}: {error}"))?;
    for rule in file["rule"].as_array_mut().into_iter().flatten() {
        (rule["masks"], rule["leaves"]) = (serde_json::json!([""]), serde_json::json!([""]));
    }
    Ok(file.to_string())
}
