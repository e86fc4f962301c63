//! How many metalinks a second a server gives, and how long each takes: real server and signer processes, mirrors that were
//! registered and looked at, clients on kept connections that come from as many networks as there are
//! (`X-Forwarded-For`, so that no two answers need be alike).
//!
//! ```text
//! HALLMARK_BIN_DIR=target/release cargo bench -p repo-server --bench metalink -- 200
//! ```
//!
//! The number is that of mirrors; each answer names the twenty nearest. Generator and server share this machine. mirrorbits, the
//! peer of the goal, is in none of Debian, PyPI, npm and crates.io. In its place stands nginx with one of the answers as a file: no
//! redirector that makes an answer for each client can be faster than what sends the same bytes to all.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PLACE: &str = "/preview/base/x86_64";
/// Connections at once, one request under way on each.
const CLIENTS: [u32; 3] = [1, 16, 64];
const MEASURED: Duration = Duration::from_secs(5);
const P99_GOAL: Duration = Duration::from_millis(5);
/// Countries of the mirrors, in turn.
const COUNTRIES: [&str; 8] = ["NO", "DE", "FR", "US", "BR", "JP", "ZA", "AU"];

fn main() {
    // cargo adds --bench.
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok());
    let mirrors: usize = numbers.next().unwrap_or(200);
    let Some(bin) = std::env::var_os("HALLMARK_BIN_DIR").map(PathBuf::from) else {
        say(
            "metalink: left out: HALLMARK_BIN_DIR does not say where hallmark and hallmark-signer are",
        );
        return;
    };
    let world = World::start(&bin);
    world.register(mirrors);
    let one = ask_whole(&world.address).len();
    say(&format!(
        "\n{PLACE}/metalink.xml with {mirrors} mirrors, {one} bytes an answer, {} s each",
        MEASURED.as_secs()
    ));
    say(&format!(
        "{:<14}{:<12}{:>12}{:>12}{:>12}{:>12}",
        "", "connections", "answers/s", "p50 ms", "p99 ms", "worst ms"
    ));
    let nginx = Nginx::start(&ask_whole(&world.address));
    for clients in CLIENTS {
        let theirs = nginx
            .as_ref()
            .map(|nginx| measure("nginx, a file", &nginx.address, clients).0);
        let (rate, p99) = measure("hallmark", &world.address, clients);
        if let Some(theirs) = theirs {
            say(&format!("  {:.2} x nginx with a file", rate / theirs));
        }
        if clients == CLIENTS[1] {
            let word = if p99 < P99_GOAL { "ok" } else { "MISSED" };
            say(&format!("  p99 below {} ms: {word}", P99_GOAL.as_millis()));
        }
    }
}

/// Answers a second, and what the slowest hundredth takes at least.
fn measure(name: &str, address: &str, clients: u32) -> (f64, Duration) {
    let mut times = hammer(address, clients);
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 1_000];
    let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
    let rate = times.len() as f64 / MEASURED.as_secs_f64();
    let (p50, p99, worst) = (at(500), at(990), at(1_000));
    say(&format!(
        "{name:<14}{clients:<12}{rate:>12.0}{:>12.2}{:>12.2}{:>12.2}",
        millis(p50),
        millis(p99),
        millis(worst)
    ));
    (rate, p99)
}

