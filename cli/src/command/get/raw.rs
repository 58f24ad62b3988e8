//! `get --raw`: an answer of the coordinator as it comes.

use anyhow::Result;

use crate::{failure::UsageError, session::Session, terminal};

/// Prints what is at a path.
///
/// # Errors
/// When it is no path, or the server refuses.
pub(super) async fn run(path: &str, session: &Session) -> Result<()> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if !path.starts_with('/') {
        return Err(UsageError(format!("{path:?} is no path; one begins with a slash")).into());
    }
    let query: Vec<(&str, &str)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    let mut response = session.api.stream(path, &query).await?;
    while let Some(chunk) = response.chunk().await? {
        terminal::write_stdout(&chunk)?;
    }
    Ok(())
}
