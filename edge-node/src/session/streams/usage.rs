//! What the node uses, told once to who asks.

use std::io;

use dunlin_link::{
    frame::{Frame, Message, encode},
    limits::EXEC_FRAME_BYTES_MAX,
    usage::{ContainerThrottles, ContainerUsages, MachineUsage},
};

use super::{ByteStream, Stream};
use crate::frames::read_frame;

impl Stream<'_> {
    /// Tells the machine's use, then what each sandbox tells of its containers.
    pub(super) async fn tell_usage(mut self, told: (MachineUsage, Vec<ByteStream>)) -> io::Result<()> {
        let passed = self.pass_all_on(told).await;
        self.end(passed)
    }

    async fn pass_all_on(
        &mut self,
        (machine, containers): (MachineUsage, Vec<ByteStream>),
    ) -> io::Result<()> {
        self.send(&encode(&machine)).await?;
        for mut sandbox in containers {
            while let Some(frame) = read_frame(&mut sandbox, EXEC_FRAME_BYTES_MAX).await? {
                // Whatever else a sandbox of another version tells is for nobody.
                match frame.kind {
                    ContainerUsages::KIND => self.pass_on::<ContainerUsages>(&frame).await?,
                    ContainerThrottles::KIND => self.pass_on::<ContainerThrottles>(&frame).await?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn pass_on<M: Message>(&mut self, frame: &Frame) -> io::Result<()> {
        let part: M = frame.decode().map_err(io::Error::other)?;
        self.send(&encode(&part)).await
    }

    /// Sends no faster than the link's cap lets it.
    async fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        for piece in frame.chunks(self.shared.piece_bytes(EXEC_FRAME_BYTES_MAX)) {
            self.shared.pass(piece.len()).await;
            self.output.write_all(piece).await?;
        }
        Ok(())
    }
}
