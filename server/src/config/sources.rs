//! Where options come from: flags, environment and file, read into one shape and refused when a name is unknown.
//!
//! Names are taken from the command's own description, so that an option can't be forgotten here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};

use super::ConfigError;
use super::options::Options;
use super::suggestion::closest;

/// What every variable of ours begins with.
const PREFIX: &str = "CHALKBOARD_";

/// Variables of the project's own tools: they may be set around a server and mean nothing to it.
const TOOL_VARIABLES: [&str; 4] = [
    "CHALKBOARD_BIN",
    "CHALKBOARD_CHROMIUM",
    "CHALKBOARD_SWARM",
    "CHALKBOARD_WEB_DIST",
];

/// The file that is read when none is named and it is there.
const DEFAULT_FILE: &str = "chalkboard.toml";

/// Arguments of `chalkboard serve`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ServeArguments {
    /// TOML file with any of these options, dashes as underscores (quic_port = 8443). [default: chalkboard.toml in the
    /// working folder, if there is one]
    #[arg(long, env = "CHALKBOARD_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// The options alone, as a command: parses what the environment says by the rules of the flags.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct OptionsOnly {
    #[command(flatten)]
    serve: ServeArguments,
}

/// Puts flags over environment over file.
///
/// # Errors
/// An unknown name, an unreadable file, a value that is none.
pub(crate) fn merge(
    flags: ServeArguments,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    working_folder: &Path,
) -> Result<Options, ConfigError> {
    let environment = from_environment(environment)?;
    let named = flags.config.or(environment.config);
    let file = match named {
        Some(path) => from_file(&path)?,
        None => {
            let path = working_folder.join(DEFAULT_FILE);
            if path.is_file() {
                from_file(&path)?
            } else {
                Options::default()
            }
        }
    };
    Ok(flags.options.or(environment.options).or(file))
}

fn from_environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<ServeArguments, ConfigError> {
    let command = without_environment(OptionsOnly::command());
    let known: Vec<(String, String)> = OptionsOnly::command()
        .get_arguments()
        .filter_map(|argument| {
            let name = argument.get_env()?.to_str()?.to_owned();
            Some((name, argument.get_long()?.to_owned()))
        })
        .collect();
    let mut arguments = ServeArguments::default();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        if TOOL_VARIABLES.contains(&name) {
            continue;
        }
        let Some((_, flag)) = known.iter().find(|(known, _)| known == name) else {
            return Err(ConfigError::UnknownVariable {
                name: name.to_owned(),
                hint: closest(name, known.iter().map(|(known, _)| known.as_str())),
            });
        };
        let mut argument = OsString::from(format!("--{flag}="));
        argument.push(&value);
        let parsed = command
            .clone()
            .try_get_matches_from([argument])
            .and_then(|matches| <OptionsOnly as clap::FromArgMatches>::from_arg_matches(&matches))
            .map_err(|error| ConfigError::BadVariable {
                name: name.to_owned(),
                reason: sentence(&error),
            })?;
        arguments.config = arguments.config.or(parsed.serve.config);
        arguments.options = arguments.options.or(parsed.serve.options);
    }
    Ok(arguments)
}

/// The command, reading only what it is given: the environment is a source of its own.
pub(crate) fn without_environment(command: clap::Command) -> clap::Command {
    command.mut_args(|argument| argument.env(clap::builder::Resettable::Reset))
}

/// The first line of clap's message, without its "error: ".
fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

fn from_file(path: &Path) -> Result<Options, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::UnreadableFile {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    parse_file(path, &text)
}

