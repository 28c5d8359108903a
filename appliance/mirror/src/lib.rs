//! The file mirror: mirrors follow the origin of a site.
