//! Which type a file name means. A table of its own, so that both web servers say the same
//! whatever else is on their cards.

/// A media type as this server uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MediaType {
    /// The `Content-Type`.
    pub(crate) value: &'static str,
    /// Worth looking for a precompressed sibling.
    pub(crate) compressible: bool,
}

const fn text(value: &'static str) -> MediaType {
    MediaType { value, compressible: true }
}

const fn packed(value: &'static str) -> MediaType {
    MediaType { value, compressible: false }
}

const UNKNOWN: MediaType = packed("application/octet-stream");

/// Sorted by ending.
const TABLE: &[(&str, MediaType)] = &[
    ("3gp", packed("video/3gpp")),
    ("7z", packed("application/x-7z-compressed")),
    ("aac", packed("audio/aac")),
    ("apk", packed("application/vnd.android.package-archive")),
    ("apng", packed("image/apng")),
    ("appcache", text("text/cache-manifest; charset=utf-8")),
    ("asc", text("text/plain; charset=utf-8")),
    ("atom", text("application/atom+xml")),
    ("avi", packed("video/x-msvideo")),
    ("avif", packed("image/avif")),
    ("bmp", text("image/bmp")),
    ("br", packed("application/octet-stream")),
    ("bz2", packed("application/x-bzip2")),
    ("cjs", text("text/javascript; charset=utf-8")),
    ("conf", text("text/plain; charset=utf-8")),
    ("css", text("text/css; charset=utf-8")),
    ("csv", text("text/csv; charset=utf-8")),
    ("deb", packed("application/vnd.debian.binary-package")),
    ("doc", packed("application/msword")),
    ("docx", packed("application/vnd.openxmlformats-officedocument.wordprocessingml.document")),
    ("eot", text("application/vnd.ms-fontobject")),
    ("epub", packed("application/epub+zip")),
    ("flac", packed("audio/flac")),
    ("geojson", text("application/geo+json")),
    ("gif", packed("image/gif")),
    ("gz", packed("application/gzip")),
    ("heic", packed("image/heic")),
    ("htm", text("text/html; charset=utf-8")),
    ("html", text("text/html; charset=utf-8")),
    ("ico", text("image/x-icon")),
    ("ics", text("text/calendar; charset=utf-8")),
    ("img", packed("application/octet-stream")),
    ("ini", text("text/plain; charset=utf-8")),
    ("iso", packed("application/octet-stream")),
    ("jar", packed("application/java-archive")),
    ("jpeg", packed("image/jpeg")),
    ("jpg", packed("image/jpeg")),
    ("js", text("text/javascript; charset=utf-8")),
    ("json", text("application/json")),
    ("jsonld", text("application/ld+json")),
    ("jxl", packed("image/jxl")),
    ("kml", text("application/vnd.google-earth.kml+xml")),
    ("log", text("text/plain; charset=utf-8")),
    ("m3u8", text("application/vnd.apple.mpegurl")),
    ("m4a", packed("audio/mp4")),
    ("m4v", packed("video/mp4")),
    ("map", text("application/json")),
    ("md", text("text/markdown; charset=utf-8")),
    ("mid", packed("audio/midi")),
    ("mjs", text("text/javascript; charset=utf-8")),
    ("mkv", packed("video/x-matroska")),
    ("mov", packed("video/quicktime")),
    ("mp3", packed("audio/mpeg")),
    ("mp4", packed("video/mp4")),
    ("mpeg", packed("video/mpeg")),
    ("mpg", packed("video/mpeg")),
    ("odp", packed("application/vnd.oasis.opendocument.presentation")),
    ("ods", packed("application/vnd.oasis.opendocument.spreadsheet")),
    ("odt", packed("application/vnd.oasis.opendocument.text")),
    ("oga", packed("audio/ogg")),
    ("ogg", packed("audio/ogg")),
    ("ogv", packed("video/ogg")),
    ("opus", packed("audio/ogg")),
    ("otf", text("font/otf")),
    ("pdf", packed("application/pdf")),
    ("png", packed("image/png")),
    ("ppt", packed("application/vnd.ms-powerpoint")),
    ("pptx", packed("application/vnd.openxmlformats-officedocument.presentationml.presentation")),
    ("ps", text("application/postscript")),
    ("rar", packed("application/vnd.rar")),
    ("rss", text("application/rss+xml")),
    ("rtf", text("application/rtf")),
    ("svg", text("image/svg+xml")),
    ("svgz", packed("image/svg+xml")),
    ("tar", packed("application/x-tar")),
    ("tgz", packed("application/gzip")),
    ("tif", packed("image/tiff")),
    ("tiff", packed("image/tiff")),
    ("toml", text("application/toml")),
    ("ts", packed("video/mp2t")),
    ("ttf", text("font/ttf")),
    ("txt", text("text/plain; charset=utf-8")),
    ("vcf", text("text/vcard; charset=utf-8")),
    ("vtt", text("text/vtt; charset=utf-8")),
    ("wasm", text("application/wasm")),
    ("wav", packed("audio/wav")),
    ("weba", packed("audio/webm")),
    ("webm", packed("video/webm")),
    ("webmanifest", text("application/manifest+json")),
    ("webp", packed("image/webp")),
    ("woff", packed("font/woff")),
    ("woff2", packed("font/woff2")),
    ("xhtml", text("application/xhtml+xml")),
    ("xls", packed("application/vnd.ms-excel")),
    ("xlsx", packed("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")),
    ("xml", text("application/xml")),
    ("xsl", text("application/xml")),
    ("xz", packed("application/x-xz")),
    ("yaml", text("application/yaml")),
    ("yml", text("application/yaml")),
    ("zip", packed("application/zip")),
    ("zst", packed("application/zstd")),
];

/// The type a path's last component means by its ending.
pub(crate) fn media_type(path: &[u8]) -> MediaType {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let Some(dot) = name.iter().rposition(|b| *b == b'.').filter(|dot| *dot > 0) else {
        return UNKNOWN;
    };
    let ending = &name[dot + 1..];
    let mut lower = [0_u8; 12];
    let Some(lower) = lower.get_mut(..ending.len()) else { return UNKNOWN };
    lower.copy_from_slice(ending);
    lower.make_ascii_lowercase();
    match TABLE.binary_search_by(|(known, _)| known.as_bytes().cmp(lower)) {
        Ok(at) => TABLE[at].1,
        Err(_) => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_ending_is_found() {
        assert!(TABLE.windows(2).all(|w| w[0].0 < w[1].0));
        for (ending, kind) in TABLE {
            assert_eq!(media_type(format!("d.x/f.{ending}").as_bytes()), *kind);
            assert_eq!(media_type(format!("f.{}", ending.to_ascii_uppercase()).as_bytes()), *kind);
        }
    }

    #[test]
    fn every_text_has_its_charset() {
        for (ending, kind) in TABLE {
            assert_eq!(
                kind.value.starts_with("text/"),
                kind.value.ends_with("; charset=utf-8"),
                "{ending}"
            );
        }
    }

    #[test]
    fn names() {
        for (name, want) in [
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.wasm", "application/wasm"),
            ("a.webp", "image/webp"),
            ("a.avif", "image/avif"),
            ("a.woff2", "font/woff2"),
            ("a.tar.gz", "application/gzip"),
            ("a.html/readme", "application/octet-stream"),
            ("readme", "application/octet-stream"),
            ("a.", "application/octet-stream"),
            (".html", "application/octet-stream"),
            ("a.unknownandverylong", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(media_type(name.as_bytes()).value, want, "{name}");
        }
    }
}
