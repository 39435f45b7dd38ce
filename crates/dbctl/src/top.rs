//! `dbctl top`.

mod screen;
pub(crate) mod status_page;
mod view;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;

use self::screen::Screen;
use self::status_page::StatusPage;
use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The URL of the service's status page
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081/")]
    url: String,
    /// Print once what the screen would show; this is the default if the output is no terminal
    #[arg(long)]
    once: bool,
    /// Print the JSON of the page once
    #[arg(long)]
    json: bool,
    /// How often to read the page
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    every: Duration,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let page = StatusPage::new(&arguments.url)?;
    if arguments.json {
        output::json(&page.read().await?)?;
    } else if arguments.once || !std::io::stdout().is_terminal() {
        output::data(view::text(&page.read().await?).trim_end())?;
    } else {
        // This comes before the screen changes, so that the error about a wrong URL is plain text.
        let first = page.read().await?;
        Screen::open()?.run(first, &page, arguments.every).await?;
    }
    Ok(Exit::Done)
}
