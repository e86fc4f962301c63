//! An HTTP proxy in the middle that changes what passes: one byte of one file, or a whole file.

use crate::http::Http;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What is done to files whose path ends in `suffix`.
#[derive(Debug, Clone)]
pub struct Tampering {
    /// End of the path.
    pub suffix: String,
    /// How.
    pub change: Change,
}

/// How a file is changed.
#[derive(Debug, Clone)]
pub enum Change {
    /// The bit of lowest value of the first byte of this text, or of the middle byte when it is not there.
    FlipAfter(&'static str),
    /// Other bytes of the same length or not.
    Replace(Vec<u8>),
}

impl Change {
    fn apply(&self, body: &mut Vec<u8>) {
        match self {
            Self::Replace(bytes) => body.clone_from(bytes),
            Self::FlipAfter(text) => {
                let found = body
                    .windows(text.len().max(1))
                    .position(|window| window == text.as_bytes());
                let place = found.map_or(body.len() / 2, |start| start + text.len());
                if let Some(byte) = body.get_mut(place) {
                    *byte ^= 1;
                }
            }
        }
    }
}

/// A running proxy of one server. Its thread ends with the test process.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: Http,
    tampering: Mutex<Option<Tampering>>,
    changed: AtomicUsize,
}

impl Proxy {
    /// Starts one that changes nothing yet.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn start(server: &Http) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!(
            "http://{}",
            listener.local_addr().expect("it has an address")
        );
        let shared = Arc::new(Shared {
            server: server.with_token(None),
            tampering: Mutex::default(),
            changed: AtomicUsize::new(0),
        });
        let for_thread = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = for_thread.clone();
                std::thread::spawn(move || serve(&shared, &stream));
            }
        });
        Self { url, shared }
    }

    /// Its URL without a final slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on this is changed, and nothing else; the count begins at 0.
    ///
    /// # Panics
    /// When a thread of the proxy has panicked.
    pub fn tamper(&self, tampering: Option<Tampering>) {
        *self.shared.tampering.lock().expect("no thread panicked") = tampering;
        self.shared.changed.store(0, Ordering::SeqCst);
    }

    /// How many answers were changed.
    pub fn changed(&self) -> usize {
        self.shared.changed.load(Ordering::SeqCst)
    }
}

/// One request a connection.
fn serve(shared: &Shared, stream: &TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    let mut words = request.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    // Ranges and conditions are not passed on: every answer is the whole file.
    for line in lines {
        if line.ok()?.is_empty() {
            break;
        }
    }
    let mut answer = shared.server.try_send("GET", &path, &[], b"")?;
    let tampering = shared.tampering.lock().ok()?.clone();
    if let Some(tampering) = tampering
        && answer.status == 200
        && path.ends_with(&tampering.suffix)
    {
        tampering.change.apply(&mut answer.body);
        shared.changed.fetch_add(1, Ordering::SeqCst);
    }
    let head = format!(
        "HTTP/1.1 {} Answer\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.status,
        answer.header("content-type"),
        answer.body.len()
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes()).ok()?;
    if method != "HEAD" {
        stream.write_all(&answer.body).ok()?;
    }
    Some(())
}
