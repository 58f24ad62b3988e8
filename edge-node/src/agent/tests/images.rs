//! Images over the node's own socket: archives in and out, what pods use, what is removed.

use dunlin_registry::archive::{Exported, write};

use super::*;
use crate::console::{ConsoleError, ImageKind, ImageView};

/// An archive with a module under a name.
fn archive(name: &str, module: &[u8]) -> Vec<u8> {
    let image = Exported::Module { digest: Digest::of(module), bytes: module.len() as u64 };
    let mut archive = Vec::new();
    write(&mut archive, &name.parse().unwrap(), &image, |_| Ok(module)).unwrap();
    archive
}

async fn import(
    console: &Console,
    name: Option<&str>,
    mut archive: &[u8],
) -> Result<Vec<String>, ConsoleError> {
    within(console.import_images(name.map(str::to_owned), &mut archive)).await
}

async fn export(console: &Console, name: &str) -> Result<Vec<u8>, String> {
    let content = within(console.export_image(name.to_owned())).await;
    let mut content = content.map_err(|error| error.to_string())?;
    let mut archive = Vec::new();
    while let Some(chunk) = within(content.chunk()).await.map_err(|error| error.to_string())? {
        archive.extend(chunk);
    }
    Ok(archive)
}

fn tags(images: &[ImageView]) -> Vec<&str> {
    let names = images.iter().flat_map(|image| &image.names).map(String::as_str);
    names.filter(|name| name.starts_with("r.io") && !name.contains('@')).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_come_and_go_by_the_nodes_own_socket() {
    let mut node = Node::start().await;
    node.assign(&[("sleeper", RestartPolicy::Never, SLEEPER)]).await;
    node.until("sleeper", is_running).await;
    let (console, shutdown, serving) = node.serve_console().await;

    // More than one piece, and of a length that ends none.
    let module = [b"\0asm\x01\0\0\0".as_slice(), &[0; 700_001]].concat();
    let sent = archive("r.io/app:1", &module);
    assert_eq!(import(&console, None, &sent).await.unwrap(), ["r.io/app:1"]);
    assert_eq!(import(&console, Some("r.io/other:2"), &sent).await.unwrap(), ["r.io/other:2"]);
    let images = within(console.images()).await.unwrap();
    assert_eq!(tags(&images), ["r.io/app:1", "r.io/other:2"]);
    let app = images.iter().find(|image| tags(std::slice::from_ref(image)).contains(&"r.io/app:1")).unwrap();
    assert_eq!((app.id, app.bytes, app.kind), (Digest::of(&module), 700_009, ImageKind::Wasm));
    assert!(app.used_by.is_empty());

    let exported = export(&console, "r.io/app:1").await.unwrap();
    assert!(exported == sent, "the same in the same words");
    assert_eq!(export(&console, "r.io/nobody").await.unwrap_err(), "r.io/nobody: no such image");
    // By its id, and one that only a pod has named.
    let by_id = export(&console, &app.id.hex()[..12]).await.unwrap();
    assert!(by_id == sent || by_id == archive("r.io/other:2", &module), "under one of its names");
    let of_pod = images.iter().find(|image| !image.used_by.is_empty()).unwrap();
    for name in [&of_pod.names[0], &of_pod.id.to_string()] {
        assert!(!export(&console, name).await.unwrap().is_empty(), "{name}");
    }

    // A name of several is taken away; the last takes the image along.
    let remove = async |name: &str| {
        within(console.remove_image(name.to_owned())).await.map_err(|error| error.to_string())
    };
    assert_eq!(remove("r.io/app:1").await.unwrap(), ["r.io/app:1"]);
    assert!(export(&console, "r.io/other:2").await.is_ok());
    let gone = remove("r.io/other:2").await.unwrap();
    assert!(gone.contains(&"r.io/other:2".to_owned()), "{gone:?}");
    let images = within(console.images()).await.unwrap();
    assert!(
        tags(&images).is_empty() && images.iter().all(|image| image.id != Digest::of(&module)),
        "{images:?}"
    );
    assert_eq!(remove("r.io/other:2").await.unwrap_err(), "r.io/other:2: no such image");

    let used = images.iter().find(|image| !image.used_by.is_empty()).unwrap();
    assert_eq!(used.used_by, ["ns/sleeper"]);
    let refused = remove(&used.id.hex()[..12]).await.unwrap_err();
    assert!(refused.ends_with("used by pod ns/sleeper"), "{refused}");

    for (bytes, expected) in [
        (&b"no archive"[..], "cannot be read"),
        (&sent[..sent.len() / 2], "cannot be read"),
        (&[][..], "neither `index.json` nor `manifest.json`"),
    ] {
        let error = import(&console, None, bytes).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
    let invalid = import(&console, Some("A"), &sent).await.unwrap_err().to_string();
    assert!(invalid.contains("invalid reference format"), "{invalid}");
    shutdown.cancel();
    within(serving).await.unwrap();
    node.stop_agent().await;
    node.kill_runner().await;
}
