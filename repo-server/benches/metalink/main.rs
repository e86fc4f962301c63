//! How many metalinks a second a server gives, and how long each takes: real server and signer processes, mirrors that were
//! registered and looked at, clients on kept connections that come from as many networks as there are
//! (`X-Forwarded-For`, so that no two answers need be alike).
//!
//! ```text
//! HALLMARK_BIN_DIR=target/release cargo bench -p repo-server --bench metalink -- 200
//! ```
//!
//! The number is that of mirrors; each answer names the twenty nearest. Generator and server share this machine. Beside it stands
//! nginx with one of the answers as a file: no redirector that makes an answer for each client can be faster than what sends the
//! same bytes to all. mirrorbits, the peer of the goal, is in none of Debian, PyPI, npm and crates.io; who has one running, with as
//! many mirrors that are up and have the file, names a file of its:
//!
//! ```text
//! HALLMARK_BENCH_MIRRORBITS=http://127.0.0.1:8080/path/of/file HALLMARK_BENCH_GEOIP=/usr/share/GeoIP make bench-metalink
//! ```
//!
//! It is asked in turn with ours, over the same connections, by the same clients: as a browser does (it redirects to one mirror,
//! with others in `Link`) and for JSON (it lists mirrors, which is what a metalink does). It does not start without GeoIP files
//! or a fallback; `HALLMARK_BENCH_GEOIP` is a folder with `GeoLite2-City.mmdb` and `GeoLite2-ASN.mmdb`, the names it looks for, and
//! has ours look clients up in them as well.
//!
//! The generator takes its share of the machine, so answers a second say less than they seem to where there are few processors: "cpu us"
//! is the time that the processes listening at an address used for an answer (mirrorbits' redis is not among them).

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
/// So many times the answers a second of mirrorbits.
const RATE_GOAL: f64 = 5.0;
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
    let ours = Target::metalink("hallmark", &world.address);
    let (_, answer) = ask(&mut ours.connect(), &ours, "192.0.2.1");
    say(&format!(
        "\n{PLACE}/metalink.xml with {mirrors} mirrors, {} bytes an answer, {} s each",
        answer.len(),
        MEASURED.as_secs()
    ));
    let nginx = Nginx::start(&answer);
    let file = nginx
        .as_ref()
        .map(|nginx| Target::metalink("nginx, a file", &nginx.address));
    let mirrorbits = Target::mirrorbits();
    say(&format!(
        "{:<18}{:<12}{:>12}{:>12}{:>12}{:>12}{:>12}",
        "", "connections", "answers/s", "p50 ms", "p99 ms", "worst ms", "cpu us"
    ));
    for clients in CLIENTS {
        let theirs: Vec<(&str, Figures)> = file
            .iter()
            .chain(&mirrorbits)
            .map(|target| (target.name, measure(target, clients)))
            .collect();
        let found = measure(&ours, clients);
        for (name, theirs) in &theirs {
            let by_cpu = match (theirs.cpu, found.cpu) {
                (Some(theirs), Some(ours)) => {
                    format!(
                        ", {:.2} x by cpu",
                        theirs.as_secs_f64() / ours.as_secs_f64()
                    )
                }
                _ => String::new(),
            };
            say(&format!(
                "  {:.2} x {name}{by_cpu}",
                found.rate / theirs.rate
            ));
        }
        if clients == CLIENTS[1] {
            let word = |met: bool| if met { "ok" } else { "MISSED" };
            say(&format!(
                "  p99 below {} ms: {}",
                P99_GOAL.as_millis(),
                word(found.p99 < P99_GOAL)
            ));
            let peers = &theirs[theirs.len() - mirrorbits.len()..];
            if let Some(best) = peers.iter().map(|(_, peer)| peer.rate).reduce(f64::max) {
                say(&format!(
                    "  {RATE_GOAL} x the faster of mirrorbits' answers: {}",
                    word(found.rate >= RATE_GOAL * best)
                ));
            }
        }
    }
}

/// What is asked for, and the status that it answers with.
struct Target {
    name: &'static str,
    address: String,
    path: String,
    accept: &'static str,
    status: u16,
}

impl Target {
    fn metalink(name: &'static str, address: &str) -> Self {
        Self {
            name,
            address: address.to_owned(),
            path: format!("{PLACE}/metalink.xml"),
            accept: "*/*",
            status: 200,
        }
    }

    /// A mirrorbits that runs already: its redirect and its list. None where the environment names none.
    fn mirrorbits() -> Vec<Self> {
        let Ok(url) = std::env::var("HALLMARK_BENCH_MIRRORBITS") else {
            say("no mirrorbits: HALLMARK_BENCH_MIRRORBITS names no file of one");
            return Vec::new();
        };
        let (address, path) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .expect("HALLMARK_BENCH_MIRRORBITS is http://ADDRESS:PORT/path/of/file");
        [
            ("mirrorbits, 302", "*/*", 302),
            ("mirrorbits, JSON", "application/json", 200),
        ]
        .map(|(name, accept, status)| {
            let target = Self {
                name,
                address: address.to_owned(),
                path: format!("/{path}"),
                accept,
                status,
            };
            let (seen, _) = ask(&mut target.connect(), &target, "192.0.2.1");
            assert_eq!(seen, status, "{name}: is {url} a file that mirrors have?");
            target
        })
        .into()
    }

