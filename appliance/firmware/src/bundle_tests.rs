use super::*;
use crate::error::SlotFault;
use noise::Noise;
use std::io::Cursor;

const PRIVATE: [u8; KEY] = [7; KEY];

fn slot() -> Vec<u8> {
    slot::compose(&[1; 3000], &[2; 6000], "0.2.0", 2_000).unwrap()
}

fn bundle_of(slot: &[u8]) -> Vec<u8> {
    let boards = ["pi2", "pi3"].map(str::to_owned);
    let mut bundle = sign(slot, &boards, &PRIVATE).unwrap();
    bundle.extend_from_slice(slot);
    bundle
}

fn running() -> Running {
    Running { version: "0.1.0".to_owned(), built_unix: 1_000, board: Some("pi3".to_owned()) }
}

fn checked(bundle: &[u8], running: &Running) -> Result<Checked, Error> {
    check(&mut Cursor::new(bundle), &public_key(&PRIVATE), running)
}

/// A bundle with whatever manifest, signed all the same.
fn signed(manifest: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bundle = MAGIC.to_vec();
    bundle.extend_from_slice(&u32::try_from(manifest.len()).unwrap().to_le_bytes());
    bundle.extend_from_slice(manifest);
    let signature = SigningKey::from_bytes(&PRIVATE).sign(&bundle);
    bundle.extend_from_slice(&signature.to_bytes());
    bundle.extend_from_slice(payload);
    bundle
}

fn manifest_of(slot: &[u8]) -> Manifest {
    Manifest {
        product: "bramble".to_owned(),
        version: "0.2.0".to_owned(),
        built_unix: 2_000,
        boards: vec!["pi3".to_owned()],
        size: u64::try_from(slot.len()).unwrap(),
        sha256: hex(&Sha256::digest(slot).into()),
    }
}

fn with(change: impl Fn(&mut Manifest)) -> Vec<u8> {
    let slot = slot();
    let mut manifest = manifest_of(&slot);
    change(&mut manifest);
    signed(&serde_json::to_vec(&manifest).unwrap(), &slot)
}

#[test]
fn a_good_bundle_is_accepted() {
    let bundle = bundle_of(&slot());
    let checked = checked(&bundle, &running()).unwrap();
    assert_eq!(checked.manifest.version, "0.2.0");
    let at = usize::try_from(checked.payload_at).unwrap();
    assert_eq!(bundle[at..], slot());
    assert_eq!(<[u8; 32]>::from(Sha256::digest(slot())), checked.sha256);
    // The same version again, and a board nobody has a name for.
    let same = Running { built_unix: 2_000, board: None, ..running() };
    assert!(check(&mut Cursor::new(&bundle), &public_key(&PRIVATE), &same).is_ok());
}

#[test]
fn each_fault_is_told_apart() {
    let good = bundle_of(&slot());
    let payload_at = good.len() - slot().len();
    for length in 0..PREFIX {
        assert!(matches!(checked(&good[..length], &running()), Err(Error::NotABundle)));
    }
    for length in (PREFIX..good.len()).step_by(7).chain([good.len() - 1, payload_at]) {
        let error = checked(&good[..length], &running()).unwrap_err();
        assert!(matches!(error, Error::Truncated { have, want } if have < want), "{length}");
    }
    let mut long = good.clone();
    long.push(0);
    assert!(matches!(checked(&long, &running()), Err(Error::TooLong)));
    for at in [payload_at, payload_at + 600, good.len() - 1] {
        let mut altered = good.clone();
        altered[at] ^= 0x10;
        assert!(matches!(checked(&altered, &running()), Err(Error::Altered)), "{at}");
    }
    for at in (PREFIX..payload_at).step_by(3) {
        let mut altered = good.clone();
        altered[at] ^= 1;
        assert!(matches!(checked(&altered, &running()), Err(Error::WrongSignature)), "{at}");
    }
    let mut other = good.clone();
    other[0] = b'X';
    assert!(matches!(checked(&other, &running()), Err(Error::NotABundle)));
    other = good.clone();
    other[8..12].fill(0xff);
    assert!(matches!(checked(&other, &running()), Err(Error::WrongSignature)));
    let stranger = public_key(&[8; KEY]);
    let error = check(&mut Cursor::new(&good), &stranger, &running()).unwrap_err();
    assert!(matches!(error, Error::WrongSignature));
    // A key of zeros is a point of small order, for which signatures can be made without a key.
    let zeros = check(&mut Cursor::new(&good), &[0; KEY], &running()).unwrap_err();
    assert!(matches!(zeros, Error::WrongSignature | Error::BadKey));
}

