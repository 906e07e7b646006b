//! `holdfast generate …`: completions for shells, and manual pages, from the command line itself.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use clap_complete::Shell;
use fs_err as fs;

use crate::error::CommandError;
use crate::output;

/// The name of the program.
const NAME: &str = "holdfast";

/// The subcommands of `holdfast generate`.
#[derive(Debug, Subcommand)]
pub enum GenerateCommand {
    /// Prints a script that completes commands and options in a shell
    Completions {
        /// Shell that the script is for
        #[arg(value_enum)]
        shell: CompletedShell,
    },
    /// Writes a manual page for each command
    Man {
        /// Folder for the pages, such as /usr/local/share/man/man1; created if it is missing
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// The shells with completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompletedShell {
    /// GNU Bash
    Bash,
    /// The Z shell
    Zsh,
    /// The shell fish
    Fish,
}

impl CompletedShell {
    fn shell(self) -> Shell {
        match self {
            Self::Bash => Shell::Bash,
            Self::Zsh => Shell::Zsh,
            Self::Fish => Shell::Fish,
        }
    }
}

/// Runs `holdfast generate` for the command line `program`.
pub(super) fn run(command: GenerateCommand, program: clap::Command) -> Result<(), CommandError> {
    match command {
        GenerateCommand::Completions { shell } => completions(shell, program),
        GenerateCommand::Man { folder } => man(&folder, program),
    }
}

fn completions(shell: CompletedShell, mut program: clap::Command) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell.shell(), &mut program, NAME, &mut script);
    output::text(&String::from_utf8_lossy(&script))
}

fn man(folder: &Path, program: clap::Command) -> Result<(), CommandError> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(program, folder).map_err(|error| {
        let what = format!("cannot write the pages to `{}`", folder.display());
        CommandError::with_cause(what, &error)
    })?;
    output::line(&format!("the pages are in {}", folder.display()))
}
