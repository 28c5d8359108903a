use super::*;

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn entry(kind: Kind) -> Entry {
    let mtime = Stamp { secs: -5, nanos: 999_999_999 };
    let ctime = Stamp { secs: 1 << 31, nanos: 1 };
    Entry { kind, mode: 0o4755, uid: 33, gid: 4_000_000_000, mtime, ctime }
}

fn samples() -> Vec<Message> {
    let file = entry(Kind::File { size: 5 });
    let link = entry(Kind::Symlink { target: b"../\xff".as_slice().into() });
    vec![
        Message::Hello { version: VERSION, site: "default".parse().unwrap() },
        Message::Refused { reason: "no".to_owned() },
        Message::Ping,
        Message::Begin { patterns: vec![b"**/stats".to_vec()], source: Source::Listed },
        Message::Begin { patterns: vec![], source: Source::Missing },
        Message::Begin { patterns: vec![], source: Source::Unreadable("EIO".to_owned()) },
        Message::Entries(vec![
            (RelPath::root(), entry(Kind::Dir)),
            (path("a/b"), file.clone()),
            (path("l"), link),
            (path("f"), entry(Kind::Special)),
        ]),
        Message::End { problems: vec![(path("x"), "EACCES".to_owned())] },
        Message::Changes { more: true, changes: vec![(path("a"), None)] },
        Message::Changes { more: false, changes: vec![(path("a"), Some(file.clone()))] },
        Message::Need { id: 7, path: path("a"), have: None },
        Message::Need { id: u64::MAX, path: path("a"), have: Some([9; 32]) },
        Message::File {
            id: 1,
            entry: file.clone(),
            hash: [1; 32],
            content: Bytes::from_static(b"hello"),
        },
        Message::Start { id: 1, entry: file.clone() },
        Message::Data { id: 1, content: Bytes::from_static(b"hello") },
        Message::Finish { id: 1, hash: [2; 32] },
        Message::Same { id: 1, entry: file },
        Message::Failed { id: 1, failure: Failure::Changing, reason: "busy".to_owned() },
    ]
}

fn body(message: &Message) -> Vec<u8> {
    let frame = message.to_frame();
    let (length, body) = frame.split_at(4);
    assert_eq!(u32::from_be_bytes(length.try_into().unwrap()), u32::try_from(body.len()).unwrap());
    body.to_vec()
}

#[test]
fn every_message_comes_back() {
    for message in samples() {
        assert_eq!(Message::decode(body(&message).into()), Ok(message));
    }
}

#[test]
fn m39_every_prefix_and_every_extension_is_refused() {
    for message in samples() {
        let good = body(&message);
        for end in 0..good.len() {
            assert!(Message::decode(good[..end].to_vec().into()).is_err(), "{message:?} {end}");
        }
        assert!(Message::decode([&good[..], b"\0"].concat().into()).is_err());
    }
}

#[test]
fn m39_any_change_of_a_byte_is_refused_or_means_something_within_the_rules() {
    for message in samples() {
        let good = body(&message);
        for at in 0..good.len() {
            for value in [0, 1, 0x2e, 0x2f, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                if let Ok(other) = Message::decode(bad.clone().into()) {
                    assert_eq!(body(&other), bad, "{other:?}");
                }
            }
        }
    }
}

#[test]
fn m39_random_bytes() {
    let mut noise = noise::Noise::new(1);
    for _ in 0..20_000 {
        let length = noise.below(256);
        let mut bytes = noise.bytes(length);
        if let Some(first) = bytes.first_mut() {
            *first %= 16;
        }
        let _ = Message::decode(bytes.into());
    }
}

#[test]
fn m39_hostile_fields() {
    let need = |path: &[u8]| {
        let mut bytes = vec![8];
        bytes.extend_from_slice(&[0; 8]);
        put_bytes(&mut bytes, path);
        bytes.push(0);
        Message::decode(bytes.into())
    };
    assert!(need(b"ok").is_ok());
    for bad in [&b"../x"[..], b"/etc/passwd", b"a\0b", b"a/../../x", b"a//b", &[b'x'; 300]] {
        assert!(need(bad).is_err(), "{bad:?}");
    }
    // Lengths of 4 GB take no memory.
    for kind in [5_u8, 7, 4, 6] {
        let mut bytes = vec![kind];
        if kind == 7 {
            bytes.push(0);
        }
        bytes.extend_from_slice(&[0xff; 4]);
        assert!(Message::decode(bytes.into()).is_err());
    }
    assert!(Message::decode(vec![3; MAX_FRAME + 1].into()).is_err());
}

#[test]
fn long_texts_are_cut_between_characters() {
    let reason = "\u{e4}".repeat(MAX_TEXT);
    let back = Message::decode(body(&Message::Refused { reason }).into()).unwrap();
    assert_eq!(back, Message::Refused { reason: "\u{e4}".repeat(MAX_TEXT / 2) });
}
