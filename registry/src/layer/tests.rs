//! Layers as tools write them, and as nobody should.

use std::{fs, path::PathBuf};

use dunlin_link::Digest;
use flate2::{Compression as Level, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use super::{Layer, extract};
use crate::media::Compression;

struct Image {
    folder: tempfile::TempDir,
    layers: Vec<Layer>,
}

impl Image {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), layers: Vec::new() }
    }

    fn layer(mut self, files: &[(&str, &[u8])]) -> Self {
        let file = self.folder.path().join(self.layers.len().to_string());
        let gzip = GzEncoder::new(fs::File::create(&file).unwrap(), Level::fast());
        let mut builder = Builder::new(gzip);
        for (path, content) in files {
            let mut header = Header::new_ustar();
            // By hand: what leads out of the image is nothing that the library writes.
            header.as_ustar_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(EntryType::Regular);
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
        self.layers.push(Layer { file, compression: Compression::Gzip });
        self
    }

    fn check(&self, program: Option<&str>, expected: Result<&[u8], &str>) {
        let output = PathBuf::from(self.folder.path()).join("output");
        let found = extract(&self.layers, program, &output, 100).map(|digest| {
            let content = fs::read(&output).unwrap();
            assert_eq!(digest, Digest::of(&content));
            content
        });
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error} lacks {words}"),
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }
}

#[test]
fn the_program_of_the_highest_layer_is_taken() {
    let image = Image::new()
        .layer(&[("./app/one.wasm", b"old"), ("two.wasm", b"two"), ("readme", b"text")])
        .layer(&[("app/one.wasm", b"new"), (".wh.two.wasm", b"")]);
    image.check(Some("/app/one.wasm"), Ok(b"new"));
    image.check(Some("app/one.wasm"), Ok(b"new"));
    image.check(Some("/two.wasm"), Err("its WASM modules are `/app/one.wasm`"));
    image.check(None, Ok(b"new"));
    image.check(Some("readme"), Ok(b"text"));

    let opaque =
        Image::new().layer(&[("a/b.wasm", b"b"), ("c.wasm", b"c")]).layer(&[("a/.wh..wh..opq", b"")]);
    opaque.check(None, Ok(b"c"));
    let several = Image::new().layer(&[("a.wasm", b"a"), ("b.wasm", b"b")]);
    several.check(None, Err("names no program, and its WASM modules are `/a.wasm`, `/b.wasm`"));
}

#[test]
fn what_leads_out_is_too_large_or_is_damaged_is_refused() {
    let outside = Image::new().layer(&[("../a.wasm", b"a"), ("a/../../b.wasm", b"b")]);
    outside.check(None, Err("its WASM modules are none"));
    outside.check(Some("../a.wasm"), Err("not in it"));
    Image::new().layer(&[("a.wasm", &[0; 101])]).check(None, Err("100 bytes"));

    let cut = Image::new().layer(&[("a.wasm", b"a")]);
    let file = &cut.layers[0].file;
    let whole = fs::read(file).unwrap();
    fs::write(file, &whole[..whole.len() / 2]).unwrap();
    cut.check(None, Err("a layer cannot be read"));
}

#[test]
fn names_and_entries_have_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let archive = |name: &str, fill: &dyn Fn(&mut Builder<fs::File>)| {
        let file = folder.path().join(name);
        let mut builder = Builder::new(fs::File::create(&file).unwrap());
        fill(&mut builder);
        builder.finish().unwrap();
        [Layer { file, compression: Compression::None }]
    };
    let try_it = |layers: &[Layer]| {
        extract(layers, None, &folder.path().join("out"), 100).map_err(|error| error.to_string())
    };
    let append = |builder: &mut Builder<fs::File>, kind: EntryType, content: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    };
    let long = archive("long", &|builder| {
        append(builder, EntryType::GNULongName, &vec![b'a'; 65 << 10]);
    });
    assert!(try_it(&long).unwrap_err().contains("65536 bytes"), "{:?}", try_it(&long));
    let headers = archive("headers", &|builder| {
        append(builder, EntryType::XHeader, &vec![b'1'; 65 << 10]);
    });
    assert!(try_it(&headers).unwrap_err().contains("65536 bytes"), "{:?}", try_it(&headers));
    let named = archive("named", &|builder| {
        append(builder, EntryType::XHeader, b"19 path=app/a.wasm\n");
        append(builder, EntryType::Regular, b"x");
    });
    assert_eq!(try_it(&named), Ok(Digest::of(b"x")));
    // A long name ends at its first zero, and one that is cut off with its archive names nothing.
    let ended = archive("ended", &|builder| {
        append(builder, EntryType::GNULongName, b"app/a.wasm\0.txt");
        append(builder, EntryType::Regular, b"x");
    });
    assert_eq!(try_it(&ended), Ok(Digest::of(b"x")));
    let cut = archive("cut", &|builder| {
        append(builder, EntryType::GNULongName, b"app/a.wasm.and.more");
        append(builder, EntryType::Regular, b"x");
    });
    let whole = fs::read(&cut[0].file).unwrap();
    for length in [512 + 10, 512 + 18, 1024 + 100] {
        fs::write(&cut[0].file, &whole[..length]).unwrap();
        assert!(try_it(&cut).unwrap_err().contains("a layer cannot be read"), "{length}: {:?}", try_it(&cut));
    }
}
