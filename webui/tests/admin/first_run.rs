//! From a board out of the box to the reference cluster, with every tap counted: twelve at most.

use crate::browser::{Answer, Browser, HOST, PASSWORD, encode};
use crate::support;
use http::Request;
use model::Role;
use std::time::Duration;

/// The most taps the first run may take.
const BUDGET: usize = 12;

/// Somebody with a phone: taps what is on the page and nothing else.
struct Finger {
    browser: Browser,
    page: Answer,
    at: String,
    taps: usize,
    /// Fields that were filled in or ticked on this page.
    typed: Vec<(String, String)>,
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split(&format!(" {name}=\"")).nth(1)?;
    Some(rest.split('"').next().unwrap().replace("&#38;", "&"))
}

impl Finger {
    async fn open(&mut self, path: &str) {
        let mut path = path.to_owned();
        loop {
            self.page = self.browser.get(&path).await;
            if self.page.status != 303 {
                break;
            }
            path = self.page.header("location").to_owned();
        }
        assert_eq!(self.page.status, 200, "{path}");
        self.at = path;
        self.typed.clear();
    }

    /// Taps a field and types.
    fn type_in(&mut self, field: &str, text: &str) {
        assert!(self.page.text().contains(&format!("name=\"{field}\"")), "no field {field}");
        self.taps += 1;
        self.typed.push((field.to_owned(), text.to_owned()));
    }

    /// Taps a box that is not ticked.
    fn tick(&mut self, value: &str) {
        self.taps += 1;
        let text = self.page.text();
        let mut boxes = text.split("<input").map(|t| t.split('>').next().unwrap());
        let one = boxes.find(|t| t.contains("checkbox") && t.contains(value)).unwrap();
        assert!(!one.contains("checked"));
        self.typed.push((attribute(one, "name").unwrap(), value.to_owned()));
    }

    /// Taps a button by its words.
    async fn press(&mut self, words: &str) {
        self.taps += 1;
        let text = self.page.text().to_owned();
        let form = text
            .split("<form")
            .skip(1)
            .map(|f| f.split("</form>").next().unwrap())
            .find(|f| f.contains(&format!(">{words}</button>")))
            .unwrap_or_else(|| panic!("no button {words:?} on {}: {text}", self.at));
        let button = form.split("<button").find(|b| b.contains(&format!(">{words}</button>")));
        let button = button.unwrap().split('>').next().unwrap();
        let action = attribute(button, "formaction").or_else(|| attribute(form, "action")).unwrap();
        let mut pairs = Vec::new();
        for tag in form.split("<input").skip(1).map(|t| t.split('>').next().unwrap()) {
            let unticked = tag.contains("type=\"checkbox\"") || tag.contains("type=\"radio\"");
            if unticked && !tag.contains(" checked") {
                continue;
            }
            let Some(name) = attribute(tag, "name") else { continue };
            let typed = self.typed.iter().any(|(n, _)| *n == name) && !unticked;
            if !typed {
                pairs.push((name, attribute(tag, "value").unwrap_or_default()));
            }
        }
        for area in form.split("<textarea").skip(1) {
            let (tag, rest) = area.split_once('>').unwrap();
            let value = rest.split("</textarea>").next().unwrap().trim_start_matches('\n');
            pairs.push((attribute(tag, "name").unwrap(), value.to_owned()));
        }
        pairs.append(&mut self.typed);
        if let (Some(name), Some(value)) = (attribute(button, "name"), attribute(button, "value")) {
            pairs.push((name, value));
        }
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let request = Request::post(&action)
            .header("accept", "text/html")
            .header("origin", format!("http://{HOST}"))
            .header("content-type", "application/x-www-form-urlencoded");
        self.page = self.browser.send(request, encode(&pairs)).await;
        self.at = action;
        if self.page.status == 303 {
            let to = self.page.header("location").to_owned();
            self.open(&to).await;
        }
        assert_eq!(self.page.status, 200, "{words}: {}", self.page.text());
    }

    /// Taps a link by its words.
    async fn follow(&mut self, words: &str) {
        self.taps += 1;
        let text = self.page.text().to_owned();
        let link = text.split("<a ").find(|a| a.contains(&format!(">{words}</a>")));
        let link = link.unwrap_or_else(|| panic!("no link {words:?} on {}", self.at));
        let href = attribute(&format!(" {link}"), "href").unwrap();
        self.open(&href).await;
    }
}

#[tokio::test]
async fn the_reference_cluster_takes_twelve_taps_at_most() {
    let node = support::node("pi-0", support::fresh("pi-0", "bramble-0"));
    // Two boards of the batch, and one whose card is another's: the longest way there is.
    support::neighbourhood(&node);
    let mut finger = Finger {
        browser: Browser::new(&node),
        page: Browser::new(&node).get("/claim").await,
        at: String::new(),
        taps: 0,
        typed: Vec::new(),
    };
    finger.open("/").await;
    finger.type_in("password", PASSWORD);
    finger.type_in("again", PASSWORD);
    finger.press("Create the cluster").await;
    finger.tick(support::neighbours::device(3).as_str());
    finger.press("Adopt the ticked boards").await;
    finger.press("It is the same").await;
    let joined = async {
        while node.control.snapshot().settings.nodes.len() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), joined).await.unwrap();
    // They report once they are nodes.
    let heard = async {
        while node.board.nodes().len() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), heard).await.unwrap();
    finger.follow("Give them roles").await;
    finger.press("Review").await;
    finger.press("Apply").await;
    finger.follow("Done").await;
    assert_eq!(finger.at, "/");
    assert!(finger.taps <= BUDGET, "{} taps", finger.taps);
    let settings = node.control.snapshot().settings.clone();
    assert_eq!(settings.with_role(Role::Balancer).count(), 2);
    assert_eq!(settings.with_role(Role::Web).count(), 2);
    assert!(settings.cluster.floating_ip.is_some() && settings.cluster.name.is_some());
    assert_eq!(model::check(&settings), []);
    let names: Vec<_> = settings.nodes.iter().map(|n| n.name.to_string()).collect();
    for name in ["LbMaster", "LbSlave", "Web01", "Web02"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    assert_eq!(finger.taps, 10, "the longest way; with cards of one batch it is eight");
}
