//! Stand-ins for a panel and for Wings, as programs for scripts.
//!
//! ```sh
//! cargo run --example panel-stand-in -- panel --state panel.json --key node.json
//! cargo run --example panel-stand-in -- wings --key node.json --panel URL --folder wings
//! ```
//!
//! Both print their URLs as one line of JSON, and run until they are killed.

#![expect(
    clippy::unwrap_used,
    reason = "a stand-in that cannot go on ends the script's run"
)]

#[expect(dead_code, reason = "tests use more of the stand-ins than scripts do")]
#[path = "stand_ins.rs"]
mod stand_ins;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::json;

use stand_ins::panel::{PanelOptions, PanelStandIn};
use stand_ins::wings::{WingsOptions, WingsStandIn};
use stand_ins::{Flavour, NodeKey};

/// Stand-ins for a panel and for Wings
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a panel with one node
    Panel(PanelArguments),
    /// Runs the daemon of a node
    Wings(WingsArguments),
}

#[derive(Args)]
struct Common {
    /// A JSON file with the node's `uuid`, `token_id` and `token`; made if it is missing
    #[arg(long)]
    key: PathBuf,
    /// Where it answers
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where the script controls it
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// Behave like Pelican, not like Pterodactyl
    #[arg(long)]
    pelican: bool,
}

#[derive(Args)]
struct PanelArguments {
    #[command(flatten)]
    common: Common,
    /// Keeps what the panel knows in this file
    #[arg(long)]
    state: PathBuf,
}

#[derive(Args)]
struct WingsArguments {
    #[command(flatten)]
    common: Common,
    /// The panel's URL
    #[arg(long)]
    panel: String,
    /// Holds the folders `volumes` and `backups`
    #[arg(long)]
    folder: PathBuf,
}

impl Common {
    fn flavour(&self) -> Flavour {
        match self.pelican {
            true => Flavour::Pelican,
            false => Flavour::Pterodactyl,
        }
    }
}

/// Reads the node's key, or makes one.
fn node_key(path: &Path) -> NodeKey {
    if !path.exists() {
        let text = serde_json::to_vec(&NodeKey::random()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

#[expect(clippy::print_stdout, reason = "the script reads the URLs")]
fn print_urls(url: &str, control: &str) {
    println!("{}", json!({"url": url, "control": control}));
}

fn main() {
    match Arguments::parse().command {
        Command::Panel(arguments) => {
            let panel = PanelStandIn::start_with(PanelOptions {
                flavour: arguments.common.flavour(),
                node: node_key(&arguments.common.key),
                listen: arguments.common.listen,
                control: arguments.common.control,
                state: Some(arguments.state),
                commit_after: Duration::from_millis(20),
            });
            print_urls(&panel.url(), &panel.control_url());
            wait();
        }
        Command::Wings(arguments) => {
            let wings = WingsStandIn::start_with(WingsOptions {
                flavour: arguments.common.flavour(),
                key: node_key(&arguments.common.key),
                remote: arguments.panel,
                listen: arguments.common.listen,
                control: arguments.common.control,
                data: arguments.folder.join("volumes"),
                backups: arguments.folder.join("backups"),
            });
            print_urls(&wings.url(), &wings.control_url());
            wait();
        }
    }
}

/// Runs until the process is killed.
fn wait() {
    loop {
        std::thread::park();
    }
}
