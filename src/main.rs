//! Chooses the role, runner first, before anything else is touched.

fn main() -> std::process::ExitCode {
    if execward::runner::is_role(std::env::args_os()) {
        return u8::try_from(execward::runner::main()).unwrap_or(1).into();
    }
    std::process::ExitCode::SUCCESS
}