    fn connect(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(&self.address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP stream");
        BufReader::new(stream)
    }
}

/// What one run found.
struct Figures {
    /// Answers a second.
    rate: f64,
    /// What the slowest hundredth takes at least.
    p99: Duration,
    /// The server's own time for an answer; none where that cannot be seen.
    cpu: Option<Duration>,
}

fn measure(target: &Target, clients: u32) -> Figures {
    let before = cpu_time(&target.address);
    let mut times = hammer(target, clients);
    let cpu = before
        .zip(cpu_time(&target.address))
        .map(|(before, after)| after.saturating_sub(before).div_f64(times.len() as f64));
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 1_000];
    let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
    let rate = times.len() as f64 / MEASURED.as_secs_f64();
    let (p50, p99, worst) = (at(500), at(990), at(1_000));
    let shown = cpu.map_or_else(
        || "-".to_owned(),
        |cpu| format!("{:.1}", cpu.as_secs_f64() * 1e6),
    );
    say(&format!(
        "{:<18}{clients:<12}{rate:>12.0}{:>12.2}{:>12.2}{:>12.2}{shown:>12}",
        target.name,
        millis(p50),
        millis(p99),
        millis(worst)
    ));
    Figures { rate, p99, cpu }
}

/// User and system time so far of all processes that listen at an address. None where no such process can be seen: it is
/// another user's, or the system is not Linux.
fn cpu_time(address: &str) -> Option<Duration> {
    const TICK: Duration = Duration::from_millis(10); // USER_HZ is 100 on x86-64 and arm64
    const LISTENS: &str = "0A";
    let (_, port) = address.rsplit_once(':')?;
    let port = format!(":{:04X}", port.parse::<u16>().ok()?);
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let sockets: Vec<PathBuf> = tables
        .iter()
        .flatten()
        .flat_map(|table| table.lines())
        .filter_map(|line| {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            let listens = fields.get(1)?.ends_with(&port) && *fields.get(3)? == LISTENS;
            let inode = fields.get(9)?;
            listens.then(|| PathBuf::from(format!("socket:[{inode}]")))
        })
        .collect();
    let holds = |process: &Path| {
        fs::read_dir(process.join("fd")).is_ok_and(|files| {
            files
                .flatten()
                .filter_map(|file| fs::read_link(file.path()).ok())
                .any(|file| sockets.contains(&file))
        })
    };
    let ticks: Vec<u32> = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .map(|process| process.path())
        .filter(|process| holds(process))
        .filter_map(|process| {
            // "PID (NAME) STATE …": the name may hold anything, so fields are counted behind it.
            let stat = fs::read_to_string(process.join("stat")).ok()?;
            let fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
            let times = fields.skip(11).take(2);
            Some(times.filter_map(|ticks| ticks.parse::<u32>().ok()).sum())
        })
        .collect();
    (!ticks.is_empty()).then(|| TICK * ticks.iter().sum())
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
        let geoip = std::env::var("HALLMARK_BENCH_GEOIP").map_or_else(
            |_| String::new(),
            |folder| {
                format!(
                    "country_db = \"{folder}/GeoLite2-City.mmdb\"\nasn_db = \"{folder}/GeoLite2-ASN.mmdb\"\n"
                )
            },
        );
        let config = format!(
            "[server]\nlisten = \"{address}\"\npublic_url = \"http://{address}\"\ndata_dir = \"{}\"\n\
             signer_socket = \"{socket}\"\npolicy_file = \"{policy}\"\ntrusted_proxies = [\"127.0.0.1\"]\n\
             [mirrors]\nallow_private_addresses = true\nprobe_secs = 86400\nprobes_at_once = 8\n{geoip}\
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
            // They would take what is said to the bench for settings that they do not know.
            for (name, _) in std::env::vars_os() {
                if name.as_encoded_bytes().starts_with(b"HALLMARK_BENCH_") {
                    command.env_remove(name);
                }
            }
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

/// The time of each answer, with so many connections.
fn hammer(target: &Target, clients: u32) -> Vec<Duration> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let (mut stream, stop) = (target.connect(), &stop);
                scope.spawn(move || {
                    let mut times = Vec::new();
                    let mut network = client;
                    while !stop.load(Ordering::Relaxed) {
                        network = network.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        let [a, b, c, d] = network.to_be_bytes();
                        let began = Instant::now();
                        let (status, _) = ask(&mut stream, target, &format!("{a}.{b}.{c}.{d}"));
                        times.push(began.elapsed());
                        assert_eq!(status, target.status);
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

/// Status and body of one answer.
fn ask(stream: &mut BufReader<TcpStream>, target: &Target, client: &str) -> (u16, Vec<u8>) {
    let Target { path, accept, .. } = target;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\nx-forwarded-for: {client}\r\n\r\n"
    );
    stream
        .get_mut()
        .write_all(request.as_bytes())
        .expect("it is written");
    read(stream)
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
    let mut in_chunks = false;
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
        in_chunks |= header == "transfer-encoding: chunked";
    }
    if in_chunks {
        return (status, read_chunks(stream));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    (status, body)
}

/// A body whose length nobody said before it began.
fn read_chunks(stream: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut line = String::new();
    loop {
        line.clear();
        stream.read_line(&mut line).expect("a chunk's length");
        let length = usize::from_str_radix(line.trim_end(), 16).expect("a chunk's length");
        let start = body.len();
        // The line's end that follows each chunk, the empty last one too, is no part of the body.
        body.resize(start + length + 2, 0);
        stream.read_exact(&mut body[start..]).expect("a chunk");
        body.truncate(start + length);
        if length == 0 {
            return body;
        }
    }
}
