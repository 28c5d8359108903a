//! The access log's line, HAProxy's `option httplog` (configuration.txt 8.2.3).

use std::io::Write;
use std::net::SocketAddrV4;

/// How a request ended: who ended it, and in which phase (configuration.txt 8.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Termination(pub(crate) [u8; 2]);

impl Termination {
    /// All went well.
    pub(crate) const NORMAL: Self = Self(*b"--");
    /// The request was refused.
    pub(crate) const REFUSED: Self = Self(*b"PR");
    /// The request was refused after a while (`tarpit`).
    pub(crate) const TARPIT: Self = Self(*b"PT");
    /// Answered by the balancer itself, because a rule says so.
    pub(crate) const LOCAL: Self = Self(*b"LR");
    /// The client went away before its request was complete.
    pub(crate) const CLIENT_REQUEST: Self = Self(*b"CR");
    /// The client took too long for its request.
    pub(crate) const CLIENT_SLOW: Self = Self(*b"cR");
    /// No server was left, or none could be connected to.
    pub(crate) const NO_SERVER: Self = Self(*b"SC");
    /// A server could not be connected to in time.
    pub(crate) const CONNECT_TIMEOUT: Self = Self(*b"sC");
    /// No server had room in time.
    pub(crate) const QUEUE_TIMEOUT: Self = Self(*b"sQ");
    /// The server broke off before its response's head.
    pub(crate) const SERVER_HEAD: Self = Self(*b"SH");
    /// The server's response could not be trusted.
    pub(crate) const BAD_HEAD: Self = Self(*b"PH");
    /// The server took too long for its response's head.
    pub(crate) const SERVER_SLOW: Self = Self(*b"sH");
    /// The server broke off in its response.
    pub(crate) const SERVER_DATA: Self = Self(*b"SD");
    /// The server was silent in its response for too long.
    pub(crate) const SERVER_DATA_SLOW: Self = Self(*b"sD");
    /// The client went away before the response's head.
    pub(crate) const CLIENT_HEAD: Self = Self(*b"CH");
    /// The client was silent in its request's body, or in a tunnel, for too long.
    pub(crate) const CLIENT_BODY_SLOW: Self = Self(*b"cD");
    /// The server was marked down, or its sessions were shut down, before the response's head.
    pub(crate) const KILLED_HEAD: Self = Self(*b"DH");
    /// The same in the transfer.
    pub(crate) const KILLED_DATA: Self = Self(*b"DD");
    /// The client went away in the transfer.
    pub(crate) const CLIENT_DATA: Self = Self(*b"CD");
    /// There was no room for it anywhere.
    pub(crate) const NO_ROOM: Self = Self(*b"RC");
    /// It had to make room for another.
    pub(crate) const NO_ROOM_DATA: Self = Self(*b"RD");
}

/// How a server was found, as both lines tell it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// Milliseconds in queues; None is written as -1: it never came to that.
    pub(crate) queue: Option<u64>,
    /// Milliseconds until there was a connection to the server that was tried last.
    pub(crate) connect: Option<u64>,
    pub(crate) retries: u32,
    /// Another server was tried than at first.
    pub(crate) redispatched: bool,
    /// How many were before it in the last server's queue and in the backend's.
    pub(crate) before: [u64; 2],
}

impl Way {
    /// So many milliseconds were spent in a queue, behind so many others.
    pub(crate) fn waited(&mut self, ms: u64, before: [u64; 2]) {
        self.queue = Some(self.queue.unwrap_or(0) + ms);
        self.before = before;
    }
}

