//! The answering side of images.

use std::{
    fs::File,
    io::{self, Write},
};

use dunlin_link::{Digest, reference::Reference};
use dunlin_registry::Keyring;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::OwnedWriteHalf,
    sync::mpsc,
    task::spawn_blocking,
};

use super::{
    Answer,
    images::{FAILED, ImageView, PIECE_BYTES},
    serve::{Desk, say},
};
use crate::images::Came;

/// All images, as answers.
pub(super) async fn list(desk: &Desk) -> Result<Vec<Answer>, String> {
    let images = desk.host.images().await?.into_iter().map(|image| Answer::Image(Box::new(image)));
    Ok(images.chain([Answer::End]).collect())
}

/// Pulls an image with the node's own credentials.
pub(super) async fn pull(desk: &Desk, name: &str) -> Result<Vec<Answer>, String> {
    let name = reference(name)?;
    let (brought, came) = desk.images.pull_for_person(&name, &Keyring::default(), &desk.modules).await?;
    desk.host.image_came(came).await?;
    Ok(vec![Answer::Names(vec![format!("{name}@{brought}")])])
}

/// Takes the images of an archive that `reader` sends.
pub(super) async fn import(
    desk: &Desk,
    name: Option<String>,
    reader: impl AsyncRead + Unpin,
) -> Result<Vec<Answer>, String> {
    let rename = name.map(|name| reference(&name)).transpose()?;
    let archive =
        receive(desk, reader).await.map_err(|error| format!("the archive was not received: {error}"))?;
    let (images, modules) = (desk.images.clone(), desk.modules.clone());
    let imported = spawn_blocking(move || images.import(archive, rename.as_ref(), &modules));
    let imported = imported.await.map_err(|error| error.to_string())?;
    let imported = imported.map_err(|error| error.to_string())?;
    let mut names = Vec::new();
    for image in imported {
        names.extend(image.names);
        desk.host.image_came(Came { module: image.module, pins: image.pins }).await?;
    }
    Ok(vec![Answer::Names(names)])
}

/// Sends an image as an archive, for as long as somebody reads it.
pub(super) async fn export(desk: &Desk, name: &str, writer: &mut OwnedWriteHalf) -> io::Result<()> {
    let (image, name) = match named(desk, name).await {
        Ok(found) => found,
        Err(why) => return say(writer, &Answer::Refused(why)).await,
    };
    say(writer, &Answer::Content).await?;
    let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
    let (images, modules) = (desk.images.clone(), desk.modules.clone());
    let export = spawn_blocking(move || {
        let mut out = Pieces { sender, piece: Vec::with_capacity(PIECE_BYTES) };
        images.export((&image, &name), &modules, &mut out)?;
        out.send().map_err(|error| error.to_string())
    });
    while let Some(piece) = pieces.recv().await {
        let piece: Vec<u8> = piece;
        writer.write_u32_le(u32::try_from(piece.len()).map_err(io::Error::other)?).await?;
        writer.write_all(&piece).await?;
    }
    match export.await.map_err(io::Error::other)? {
        Ok(()) => writer.write_u32_le(0).await,
        Err(why) => {
            writer.write_u32_le(FAILED).await?;
            writer.write_all(why.as_bytes()).await
        }
    }
}

/// The image that a person means, and what it is to be called in the archive: as they say, else by one of its names.
async fn named(desk: &Desk, wanted: &str) -> Result<(Digest, Reference), String> {
    let ImageView { names, image, .. } = desk.host.find_image(wanted.to_owned()).await?;
    let parsed = wanted.parse::<Reference>().ok().map(|reference| reference.to_string());
    let is_wanted = |name: &&String| {
        name.parse::<Reference>().ok().map(|name| name.to_string()) == parsed && parsed.is_some()
    };
    let tagged = || names.iter().find(|name| !name.contains('@'));
    let name = names.iter().find(is_wanted).or_else(tagged).or_else(|| names.first());
    let name = name.ok_or_else(|| format!("{wanted}: it has no name that an archive could have it under"))?;
    Ok((image, reference(name)?))
}

/// Puts what comes into a file without a name. Too much for the disk is told before it is full.
async fn receive(desk: &Desk, mut reader: impl AsyncRead + Unpin) -> io::Result<File> {
    let mut file = tokio::fs::File::from_std(desk.images.scratch()?);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = usize::try_from(reader.read_u32_le().await?).map_err(io::Error::other)?;
        if length == 0 {
            break;
        }
        let piece = piece.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
        reader.read_exact(piece).await?;
        desk.images.check_spare()?;
        file.write_all(piece).await?;
    }
    file.flush().await?;
    Ok(file.into_std().await)
}

fn reference(name: &str) -> Result<Reference, String> {
    name.parse().map_err(|error| format!("invalid reference format: {name}: {error}"))
}

/// What is written on a thread, in pieces for a task.
struct Pieces {
    sender: mpsc::Sender<Vec<u8>>,
    piece: Vec<u8>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.sender.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE_BYTES {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Pieces that wait to be sent.
const PIECES_MAX: usize = 4;