/// nginx with one metalink as a file at the same place; ended when dropped.
struct Nginx {
    child: Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl Nginx {
    /// None where it is not installed.
    fn start(metalink: &[u8]) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("it is bound").to_string();
        drop(free);
        let place = dir.path().display();
        let folder = dir.path().join(format!("www{PLACE}"));
        fs::create_dir_all(&folder).expect("the folder is ours");
        fs::write(folder.join("metalink.xml"), metalink).expect("the folder is ours");
        let text = format!(
            "user root; daemon off; worker_processes auto; pid {place}/pid; error_log {place}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; client_body_temp_path {place}/t1; proxy_temp_path {place}/t2;\n\
             fastcgi_temp_path {place}/t3; uwsgi_temp_path {place}/t4; scgi_temp_path {place}/t5; sendfile on;\n\
             tcp_nopush on; open_file_cache max=16; keepalive_requests 100000000;\n\
             server {{ listen {address}; root {place}/www; }} }}\n"
        );
        let config = dir.path().join("nginx.conf");
        fs::write(&config, text).expect("the folder is ours");
        let started = Command::new("nginx")
            .arg("-c")
            .arg(&config)
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = started else {
            say("no nginx: scripts/install-deps.sh bench installs it");
            return None;
        };
        for _ in 0..200 {
            if TcpStream::connect(&address).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(Self {
            child,
            address,
            _dir: dir,
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM to the master: its workers end with it.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

#[expect(clippy::print_stdout, reason = "a bench prints its table")]
fn say(line: &str) {
    println!("{line}");
}

struct World {
    processes: Vec<Child>,
    address: String,
    token: String,
    _dir: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl World {
    fn start(bin: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("it is bound").to_string();
        drop(free);
        let path = |name: &str| dir.path().join(name).display().to_string();
        let policy = "version = 1\nmin_rebuilders = 0\nmin_operators = 0\nsbom_formats = []\n";
        fs::write(path("policy.toml"), policy).expect("the folder is ours");
        let config = format!(
            "[server]\nlisten = \"{address}\"\npublic_url = \"http://{address}\"\ndata_dir = \"{}\"\n\
             signer_socket = \"{socket}\"\npolicy_file = \"{policy}\"\ntrusted_proxies = [\"127.0.0.1\"]\n\
             [mirrors]\nallow_private_addresses = true\nprobe_secs = 86400\nprobes_at_once = 8\n\
             [[repo]]\nname = \"base\"\narches = [\"x86_64\"]\n\
             [signer]\nsocket = \"{socket}\"\nstate_dir = \"{}\"\npolicy_file = \"{policy}\"\nunsigned_policy = true\n",
            path("data"),
            path("signer"),
            socket = path("signer.sock"),
            policy = path("policy.toml"),
        );
        let file = path("hallmark.toml");
        fs::write(&file, config).expect("the folder is ours");
        let command = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(bin.join(program));
            command
                .args(arguments)
                .args(["--config", &file])
                .stderr(Stdio::null());
            command
        };
        let made = command("hallmark-signer", &["init"])
            .stdout(Stdio::null())
            .status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "the signer has keys"
        );
        let create = ["token", "create", "--name", "bench", "--scope", "operate"];
        let token = command("hallmark", &create)
            .output()
            .expect("hallmark runs")
            .stdout;
        let token = String::from_utf8(token).expect("a token").trim().to_owned();
        let processes = ["hallmark-signer", "hallmark"].map(|program| {
            command(program, &["serve"])
                .stdout(Stdio::null())
                .spawn()
                .expect("it runs")
        });
        let world = Self {
            processes: processes.into(),
            address,
            token,
            _dir: dir,
        };
        world.until("the first release", || {
            world.get(&format!("{PLACE}/metalink.xml")).0 == 200
        });
        world
    }

    fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(
                started.elapsed() < Duration::from_secs(300),
                "{what}: not after 300 s"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.send("GET", path, "")
    }

    fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let Ok(stream) = TcpStream::connect(&self.address) else {
            return (0, String::new());
        };
        let mut stream = BufReader::new(stream);
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        stream
            .get_mut()
            .write_all(request.as_bytes())
            .expect("it is written");
        let (status, body) = read(&mut stream);
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// Mirrors that are all this very server: it has the tree's shape, and what it serves is right.
    fn register(&self, mirrors: usize) {
        for number in 0..mirrors {
            let country = COUNTRIES[number % COUNTRIES.len()];
            let body = format!(
                "{{\"name\":\"mirror-{number}\",\"urls\":[\"http://{}\"],\"country\":\"{country}\",\"contact\":\"bench\"}}",
                self.address
            );
            let (status, answer) = self.send("POST", "/api/v1/mirrors", &body);
            assert_eq!(status, 201, "{answer}");
        }
        self.until("all mirrors are listed", || {
            self.get("/api/v1/mirrors")
                .1
                .matches("\"health\":\"listed\"")
                .count()
                == mirrors
        });
    }
}

fn connect(address: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP stream");
    BufReader::new(stream)
}

/// The time of each answer, with so many connections.
fn hammer(address: &str, clients: u32) -> Vec<Duration> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let (mut stream, stop) = (connect(address), &stop);
                scope.spawn(move || {
                    let mut times = Vec::new();
                    let mut network = client;
                    while !stop.load(Ordering::Relaxed) {
                        network = network.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        let [a, b, c, d] = network.to_be_bytes();
                        let began = Instant::now();
                        let (status, _) = ask(&mut stream, &format!("{a}.{b}.{c}.{d}"));
                        times.push(began.elapsed());
                        assert_eq!(status, 200);
                    }
                    times
                })
            })
            .collect();
        std::thread::sleep(MEASURED);
        stop.store(true, Ordering::Relaxed);
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic"))
            .collect()
    })
}

/// One metalink.
fn ask_whole(address: &str) -> Vec<u8> {
    let mut stream = connect(address);
    let request = format!(
        "GET {PLACE}/metalink.xml HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 192.0.2.1\r\n\r\n"
    );
    stream
        .get_mut()
        .write_all(request.as_bytes())
        .expect("it is written");
    read(&mut stream).1
}

/// Status and size of one metalink.
fn ask(stream: &mut BufReader<TcpStream>, address: &str) -> (u16, usize) {
    let request = format!(
        "GET {PLACE}/metalink.xml HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {address}\r\n\r\n"
    );
    stream
        .get_mut()
        .write_all(request.as_bytes())
        .expect("it is written");
    let (status, body) = read(stream);
    (status, body.len())
}

fn read(stream: &mut BufReader<TcpStream>) -> (u16, Vec<u8>) {
    let mut line = String::new();
    stream.read_line(&mut line).expect("an answer");
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).expect("a header");
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    (status, body)
}
