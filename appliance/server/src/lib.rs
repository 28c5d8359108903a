//! The web server: sites from a directory over HTTP/1.1.
