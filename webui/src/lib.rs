//! The admin page and API on port 1936.
