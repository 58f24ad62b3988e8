//! What a pod says of resources beside the CPU and memory of its containers.

use dunlin_api::Quantity;
use dunlin_link::{
    Bytes,
    resources::{DiskResources, HugeVolume, PodResources},
    volumes::PodVolumes,
};
use k8s_openapi::api::core::v1;

use crate::amounts;

/// Of a pod; `None` where there is nothing to say. `volumes` are those that are mounted.
pub(super) fn pod_resources(spec: &v1::PodSpec, volumes: &PodVolumes) -> Option<Box<PodResources>> {
    let all = || spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut disk: Vec<_> = all().map(disk_of).collect();
    if disk.iter().all(|disk| *disk == DiskResources::default()) {
        disk.clear();
    }
    let is_mounted = |volume: &HugeVolume| volumes.volumes.iter().any(|known| known.name == volume.volume);
    let resources = PodResources {
        pod: spec.resources.clone().map(super::resources).unwrap_or_default(),
        huge_pages: huge_pages(spec.resources.as_ref()),
        huge_volumes: spec.volumes.iter().flatten().filter_map(huge_volume).filter(is_mounted).collect(),
        disk,
    };
    (!resources.is_default()).then(|| Box::new(resources))
}

/// Limits of large pages.
pub(super) fn huge_pages(resources: Option<&v1::ResourceRequirements>) -> Vec<(Bytes, Bytes)> {
    let limits = resources.into_iter().flat_map(|resources| resources.limits.iter().flatten());
    let pages = limits.filter_map(|(name, limit)| {
        let page = page(name.strip_prefix(HUGE_PAGES_RESOURCE)?)?;
        Some((page, amounts::bytes(limit)))
    });
    pages.collect()
}

/// A page whose size is none has no size that a machine has, so that whoever mounts it says so.
fn huge_volume(volume: &v1::Volume) -> Option<HugeVolume> {
    let medium = volume.empty_dir.as_ref()?.medium.as_deref()?;
    let size = medium.strip_prefix(HUGE_PAGES_MEDIUM)?;
    let page = match size.strip_prefix('-') {
        Some(size) => Some(page(size).unwrap_or_default()),
        None if size.is_empty() => None,
        None => return None,
    };
    Some(HugeVolume { volume: volume.name.clone(), page })
}

fn page(size: &str) -> Option<Bytes> {
    let page: Quantity = size.parse().ok()?;
    u64::try_from(page.value()).ok().filter(|bytes| *bytes > 0).map(Bytes)
}

fn disk_of(container: &v1::Container) -> DiskResources {
    let resources = container.resources.as_ref();
    let limit = resources.and_then(|resources| resources.limits.as_ref()?.get(DISK)).map(amounts::bytes);
    let request = resources.and_then(|resources| resources.requests.as_ref()?.get(DISK)).map(amounts::bytes);
    // As in Kubernetes, nothing is no limit.
    DiskResources { request: request.or(limit), limit: limit.filter(|limit| limit.0 > 0) }
}

/// `hugepages-2Mi` and so on.
const HUGE_PAGES_RESOURCE: &str = "hugepages-";

/// `HugePages`, or `HugePages-2Mi` and so on.
const HUGE_PAGES_MEDIUM: &str = "HugePages";

const DISK: &str = "ephemeral-storage";

#[cfg(test)]
mod tests {
    use dunlin_link::{MilliCpu, ephemeral::PodEphemeral, pod::Resources};
    use serde_json::{Value, json};

    use super::*;
    use crate::lower::volumes::pod_volumes;

    fn lowered(spec: Value) -> PodResources {
        let spec: v1::PodSpec = serde_json::from_value(spec).unwrap();
        pod_resources(&spec, &pod_volumes(&spec, &PodEphemeral::default()))
            .map(|resources| *resources)
            .unwrap_or_default()
    }

    #[test]
    fn large_pages_are_a_medium_with_a_size_or_without() {
        let mounts = ["a", "b", "c", "d"].map(|name| json!({"name": name, "mountPath": format!("/{name}")}));
        let lowered = lowered(json!({
            "containers": [{"name": "c", "volumeMounts": mounts}],
            "volumes": [
                {"name": "a", "emptyDir": {"medium": "HugePages"}},
                {"name": "b", "emptyDir": {"medium": "HugePages-1Gi"}},
                {"name": "c", "emptyDir": {"medium": "HugePages-x"}},
                {"name": "d", "emptyDir": {"medium": "Memory"}},
                {"name": "e", "emptyDir": {"medium": "HugePages"}},
            ],
        }));
        let volume = |name: &str, page| HugeVolume { volume: name.into(), page };
        assert_eq!(
            lowered.huge_volumes,
            [volume("a", None), volume("b", Some(Bytes(1 << 30))), volume("c", Some(Bytes(0)))]
        );
    }

    #[test]
    fn a_pod_s_own_resources_and_disk_are_numbers() {
        let found = lowered(json!({
            "resources": {"limits": {"cpu": "2", "hugepages-2Mi": "4Mi"}, "requests": {"memory": "1Gi"}},
            "containers": [
                {"name": "a"},
                {"name": "b", "resources": {"limits": {"ephemeral-storage": "1Mi"}}},
                {"name": "c", "resources": {"limits": {"ephemeral-storage": "0"}, "requests": {"ephemeral-storage": "2Ki"}}},
            ],
        }));
        let pod = Resources {
            cpu_request: Some(MilliCpu(2000)),
            memory_request: Some(Bytes(1 << 30)),
            cpu_limit: Some(MilliCpu(2000)),
            memory_limit: None,
        };
        assert_eq!((found.pod, found.huge_pages), (pod, vec![(Bytes(2 << 20), Bytes(4 << 20))]));
        let (one, two) = (Some(Bytes(1 << 20)), Some(Bytes(2048)));
        let disk = [
            DiskResources::default(),
            DiskResources { request: one, limit: one },
            DiskResources { request: two, limit: None },
        ];
        assert_eq!(found.disk, disk);
        assert_eq!(lowered(json!({"containers": [{"name": "a"}]})), PodResources::default());
    }
}