/// One line's content.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) client: SocketAddrV4,
    /// Milliseconds since 1970.
    pub(crate) accepted_ms: u64,
    pub(crate) frontend: &'a str,
    /// The visitor spoke TLS: HAProxy puts a `~` behind the frontend's name.
    pub(crate) tls: bool,
    pub(crate) backend: &'a str,
    pub(crate) server: &'a str,
    /// Milliseconds; None is written as -1: it never came to that.
    pub(crate) request: Option<u64>,
    pub(crate) response: Option<u64>,
    pub(crate) total: u64,
    /// None is written as -1: the client got no status.
    pub(crate) status: Option<u16>,
    pub(crate) bytes: u64,
    pub(crate) termination: Termination,
    /// What the visitor's cookie was worth, and what became of the server's (configuration.txt 8.5).
    pub(crate) cookies: [u8; 2],
    /// Connections of the process, of the frontend, requests of the backend, of the server.
    pub(crate) counts: [u64; 4],
    pub(crate) way: Way,
    /// As it came.
    pub(crate) line: &'a [u8],
}

/// One line's content in mode tcp, HAProxy's `option tcplog` (configuration.txt 8.2.2).
#[derive(Debug)]
pub(crate) struct TcpLine<'a> {
    pub(crate) client: SocketAddrV4,
    pub(crate) accepted_ms: u64,
    pub(crate) frontend: &'a str,
    /// The visitor spoke TLS: HAProxy puts a `~` behind the frontend's name.
    pub(crate) tls: bool,
    pub(crate) backend: &'a str,
    pub(crate) server: &'a str,
    pub(crate) total: u64,
    pub(crate) bytes: u64,
    pub(crate) termination: Termination,
    pub(crate) counts: [u64; 4],
    pub(crate) way: Way,
}

/// Appends the line.
pub(crate) fn write_tcp(out: &mut Vec<u8>, l: &TcpLine<'_>) {
    let put = |out: &mut Vec<u8>| -> std::io::Result<()> {
        write!(out, "{} [", l.client)?;
        date(out, l.accepted_ms)?;
        write!(out, "] {}{} {}/{} ", l.frontend, mark(l.tls), l.backend, l.server)?;
        for time in [l.way.queue, l.way.connect] {
            time_or_minus(out, time);
            out.push(b'/');
        }
        number(out, l.total);
        out.push(b' ');
        number(out, l.bytes);
        out.push(b' ');
        out.extend_from_slice(&l.termination.0);
        out.push(b' ');
        load(out, l.counts, &l.way);
        out.push(b'\n');
        Ok(())
    };
    // Writing into a Vec cannot fail.
    let _ = put(out);
}

/// Appends the line.
pub(crate) fn write(out: &mut Vec<u8>, l: &Line<'_>) {
    let put = |out: &mut Vec<u8>| -> std::io::Result<()> {
        write!(out, "{} [", l.client)?;
        date(out, l.accepted_ms)?;
        write!(out, "] {}{} {}/{} ", l.frontend, mark(l.tls), l.backend, l.server)?;
        for time in [l.request, l.way.queue, l.way.connect, l.response] {
            time_or_minus(out, time);
            out.push(b'/');
        }
        number(out, l.total);
        out.push(b' ');
        time_or_minus(out, l.status.map(u64::from));
        out.push(b' ');
        number(out, l.bytes);
        out.extend_from_slice(b" - - ");
        out.extend_from_slice(&l.termination.0);
        out.extend_from_slice(&l.cookies);
        out.push(b' ');
        load(out, l.counts, &l.way);
        out.extend_from_slice(b" \"");
        text(out, if l.line.is_empty() { b"<BADREQ>" } else { l.line });
        out.extend_from_slice(b"\"\n");
        Ok(())
    };
    // Writing into a Vec cannot fail.
    let _ = put(out);
}

/// How busy it was, how often it was tried again, and how many were before it in the queues.
fn load(out: &mut Vec<u8>, counts: [u64; 4], way: &Way) {
    for count in counts {
        number(out, count);
        out.push(b'/');
    }
    if way.redispatched {
        out.push(b'+');
    }
    number(out, u64::from(way.retries));
    out.push(b' ');
    number(out, way.before[0]);
    out.push(b'/');
    number(out, way.before[1]);
}

fn number(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

fn mark(tls: bool) -> &'static str {
    if tls { "~" } else { "" }
}

