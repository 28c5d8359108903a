//! What the charts of a small site show.

use model::charts::{PathCount, Paths, Sample, Series};

/// A quiet morning and a busy last minute.
pub(crate) fn charts() -> Vec<Series> {
    let sample = |i: u32| Sample {
        requests: 5 + i % 7 + u32::from(i > 240) * 20,
        sessions: 2 + i % 3,
        rtime: 4,
        hrsp_2xx: 5 + i % 7,
        hrsp_5xx: u32::from(i % 50 == 0),
        ..Sample::default()
    };
    let series = |proxy: &str, server: Option<&str>, frontend: bool| Series {
        proxy: proxy.parse().unwrap_or_default(),
        server: server.and_then(|s| s.parse().ok()),
        frontend,
        counted: 11_520,
        seconds: (0..300).map(sample).collect(),
        minutes: (0..192).map(sample).collect(),
    };
    vec![
        series("http-in", None, true),
        series("webservers", None, false),
        series("webservers", Some("web01-eth"), false),
    ]
}

/// A small site.
pub(crate) fn paths() -> Vec<Paths> {
    let path = |path: &str, requests, errors| PathCount { path: path.to_owned(), requests, errors };
    vec![Paths {
        frontend: "http-in".parse().unwrap_or_default(),
        top: vec![
            path("/", 9_120, 0),
            path("/style.css", 8_700, 0),
            path("/wp-login.php", 310, 310),
        ],
        other: 1_053,
    }]
}
