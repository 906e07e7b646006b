//! An HTTP server on a thread of its own. It can refuse connections for a while, and answer at the
//! same address again.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpServer};
use tokio::sync::mpsc as commands;

use super::faults::{self, FaultSwitch};

/// A request to the thread, and where it says that it is done.
enum Command {
    Open(mpsc::Sender<()>),
    Close(mpsc::Sender<()>),
    End(mpsc::Sender<()>),
}

/// A server that runs until it is stopped.
pub(crate) struct Serving {
    address: SocketAddr,
    commands: commands::UnboundedSender<Command>,
    _thread: JoinHandle<()>,
}

impl Serving {
    /// Starts a server with these routes.
    pub(crate) fn start(
        listen: SocketAddr,
        faults: FaultSwitch,
        routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(listen).unwrap();
        let address = listener.local_addr().unwrap();
        let (commands, receiver) = commands::unbounded_channel();
        let thread = std::thread::spawn(move || {
            let system = actix_web::rt::System::new();
            system.block_on(run(listener, faults, routes, receiver));
        });
        Self {
            address,
            commands,
            _thread: thread,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses connections, or accepts them again.
    pub(crate) fn set_down(&self, is_down: bool) {
        let command = if is_down {
            Command::Close
        } else {
            Command::Open
        };
        self.send(command);
    }

    pub(crate) fn stop(&self) {
        self.send(Command::End);
    }

    fn send(&self, command: impl FnOnce(mpsc::Sender<()>) -> Command) {
        let (done, wait) = mpsc::channel();
        // An error means that the thread has ended.
        if self.commands.send(command(done)).is_ok() {
            let _ended = wait.recv_timeout(Duration::from_secs(60));
        }
    }
}

async fn run(
    listener: TcpListener,
    faults: FaultSwitch,
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    mut commands: commands::UnboundedReceiver<Command>,
) {
    let address = listener.local_addr().unwrap();
    let mut open = Some(serve(listener, faults.clone(), routes.clone()));
    while let Some(command) = commands.recv().await {
        let done = match command {
            Command::Open(done) => {
                if open.is_none() {
                    let listener = bind_again(address).await;
                    open = Some(serve(listener, faults.clone(), routes.clone()));
                }
                done
            }
            Command::Close(done) | Command::End(done) if open.is_some() => {
                if let Some(server) = open.take() {
                    server.stop(false).await;
                }
                done
            }
            Command::Close(done) | Command::End(done) => done,
        };
        // The caller may no longer wait.
        let _gone = done.send(());
    }
}

fn serve(
    listener: TcpListener,
    faults: FaultSwitch,
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> ServerHandle {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(faults.clone()))
            .app_data(web::PayloadConfig::new(64 << 20))
            .app_data(web::JsonConfig::default().limit(64 << 20))
            .wrap(from_fn(faults::apply))
            .configure(routes.clone())
    });
    let server = server.workers(1).disable_signals().shutdown_timeout(0);
    let server = server.listen(listener).unwrap().run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    handle
}

/// Another program may have taken the port for a moment.
async fn bind_again(address: SocketAddr) -> TcpListener {
    for _ in 0..100 {
        if let Ok(listener) = TcpListener::bind(address) {
            return listener;
        }
        actix_web::rt::time::sleep(Duration::from_millis(50)).await;
    }
    TcpListener::bind(address).unwrap()
}
