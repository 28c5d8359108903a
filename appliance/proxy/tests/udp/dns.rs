//! Real DNS servers.

use crate::common::{self, Proxy, free_udp_port, server, settings, until};
use crate::peers::{Visitor, checked, udp};
use model::Mode;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// A real DNS server that knows one name.
struct Dnsmasq(std::process::Child, SocketAddrV4);

impl Dnsmasq {
    fn start() -> Self {
        let port = free_udp_port();
        let child = std::process::Command::new("dnsmasq")
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-hosts"])
            .args(["--user=root", "--listen-address=127.0.0.1", "--bind-interfaces"])
            .args(["--no-resolv", "--local=/hole/", "--address=/pi.hole/192.0.2.7"])
            .arg(format!("--port={port}"))
            .stdin(std::process::Stdio::null())
            .spawn()
            .unwrap();
        Self(child, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The query for pi.hole under a number.
fn query(id: u16) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend_from_slice(b"\x01\0\0\x01\0\0\0\0\0\0\x02pi\x04hole\0\0\x01\0\x01");
    out
}

#[test]
fn two_real_dns_servers_of_which_one_dies() {
    const QUESTIONS: u16 = 1000;
    let (mut a, b) = (Dnsmasq::start(), Dnsmasq::start());
    let mut all = udp(vec![server("a", a.1), server("b", b.1)]);
    checked(&mut all);
    all.backends[0].check.dns_name = "pi.hole".parse().ok();
    all.backends[0].check.dns_address = "192.0.2.7".parse().ok();
    // The same servers by connection, as DNS needs it.
    let mut more = settings(free_udp_port(), all.backends[0].servers.clone());
    (more.frontends[0].name, more.backends[0].name) = (common::name("f"), common::name("tcp"));
    (more.frontends[0].mode, more.backends[0].mode) = (Mode::Tcp, Mode::Tcp);
    more.frontends[0].default_backend = common::name("tcp");
    more.frontends[0].bind = all.frontends[0].bind.clone();
    more.backends[0].check = all.backends[0].check.clone();
    all.frontends.append(&mut more.frontends);
    all.backends.append(&mut more.backends);
    let mut proxy = Proxy::start(all);
    let words = |proxy: &Proxy, word: &str| -> usize {
        let status = proxy.status();
        let all = status.backends.iter().flat_map(|b| &b.servers);
        all.filter(|s| s.check.check_status == word).count()
    };
    until("all are checked", || words(&proxy, "L7OK") == 4);
    let mut lost = 0;
    for id in 0..QUESTIONS {
        if id == QUESTIONS / 2 {
            a.kill();
        }
        let visitor = Visitor::new(proxy.port);
        visitor.0.send(&query(id)).unwrap();
        visitor.0.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut part = [0; 512];
        let good = visitor
            .0
            .recv(&mut part)
            .is_ok_and(|n| part[..2] == id.to_be_bytes() && part[..n].ends_with(&[192, 0, 2, 7]));
        lost += usize::from(!good);
    }
    println!("{QUESTIONS} questions, one of two servers killed, {lost} lost");
    assert_eq!(lost, 0);
    until("its death is seen", || words(&proxy, "L4CON") == 2 && words(&proxy, "L7OK") == 2);
    let mut by_connection =
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
    std::io::Write::write_all(&mut by_connection, &[&[0, 25][..], &query(7)].concat()).unwrap();
    let mut length = [0; 2];
    std::io::Read::read_exact(&mut by_connection, &mut length).unwrap();
    assert!(u16::from_be_bytes(length) > 25);
    // A name that is not there, where that is the good answer and where it is not.
    proxy.change(|s| {
        let check = &mut s.backends[0].check;
        (check.dns_name, check.dns_address) = ("nothing.hole".parse().ok(), None);
        check.dns_codes = "NXDOMAIN".parse().ok();
        s.backends[1].check.dns_name = "nothing.hole".parse().ok();
        s.backends[1].check.dns_address = None;
    });
    until("codes count", || {
        let status = proxy.status();
        let check = |i: usize| status.backends[i].servers[1].check.clone();
        let (good, bad) = (check(0), check(1));
        (good.check_status.as_str(), good.check_code) == ("L7OK", Some(3))
            && (bad.check_status.as_str(), bad.check_code) == ("L7STS", Some(3))
    });
}
