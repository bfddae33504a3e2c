//! The command line: what can be asked of `chalkboard`, a file each, and the exit codes.
//!
//! Exit codes: 0 when all went well (for a server, after a graceful stop), 2 for arguments or a configuration that
//! can't be used, 1 for everything else; a command's help tells its own. Standard output carries what was asked for
//! and help alone; everything else goes to standard error.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{ServeArguments, without_environment};

mod backup;
mod doctor;
mod drill;
mod record;
mod replay;
mod restore;
mod serve;

const FAILURE: u8 = 1;
const BAD_CONFIG: u8 = 2;

/// A whiteboard for many people at once, on a machine of your own.
#[derive(Debug, Parser)]
#[command(
    name = "chalkboard",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Try: chalkboard serve"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve boards to browsers and other clients
    #[command(
        long_about = serve::ABOUT,
        after_long_help = serve::EXAMPLES,
        after_help = "More, with examples: chalkboard serve --help"
    )]
    Serve(Box<ServeArguments>),

    /// Check everything that is stored
    #[command(
        long_about = doctor::ABOUT,
        after_long_help = doctor::EXAMPLES,
        after_help = "More, with examples: chalkboard doctor --help"
    )]
    Doctor(doctor::DoctorArguments),

    /// Copy everything that is stored to a file, while the server runs
    #[command(
        long_about = backup::ABOUT,
        after_long_help = backup::EXAMPLES,
        after_help = "More, with examples: chalkboard backup --help"
    )]
    Backup(backup::BackupArguments),

    /// Make a new data folder from a backup, as of any moment
    #[command(
        long_about = restore::ABOUT,
        after_long_help = restore::EXAMPLES,
        after_help = "More, with examples: chalkboard restore --help"
    )]
    Restore(restore::RestoreArguments),

    /// Find out whether what is saved survives: kill and restore a server of its own
    #[command(
        long_about = drill::ABOUT,
        after_long_help = drill::EXAMPLES,
        after_help = "More, with examples: chalkboard drill --help"
    )]
    Drill(drill::DrillArguments),

    /// Write down what comes into a board's room
    #[command(
        long_about = record::ABOUT,
        after_long_help = record::EXAMPLES,
        after_help = "More, with examples: chalkboard record --help"
    )]
    Record(record::RecordArguments),

    /// Step a recorded room again
    #[command(
        long_about = replay::ABOUT,
        after_long_help = replay::EXAMPLES,
        after_help = "More, with examples: chalkboard replay --help"
    )]
    Replay(replay::ReplayArguments),
}

/// Does what the arguments say, until it is done.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let command = match parse(arguments) {
        Ok(command) => command,
        Err(error) => {
            // Where even that can't be printed there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(BAD_CONFIG));
        }
    };
    match command {
        Command::Serve(arguments) => {
            let environment: Vec<_> = environment.into_iter().collect();
            serve::run(*arguments, &environment)
        }
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Backup(arguments) => backup::run(&arguments),
        Command::Restore(arguments) => restore::run(&arguments),
        Command::Drill(arguments) => drill::run(&arguments),
        Command::Record(arguments) => record::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
    }
}

/// Reads the arguments, and them alone; help shows the environment's names too.
fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = Arguments::command();
    let matches = command
        .clone()
        .mut_subcommands(without_environment)
        .try_get_matches_from(&arguments)
        .map_err(|error| match error.kind() {
            clap::error::ErrorKind::DisplayHelp => command
                .mut_subcommands(|command| {
                    command.mut_args(|argument| argument.hide_env_values(true))
                })
                .try_get_matches_from(&arguments)
                .err()
                .unwrap_or(error),
            _ => error,
        })?;
    Ok(Arguments::from_arg_matches(&matches)?.command)
}

/// A line of what was asked for.
fn say(line: &str) {
    use std::io::Write;
    // Nobody may be reading on; then there is nobody to tell.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A line of how it goes.
fn say_error(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[expect(clippy::print_stderr, reason = "the last words of a command line tool")]
fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("chalkboard: {error}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(line: &str) -> Result<Command, clap::Error> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_command_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_teaches_every_option() {
        let help = parse_text("chalkboard serve --help")
            .expect_err("help")
            .to_string();
        let command = Arguments::command();
        let serve = command
            .find_subcommand("serve")
            .expect("the subcommand")
            .clone();
        for argument in serve.get_arguments().filter(|a| a.get_id() != "help") {
            let long = argument.get_long().expect("every option has a long name");
            assert!(help.contains(&format!("--{long}")), "{long}");
            let variable = format!("CHALKBOARD_{}", long.to_uppercase().replace('-', "_"));
            assert!(help.contains(&format!("[env: {variable}")), "{variable}");
            let text = argument
                .get_long_help()
                .or(argument.get_help())
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                text.contains("[default:"),
                "--{long} tells no default: {text}"
            );
            assert_eq!(argument.get_id().as_str(), long.replace('-', "_"));
        }
        for example in ["Examples:", "--ephemeral --port 0", "Exit codes"] {
            assert!(help.contains(example), "{example}");
        }
    }

    #[test]
    fn every_command_has_examples_and_tells_its_exit_codes() {
        for command in Arguments::command().get_subcommands() {
            let line = format!("chalkboard {} --help", command.get_name());
            let help = parse_text(&line).expect_err("help").to_string();
            for part in ["Examples:", "Exit codes: 0 "] {
                assert!(help.contains(part), "{part} in {help}");
            }
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for line in ["chalkboard", "chalkboard serve --prot 1", "chalkboard draw"] {
            let error = parse_text(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
        let version = parse_text("chalkboard --version").expect_err("the version");
        assert_eq!(version.exit_code(), 0);
        assert!(parse_text("chalkboard serve --port 1").is_ok());
    }
}