fn time_or_minus(out: &mut Vec<u8>, n: Option<u64>) {
    match n {
        Some(n) => number(out, n),
        None => out.extend_from_slice(b"-1"),
    }
}

/// HAProxy writes what could upset a terminal or a parser as `#` and two digits.
fn text(out: &mut Vec<u8>, text: &[u8]) {
    for b in text {
        if (b' '..0x7f).contains(b) && !b"\"#".contains(b) {
            out.push(*b);
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.push(b'#');
            out.push(DIGITS[usize::from(b >> 4)]);
            out.push(DIGITS[usize::from(b & 15)]);
        }
    }
}

fn date(out: &mut Vec<u8>, ms: u64) -> std::io::Result<()> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = i64::try_from(ms / 1000).unwrap_or(0);
    let t = time::OffsetDateTime::from_unix_timestamp(seconds)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let month = MONTHS.get(usize::from(u8::from(t.month()) - 1)).copied().unwrap_or("Jan");
    write!(
        out,
        "{:02}/{month}/{}:{:02}:{:02}:{:02}.{:03}",
        t.day(),
        t.year(),
        t.hour(),
        t.minute(),
        t.second(),
        ms % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line<'static> {
        Line {
            client: "10.0.1.2:33317".parse().unwrap(),
            accepted_ms: 1_233_922_475_655,
            frontend: "http-in",
            tls: false,
            backend: "static",
            server: "srv1",
            request: Some(10),
            response: Some(69),
            total: 109,
            status: Some(200),
            bytes: 2750,
            termination: Termination::NORMAL,
            cookies: *b"--",
            counts: [1, 1, 1, 1],
            way: Way { queue: Some(0), connect: Some(30), ..Way::default() },
            line: b"GET /index.html HTTP/1.1",
        }
    }

    fn written(l: &Line<'_>) -> String {
        let mut out = Vec::new();
        write(&mut out, l);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn haproxys_own_example() {
        let want = "10.0.1.2:33317 [06/Feb/2009:12:14:35.655] http-in static/srv1 10/0/30/69/109 \
                    200 2750 - - ---- 1/1/1/1/0 0/0 \"GET /index.html HTTP/1.1\"\n";
        assert_eq!(written(&line()), want);
    }

    #[test]
    fn haproxys_own_example_in_mode_tcp() {
        let mut out = Vec::new();
        let l = TcpLine {
            client: "10.0.1.2:33313".parse().unwrap(),
            accepted_ms: 1_233_922_491_443,
            frontend: "fnt",
            tls: true,
            backend: "bck",
            server: "srv1",
            total: 5007,
            bytes: 212,
            termination: Termination::NORMAL,
            counts: [0, 0, 0, 0],
            way: Way { queue: Some(0), connect: Some(0), retries: 3, ..Way::default() },
        };
        write_tcp(&mut out, &l);
        let want = "10.0.1.2:33313 [06/Feb/2009:12:14:51.443] fnt~ bck/srv1 0/0/5007 212 -- \
                    0/0/0/0/3 0/0\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn what_never_happened_is_minus_one() {
        let l = Line {
            server: "<NOSRV>",
            response: None,
            status: None,
            termination: Termination::NO_SERVER,
            cookies: *b"DN",
            way: Way { retries: 3, redispatched: true, ..Way::default() },
            ..line()
        };
        let text = written(&l);
        assert!(text.contains(" static/<NOSRV> 10/-1/-1/-1/109 -1 2750 - - SCDN 1/1/1/1/+3 0/0 "));
    }

    #[test]
    fn nothing_in_a_request_breaks_the_line() {
        let text = written(&Line { line: b"GET /\"\n\x1b#\xff", ..line() });
        assert!(text.ends_with("\"GET /#22#0A#1B#23#FF\"\n"), "{text}");
        assert_eq!(text.matches('\n').count(), 1);
        assert!(written(&Line { line: b"", ..line() }).ends_with("\"<BADREQ>\"\n"));
    }
}
