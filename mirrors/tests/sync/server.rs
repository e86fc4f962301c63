//! A web server for one directory that can be told to misbehave.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Without the leading slash.
    pub path: String,
    headers: HashMap<String, String>,
    /// How often this path was asked for before.
    pub before: usize,
}

impl Ask {
    /// First byte of the range.
    pub fn from(&self) -> Option<usize> {
        self.range()?.split('-').next()?.parse().ok()
    }

    /// The range, as it was asked for: `0-99`, `100-`.
    pub fn range(&self) -> Option<&str> {
        self.headers.get("range")?.strip_prefix("bytes=")
    }

    /// Behind the last byte of the range.
    fn to(&self) -> Option<usize> {
        let last: usize = self.range()?.split('-').nth(1)?.parse().ok()?;
        Some(last + 1)
    }
}

/// How it is answered.
pub enum Reply {
    /// As a good server would.
    Well,
    /// With this status and nothing else.
    Status(u16),
    /// With a redirect.
    Redirect(String),
    /// Well, but the connection ends after so many bytes of the body.
    Cut(usize),
    /// With these bytes instead of the file.
    Other(Vec<u8>),
    /// With a body that never ends.
    Endless,
    /// With one byte of the body every tenth of a second.
    Trickle,
    /// With nothing at all.
    Silence,
    /// With the beginning of the range that was asked for, so many bytes of it.
    AtMost(usize),
    /// With the whole file whatever range was asked for.
    NoRange,
}

type Rule = dyn Fn(&Ask) -> Reply + Send + Sync;

/// The server. Serves until the test process ends.
pub struct Server {
    address: String,
    log: Arc<Mutex<Vec<Ask>>>,
}

impl Server {
    pub fn start(root: &Path, rule: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (root, rule, shared): (PathBuf, Arc<Rule>, _) =
            (root.to_owned(), Arc::new(rule), Arc::clone(&log));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, rule, log) = (root.clone(), Arc::clone(&rule), Arc::clone(&shared));
                std::thread::spawn(move || {
                    // The client going away is how most of these end.
                    let _ = serve(&stream, &root, &*rule, &log);
                });
            }
        });
        Self { address, log }
    }

    /// A good one.
    pub fn good(root: &Path) -> Self {
        Self::start(root, |_| Reply::Well)
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What was asked since the last call.
    pub fn take_log(&self) -> Vec<Ask> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

fn read_ask(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Ask>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line
        .split(' ')
        .nth(1)
        .unwrap_or("/")
        .trim_start_matches('/');
    let path = decoded(path);
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        match line.trim().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            None => break,
        }
    }
    Ok(Some(Ask {
        path,
        headers,
        before: 0,
    }))
}

fn decoded(path: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let hex: String = bytes.by_ref().take(2).map(char::from).collect();
            out.push(u8::from_str_radix(&hex, 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).unwrap()
}

fn serve(stream: &TcpStream, root: &Path, rule: &Rule, log: &Mutex<Vec<Ask>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(mut ask) = read_ask(&mut reader)? {
        let reply = {
            let mut log = log.lock().unwrap();
            ask.before = log.iter().filter(|old| old.path == ask.path).count();
            log.push(ask.clone());
            drop(log);
            rule(&ask)
        };
        if !answer(stream, root, &ask, reply)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether the connection goes on.
fn answer(mut stream: &TcpStream, root: &Path, ask: &Ask, reply: Reply) -> io::Result<bool> {
    let status = |mut stream: &TcpStream, line: &str| {
        write!(stream, "HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n").map(|()| true)
    };
    let file = std::fs::read(root.join(&ask.path));
    let most = match &reply {
        Reply::AtMost(count) if ask.from().is_some() => *count,
        _ => usize::MAX,
    };
    let (bytes, cut) = match (reply, file) {
        (Reply::Status(code), _) => return status(stream, &format!("{code} x")),
        (Reply::Redirect(to), _) => return status(stream, &format!("302 x\r\nlocation: {to}")),
        (Reply::Silence, _) => {
            std::thread::sleep(Duration::from_secs(3_600));
            return Ok(false);
        }
        (Reply::Endless, _) => {
            write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b' '; 65_536])?;
            }
        }
        (Reply::Trickle, Ok(bytes)) => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                bytes.len()
            )?;
            for byte in bytes {
                stream.write_all(&[byte])?;
                std::thread::sleep(Duration::from_millis(100));
            }
            return Ok(true);
        }
        (Reply::Other(bytes), _) => (bytes, None),
        (Reply::Cut(count), Ok(bytes)) => (bytes, Some(count)),
        (Reply::NoRange, Ok(bytes)) => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                bytes.len()
            )?;
            stream.write_all(&bytes)?;
            return Ok(true);
        }
        (_, Ok(bytes)) => (bytes, None),
        (_, Err(_)) => return status(stream, "404 Not Found"),
    };
    let etag = format!("\"{}\"", repo_model::FileDigest::of(&bytes));
    if ask.headers.get("if-none-match") == Some(&etag) {
        return status(stream, "304 Not Modified");
    }
    let from = ask.from().filter(|from| *from < bytes.len());
    let to = from.and(ask.to()).unwrap_or(bytes.len()).min(bytes.len());
    let to = to.min(from.unwrap_or(0).saturating_add(most));
    let head = match from {
        Some(from) => format!(
            "206 x\r\ncontent-range: bytes {from}-{}/{}",
            to - 1,
            bytes.len()
        ),
        None => "200 OK".to_owned(),
    };
    let body = &bytes[from.unwrap_or(0)..to];
    let sent = &body[..cut.unwrap_or(body.len()).min(body.len())];
    write!(
        stream,
        "HTTP/1.1 {head}\r\netag: {etag}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(sent)?;
    Ok(sent.len() == body.len())
}
