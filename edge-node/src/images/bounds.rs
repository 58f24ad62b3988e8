//! How full the disk may get of images that no pod needs, in the kubelet's words.

use dunlin_edge_node_core::pressure::Level;

/// Above the high bound images go until the disk is no fuller than the low one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageBounds {
    high_percent: u8,
    low_percent: u8,
}

impl Default for ImageBounds {
    fn default() -> Self {
        Self { high_percent: 85, low_percent: 80 }
    }
}

impl ImageBounds {
    /// The bounds that were asked for; else in words why they make no sense.
    pub(crate) fn new((high, low): (Option<u8>, Option<u8>)) -> Result<Self, String> {
        let default = Self::default();
        let high_percent = high.unwrap_or(default.high_percent);
        let low_percent = low.unwrap_or_else(|| default.low_percent.min(high_percent));
        if high_percent > 100 || low_percent > high_percent {
            return Err(format!(
                "image gc thresholds `{high_percent}` and `{low_percent}`: percent, the low one at most the high one"
            ));
        }
        Ok(Self { high_percent, low_percent })
    }

    /// How much should be free, if the disk is too full.
    pub(crate) fn wanted_free(self, disk: Level) -> Option<u64> {
        let percent = |percent: u8| disk.total / 100 * u64::from(percent);
        let used = disk.total.saturating_sub(disk.available);
        (disk.total > 0 && used >= percent(self.high_percent)).then(|| disk.total - percent(self.low_percent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_go_from_one_bound_to_the_other() {
        let free = |available| ImageBounds::default().wanted_free(Level { available, total: 1000 });
        assert_eq!((free(151), free(150), free(0)), (None, Some(200), Some(200)));
        assert_eq!(ImageBounds::default().wanted_free(Level::default()), None);
    }

    #[test]
    fn bounds_have_to_make_sense() {
        let of = |high, low| ImageBounds::new((high, low)).map(|it| (it.high_percent, it.low_percent));
        assert_eq!(of(None, None), Ok((85, 80)));
        assert_eq!(of(Some(50), None), Ok((50, 50)));
        assert!(of(Some(101), None).is_err() && of(Some(50), Some(51)).is_err());
    }
}
