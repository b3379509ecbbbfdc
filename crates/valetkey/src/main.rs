//! The program `valetkey`.

use std::process::ExitCode;

fn main() -> ExitCode {
    valetkey::run(std::env::args_os())
}
