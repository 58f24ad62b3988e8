//! One outgoing HTTP request.

use wasip2::{
    http::{
        outgoing_handler,
        types::{Fields, OutgoingRequest, Scheme},
    },
    io::streams::StreamError,
};

/// The status and the body that a GET of `url` is answered with.
pub fn get(url: &str) -> Result<String, Box<dyn std::error::Error>> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let request = OutgoingRequest::new(Fields::new());
    let set = request
        .set_scheme(Some(&if scheme == "https" { Scheme::Https } else { Scheme::Http }))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(&format!("/{path}"))));
    set.map_err(|()| "no URL")?;
    let pending = outgoing_handler::handle(request, None)?;
    pending.subscribe().block();
    let answer = pending.get().ok_or("no answer")?.map_err(|()| "taken")??;
    let body = answer.consume().map_err(|()| "no body")?;
    let stream = body.stream().map_err(|()| "no stream")?;
    let mut text = Vec::new();
    loop {
        match stream.blocking_read(4096) {
            Ok(bytes) => text.extend(bytes),
            Err(StreamError::Closed) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(format!("{} {}", answer.status(), String::from_utf8_lossy(&text)))
}
