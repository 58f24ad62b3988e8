//! Pulls of Linux images: what is kept of them, what is fetched once, and what is refused.

use super::*;

#[tokio::test]
async fn an_image_is_pulled_unpacked_and_known_after_a_restart() {
    let Some(mut bench) = Bench::start().await else { return };
    let (base, app) = (tar(&[("etc/name", "base"), ("bin/it", "it")]), tar(&[("etc/name", "app")]));
    let (base_gzip, app_gzip) = (gzip(&base), gzip(&app));
    let config = config(&[&base, &app]);
    bench.registry.image("1", &config, &[("tar+gzip", &base_gzip), ("tar+gzip", &app_gzip)]);
    let PulledImage::Fetched { digest, size_bytes, .. } = bench.pull("it:1").await else { panic!() };
    let sent = base_gzip.len() + app_gzip.len() + config.to_string().len();
    assert_eq!(size_bytes, sent as u64);

    for _ in 0..2 {
        let image = bench.linux("it:1").unwrap();
        assert_eq!(image.layers, [Digest::of(&base), Digest::of(&app)]);
        assert_eq!((image.config.user.as_deref(), image.config.program()), (Some("7"), Some("/bin/it")));
        assert_eq!(bench.read(&image, "etc/name").as_deref(), Some("app"));
        assert_eq!(bench.images.content_of(&digest), ImageContent::Linux(image));
        assert_eq!(bench.linux(&format!("it@{digest}")).unwrap().config.program(), Some("/bin/it"));
        assert_eq!(bench.images.file_images(), [(digest, sent as u64)]);
        assert_eq!(bench.files("layers/archives"), [""; 0]);
        bench.reopen();
    }

    // Without its registry it is what it was.
    bench.registry.stop();
    let kept = bench.pull_after("it:1", Some(digest)).await;
    assert!(matches!(kept, PulledImage::Kept { digest: last, .. } if last == digest), "{kept:?}");
    // An image without one of its layers is none, and what it leaves goes with it.
    fs::remove_dir_all(bench.images.layers().path(&Digest::of(&base))).unwrap();
    bench.reopen();
    assert_eq!(bench.linux("it:1"), None);
    assert_eq!(bench.files("image-configs"), [""; 0]);
    assert!(matches!(bench.pull_after("it:1", Some(digest)).await, PulledImage::Failed(_)));
}

#[tokio::test]
async fn what_two_images_share_is_fetched_and_unpacked_once() {
    let Some(bench) = Bench::start().await else { return };
    let (base, one, two) = (tar(&[("a", "base")]), tar(&[("b", "one")]), tar(&[("b", "two")]));
    let packed = gzip(&base);
    for (name, top) in [("1", &one), ("2", &two)] {
        let config = config(&[&base, top, &base]);
        let layers = [("tar+gzip", &*packed), ("tar", &**top), ("tar+gzip", &packed)];
        bench.registry.image(name, &config, &layers);
    }
    let (first, second) = tokio::join!(bench.pull("it:1"), bench.pull("it:2"));
    for pulled in [&first, &second] {
        assert!(matches!(pulled, PulledImage::Fetched { .. }), "{pulled:?}");
    }
    let base_path = format!("blobs/{}", Digest::of(&packed));
    assert_eq!(bench.registry.asked().iter().filter(|path| **path == base_path).count(), 1);
    assert_eq!(bench.files("layers/sha256").len(), 3);
    let image = bench.linux("it:2").unwrap();
    assert_eq!(image.layers, [Digest::of(&two), Digest::of(&base)], "twice in an image is once, above");
    // Again, it is a question and no more.
    bench.pull("it:1").await;
    let asked = bench.registry.asked();
    assert!(asked.len() == 2 && !asked.contains(&base_path), "{asked:?}");
}

