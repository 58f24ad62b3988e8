//! From a challenge and a credential to what a request shows: a token of the registry's authority, or name and password.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde::Deserialize;

use crate::{
    challenge::Challenge,
    credentials::Credential,
    endpoint::Endpoint,
    error::PullError,
    exchange::{Answer, Ask, Target},
};

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// What to show to `endpoint` for pulling from `repository`.
///
/// # Errors
/// When the credential does not fit what is wanted, or the authority refuses it.
pub(crate) async fn authorization(
    endpoint: &Endpoint,
    repository: &str,
    challenges: &[Challenge],
    credential: Option<&Credential>,
) -> Result<HeaderValue, PullError> {
    if let Some(Credential::Token(token)) = credential {
        return header(endpoint, &format!("Bearer {token}"));
    }
    for challenge in challenges {
        match (challenge, credential) {
            (Challenge::Basic, Some(Credential::Basic { username, password })) => {
                return basic(endpoint, username, password);
            }
            (Challenge::Basic, _) => {}
            (Challenge::Bearer { realm, service, scope }, credential) => {
                let pull = format!("repository:{repository}:pull");
                let mut query = vec![("scope", scope.as_deref().unwrap_or(&pull))];
                query.extend(service.as_deref().map(|service| ("service", service)));
                return token(endpoint, realm, &query, credential).await;
            }
        }
    }
    let why =
        if credential.is_none() { "it wants name and password" } else { "it wants them in another way" };
    Err(refused(endpoint, credential, why.to_owned()))
}

async fn token(
    endpoint: &Endpoint,
    realm: &str,
    query: &[(&str, &str)],
    credential: Option<&Credential>,
) -> Result<HeaderValue, PullError> {
    let origin = Target::of(endpoint, String::new())?;
    let mut target =
        origin.other(realm).map_err(|why| refused(endpoint, credential, format!("for a token {why}")))?;
    let mut ask = Ask { method: Method::GET, headers: HeaderMap::new(), body: Bytes::new() };
    let parameters = encoded(query);
    if let Some(Credential::Identity(token)) = credential {
        let form =
            [("grant_type", "refresh_token"), ("client_id", "dunlin"), ("refresh_token", token.as_str())];
        ask.method = Method::POST;
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        ask.body = Bytes::from(format!("{}&{parameters}", encoded(&form)));
    } else {
        target.path.push(if target.path.contains('?') { '&' } else { '?' });
        target.path.push_str(&parameters);
    }
    if let Some(Credential::Basic { username, password }) = credential {
        ask.headers.insert(AUTHORIZATION, basic(endpoint, username, password)?);
    }
    let mut answer = target.ask(ask).await?;
    if !answer.status.is_success() {
        let why = told(&mut answer).await;
        return Err(match answer.status.as_u16() {
            400 | 401 | 403 => refused(endpoint, credential, why),
            429 => PullError::TooManyRequests { registry: answer.registry, why },
            status => PullError::Answer { registry: answer.registry, status, why },
        });
    }
    let body = answer.whole("a token", TOKEN_BYTES_MAX).await?;
    let tokens: Tokens = serde_json::from_slice(&body).map_err(|error| PullError::Answer {
        registry: answer.registry.clone(),
        status: answer.status.as_u16(),
        why: format!("no token: {error}"),
    })?;
    let token = if tokens.token.is_empty() { tokens.access_token } else { tokens.token };
    header(endpoint, &format!("Bearer {token}"))
}

/// What an answer that is an error says for itself, fit for a status.
pub(crate) async fn told(answer: &mut Answer) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Told>,
    }
    #[derive(Deserialize)]
    struct Told {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = answer.status.canonical_reason().unwrap_or("an unknown status").to_owned();
    // The cause is the status; its words are a help.
    let Ok(body) = answer.whole("an error", TOLD_BYTES_MAX).await else { return status };
    let Ok(Errors { errors }) = serde_json::from_slice(&body) else { return status };
    let texts: Vec<_> = errors.iter().map(|told| format!("{} {}", told.code, told.message)).collect();
    let text: String =
        texts.join("; ").chars().filter(|char| !char.is_control()).take(TOLD_CHARS_MAX).collect();
    if text.trim().is_empty() { status } else { text.trim().to_owned() }
}

/// A credential was not enough.
pub(crate) fn refused(endpoint: &Endpoint, credential: Option<&Credential>, why: String) -> PullError {
    let shown = credential.map_or_else(|| "none".to_owned(), Credential::shown);
    PullError::Unauthorized { registry: endpoint.authority.clone(), shown, why }
}

fn basic(endpoint: &Endpoint, username: &str, password: &str) -> Result<HeaderValue, PullError> {
    header(endpoint, &format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

fn header(endpoint: &Endpoint, text: &str) -> Result<HeaderValue, PullError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| refused(endpoint, None, "a token with characters that no header may have".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Parameters as a query or form has them.
fn encoded(parameters: &[(&str, &str)]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (name, value) in parameters {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                write!(text, "%{byte:02X}").expect("writing to a String cannot fail");
            }
        }
    }
    text
}

/// Largest answer of an authority: tokens are a few KiB.
const TOKEN_BYTES_MAX: u64 = 256 << 10;
/// Most that is read of an error's explanation.
const TOLD_BYTES_MAX: u64 = 64 << 10;
/// Most that is shown of it.
const TOLD_CHARS_MAX: usize = 300;
