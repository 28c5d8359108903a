//! Certificates by form: pasted, uploaded, replaced, and kept while they are shown.

use crate::browser::{Answer, Browser, HOST, signed_in};
use http::Request;

const CHAIN: &str = include_str!("../../../appliance/model/src/certificate/test.pem");
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nU0VDUkVU\n-----END PRIVATE KEY-----\n";
const NEW: &str = "/balancing/certificates/new";
const BOUNDARY: &str = "----between";

async fn send(browser: &mut Browser, to: &str, fields: &[(&str, &str)]) -> Answer {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    send_bytes(browser, to, &fields).await
}

async fn send_bytes(browser: &mut Browser, to: &str, fields: &[(&str, &[u8])]) -> Answer {
    let form = browser.get(to).await;
    let (token, revision) = (form.field("csrf"), form.field("revision"));
    let mut body = Vec::new();
    let mut put = |name: &str, value: &[u8]| {
        let file = if name.ends_with("_file") { "; filename=\"x.pem\"" } else { "" };
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    };
    put("csrf", token.as_bytes());
    put("revision", revision.as_bytes());
    for (name, value) in fields {
        put(name, value);
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    let request = Request::post(to)
        .header("accept", "text/html")
        .header("origin", format!("http://{HOST}"))
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
    browser.send(request, body).await
}

#[tokio::test]
async fn certificates_come_change_and_go() {
    let (node, mut browser) = signed_in().await;
    // Everything in one box, in any order, as HAProxy takes it.
    let both = format!("{KEY}{CHAIN}");
    let done = send(&mut browser, NEW, &[("name", "site"), ("chain", &both)]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let now = || {
        let all = node.control.snapshot().settings.certificates.clone();
        all.into_iter().filter(|c| c.name.as_str() != "main").collect::<Vec<_>>()
    };
    assert_eq!((now()[0].chain.as_str(), now()[0].key.reveal()), (CHAIN, KEY));
    // As two files.
    let files = [("name", "second"), ("chain", ""), ("chain_file", CHAIN), ("key_file", KEY)];
    let done = send(&mut browser, NEW, &files).await;
    assert_eq!(done.status, 303, "{}", done.text());
    assert_eq!(now()[1].key.reveal(), KEY);
    let list = browser.get("/balancing/certificates").await;
    for part in
        ["main", "example.org, *.example.org", "until 20", "Bramble test", "not used by any"]
    {
        assert!(list.text().contains(part), "{part}: {}", list.text());
    }
    // A renewal with the same key.
    let done = send(&mut browser, "/balancing/certificates/site", &[("chain", CHAIN)]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    assert_eq!(now()[0].key.reveal(), KEY);
    // No page shows a key, nor does the form that has an error.
    let page = browser.get("/balancing/certificates/site").await;
    assert!(page.text().contains("Replace it") && !page.text().contains("U0VDUkVU"));
    let wrong = send(&mut browser, NEW, &[("name", "site"), ("chain", &both)]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("id=\"name-e\""), "{}", wrong.text());
    assert!(wrong.text().contains("MIIBsTCCAVeg") && !wrong.text().contains("U0VDUkVU"));
    for (chain, key, at) in [
        ("", "", "chain-e"),
        (CHAIN, "", "key-e"),
        ("no pem", KEY, "chain-e"),
        (
            CHAIN,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----",
            "key-e",
        ),
    ] {
        let wrong = send(&mut browser, NEW, &[("name", "x"), ("chain", chain), ("key", key)]).await;
        assert_eq!(wrong.status, 422, "{chain} {key}");
        assert!(wrong.text().contains(&format!("id=\"{at}\"")), "{at}: {}", wrong.text());
    }
    assert_eq!(now().len(), 2);
}

#[tokio::test]
async fn a_certificate_that_is_shown_stays() {
    let (node, mut browser) = signed_in().await;
    let form = browser.get("/balancing/frontends/new").await;
    assert!(form.text().contains("There are: <code>main</code>"), "{}", form.text());
    let mut frontend = vec![
        ("new", "yes"),
        ("revision", "0"),
        ("name", "https-in"),
        ("enabled", "on"),
        ("bind", "floating:8443 ssl\r\n192.168.1.14:8081"),
        ("default_backend", "webservers"),
        ("certificates", ""),
        ("strict_sni", "on"),
        ("http2", "on"),
        ("ssl_min_ver", "TLSv1.3"),
        ("maxconn", "100"),
        ("timeout_client", "50s"),
        ("timeout_http_request", "10s"),
        ("timeout_http_keep_alive", "10s"),
        ("timeout_tarpit", "10s"),
    ];
    let to = "/balancing/frontends/new";
    let page = browser.post(to, to, &frontend).await;
    assert!(page.status == 422 && page.text().contains("id=\"certificates-e\""), "{}", page.text());
    frontend.retain(|(name, _)| *name != "certificates");
    frontend.push(("certificates", "main"));
    let done = browser.post(to, to, &frontend).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let snapshot = node.control.snapshot();
    let found =
        snapshot.effective.frontends.iter().find(|f| f.frontend.name.as_str() == "https-in");
    let found = found.unwrap();
    assert_eq!((found.listen.len(), found.ssl.len(), found.certificates.len()), (2, 1, 1));
    assert!(found.frontend.strict_sni && found.frontend.http2);
    assert_eq!(found.frontend.ssl_min_ver, model::TlsVersion::Tls13);
    let asked = browser.get("/balancing/certificates/main/remove").await;
    assert!(asked.status == 409 && asked.text().contains("https-in"), "{}", asked.text());
    // Somebody who asked before it came into use.
    let late = browser.post(NEW, "/balancing/certificates/main/remove", &[("revision", "0")]).await;
    assert!(late.status == 409 && late.text().contains("https-in"), "{}", late.text());
    let gone = browser
        .post(
            "/balancing/frontends/https-in/remove",
            "/balancing/frontends/https-in/remove",
            &[("revision", "1")],
        )
        .await;
    assert_eq!(gone.status, 303);
    let remove = "/balancing/certificates/main/remove";
    let gone = browser.post(remove, remove, &[("revision", "2")]).await;
    assert_eq!(gone.status, 303, "{}", gone.text());
    assert!(node.control.snapshot().settings.certificates.is_empty());
}

#[tokio::test]
async fn files_that_are_no_pem_are_named_with_what_makes_them_one() {
    let (node, mut browser) = signed_in().await;
    let der = model::Pem::read(CHAIN).certificates().remove(0);
    // Version 3 and a sequence is what a PKCS#12 file begins with, its bytes no text.
    let pkcs12 = [0x30, 8, 2, 1, 3, 0x30, 1, 0xff, 4, 0];
    let pkcs8 = [0x30, 8, 2, 1, 0, 0x30, 1, 0xff, 4, 0];
    let request = CHAIN.replace("CERTIFICATE", "CERTIFICATE REQUEST");
    for (field, file, at, words) in [
        ("chain_file", der.as_slice(), "chain-e", "openssl x509 -inform der"),
        ("chain_file", &pkcs12[..], "chain-e", "openssl pkcs12 -nodes"),
        ("key_file", &pkcs8[..], "key-e", "openssl pkey -inform der"),
        ("chain_file", request.as_bytes(), "chain-e", "request for a certificate"),
        ("chain_file", &[0xff, 0xd8, 0xff][..], "chain-e", "no text"),
    ] {
        let other = if field == "key_file" { ("chain", CHAIN) } else { ("key", KEY) };
        let fields = [("name", &b"x"[..]), (other.0, other.1.as_bytes()), (field, file)];
        let wrong = send_bytes(&mut browser, NEW, &fields).await;
        assert_eq!(wrong.status, 422, "{words}");
        assert!(wrong.text().contains(&format!("id=\"{at}\"")), "{at}: {}", wrong.text());
        assert!(wrong.text().contains(words), "{words}: {}", wrong.text());
    }
    let all = node.control.snapshot().settings.certificates.clone();
    assert!(all.iter().all(|c| c.name.as_str() != "x"));
}
