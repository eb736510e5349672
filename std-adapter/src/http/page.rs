//! The page that draws the cluster.

use super::answer::Answer;

/// The page and all that it needs, in one file: there is nothing else to load.
const PAGE: &str = concat!(
    include_str!("page/head.html"),
    "<style>\n",
    include_str!("page/page.css"),
    "</style>\n",
    include_str!("page/body.html"),
    "<script>\n",
    include_str!("page/page.js"),
    "</script>\n",
);

/// What the page may load: itself, and what this node says.
const POLICY: &str = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; \
                      script-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

pub(super) fn page() -> Answer {
    Answer::new("text/html; charset=utf-8", PAGE).with_policy(POLICY)
}
