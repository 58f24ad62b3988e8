//! A `wasi:http` handler that answers with what it was asked: method, path, headers and body; and says which pod on which node
//! answered, from the variables `POD_NAME` and `NODE_NAME` that a manifest sets by field references.
//!
//! Paths that do something else: `/trap` traps, `/spin` computes for ever, both to see that only that one request suffers.

use std::{env, hint::black_box, io::Read as _, io::Write as _};

use wasip2::{
    exports::http::incoming_handler::Guest,
    http::types::{
        Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
    },
};

struct Echo;

wasip2::http::proxy::export!(Echo);

impl Guest for Echo {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_else(|| "/".to_owned());
        match path.as_str() {
            "/trap" => panic!("trapping as told"),
            "/spin" => spin(),
            _ => {}
        }
        let text = describe(&request, &path);
        send(answer, text.as_bytes());
    }
}

fn describe(request: &IncomingRequest, path: &str) -> String {
    let mut text = format!(
        "hello from pod {} on node {}\n{} {path}\n",
        env::var("POD_NAME").unwrap_or_else(|_| "unknown".to_owned()),
        env::var("NODE_NAME").unwrap_or_else(|_| "unknown".to_owned()),
        method_name(&request.method()),
    );
    let mut headers = request.headers().entries();
    headers.sort();
    for (name, value) in headers {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(&value)));
    }
    let body = read_body(request);
    if !body.is_empty() {
        text.push_str(&format!("\n{}\n", String::from_utf8_lossy(&body)));
    }
    text
}

fn read_body(request: &IncomingRequest) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Ok(body) = request.consume() else { return bytes };
    if let Ok(mut stream) = body.stream() {
        // A body that breaks off is echoed as far as it came.
        let _ = stream.read_to_end(&mut bytes);
    }
    IncomingBody::finish(body);
    bytes
}

fn send(answer: ResponseOutparam, text: &[u8]) {
    let headers = Fields::new();
    headers.append("content-type", b"text/plain; charset=utf-8").expect("a valid header");
    let response = OutgoingResponse::new(headers);
    let body = response.body().expect("taken once");
    ResponseOutparam::set(answer, Ok(response));
    let mut stream = body.write().expect("taken once");
    // The client may be gone; then there is nobody to tell.
    let _ = stream.write_all(text);
    let _ = stream.blocking_flush();
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

fn method_name(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
}

fn spin() -> ! {
    println!("spinning");
    let mut steps = 0u64;
    loop {
        steps = black_box(steps.wrapping_add(1));
    }
}
