//! A server on this machine that speaks S3 (moto's), with one bucket.

use crate::process::{Process, Reaper};
use crate::tools::{self, Need};
use crate::wait;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What tests with it need.
pub const S3: &[Need] = &[Need::S3Server, Need::Program("curl")];

/// The bucket that is there from the start.
pub const BUCKET: &str = "copies";

/// A running server; gone when dropped.
#[derive(Debug)]
pub struct S3Server {
    process: Process,
    _reaper: Reaper,
    address: String,
}

impl S3Server {
    /// Starts one on a free port, and makes the bucket, which is open to all.
    ///
    /// # Panics
    /// When it does not start, with its log.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("hallmark-s3-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let bound = free.local_addr().expect("it is bound");
        drop(free);
        let (address, port) = (bound.to_string(), bound.port().to_string());
        let reaper = Reaper::watch(&dir);
        let arguments = ["-H", "127.0.0.1", "-p", &port];
        let mut process = Process::new("s3", tools::s3_server(), &arguments, dir.join("log"));
        process.start(&reaper);
        let up = wait::until(Duration::from_secs(60), || {
            TcpStream::connect(&address).map_err(|error| error.to_string())
        });
        if let Err(seen) = up {
            panic!(
                "the S3 server does not start: {seen}\n{}",
                process.log_text()
            );
        }
        let server = Self {
            process,
            _reaper: reaper,
            address,
        };
        server.curl(&["--request", "PUT", &server.url("")]);
        // Anybody may read, as clients do, and write, as curl does here: permissions are not what is tried.
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::{BUCKET}/*"}}]}}"#
        );
        let policies = format!("http://{}/{BUCKET}?policy", server.address);
        // Else moto takes it for a form.
        let json = ["--header", "Content-Type: application/json"];
        server.curl(
            &[
                &json[..],
                &["--request", "PUT", "--data", &policy, &policies],
            ]
            .concat(),
        );
        server
    }

    /// The URL of a file in the bucket, without credentials.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{BUCKET}/{path}", self.address)
    }

    /// Has a command use it, with credentials.
    pub fn for_command(&self, command: &mut Command) {
        command
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.address))
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "somebody")
            .env("AWS_SECRET_ACCESS_KEY", "secret");
    }

    /// Bytes of a file in the bucket.
    pub fn get(&self, path: &str) -> String {
        self.curl(&[&self.url(path)])
    }

    /// Whether a file is in the bucket.
    pub fn has(&self, path: &str) -> bool {
        let mut curl = crate::process::command("curl");
        curl.args(["-fsS", "--head", "--output", "/dev/null"]);
        let output = curl.arg(self.url(path)).output().expect("curl runs");
        output.status.success()
    }

    /// Puts a file into the bucket, as another program would.
    pub fn put(&self, path: &str, file: &Path) {
        let file = file.to_str().expect("the folder's name is plain");
        self.curl(&["--upload-file", file, &self.url(path)]);
    }

    /// Removes a file from the bucket.
    pub fn remove(&self, path: &str) {
        self.curl(&["--request", "DELETE", &self.url(path)]);
    }

    /// Requests since the start, one a line: `"PUT /copies/… HTTP/1.1" 200`.
    pub fn log(&self) -> String {
        self.process.log_text()
    }

    fn curl(&self, arguments: &[&str]) -> String {
        let mut curl = crate::process::command("curl");
        crate::process::run(curl.arg("-fsS").args(arguments))
    }
}
