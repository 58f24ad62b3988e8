//! Commands in containers, through the sandbox's door like those of `kubectl exec`.

use dunlin_edge_node_core::{
    check::{ANSWER_BYTES_MAX, Outcome},
    node::CheckKey,
    sandbox::stream::ExecStart,
};
use dunlin_link::{
    ContainerId,
    exec::{ExecEnd, ExecRequest, Output},
    frame::encode,
    limits::{EXEC_FRAME_BYTES_MAX, HEAD_FRAME_BYTES_MAX},
    stream::StreamAnswer,
};
use tokio::io::AsyncWriteExt;

use crate::{frames::read_frame, sandbox::Door};

/// Runs a command to its end. Dropping this ends the command.
pub(super) async fn run(
    door: &Door,
    (key, id, container): (&CheckKey, &ContainerId, &str),
    command: &[String],
) -> Outcome {
    let request = ExecRequest {
        uid: key.uid.clone(),
        container: container.to_owned(),
        command: command.to_vec(),
        stdin: false,
        stdout: true,
        stderr: true,
        tty: false,
    };
    match ends(door, ExecStart { id: id.clone(), request }).await {
        Ok((0, _)) => Outcome::Success,
        Ok((_, output)) => Outcome::Failure(String::from_utf8_lossy(&output).into_owned()),
        Err(why) => Outcome::Error(why),
    }
}

/// The exit code, and what the command wrote.
async fn ends(door: &Door, start: ExecStart) -> Result<(i32, Vec<u8>), String> {
    let broken = |error: std::io::Error| format!("the sandbox broke the stream off: {error}");
    let ended = || "the sandbox ended the stream".to_owned();
    let mut stream = door.open().await.map_err(|error| format!("the sandbox cannot be reached: {error}"))?;
    stream.write_all(&encode(&start)).await.map_err(broken)?;
    let answer = read_frame(&mut stream, HEAD_FRAME_BYTES_MAX).await.map_err(broken)?.ok_or_else(ended)?;
    match answer.decode().map_err(|error| error.to_string())? {
        StreamAnswer::Opened => {}
        StreamAnswer::Refused { message, .. } => return Err(message),
    }
    let mut output = Vec::new();
    loop {
        let frame = read_frame(&mut stream, EXEC_FRAME_BYTES_MAX).await.map_err(broken)?.ok_or_else(ended)?;
        let bytes = match Output::decode(&frame).map_err(|error| error.to_string())? {
            None => continue,
            Some(Output::Stdout(bytes) | Output::Stderr(bytes)) => bytes,
            Some(Output::End(ExecEnd::Exited(code))) => return Ok((code, output)),
            Some(Output::End(ExecEnd::Detached)) => return Err(ended()),
            Some(Output::End(ExecEnd::Failed(why))) => return Err(why),
        };
        // What is beyond the bound is read, so that the command comes to its end, and let go.
        let room = ANSWER_BYTES_MAX.saturating_sub(output.len());
        output.extend(bytes.into_iter().take(room));
    }
}
