//! The status page of a running service, as JSON.

use std::time::Duration;

use db_observe::StatusReport;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;

/// The status page of a running service.
pub(crate) struct StatusPage {
    url: String,
    client: reqwest::Client,
}

impl StatusPage {
    pub(crate) fn new(url: &str) -> Result<Self, CommandFailure> {
        let url = match url.strip_suffix("status.json") {
            Some(_) => url.to_owned(),
            None => format!("{}/status.json", url.trim_end_matches('/')),
        };
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| CommandFailure::new(Exit::Failed, error))?;
        Ok(Self { url, client })
    }

    pub(crate) async fn read(&self) -> Result<StatusReport, CommandFailure> {
        let reading = async {
            let answer = self.client.get(&self.url).send().await?;
            answer.error_for_status()?.json().await
        };
        reading.await.map_err(|error: reqwest::Error| {
            let hint = format!(
                "no status page at {}: is the service running, and does it mount its page there",
                self.url
            );
            CommandFailure::new(Exit::Connection, NoPage { hint, error })
        })
    }
}

#[derive(Debug)]
struct NoPage {
    hint: String,
    error: reqwest::Error,
}

impl std::fmt::Display for NoPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hint)
    }
}

impl std::error::Error for NoPage {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
