//! Brings an image's module to a file: verified by digest while it streams, gone on with where an earlier attempt stopped.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use dunlin_link::Digest;
use sha2::{Digest as _, Sha256};
use tokio::{
    fs::{self, File, OpenOptions},
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
    task::spawn_blocking,
    time::Instant,
};

use crate::{
    client::{Resolved, no_platform},
    error::PullError,
    image::{Content, Execution},
    layer::{self, Layer},
    manifest::Descriptor,
    media,
    origin::Blob,
};

/// A module that is in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The module's own digest, whatever the image's is.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// How the image says that it runs; nothing for a WASM artifact.
    pub execution: Execution,
}

/// All that an image for WASM consists of, in parts that nobody else removes.
#[derive(Debug)]
pub struct GuestParts {
    /// The module of an artifact, and its digest.
    pub module: Option<(PathBuf, Digest)>,
    /// Archives with files, the lowest first; in those of an ordinary image are its modules, too.
    pub layers: Vec<Layer>,
    /// The config of an ordinary image, as it is written.
    pub config: Option<Bytes>,
    /// How that says that it runs.
    pub execution: Execution,
    /// What was sent.
    pub bytes: u64,
}

impl Resolved {
    /// Puts the module of an image into `file`, durably and whole or not at all. Parts lie beside it, under its name before the first
    /// dot, until then; at most `bytes_max` are taken, of a layer and of the module. Of an ordinary image it is the file `program`, else what
    /// the image itself starts.
    ///
    /// # Errors
    /// When the image is none that runs as WASM, or cannot be had.
    pub async fn fetch_module(
        &self,
        (file, program): (&Path, Option<&str>),
        bytes_max: u64,
    ) -> Result<Fetched, PullError> {
        let (part, digest, execution) = match self.content()? {
            Content::Module(module) => {
                let part = self.download(module, file, bytes_max).await?;
                (part, module.digest, Execution::default())
            }
            Content::Archives => self.unpack(file, program, bytes_max).await?,
        };
        let bytes = fs::metadata(&part).await.map_err(PullError::Disk)?.len();
        place(&part, file).await.map_err(PullError::Disk)?;
        Ok(Fetched { digest, bytes, execution })
    }

    /// The part that holds the whole of a blob, verified and durable. It lies beside `file`, under its name before the first dot; what an
    /// earlier attempt left there is gone on with. One at a time may write it.
    ///
    /// # Errors
    /// When it cannot be had, or has more than `bytes_max` bytes.
    pub async fn download(
        &self,
        blob: &Descriptor,
        file: &Path,
        bytes_max: u64,
    ) -> Result<PathBuf, PullError> {
        if blob.size > bytes_max {
            return Err(PullError::TooLarge { what: "a layer", bytes: blob.size, bytes_max });
        }
        let part = beside(file, &format!("{}.part", blob.digest.hex()));
        let mut begun = Part::open(&part).await.map_err(PullError::Disk)?;
        if begun.bytes > blob.size {
            begun.restart().await.map_err(PullError::Disk)?;
        }
        let mut resumptions = RESUMPTIONS_MAX;
        loop {
            let before = begun.bytes;
            if before < blob.size {
                match self.receive(blob, &mut begun).await {
                    Ok(()) => {}
                    // What was begun is gone on with for as long as it gets on.
                    Err(error) if error.is_outage() && begun.bytes > before && resumptions > 0 => {
                        resumptions -= 1;
                        continue;
                    }
                    Err(error) => {
                        begun.file.flush().await.map_err(PullError::Disk)?;
                        return Err(error);
                    }
                }
            }
            if begun.bytes < blob.size && begun.bytes > before {
                continue;
            }
            break;
        }
        begun.file.flush().await.map_err(PullError::Disk)?;
        let actual = Digest::from_bytes(begun.hash.finalize().into());
        if actual != blob.digest {
            fs::remove_file(&part).await.map_err(PullError::Disk)?;
            return Err(PullError::OtherDigest { what: "a layer", expected: blob.digest, actual });
        }
        begun.file.sync_all().await.map_err(PullError::Disk)?;
        Ok(part)
    }

    /// Takes what is missing of a blob, or as much of it as comes.
    async fn receive(&self, blob: &Descriptor, part: &mut Part) -> Result<(), PullError> {
        let Blob { offset, registry, mut content } =
            self.origin.blob(blob.digest, part.bytes, &self.image).await?;
        if offset != part.bytes {
            part.restart().await.map_err(PullError::Disk)?;
        }
        let (mut since, mut begun) = (Instant::now(), part.bytes);
        while let Some(chunk) = content.chunk().await? {
            if since.elapsed() >= PROGRESS_TIME {
                if part.bytes - begun < PROGRESS_BYTES_MIN {
                    return Err(PullError::TimedOut { registry, step: "send more", after: PROGRESS_TIME });
                }
                (since, begun) = (Instant::now(), part.bytes);
            }
            let bytes = part.bytes + chunk.len() as u64;
            if bytes > blob.size {
                return Err(PullError::TooLarge { what: "a layer", bytes, bytes_max: blob.size });
            }
            part.append(&chunk).await.map_err(PullError::Disk)?;
        }
        Ok(())
    }

