//! A real nginx in front of the API.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{eventually, files, skipped};

/// An nginx that compresses whatever it may. It ends when dropped.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) url: String,
    _folder: tempfile::TempDir,
}

impl Nginx {
    /// Starts it with these locations; `None`, with a message, where it is not installed.
    pub(crate) async fn start(locations: &str) -> Option<Self> {
        Self::start_as("root", locations).await
    }

    /// Starts it, with workers that run as a user (and group) if this process is root.
    pub(crate) async fn start_as(user: &str, locations: &str) -> Option<Self> {
        Self::start_http(user, |listen| {
            format!(
                "access_log off;\n\
                 gzip on; gzip_types *; gzip_proxied any; gzip_min_length 1;\n\
                 gzip_http_version 1.0;\n\
                 server {{ listen {listen};\n{locations}\n}}\n"
            )
        })
        .await
    }

    /// Starts it with these contents of `http { … }`, in which a server answers at the address.
    pub(crate) async fn start_http(
        user: &str,
        contents: impl FnOnce(SocketAddr) -> String,
    ) -> Option<Self> {
        let programs = ["/usr/sbin/nginx", "/usr/bin/nginx"];
        let Some(program) = programs.iter().find(|path| Path::new(path).exists()) else {
            skipped("nginx is not installed");
            return None;
        };
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = free.local_addr().unwrap();
        drop(free);
        let folder = files::scratch();
        let at = folder.path().display();
        let user = match super::is_root() {
            true => format!("user {user};"),
            false => String::new(),
        };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {at}/{name};\n"))
            .concat();
        let contents = contents(listen);
        let text = format!(
            "{user} daemon off; pid {at}/pid; error_log {at}/error.log;\n\
             events {{ }}\n\
             http {{\n{temporary}{contents}\n}}\n"
        );
        let settings = folder.path().join("nginx.conf");
        fs_err::write(&settings, text).unwrap();
        let log = folder.path().join("error.log");
        let mut command = Command::new(program);
        command.arg("-e").arg(&log).arg("-c").arg(&settings);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        eventually("nginx answers", async || {
            let ended = child.try_wait().unwrap();
            let log = fs_err::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "{ended:?}: {log}");
            std::net::TcpStream::connect(listen).ok()
        })
        .await;
        Some(Self {
            child,
            url: format!("http://{listen}"),
            _folder: folder,
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        // On SIGTERM, it ends its workers, too.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
