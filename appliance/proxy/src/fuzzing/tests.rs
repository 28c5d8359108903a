use super::*;
use noise::Noise;

/// What bytes are replaced with: whatever means something to a parser.
const WORDS: [&[u8]; 16] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b":",
    b" ",
    b"\t",
    b",",
    b";",
    b"=",
    b"0",
    b"\r\n\r\n",
    b"\xff",
    b"5",
    b"chunked",
    b"HTTP/1.0",
];

const REQUESTS: [&[u8]; 6] = [
    b"GET /a?b=c HTTP/1.1\r\nHost: h\r\nAccept: x\r\n\r\nGET / HTTP/1.1\r\n",
    b"POST / HTTP/1.1\r\nHost: h:80\r\nContent-Length: 5\r\nConnection: X-A, keep-alive\r\nX-A: 1\r\n\r\nhello",
    b"\r\nPOST http://h/x HTTP/1.1\r\nhost: H\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nCookie: a=1; bramble_sid=x; b=2\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"OPTIONS * HTTP/1.1\nHost: h\nKeep-Alive: 5\nExpect: 100-continue\n\n",
];

const RESPONSES: [&[u8]; 5] = [
    b"\x04HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: bramble_sid=1\r\n\r\nhello",
    b"\x04HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-A\r\nX-A: b\r\n\r\n0\r\n\r\n",
    b"\x02HTTP/1.0 404 \r\nConnection: keep-alive\r\n\r\n",
    b"\x1cHTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
    b"\x04HTTP/1.1 426 Upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n",
];

const BODIES: [&[u8]; 3] = [
    b"5;a=b\r\nhello\r\n1 ; x=\"y\"\r\n!\r\n0\r\nA: b\r\nC: d\r\n\r\nGET /",
    b"0\r\nContent-Length: 5\r\nX: y\r\n\r\n",
    b"a\r\n0123456789\r\n0000\r\n\r\n",
];

const PROXIES: [&[u8]; 3] = [
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n",
    b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x50\0\x51rest",
];

const COOKIES: [&[u8]; 3] = [
    b"\x04SRV=s1|AAAAA|BBBBB; a=b\nbramble_sid=x; SRV=s2\nSRV=s1; path=/\nmax-age=5\nb=c",
    b"\x02SRV=s1~x; c=d\nSRV=t~\nSRV=own; Secure\nprivate\nSRV=b",
    b"\xfd=bramble_sid=y;SRV\n\nbramble_sid=planted\npublic, s-maxage=3\nSRV=1",
];

const ANSWERS: [&[u8]; 3] = [
    b"\x81\x80\0\x01\0\x01\0\0\0\0\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07",
    b"\x85\x83\0\x01\0\0\0\x01\0\0\x01b\xc0\x0e\0\x06",
    b"\x12\x34\x81\x85\0\0\0\0\0\0\0\0",
];

#[test]
fn noise_and_what_is_almost_right_keeps_every_promise() {
    type Kind = (fn(&[u8]), &'static [&'static [u8]]);
    let kinds: [Kind; 6] = [
        (request_head, &REQUESTS),
        (response_head, &RESPONSES),
        (chunked, &BODIES),
        (proxy_header, &PROXIES),
        (cookie, &COOKIES),
        (dns, &ANSWERS),
    ];
    let mut noise = Noise::new(0x0123_4567_89ab_cdef);
    for round in 0..4_000 {
        for (take, good) in kinds {
            let mut bytes = good[noise.below(good.len())].to_vec();
            if round % 10 == 0 {
                let length = noise.below(300);
                bytes = noise.bytes(length);
            }
            for _ in 0..noise.below(5) {
                let from = noise.below(bytes.len() + 1);
                let to = (from + noise.below(4)).min(bytes.len());
                let word = *noise.pick(&WORDS);
                bytes.splice(from..to, word.iter().copied());
            }
            take(&bytes);
        }
    }
}