    /// Fetches all that an image for WASM consists of, into parts beside `file` as [`Self::download`] does; at most `bytes_max` of each.
    ///
    /// # Errors
    /// When the image is none that runs as WASM, or cannot be had.
    pub async fn fetch_guest(&self, file: &Path, bytes_max: u64) -> Result<GuestParts, PullError> {
        let module = match self.content()? {
            Content::Module(module) => Some(module),
            Content::Archives => None,
        };
        let (config, execution) = match module {
            Some(_) => (None, Execution::default()),
            None => {
                let (text, config) = self.config().await?;
                if !config.platform.is_wasm() {
                    return Err(no_platform(&self.image, &[&config.platform], &self.wanted));
                }
                (Some(text), config.config)
            }
        };
        let bytes = self.manifest.layers.iter().fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
        if bytes > LAYERS_BYTES_MAX {
            return Err(PullError::TooLarge { what: "the image", bytes, bytes_max: LAYERS_BYTES_MAX });
        }
        let mut layers = Vec::new();
        for blob in &self.manifest.layers {
            // Beside a module there may be what only tools read.
            if let Some(compression) = media::compression(&blob.media_type) {
                layers.push(Layer { file: self.download(blob, file, bytes_max).await?, compression });
            }
        }
        let module = match module {
            Some(module) => Some((self.download(module, file, bytes_max).await?, module.digest)),
            None => None,
        };
        Ok(GuestParts { module, layers, config, execution, bytes })
    }

    /// Whether files come with the module of an artifact.
    pub fn has_data(&self) -> bool {
        let is_archive = |blob: &Descriptor| media::compression(&blob.media_type).is_some();
        self.manifest.layers.iter().any(is_archive)
    }

    /// The module within an ordinary image, in a part of its own, its digest, and how it runs.
    async fn unpack(
        &self,
        file: &Path,
        program: Option<&str>,
        bytes_max: u64,
    ) -> Result<(PathBuf, Digest, Execution), PullError> {
        let cannot = |why: String| PullError::Layers { image: self.image.to_string(), why };
        let GuestParts { layers, execution, .. } = self.fetch_guest(file, bytes_max).await?;
        let unpacked = beside(file, "module.part");
        let program = program.or_else(|| execution.program()).map(str::to_owned);
        let (paths, output) =
            (layers.iter().map(|layer| layer.file.clone()).collect::<Vec<_>>(), unpacked.clone());
        let found = spawn_blocking(move || layer::extract(&layers, program.as_deref(), &output, bytes_max))
            .await
            .map_err(|error| PullError::Disk(io::Error::other(error)))?;
        // They are fetched again should the image be, which is seldom.
        for path in paths {
            let _ = fs::remove_file(path).await;
        }
        let digest = found.map_err(|error| cannot(error.to_string()))?;
        Ok((unpacked, digest, execution))
    }
}

/// A blob as far as it has come.
struct Part {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Part {
    /// What is there already is read once, for its digest.
    async fn open(path: &Path) -> io::Result<Self> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).await?;
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = file.read(&mut chunk).await?;
            if count == 0 {
                return Ok(Self { file, hash, bytes });
            }
            hash.update(&chunk[..count]);
            bytes += count as u64;
        }
    }

    async fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.file.write_all(chunk).await?;
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    async fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0).await?;
        self.file.rewind().await?;
        self.hash = Sha256::new();
        self.bytes = 0;
        Ok(())
    }
}

/// `NAME.` and an end, where `file` is `NAME.` and another.
fn beside(file: &Path, end: &str) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split('.').next().unwrap_or_default();
    file.with_file_name(format!("{stem}.{end}"))
}

async fn place(part: &Path, file: &Path) -> io::Result<()> {
    fs::rename(part, file).await?;
    match file.parent() {
        Some(folder) => File::open(folder).await?.sync_all().await,
        None => Ok(()),
    }
}

/// How much has to come in [`PROGRESS_TIME`]: far less than any link gives on which images are pulled.
const PROGRESS_BYTES_MIN: u64 = 64 << 10;
/// See [`PROGRESS_BYTES_MIN`].
const PROGRESS_TIME: Duration = Duration::from_secs(120);
/// How often what broke off is gone on with at once; after that it is up to whoever pulls again.
const RESUMPTIONS_MAX: u32 = 16;
/// All layers of an ordinary image for WASM, as they are sent.
const LAYERS_BYTES_MAX: u64 = 1 << 30;
/// Read and written at a time.
const CHUNK_BYTES: usize = 64 << 10;
