//! Chooses the role, runner first, before anything else is touched.

use std::process::ExitCode;

fn main() -> ExitCode {
    if execward::runner::is_role(std::env::args_os()) {
        return u8::try_from(execward::runner::main()).unwrap_or(1).into();
    }
    execward::cli::main()
}
