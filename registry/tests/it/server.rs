//! A registry that answers from a script.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// What was asked: the first line and the headers, in lower case.
pub(crate) type Asked = Arc<Mutex<Vec<String>>>;

/// Answers each connection with the next of `answers`, then with 500. Whole answers, head and body; what is cut short is cut there.
pub(crate) async fn serve(answers: impl IntoIterator<Item = Vec<u8>>) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Asked::default();
    let (mut answers, heard) = (answers.into_iter().collect::<VecDeque<_>>(), Arc::clone(&asked));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            heard.lock().unwrap().push(String::from_utf8(head).unwrap().to_lowercase());
            let answer = answers.pop_front().unwrap_or_else(|| reply("500 Internal Server Error", &[], b""));
            stream.write_all(&answer).await.unwrap();
        }
    });
    (address, asked)
}

/// A whole answer.
pub(crate) fn reply(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        answer.push_str(header);
        answer.push_str("\r\n");
    }
    answer.push_str("\r\n");
    [answer.as_bytes(), body].concat()
}
