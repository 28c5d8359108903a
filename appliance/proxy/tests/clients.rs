//! Real clients and servers, with the balancer between them: curl, and Python's HTTP server.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{PATIENCE, Proxy, Scripted, free_port, server, settings, until};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Says `100 Continue` and answers with the SHA-256 of what it was sent; speaks
/// WebSocket (RFC 6455) at `/ws`, where it returns every text in capitals.
const SERVER: &str = r"
import base64, hashlib, http.server, struct, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_PUT(self):
        left, total = int(self.headers['Content-Length']), hashlib.sha256()
        while left:
            part = self.rfile.read(min(left, 65536))
            total.update(part)
            left -= len(part)
        self.answer(total.hexdigest().encode())
    def do_GET(self):
        key = self.headers['Sec-WebSocket-Key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        self.send_header('Upgrade', 'websocket')
        self.send_header('Connection', 'Upgrade')
        self.send_header('Sec-WebSocket-Accept', accept)
        self.end_headers()
        while True:
            kind, size = self.rfile.read(2)
            size &= 127
            if size == 126: size, = struct.unpack('>H', self.rfile.read(2))
            elif size == 127: size, = struct.unpack('>Q', self.rfile.read(8))
            mask = self.rfile.read(4)
            data = self.rfile.read(size)
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(data)).upper()
            head = bytes([kind, size]) if size < 126 else bytes([kind, 127]) + struct.pack('>Q', size)
            self.wfile.write(head + data)
            if kind & 15 == 8: break
        self.close_connection = True
    def answer(self, body):
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
";

/// A browser's end of a WebSocket: checks the handshake, sends small, long and very long texts in
/// masked frames, then says goodbye and waits for the same.
const WEBSOCKET: &str = r"
import base64, hashlib, os, socket, struct, sys
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=10)
key = base64.b64encode(os.urandom(16)).decode()
s.sendall(('GET /ws HTTP/1.1\r\nHost: chat\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n' % key).encode())
f = s.makefile('rb')
status, head = f.readline(), {}
assert status.startswith(b'HTTP/1.1 101 '), status
while (line := f.readline()) != b'\r\n':
    name, value = line.decode().strip().split(': ')
    head[name.lower()] = value
wanted = base64.b64encode(hashlib.sha1((key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').encode()).digest()).decode()
assert head['sec-websocket-accept'] == wanted, head
assert head['upgrade'].lower() == 'websocket' and 'upgrade' in head['connection'].lower(), head
def send(kind, data):
    mask, n = os.urandom(4), len(data)
    size = bytes([128 | n]) if n < 126 else bytes([254]) + struct.pack('>H', n) if n < 65536 else bytes([255]) + struct.pack('>Q', n)
    s.sendall(bytes([128 | kind]) + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))
def receive():
    kind, n = f.read(2)
    if n == 127: n, = struct.unpack('>Q', f.read(8))
    return kind & 15, f.read(n)
for n in (5, 1000, 300000):
    send(1, b'x' * n)
    kind, data = receive()
    assert (kind, data) == (1, b'X' * n), (kind, len(data))
send(8, b'')
assert receive() == (8, b'')
assert f.read() == b''
print('good')
";

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The balancer in front of Python's server.
fn python() -> (Program, Proxy) {
    let port = free_port();
    let mut command = Command::new("python3");
    command.args(["-c", SERVER, &port.to_string()]).stdin(Stdio::null());
    let program = Program(command.spawn().unwrap());
    until("python listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    (program, Proxy::start(settings(free_port(), vec![server("python", at)])))
}

fn run(program: &str, args: &[&str]) -> (String, String) {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{program}: {}{}", text(&out.stdout), text(&out.stderr));
    (text(&out.stdout), text(&out.stderr))
}

#[test]
fn curl_sends_five_megabytes_once_it_may() {
    let (_python, proxy) = python();
    let file = std::env::temp_dir().join(format!("bramble-upload-{}", std::process::id()));
    std::fs::write(&file, vec![b'u'; 5_000_000]).unwrap();
    let url = format!("http://127.0.0.1:{}/upload", proxy.port);
    let path = file.to_string_lossy().into_owned();
    let begun = Instant::now();
    // Without the proxy's or the server's word it would wait for longer than the test does.
    let curl = ["-sv", "--noproxy", "*", "--expect100-timeout", "60", "-H", "Expect: 100-continue"];
    let (hash, said) = run("curl", &[&curl[..], &["-T", &path, &url]].concat());
    std::fs::remove_file(&file).unwrap();
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    assert!(said.contains("< HTTP/1.1 100 Continue") && said.contains("< HTTP/1.1 200 "), "{said}");
    assert_eq!(hash, "86aa66477b3b3a0d314ae980b96bdbf02adcf1f2ef1ac32e3a9167212ef077cd");
}

#[test]
fn curl_sees_early_hints_before_the_answer() {
    let backend = Scripted::new(|peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n");
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage");
        }
    });
    let proxy = Proxy::start(settings(free_port(), vec![server("s1", backend.address)]));
    let url = format!("http://127.0.0.1:{}/", proxy.port);
    let (seen, _) = run("curl", &["-si", "--noproxy", "*", &url]);
    let (hints, page) = seen.split_once("\r\n\r\n").unwrap();
    assert!(hints.starts_with("HTTP/1.1 103 ") && hints.contains("Link: </style.css>"), "{seen}");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.ends_with("\r\n\r\npage"), "{seen}");
}

#[test]
fn a_websocket_carries_texts_of_all_sizes() {
    let (_python, proxy) = python();
    let (said, _) = run("python3", &["-c", WEBSOCKET, &proxy.port.to_string()]);
    assert_eq!(said, "good\n");
    until("it is counted as one request", || {
        let status = proxy.status();
        status.frontends[0].req_tot == 1 && status.backends[0].traffic.scur == 0
    });
}
