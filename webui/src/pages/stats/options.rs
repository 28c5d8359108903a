//! What is asked for behind the address, HAProxy's way: `/stats;csv`, `/stats;up;norefresh`, and
//! the same after a question mark, in any order.

use model::ServerState;
use model::status::{Health, ProxyStatus};

/// The longest scope, HAProxy's `STAT_SCOPE_TXT_MAXLEN`.
const SCOPE: usize = 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Html,
    Csv,
    Json,
    Typed,
    Schema,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) format: Format,
    /// Without servers that are down.
    pub(super) up: bool,
    /// Without servers in maintenance.
    pub(super) no_maint: bool,
    /// The page does not load itself again.
    pub(super) norefresh: bool,
    /// Only proxies whose name holds this.
    pub(super) scope: Option<String>,
    /// What came of the last action.
    pub(super) outcome: Option<String>,
}

impl Options {
    /// Reads what follows the page's own address.
    pub(super) fn read(rest: &str) -> Self {
        let mut options = Self::default();
        for word in rest.split([';', '?', '&']) {
            match word {
                "csv" => options.format = Format::Csv,
                "json" => options.format = Format::Json,
                "typed" => options.format = Format::Typed,
                "json-schema" => options.format = Format::Schema,
                "up" => options.up = true,
                "no-maint" => options.no_maint = true,
                "norefresh" => options.norefresh = true,
                _ => {
                    if let Some(code) = word.strip_prefix("st=") {
                        options.outcome = Some(code.to_owned());
                    }
                    // An empty field of the page's form asks for everything.
                    if let Some(scope) = word.strip_prefix("scope=").filter(|s| !s.is_empty()) {
                        options.scope = Some(scope.chars().filter(named).take(SCOPE).collect());
                    }
                }
            }
        }
        options
    }

    /// The same with something else.
    pub(super) fn with(&self, change: fn(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }

    /// These options behind an address; with the others as they are.
    pub(super) fn behind(&self, address: &str) -> String {
        let mut text = address.to_owned();
        for (on, word) in
            [(self.up, ";up"), (self.no_maint, ";no-maint"), (self.norefresh, ";norefresh")]
        {
            if on {
                text.push_str(word);
            }
        }
        if let Some(scope) = &self.scope {
            text.push_str(";scope=");
            text.push_str(scope);
        }
        text
    }

    /// What of the balancer is asked for.
    pub(super) fn apply(&self, mut proxy: ProxyStatus) -> ProxyStatus {
        if let Some(scope) = &self.scope {
            proxy.frontends.retain(|f| f.name.as_str().contains(scope.as_str()));
            proxy.backends.retain(|b| b.name.as_str().contains(scope.as_str()));
        }
        for b in &mut proxy.backends {
            b.servers.retain(|s| {
                let maint = s.wanted() == ServerState::Maint;
                !(self.no_maint && maint) && !(self.up && (maint || s.health == Health::Down))
            });
        }
        proxy
    }
}

/// What names of proxies are made of; nothing else can be in one.
fn named(c: &char) -> bool {
    c.is_ascii_alphanumeric() || "-_.:".contains(*c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_in_every_shape() {
        let read = Options::read;
        assert_eq!(read(""), Options::default());
        let csv = Options { format: Format::Csv, norefresh: true, ..Options::default() };
        for rest in [";csv;norefresh", "?;csv;norefresh", ";norefresh?csv", "?csv&norefresh"] {
            assert_eq!(read(rest), csv, "{rest}");
        }
        assert_eq!(read(";json").format, Format::Json);
        assert_eq!(read(";typed").format, Format::Typed);
        assert_eq!(read(";json-schema").format, Format::Schema);
        let o = read(";up;no-maint;scope=web;junk;st=DONE");
        assert!(o.up && o.no_maint && !o.norefresh && o.format == Format::Html);
        assert_eq!((o.scope.as_deref(), o.outcome.as_deref()), (Some("web"), Some("DONE")));
        assert_eq!(o.behind("/stats"), "/stats;up;no-maint;scope=web");
        assert_eq!(read(";scope=<b>\"x").scope.as_deref(), Some("bx"));
        assert_eq!(read("?scope=").scope, None);
    }
}
