use super::*;

fn words(variables: &[&str]) -> Vec<String> {
    variables.iter().map(|v| (*v).to_owned()).collect()
}

#[test]
fn an_environment_as_u_boot_reads_it() {
    let blob = environment(64, &words(&["preboot=", "bootdelay=-2", "bootcmd=a=b; c"])).unwrap();
    assert_eq!(blob.len(), 64);
    let strings = b"preboot=\0bootdelay=-2\0bootcmd=a=b; c\0\0";
    assert_eq!(&blob[4..4 + strings.len()], strings);
    assert!(blob[4 + strings.len()..].iter().all(|b| *b == 0));
    // By Python: struct.pack("<I", zlib.crc32(strings.ljust(60, b"\0"))).
    assert_eq!(blob[..4], [0xc4, 0xe0, 0xeb, 0xcf]);
}

#[test]
fn an_environment_that_cannot_be_is_refused() {
    for (variables, word) in [
        (&["novalue"][..], "not NAME=VALUE"),
        (&["=x"], "not NAME=VALUE"),
        (&["a=1", "a=2"], "a is there twice"),
        (&["a=\0"], "NUL"),
        (&["a=0123456789012345678901234567890123456789012345678901234567"], "room for 60"),
    ] {
        let error = environment(64, &words(variables)).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    // Exactly full, and no room even for the end.
    assert!(environment(64, &words(&[&format!("a={}", "x".repeat(56))])).is_ok());
    assert!(environment(4, &[]).is_err());
    assert!(environment(0, &[]).is_err());
}

#[test]
fn a_script_as_mkimage_makes_it() {
    let image = script(b"echo hello\n").unwrap();
    assert_eq!(image.len(), 64 + 8 + 11);
    assert_eq!(image[..4], [0x27, 0x05, 0x19, 0x56]);
    assert_eq!(image[12..16], [0, 0, 0, 19]);
    assert_eq!(image[28..32], [5, 2, 6, 0]);
    assert_eq!(image[64..72], [0, 0, 0, 11, 0, 0, 0, 0]);
    assert_eq!(&image[72..], b"echo hello\n");
    // By Python: zlib.crc32 of the header with a zero there, and of what follows it.
    assert_eq!(image[4..8], [0x50, 0x86, 0x35, 0xb5]);
    assert_eq!(image[24..28], [0x3d, 0xb5, 0x5e, 0x6f]);
    assert!(script(b"").is_err());
    assert!(script(b"a\0b").is_err());
}
