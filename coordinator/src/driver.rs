//! Feeds store changes into the cluster view and runs controllers and the scheduler over it.