#[tokio::test]
async fn the_best_platform_of_an_index_is_taken() {
    let Some(mut bench) = Bench::start().await else { return };
    let of = |name: &str, config: &Value| {
        let layer = tar(&[("name", name)]);
        let mut config = config.clone();
        config["rootfs"]["diff_ids"] = json!([Digest::of(&layer).to_string()]);
        let mut manifest = bench.registry.image(name, &config, &[("tar", &layer)]);
        manifest["platform"] = json!({
            "os": config["os"], "architecture": config["architecture"], "variant": config["variant"]
        });
        manifest
    };
    let mine = of("mine", &config(&[]));
    let mut other = config(&[]);
    other["architecture"] = json!("s390x");
    let other = of("other", &other);
    bench.registry.index("1", &[other.clone(), mine]);
    assert!(matches!(bench.pull("it:1").await, PulledImage::Fetched { .. }));
    let image = bench.linux("it:1").unwrap();
    assert_eq!(bench.read(&image, "name").as_deref(), Some("mine"));

    bench.registry.index("2", &[other]);
    bench.check_refused("it:2", "no match for platform in manifest").await;
    bench.check_refused("it:2", "is there for linux/s390x, and this node runs wasi/wasm").await;
    bench.check_refused("it:other", "is there for linux/s390x").await;

    // A node that runs no containers has no use for it.
    bench.images =
        open(bench.state.path(), &bench.registry.address, Containers::Refused("no runtime".into()));
    bench.check_refused("it:1", "wasip1/wasm; this node runs no Linux containers: no runtime").await;
}

#[tokio::test]
async fn what_lies_or_does_harm_leaves_nothing_behind() {
    let Some(bench) = Bench::start().await else { return };
    let good = tar(&[("a", "b")]);
    let packed = gzip(&good);
    let check = async |name: &str, config: &Value, layer: (&str, &[u8]), expected: &str| {
        bench.registry.image(name, config, &[layer]);
        bench.check_refused(&format!("it:{name}"), expected).await;
        bench.check_nothing_is_left();
    };
    check("diff", &config(&[b"else"]), ("tar+gzip", &packed), "was expected").await;
    check("cut", &config(&[&good]), ("tar+gzip", &packed[..packed.len() / 2]), "cannot be read").await;
    check("not", &config(&[&good]), ("tar+zstd", &packed), "cannot be read").await;
    check("few", &config(&[]), ("tar", &good), "names 1 layers, and its config what 0").await;
    let mut out = tar(&[("x", "y")]);
    out[..5].copy_from_slice(b"../xx");
    let sum: u32 = (0..512).map(|at| if (148..156).contains(&at) { 32 } else { u32::from(out[at]) }).sum();
    out[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    check("out", &config(&[&out]), ("tar", &out), "its name leads out of a folder").await;

    bench.registry.image("spoilt", &config(&[&good]), &[("tar+gzip", &packed)]);
    bench.registry.spoil(&packed);
    bench.check_refused("it:spoilt", "a layer has digest").await;
    bench.check_nothing_is_left();
}

#[tokio::test]
async fn a_layer_that_broke_off_is_gone_on_with() {
    let Some(mut bench) = Bench::start().await else { return };
    let noise: String = (0..200_000_u64)
        .map(|n| char::from_digit(u32::from((n.wrapping_mul(n) >> 7).to_le_bytes()[0]) % 36, 36).unwrap())
        .collect();
    let layer = tar(&[("noise", &noise)]);
    bench.registry.image("1", &config(&[&layer]), &[("tar", &layer)]);
    // More often than one attempt goes on.
    bench.registry.break_off(10_000, 18);
    assert!(matches!(bench.pull("it:1").await, PulledImage::Failed(_)));
    assert_eq!(bench.files("layers/archives").len(), 1);
    bench.reopen();
    bench.registry.asked();
    assert!(matches!(bench.pull("it:1").await, PulledImage::Fetched { .. }));
    let image = bench.linux("it:1").unwrap();
    assert_eq!(bench.read(&image, "noise"), Some(noise));
    assert_eq!(bench.files("layers/archives"), [""; 0]);
}
