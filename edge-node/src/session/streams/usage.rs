//! What the node uses, told once to who asks.

use std::io;

use dunlin_link::{
    frame::encode,
    limits::EXEC_FRAME_BYTES_MAX,
    usage::{ContainerUsages, MachineUsage},
};

use super::{ByteStream, Stream};
use crate::frames::read_frame;

impl Stream<'_> {
    /// Tells the machine's use, then what each sandbox tells of its containers.
    pub(super) async fn tell_usage(
        mut self,
        (machine, containers): (MachineUsage, Vec<ByteStream>),
    ) -> io::Result<()> {
        self.send(&encode(&machine)).await?;
        for mut sandbox in containers {
            while let Some(frame) = read_frame(&mut sandbox, EXEC_FRAME_BYTES_MAX).await? {
                let part: ContainerUsages = frame.decode().map_err(io::Error::other)?;
                self.send(&encode(&part)).await?;
            }
        }
        self.output.finish().map_err(io::Error::other)
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
