//! Images as volumes.

use super::shore::on_each_runtime;

#[test]
fn the_files_of_an_image_are_a_volume() {
    on_each_runtime("images", |berth| {
        let spec = |image: &str| {
            format!(
                "restartPolicy: Never
volumes: [{{name: model, image: {{reference: '{image}'}}}}]
containers:
- name: c
  image: BUSYBOX
  command: [sh, -c, 'cat /m/index.html; touch /m/x 2>/dev/null || echo unchanged; ls /all']
  volumeMounts: [{{name: model, mountPath: /m, subPath: www}}, {{name: model, mountPath: /all}}]
"
            )
        };
        berth.pod("mounts", &spec("BUSYBOX"));
        berth.wait_for("mounts", "phase", "Succeeded");
        let log = berth.ok(&["logs", "mounts"]);
        assert!(log.starts_with("dunlin\nunchanged\nbin\n"), "{log}");
        for (name, image, why) in [
            ("lost", "127.0.0.1:1/model:1", "dial tcp 127.0.0.1:1"),
            ("local", "dunlin.local/model:1", "nothing was pushed as"),
        ] {
            berth.pod(name, &spec(image));
            berth.wait_for(name, "containerStatuses[0].state.waiting.reason", "ImagePullBackOff");
            let message = berth.status(name, "containerStatuses[0].state.waiting.message");
            assert!(message.contains(why), "{message}");
        }
    });
}
