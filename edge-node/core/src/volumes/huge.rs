//! Of which size the pages of a volume of large pages are. Rules and words are the kubelet's.

use dunlin_link::{Bytes, pod::PodAssignment, resources::HugeVolume};

use crate::pressure::binary;

/// The size of the pages of a volume; `None` for one that is not made of such.
///
/// # Errors
/// When the pod asks for no such pages, or leaves open which.
pub(super) fn page(assignment: &PodAssignment, volume: &str) -> Option<Result<Bytes, String>> {
    let volumes = &assignment.resources().huge_volumes;
    volumes.iter().find(|known| known.volume == volume).map(|known| page_of(assignment, known))
}

fn page_of(assignment: &PodAssignment, volume: &HugeVolume) -> Result<Bytes, String> {
    let of_containers = assignment.linux().containers.iter().flat_map(|says| &says.huge_pages);
    let mut asked = assignment.resources().huge_pages.iter().chain(of_containers).map(|(page, _)| *page);
    let medium = volume.page.map_or_else(|| MEDIUM.to_owned(), |page| format!("{MEDIUM}-{}", binary(page.0)));
    let first = match volume.page {
        Some(page) => asked.find(|asked| *asked == page),
        None => asked.next(),
    };
    let none = || {
        format!(
            "medium {medium}: hugePages storage requested, but there is no resource request for huge pages"
        )
    };
    let page = first.ok_or_else(none)?;
    if volume.page.is_none() && asked.any(|other| other != page) {
        return Err(format!("medium: {medium} can't be used if container requests multiple huge page sizes"));
    }
    Ok(page)
}

/// Without a size.
const MEDIUM: &str = "HugePages";

#[cfg(test)]
mod tests {
    use dunlin_link::{
        linux::{ContainerLinux, PodLinux},
        resources::PodResources,
    };

    use super::*;
    use crate::pod::fixture;

    const SMALL: Bytes = Bytes(2 << 20);
    const LARGE: Bytes = Bytes(1 << 30);

    fn check(of_pod: &[Bytes], of_containers: &[Bytes], page: Option<Bytes>, expected: Result<Bytes, &str>) {
        let mut pod = fixture::pod(Vec::new());
        let limits = |pages: &[Bytes]| pages.iter().map(|page| (*page, LARGE)).collect::<Vec<_>>();
        let containers = of_containers
            .iter()
            .map(|page| ContainerLinux { huge_pages: limits(&[*page]), ..ContainerLinux::default() });
        let containers = containers.collect();
        pod.linux = Some(Box::new(PodLinux { containers, ..PodLinux::default() }));
        let huge_volumes = vec![HugeVolume { volume: "v".into(), page }];
        let resources = PodResources { huge_pages: limits(of_pod), huge_volumes, ..PodResources::default() };
        pod.resources = Some(Box::new(resources));
        assert_eq!(super::page(&pod, "v").unwrap(), expected.map_err(str::to_owned));
        assert_eq!(super::page(&pod, "w"), None);
    }

    #[test]
    fn a_volume_has_pages_that_the_pod_asks_for() {
        check(&[], &[SMALL, SMALL], None, Ok(SMALL));
        check(&[LARGE], &[], None, Ok(LARGE));
        check(&[], &[SMALL, LARGE], Some(LARGE), Ok(LARGE));
        check(
            &[LARGE],
            &[SMALL],
            None,
            Err("medium: HugePages can't be used if container requests multiple huge page sizes"),
        );
        let none =
            "medium HugePages: hugePages storage requested, but there is no resource request for huge pages";
        check(&[], &[], None, Err(none));
        let none = "medium HugePages-1Gi: hugePages storage requested, but there is no resource request for huge pages";
        check(&[], &[SMALL], Some(LARGE), Err(none));
    }
}
