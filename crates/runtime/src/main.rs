//! The binary `stockade`.

fn main() -> std::process::ExitCode {
    runtime::main(sandbox::boot::prepare).into()
}
