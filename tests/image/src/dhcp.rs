//! As much of a DHCP server (RFC 2131) as gives known boards their addresses.

use lab::{Doing, Result};
use nix::sys::socket::{setsockopt, sockopt};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
const LOOK: Duration = Duration::from_millis(100);
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Before the options: the fixed part and the cookie.
const FIXED: usize = 240;

/// A socket on one interface of the caller's namespace.
pub(crate) fn socket(interface: &str) -> Result<UdpSocket> {
    let what = || format!("listening for DHCP on {interface}");
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, SERVER_PORT)).doing(what)?;
    socket.set_broadcast(true).doing(what)?;
    socket.set_read_timeout(Some(LOOK)).doing(what)?;
    // Without it there is no route for a broadcast.
    setsockopt(&socket, sockopt::BindToDevice, &interface.into()).doing(what)?;
    Ok(socket)
}

/// Answers until it is told to stop.
pub(crate) fn serve(
    socket: &UdpSocket,
    server: Ipv4Addr,
    leases: &[([u8; 6], Ipv4Addr)],
    stop: &AtomicBool,
) {
    let mut buffer = [0; 1500];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, _)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let asked = buffer.get(..length).unwrap_or_default();
        if let Some(reply) = answer(asked, server, leases) {
            let _ = socket.send_to(&reply, SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT));
        }
    }
}

fn option(message: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = message.get(FIXED..)?;
    loop {
        match *rest.first()? {
            0 => rest = rest.get(1..)?,
            255 => return None,
            code => {
                let length = usize::from(*rest.get(1)?);
                let value = rest.get(2..2 + length)?;
                if code == wanted {
                    return Some(value);
                }
                rest = rest.get(2 + length..)?;
            }
        }
    }
}

fn answer(asked: &[u8], server: Ipv4Addr, leases: &[([u8; 6], Ipv4Addr)]) -> Option<Vec<u8>> {
    if asked.first() != Some(&1) || asked.get(236..FIXED)? != COOKIE {
        return None;
    }
    let mac = asked.get(28..34)?;
    let (_, address) = leases.iter().find(|(known, _)| known == mac)?;
    // DISCOVER is offered, REQUEST is acknowledged: RFC 2131 3.1.
    let kind = match option(asked, 53)?.first()? {
        1 => 2,
        3 => {
            let wanted = option(asked, 50).or_else(|| asked.get(12..16))?;
            if wanted == address.octets() { 5 } else { 6 }
        }
        _ => return None,
    };
    let mut reply = vec![0; FIXED];
    reply.get_mut(..4)?.copy_from_slice(&[2, 1, 6, 0]);
    reply.get_mut(4..8)?.copy_from_slice(asked.get(4..8)?);
    if kind != 6 {
        reply.get_mut(16..20)?.copy_from_slice(&address.octets());
    }
    reply.get_mut(28..34)?.copy_from_slice(mac);
    reply.get_mut(236..FIXED)?.copy_from_slice(&COOKIE);
    reply.extend_from_slice(&[53, 1, kind, 54, 4]);
    reply.extend_from_slice(&server.octets());
    if kind != 6 {
        reply.extend_from_slice(&[51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0, 3, 4]);
        reply.extend_from_slice(&server.octets());
        reply.extend_from_slice(&[6, 4]);
        reply.extend_from_slice(&server.octets());
    }
    reply.push(255);
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
    const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
    const BOARD: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 11);

    fn ask(kind: u8, more: &[u8]) -> Option<Vec<u8>> {
        let mut message = vec![0; FIXED];
        message[0] = 1;
        message[4..8].copy_from_slice(&[9, 8, 7, 6]);
        message[28..34].copy_from_slice(&MAC);
        message[236..].copy_from_slice(&COOKIE);
        message.extend_from_slice(&[53, 1, kind]);
        message.extend_from_slice(more);
        message.push(255);
        answer(&message, HOST, &[(MAC, BOARD)])
    }

    #[test]
    fn a_known_board_gets_its_address() {
        let offer = ask(1, &[]).unwrap();
        assert_eq!(option(&offer, 53), Some(&[2][..]));
        assert_eq!(offer[16..20], BOARD.octets());
        assert_eq!(offer[4..8], [9, 8, 7, 6]);
        let ack = ask(3, &[50, 4, 192, 168, 77, 11]).unwrap();
        assert_eq!(option(&ack, 53), Some(&[5][..]));
        assert_eq!(option(&ack, 3), Some(&HOST.octets()[..]));
        let nak = ask(3, &[50, 4, 10, 0, 0, 1]).unwrap();
        assert_eq!(option(&nak, 53), Some(&[6][..]));
        assert_eq!(ask(7, &[]), None);
    }

    #[test]
    fn what_is_no_request_is_passed_over() {
        for length in 0..FIXED + 2 {
            assert_eq!(answer(&vec![1; length], HOST, &[(MAC, BOARD)]), None);
        }
    }
}
