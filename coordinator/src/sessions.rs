//! One session per connected node: carries assignments out and statuses, events and logs in.
