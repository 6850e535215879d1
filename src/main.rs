//! Chooses the role, runner first, before anything else is touched.

use std::process::ExitCode;

fn main() -> ExitCode {
    if execward::runner::is_role(std::env::args_os()) {
        return u8::try_from(execward::runner::main()).unwrap_or(1).into();
    }
    #[cfg(target_arch = "x86_64")]
    {
        use execward::{ops::attack::control, sys::attack};
        let arguments = || std::env::args_os().map(|it| it.to_string_lossy().into_owned());
        if let Some(arguments) = attack::role(arguments()) {
            attack::main(arguments);
            return ExitCode::SUCCESS;
        }
        if control::is_role(arguments()) {
            return control::main().into();
        }
    }
    execward::cli::main()
}
