//! nginx as mirror operators have it: files of one folder, and nothing else.

use crate::process::{Process, Reaper};
use crate::tools::Need;
use crate::wait;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What tests with it need.
pub const NGINX: &[Need] = &[Need::Program("nginx")];

/// One request and its answer, as the log tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// What was asked for.
    pub path: String,
    /// Of the answer.
    pub status: u16,
    /// `Range` of the request.
    pub range: Option<String>,
    /// Bytes of the answer's body.
    pub sent_bytes: u64,
}

/// A running nginx; gone when dropped.
#[derive(Debug)]
pub struct Nginx {
    _process: Process,
    _reaper: Reaper,
    dir: PathBuf,
    address: String,
}

impl Nginx {
    /// Serves a folder on a free port, but for what `hallmark mirror` keeps in it for itself.
    ///
    /// # Panics
    /// When it does not start, with its log.
    pub fn serve(root: &Path) -> Self {
        Self::serve_with(root, "")
    }

    /// The same, each answer with so many bytes a second at most.
    ///
    /// # Panics
    /// As [`Nginx::serve`].
    pub fn serve_slowly(root: &Path, bytes_per_sec: u32) -> Self {
        Self::serve_with(root, &format!("limit_rate {bytes_per_sec};"))
    }

    /// Hands every request on to another server; only its log is of interest.
    ///
    /// # Panics
    /// As [`Nginx::serve`].
    pub fn before(url: &str) -> Self {
        let pass = format!("location / {{ proxy_pass {url}; }}");
        Self::serve_with(&std::env::temp_dir(), &pass)
    }

    fn serve_with(root: &Path, more: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("hallmark-nginx-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("it is bound").to_string();
        drop(free);
        let config = dir.join("nginx.conf");
        std::fs::write(&config, configuration(&dir, root, &address, more))
            .expect("the folder is ours");
        let program = crate::tools::on_path("nginx").expect("the test asked for it");
        let place = format!("{}/", dir.display());
        let reaper = Reaper::watch(&dir);
        let arguments = ["-p", &place, "-c", &config.display().to_string()];
        let mut process = Process::new("nginx", program, &arguments, dir.join("log"));
        process.start(&reaper);
        let up = wait::until(Duration::from_secs(20), || {
            TcpStream::connect(&address).map_err(|error| error.to_string())
        });
        if let Err(seen) = up {
            panic!("nginx does not start: {seen}\n{}", process.log_text());
        }
        Self {
            _process: process,
            _reaper: reaper,
            dir,
            address,
        }
    }

    /// Its URL, without a final slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Paths that were asked for since the last call, with the status of the answer.
    pub fn take_requests(&self) -> Vec<(String, u16)> {
        let transfers = self.take_transfers().into_iter();
        transfers.map(|one| (one.path, one.status)).collect()
    }

    /// All that was asked for since the last call.
    pub fn take_transfers(&self) -> Vec<Transfer> {
        let path = self.dir.join("access.log");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        // It is opened for appending, so cutting it off is safe.
        std::fs::write(&path, "").expect("the folder is ours");
        let line = |line: &str| {
            let mut fields = line.splitn(4, '|');
            Some(Transfer {
                status: fields.next()?.parse().ok()?,
                sent_bytes: fields.next()?.parse().ok()?,
                range: Some(fields.next()?.to_owned()).filter(|range| range != "-"),
                path: fields.next()?.to_owned(),
            })
        };
        text.lines().filter_map(line).collect()
    }
}

fn configuration(dir: &Path, root: &Path, address: &str, more: &str) -> String {
    let (dir, root) = (dir.display(), root.display());
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log {dir}/error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
           log_format short '$status|$body_bytes_sent|$http_range|$uri';\n\
           access_log {dir}/access.log short;\n\
           client_body_temp_path {dir}/body;\n  proxy_temp_path {dir}/proxy;\n\
           fastcgi_temp_path {dir}/fastcgi;\n  uwsgi_temp_path {dir}/uwsgi;\n  scgi_temp_path {dir}/scgi;\n\
           sendfile on;\n  keepalive_requests 100000;\n\
           server {{\n\
             listen {address};\n    root {root};\n    {more}\n\
             location ~ /\\.hallmark {{ return 404; }}\n\
           }}\n\
         }}\n"
    )
}