fn parse_file(path: &Path, text: &str) -> Result<Options, ConfigError> {
    let bad = |reason: String| ConfigError::BadFile {
        path: path.to_owned(),
        reason,
    };
    let table: toml::Table = toml::from_str(text).map_err(|error| bad(error.to_string()))?;
    let command = OptionsOnly::command();
    let known: Vec<&str> = command
        .get_arguments()
        .map(|argument| argument.get_id().as_str())
        .filter(|name| *name != "config")
        .collect();
    for key in table.keys() {
        if !known.contains(&key.as_str()) {
            return Err(ConfigError::UnknownKey {
                path: path.to_owned(),
                key: key.clone(),
                hint: closest(key, known.iter().copied()),
            });
        }
    }
    toml::from_str(text).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    fn flags(arguments: &[&str]) -> ServeArguments {
        let matches = without_environment(OptionsOnly::command())
            .try_get_matches_from(arguments)
            .expect("arguments of the test");
        <OptionsOnly as clap::FromArgMatches>::from_arg_matches(&matches)
            .expect("arguments of the test")
            .serve
    }

    #[test]
    fn flags_beat_environment_beats_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = "port = 1\ntick_hz = 1\nshards = 1\nephemeral = true\nallow_origin = [\"https://a.example\"]\n";
        std::fs::write(folder.path().join(DEFAULT_FILE), file).expect("a file");
        let options = merge(
            flags(&["--port", "3"]),
            variables(&[
                ("CHALKBOARD_PORT", "2"),
                ("CHALKBOARD_TICK_HZ", "2"),
                (
                    "CHALKBOARD_PUBLIC_URL",
                    "https://a.example,https://b.example",
                ),
                ("PATH", "/bin"),
                ("CHALKBOARD_CHROMIUM", "/usr/bin/chromium"),
            ]),
            folder.path(),
        )
        .expect("good options");
        assert_eq!(options.port, Some(3));
        assert_eq!(options.tick_hz, Some(2));
        assert_eq!(options.shards, Some(1));
        assert_eq!(options.ephemeral, Some(true));
        assert_eq!(options.public_url.map(|urls| urls.len()), Some(2));
        assert_eq!(options.room_threads, None);
    }

    #[test]
    fn a_named_file_must_be_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let missing = folder.path().join("missing.toml");
        let error = merge(
            ServeArguments {
                config: Some(missing),
                ..ServeArguments::default()
            },
            [],
            folder.path(),
        )
        .expect_err("there is no such file");
        assert!(error.to_string().contains("missing.toml"), "{error}");
    }

    #[test]
    fn unknown_names_are_refused_with_a_hint() {
        let key = parse_file(Path::new("f.toml"), "prot = 1").expect_err("unknown key");
        assert_eq!(
            key.to_string(),
            "f.toml: unknown option `prot`; did you mean `port`? `chalkboard serve --help` lists them all"
        );
        let variable = from_environment(variables(&[("CHALKBOARD_QUICPORT", "1")]))
            .expect_err("unknown variable");
        assert_eq!(
            variable.to_string(),
            "unknown environment variable CHALKBOARD_QUICPORT; did you mean `CHALKBOARD_QUIC_PORT`? Unset it or correct it"
        );
        let other = parse_file(Path::new("f.toml"), "zzzzzzzzzz = 1").expect_err("unknown key");
        assert!(!other.to_string().contains("did you mean"), "{other}");
    }

    #[test]
    fn bad_values_name_their_source() {
        let variable =
            from_environment(variables(&[("CHALKBOARD_PORT", "many")])).expect_err("not a number");
        assert!(
            variable.to_string().contains("CHALKBOARD_PORT"),
            "{variable}"
        );
        let key = parse_file(Path::new("f.toml"), "port = \"x\"").expect_err("not a number");
        assert!(key.to_string().contains("f.toml"), "{key}");
        let syntax = parse_file(Path::new("f.toml"), "port =").expect_err("not TOML");
        assert!(syntax.to_string().contains("f.toml"), "{syntax}");
    }

    #[test]
    fn flags_stand_alone_or_take_a_value() {
        assert_eq!(flags(&["--ephemeral"]).options.ephemeral, Some(true));
        assert_eq!(flags(&["--ephemeral=no"]).options.ephemeral, Some(false));
        assert_eq!(
            flags(&["--allow-origin", "https://a", "--allow-origin", "https://b"])
                .options
                .allow_origin
                .map(|origins| origins.len()),
            Some(2)
        );
    }
}
