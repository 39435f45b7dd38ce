//! The status page as somebody sees it: on a phone and on a desk, by day and by night.

use std::path::Path;
use std::time::Duration;

use db_observe::{AlertOptions, Level, Page, RULES, Rule};
use harness::{TestDatabase, wait_until};

use super::browser::{Browser, Look};
use super::page::served;
use super::{ask, run, watching};
use crate::SOON;
use crate::transaction::database;

/// Texts of a page that shows every kind of thing.
const TEXTS: [&str; 7] = [
    "it leaks",
    "Who has connections",
    "Most expensive statements",
    "<script>document.title = 'run'</script>",
    "CRITICAL",
    "Advice",
    "The last 1 looks",
];

/// A rule that fires as long as a connection is in use.
fn in_use() -> Rule {
    let mut rule = RULES[0].clone();
    rule.level = Level::Critical;
    rule.number = |reading| Some(reading.utilisation);
    (rule.above, rule.until, rule.lasting) = (0.0, 0.0, Duration::ZERO);
    rule
}

/// Everything can be read at every width and in both schemes, nothing of it is run, and the browser has nothing to
/// complain of.
#[tokio::test]
async fn everything_is_readable_in_a_browser() {
    let db = TestDatabase::empty().await.unwrap();
    let variables = [
        ("APP_DB__POOLS__WRITE__MAX", "3"),
        ("APP_DB__POOLS__REPORTS__MAX", "2"),
        ("APP_DB__PROFILE__LEAK_THRESHOLD", "50ms"),
    ];
    let database = database(&db.url(), &variables).await;
    let operations = watching(&database, AlertOptions::default().rules(vec![in_use()]));
    run(
        database.pool("reports").unwrap(),
        "select 1 as \"<script>document.title = 'run'</script>\"",
    )
    .await;
    let mut leaked = database.get().await.unwrap();
    let wide = format!(
        "select {} as \"<b>wide</b>\"",
        "column_of_a_wide_table, ".repeat(20)
    );
    ask(&mut leaked, &wide).await;
    let base = served(Page::new(&operations).router()).await;
    wait_until("everything is on the page", SOON, async || {
        let html = reqwest::get(&base).await.unwrap().text().await.unwrap();
        let html = html
            .replace("&#60;", "<")
            .replace("&#62;", ">")
            .replace("&#39;", "'");
        TEXTS.iter().all(|text| html.contains(text))
    })
    .await;

    let browser = Browser::start().await;
    for (name, look) in LOOKS {
        browser.open(&base, look).await;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/page");
        browser.picture(&folder.join(name)).await;
        let text = browser.run("return document.body.innerText").await;
        for wanted in TEXTS {
            assert!(text.as_str().unwrap().contains(wanted), "{name}: {wanted}");
        }
        let title = browser.run("return document.title").await;
        assert_eq!(title, "not well – database pools");
        assert_eq!(browser.run("return document.scripts.length").await, 0);
        let first = "return document.querySelector('main > .ill').getBoundingClientRect().top";
        let first = browser.run(first).await.as_f64().unwrap();
        assert!(first < 200.0, "{name}: what is wrong is at {first}");
        assert_eq!(
            browser.run(BEYOND_THE_EDGE).await,
            serde_json::json!([]),
            "{name}"
        );
        assert_eq!(browser.run(TOO_PALE).await, serde_json::json!([]), "{name}");
        assert_eq!(browser.complaints().await, [""; 0], "{name}");
    }
    links_lead_somewhere(&browser, &base).await;
    drop(leaked);
    operations.stop().await;
}

/// Each link of the page leads to something that the browser shows.
async fn links_lead_somewhere(browser: &Browser, base: &str) {
    browser.open(base, LOOKS[0].1).await;
    let links = "return [...document.querySelectorAll('a')].map(link => link.href)";
    let links = browser.run(links).await;
    let links = links.as_array().unwrap().clone();
    assert_eq!(links.len(), 2, "{links:?}");
    for link in links {
        browser.open(link.as_str().unwrap(), LOOKS[0].1).await;
        let text = browser.run("return document.body.innerText").await;
        assert!(text.as_str().unwrap().contains("write"), "{link}: {text}");
    }
}

/// The JSON that is behind a prefix without a slash, as the browser resolves the page's own links.
#[tokio::test]
async fn a_prefix_without_a_slash_works_in_a_browser() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[]).await;
    let operations = watching(&database, AlertOptions::default());
    let base = served(Page::new(&operations).at("/ops/db")).await;
    let browser = Browser::start().await;
    browser.open(&format!("{base}/ops/db"), LOOKS[0].1).await;
    let display = "return getComputedStyle(document.querySelector('header')).display";
    assert_eq!(browser.run(display).await, "flex", "it has its style");
    assert_eq!(browser.complaints().await, [""; 0]);
    operations.stop().await;
}

const LOOKS: [(&str, Look); 4] = [
    (
        "desk.png",
        Look {
            width: 1280,
            height: 800,
            is_dark: false,
        },
    ),
    (
        "desk-dark.png",
        Look {
            width: 1280,
            height: 800,
            is_dark: true,
        },
    ),
    (
        "phone.png",
        Look {
            width: 360,
            height: 740,
            is_dark: false,
        },
    ),
    (
        "phone-dark.png",
        Look {
            width: 360,
            height: 740,
            is_dark: true,
        },
    ),
];

/// What is cut off at the right, the page itself last. On a desk a wide table scrolls by itself, on a phone its
/// rows are broken.
const BEYOND_THE_EDGE: &str = "
const edge = document.documentElement.clientWidth;
const beyond = [...document.querySelectorAll('html, body *')].filter(element =>
    (edge < 600 || !element.closest('.wide table')) && element.getBoundingClientRect().right > edge + 1);
if (document.documentElement.scrollWidth > edge) beyond.push(document.documentElement);
return beyond.map(element => element.outerHTML.slice(0, 80));";

/// Text whose contrast with what is behind it is below 4.5, as WCAG asks for.
const TOO_PALE: &str = "
const numbers = color => color.match(/[\\d.]+/g).map(Number);
const canvas = document.createElement('i');
canvas.style.background = 'Canvas';
document.body.append(canvas);
const paper = numbers(getComputedStyle(canvas).backgroundColor);
canvas.remove();
const over = (front, back) => {
    const alpha = front[3] ?? 1;
    return back.map((channel, at) => front[at] * alpha + channel * (1 - alpha));
};
const behind = element => element === null ? paper.slice(0, 3)
    : over(numbers(getComputedStyle(element).backgroundColor), behind(element.parentElement));
const luminance = color => {
    const [red, green, blue] = color.map(channel => channel / 255)
        .map(channel => channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const pale = new Set();
while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
    const back = behind(element);
    const front = over(numbers(getComputedStyle(element).color), back);
    const [light, dark] = [luminance(front), luminance(back)].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5) pale.add(`${element.tagName} ${contrast.toFixed(2)}`);
}
return [...pale];";