#[test]
fn what_is_signed_must_also_be_for_us() {
    let refused = |bundle: Vec<u8>| checked(&bundle, &running()).unwrap_err();
    assert!(checked(&with(|_| ()), &running()).is_ok());
    assert!(matches!(
        refused(with(|m| m.product = "oven".into())),
        Error::OtherProduct(product) if product == "oven"
    ));
    assert!(matches!(refused(with(|m| m.size = MAX_SLOT + 1)), Error::TooLarge { .. }));
    assert!(matches!(refused(with(|m| m.size = u64::MAX)), Error::TooLarge { .. }));
    assert!(matches!(refused(with(|m| m.size -= 512)), Error::TooLong));
    assert!(matches!(refused(with(|m| m.size += 512)), Error::Truncated { .. }));
    assert!(matches!(refused(with(|m| m.size += 1)), Error::BadSlot(SlotFault::Layout)));
    assert!(matches!(refused(with(|m| m.boards = vec!["pi4".into()])), Error::OtherBoard { .. }));
    assert!(matches!(refused(with(|m| m.built_unix = 999)), Error::Older { .. }));
    assert!(matches!(refused(with(|m| m.sha256 = "00".into())), Error::Altered));
    let another = Error::BadSlot(SlotFault::Version).to_string();
    assert_eq!(refused(with(|m| m.version = "0.3.0".into())).to_string(), another);
    assert_eq!(refused(with(|m| m.built_unix = 2_001)).to_string(), another);
    assert!(matches!(refused(signed(b"{}", &slot())), Error::BadManifest(_)));
    assert!(matches!(refused(signed(b"", &slot())), Error::BadManifest(_)));
}

#[test]
fn a_signed_slot_must_start() {
    for (at, fault) in [(0, SlotFault::Empty), (4096, SlotFault::Kernel), (8192, SlotFault::Initrd)]
    {
        let mut slot = slot();
        slot[at] ^= 1;
        let manifest = serde_json::to_vec(&manifest_of(&slot)).unwrap();
        let error = checked(&signed(&manifest, &slot), &running()).unwrap_err();
        assert!(matches!(error, Error::BadSlot(found) if found == fault), "{error}");
        assert!(sign(&slot, &[], &PRIVATE).is_err(), "nor is it signed");
    }
}

#[test]
fn errors_say_what_to_do() {
    let error = checked(&with(|m| m.built_unix = 1), &running()).unwrap_err().to_string();
    assert!(error.contains("version 0.2.0") && error.contains("version 0.1.0"), "{error}");
    let error = checked(&with(|m| m.boards = vec!["pi4".into()]), &running()).unwrap_err();
    assert!(error.to_string().contains("for pi4, and this board is a pi3"), "{error}");
}

#[test]
fn random_bytes_are_refused() {
    let mut random = Noise::new(3);
    let good = bundle_of(&slot());
    for round in 0..400 {
        let mut bytes = good.clone();
        match round % 3 {
            0 => random.fill(&mut bytes),
            1 => random.fill(&mut bytes[8..12]),
            _ => {
                let at = random.below(bytes.len() - 1);
                let end = (at + 1 + random.below(40)).min(bytes.len());
                random.fill(&mut bytes[at..end]);
            }
        }
        bytes.truncate(1 + random.below(bytes.len()));
        if bytes != good {
            assert!(checked(&bytes, &running()).is_err());
        }
    }
    // Random manifests, signed.
    for _ in 0..200 {
        let mut manifest = vec![0; random.below(200)];
        random.fill(&mut manifest);
        assert!(matches!(checked(&signed(&manifest, &[]), &running()), Err(Error::BadManifest(_))));
    }
}
